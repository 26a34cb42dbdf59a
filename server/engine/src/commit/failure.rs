//! [`Failure`]: why a write or a sync failed, and what is known about the disk after it.

use std::io;

/// Why a group was not made durable.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The storage is full and nothing was written: the log is unchanged.
    NoSpace,
    /// Any other error: the state of the disk is unknown.
    Broken(String),
}

impl Failure {
    /// Classifies an error that occurred before any byte was written.
    pub(crate) fn before_writing(doing: &str, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::NoSpace,
            _ => Failure::broken(doing, error),
        }
    }

    /// An error after which the state of the disk is unknown.
    pub(crate) fn broken(doing: &str, error: &io::Error) -> Failure {
        Failure::Broken(format!("{doing} failed: {error}"))
    }
}
