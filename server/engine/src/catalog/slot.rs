//! The state of one log name.

use styx_protocol::{LogInfo, LogName, LogStatus};

use crate::{Error, Log, Removal};

/// See the module.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    /// The log is being recovered.
    Opening,
    Open(Log),
    /// The log could not be opened, for this reason.
    Unknown(String),
    /// The log is being truncated or deleted. Its handles work until that is done.
    Removing(Log),
    /// A log is being created or restored, or a log that was never open is being removed.
    Busy,
}

impl Slot {
    pub(super) fn info(&self, name: &LogName) -> Option<LogInfo> {
        let status = match self {
            Slot::Open(log) | Slot::Removing(log) => return Some(log.info()),
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

/// The error while a log is being opened.
pub(super) fn scanning(name: &LogName) -> Error {
    Error::NotAvailable {
        name: name.to_string(),
        status: LogStatus::Scanning,
        cause: "it is being opened or truncated; try again shortly".into(),
    }
}

/// The error if there is no such log.
pub(super) fn not_found(name: &LogName) -> Error {
    Error::LogNotFound { name: name.to_string() }
}

/// The error for the handles of a removed log.
pub(super) fn removed(name: &LogName, how: Removal) -> Error {
    Error::LogRemoved { name: name.to_string(), how }
}
