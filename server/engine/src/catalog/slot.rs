//! What stands under a log's name, and who has it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use styx_protocol::{LogInfo, LogName, LogStatus};

use super::shared::Shared;
use crate::{Error, Log, Removal};

/// See the module.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    /// Recovery is at it.
    Opening,
    Open(Log),
    /// Could not be opened, and why.
    Unknown(String),
    /// Being emptied or deleted; its handles work until that is done.
    Ending(Log),
    /// Being created or restored, or ended without ever having been open.
    Busy,
}

impl Shared {
    pub(super) fn set(&self, name: &LogName, slot: Option<Slot>) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        match slot {
            Some(slot) => slots.insert(name.clone(), slot),
            None => slots.remove(name),
        };
    }

    /// Takes a name that no log has.
    pub(super) fn reserve(&self, name: &LogName) -> Result<Taken<'_>, Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.contains_key(name) {
            return Err(Error::LogExists { name: name.to_string() });
        }
        slots.insert(name.clone(), Slot::Busy);
        Ok(Taken { shared: self, name: name.clone(), settled: false })
    }

    /// Takes a log away from everybody else.
    pub(super) fn take(&self, name: &LogName) -> Result<(Slot, Taken<'_>), Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get_mut(name).ok_or_else(|| not_found(name))?;
        match slot {
            Slot::Opening | Slot::Ending(_) => return Err(scanning(name)),
            Slot::Busy => return Err(not_found(name)),
            Slot::Open(_) | Slot::Unknown(_) => {}
        }
        let meanwhile = match slot {
            Slot::Open(log) => Slot::Ending(log.clone()),
            _ => Slot::Busy,
        };
        let old = std::mem::replace(slot, meanwhile);
        Ok((old, Taken { shared: self, name: name.clone(), settled: false }))
    }
}

/// A name that one caller has to itself; given back as it was if forgotten.
pub(super) struct Taken<'a> {
    shared: &'a Shared,
    name: LogName,
    settled: bool,
}

impl Taken<'_> {
    /// The log is there, or it is not.
    pub(super) fn fill(mut self, log: Result<Log, Error>) -> Result<Log, Error> {
        self.settled = true;
        let there = self.shared.options.storage.list(&self.shared.directory(&self.name)).is_ok();
        let slot = match &log {
            Ok(log) => Some(Slot::Open(log.clone())),
            // It failed after its files were there.
            Err(error) if there => Some(Slot::Unknown(error.to_string())),
            Err(_) => None,
        };
        self.shared.set(&self.name, slot);
        log
    }

    pub(super) fn put_back(mut self, slot: Slot) {
        self.settled = true;
        self.shared.set(&self.name, Some(slot));
    }

    pub(super) fn clear(mut self) {
        self.settled = true;
        self.shared.set(&self.name, None);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.set(&self.name, None);
        }
    }
}

impl Slot {
    pub(super) fn info(&self, name: &LogName) -> Option<LogInfo> {
        let status = match self {
            Slot::Open(log) | Slot::Ending(log) => return Some(log.info()),
            Slot::Opening => LogStatus::Scanning,
            Slot::Unknown(_) => LogStatus::Unknown,
            Slot::Busy => return None,
        };
        Some(LogInfo {
            name: name.to_string(),
            status,
            record_count: 0,
            file_size: 0,
            start_position: 0,
            end_position: 0,
        })
    }
}

/// The answer while a log is being opened.
pub(super) fn scanning(name: &LogName) -> Error {
    Error::NotAvailable {
        name: name.to_string(),
        status: LogStatus::Scanning,
        cause: "it is being opened or emptied; try again shortly".into(),
    }
}

/// The answer where there is none.
pub(super) fn not_found(name: &LogName) -> Error {
    Error::LogNotFound { name: name.to_string() }
}

/// What handles of a log get that is no more.
pub(super) fn gone(name: &LogName, how: Removal) -> Error {
    Error::LogGone { name: name.to_string(), how }
}
