//! Logs of other servers in a read-only catalog: attached, replaced and removed as the archive
//! says.
//!
//! ```text
//! manifest in the store ─▶ attach_replica ─▶ Log::extend … ─▶ detach_replica
//! ```
//!
//! Invariant: a log has the id of the original, so positions and checkpoints are valid on both.

use styx_protocol::{LogId, LogName};

use super::slot::{Slot, removed};
use super::{Attached, Catalog};
use crate::catalog::inner::CatalogInner;
use crate::manifest::{ARCHIVED_VERSION, Manifest};
use crate::sync::lock;
use crate::{Error, Log, Removal};

impl Catalog {
    /// Creates a log of another server from its archived segments, with its original id; blocks. A
    /// log that has the name is closed and replaced: its readers and followers get `log_changed`.
    /// `owner` is the name of the server that owns the log, for messages.
    ///
    /// # Errors
    /// As [`Catalog::attach`]. If the old log was removed before the failure, there is no log.
    pub fn attach_replica(
        &self,
        name: &LogName,
        id: LogId,
        owner: &str,
        attached: &Attached,
    ) -> Result<Log, Error> {
        attached.config.validate()?;
        attached.check()?;
        self.0.services.disk_reserve.check(&self.0.options.data_directory, 0)?;
        let reserved = match self.0.take(name) {
            Ok((old, reserved)) => match self.0.take_away(name, &old, Removal::Truncated) {
                Ok(()) => reserved,
                Err(error) => {
                    reserved.put_back(old);
                    return Err(error);
                }
            },
            Err(Error::LogNotFound { .. }) => self.0.reserve_new(name)?,
            Err(error) => return Err(error),
        };
        let manifest = Manifest {
            version: ARCHIVED_VERSION,
            lineage: attached.lineage.clone(),
            ..Manifest::new(id, 0, attached.config)
        };
        let indexes = &mut std::iter::empty();
        let placed = self.0.place_attached(name, &manifest, attached, indexes);
        let created = placed
            .and_then(|()| self.0.recover(name).inspect_err(|_| self.0.discard(name)))
            .inspect(|log| log.set_owner(owner));
        reserved.fill(created)
    }

    /// Removes a log of another server, and closes it for its readers, who get `log_not_found`;
    /// blocks.
    ///
    /// # Errors
    /// As [`Catalog::delete`].
    pub fn detach_replica(&self, name: &LogName) -> Result<(), Error> {
        let (old, reserved) = self.0.take(name)?;
        if let Err(error) = self.0.take_away(name, &old, Removal::Deleted) {
            reserved.put_back(old);
            return Err(error);
        }
        reserved.clear();
        Ok(())
    }
}

impl CatalogInner {
    /// Checks that the logs may be changed. The error names the owner of the log with this name.
    pub(super) fn check_writable(&self, name: Option<&LogName>) -> Result<(), Error> {
        if !self.options.read_only {
            return Ok(());
        }
        let slots = self.slots.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        match name.and_then(|name| slots.get(name)) {
            Some(Slot::Open(log) | Slot::Removing(log)) => log.0.check_writable(),
            _ => Err(Error::ReadOnly { owner: None }),
        }
    }

    /// Closes a log and removes its directory. The name stays reserved.
    fn take_away(&self, name: &LogName, old: &Slot, how: Removal) -> Result<(), Error> {
        let open = match old {
            Slot::Open(log) => Some(log),
            _ => None,
        };
        // An extension of the log holds this lock while it writes to the directory.
        let open = open.map(|log| (log, lock(&log.0.archive)));
        let deletion = self.begin_deletion(name, old)?;
        if let Some((log, list)) = open {
            log.0.close_with(&list, &removed(name, how));
        }
        // The name is removed durably before the files, so that a power cut leaves no part of them.
        let data = &self.options.data_directory;
        self.options.storage.sync_dir(data).map_err(Error::io("cannot sync", data))?;
        self.finish_deletion(name, deletion)
    }
}
