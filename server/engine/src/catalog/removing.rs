//! [`Removing`]: tells the depot that a log is about to be removed, and how it ended.
//!
//! If neither [`Removing::done`] nor [`Removing::kept`] is called, for example after a failed sync,
//! only the next start can tell whether the log exists. The depot looks then.

use std::sync::Arc;

use styx_protocol::{LogId, LogName};

use super::inner::CatalogInner;
use super::slot::Slot;
use crate::archive::Depot;

/// See the module.
#[must_use]
pub(super) struct Removing<'a> {
    depot: Arc<dyn Depot>,
    name: &'a LogName,
    /// `None` if the log has no readable manifest.
    id: Option<LogId>,
}

impl CatalogInner {
    /// Tells the depot that a log is about to be deleted or truncated. Waits for the disk.
    pub(super) fn begin_removing<'a>(&self, name: &'a LogName, slot: &Slot) -> Removing<'a> {
        let depot = self.services.store.depot.clone();
        let id = self.id_of(name, slot);
        let open_epoch = match slot {
            Slot::Open(log) | Slot::Removing(log) => log.open_epoch(),
            _ => 0,
        };
        if let Some(id) = id {
            depot.removing(name, id, open_epoch);
        }
        Removing { depot, name, id }
    }
}

impl Removing<'_> {
    /// The log is gone, durably.
    pub(super) fn done(self) {
        if let Some(id) = self.id {
            self.depot.removed(self.name, id);
        }
    }

    /// The log is still there.
    pub(super) fn kept(self) {
        if let Some(id) = self.id {
            self.depot.kept(self.name, id);
        }
    }
}
