//! [`Failure`]: why a write or a sync failed, and what is known about the disk after it.

use std::io;

use crate::disk_reserve::FreeSpace;

/// Why a group was not made durable.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The storage is full and nothing was written: the log is unchanged.
    NoSpace,
    /// The write would have used the disk reserve, and nothing was written: the log is unchanged.
    BelowReserve(FreeSpace),
    /// The process has too many open files and nothing was written: the log is unchanged.
    NoDescriptor(io::Error),
    /// Any other error: the state of the disk is unknown.
    Broken(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::NoSpace => f.write_str("no space is left on the storage"),
            Failure::BelowReserve(_) => f.write_str("less than min_free_disk is free"),
            Failure::NoDescriptor(error) => error.fmt(f),
            Failure::Broken(cause) => f.write_str(cause),
        }
    }
}

impl Failure {
    /// Classifies an error that occurred before any byte was written.
    pub(crate) fn before_writing(doing: &str, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::NoSpace,
            _ if is_no_descriptor(error) => Failure::NoDescriptor(
                error
                    .raw_os_error()
                    .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error),
            ),
            _ => Failure::broken(doing, error),
        }
    }

    /// An error after which the state of the disk is unknown.
    pub(crate) fn broken(doing: &str, error: &io::Error) -> Failure {
        Failure::Broken(format!("{doing} failed: {error}"))
    }
}

/// Whether a file could not be opened because the process or the system has too many open files. A
/// later attempt can succeed.
pub(crate) fn is_no_descriptor(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
