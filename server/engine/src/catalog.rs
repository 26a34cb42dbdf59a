//! The data directory and the logs in it.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use styx_protocol::{LogConfig, LogInfo, LogName};

use crate::{Error, Log};

/// How a catalog is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the logs are; created if it is not there.
    pub data_directory: PathBuf,
    /// Start every commit on a 4 KiB boundary, for media on which an
    /// interrupted sector write may leave neither old nor new bytes.
    pub pad_commits: bool,
    /// Bytes that may wait in one log's queue.
    pub queue_bytes_max: usize,
    /// Bytes of recent commits kept in memory for followers, per log.
    pub tail_bytes_max: usize,
    /// The same for all logs together.
    pub tail_bytes_total_max: usize,
    /// Threads that commit; started when needed.
    pub committers_max: usize,
}

impl Options {
    /// The defaults, for this directory.
    #[must_use]
    pub fn new(data_directory: impl Into<PathBuf>) -> Options {
        Options {
            data_directory: data_directory.into(),
            pad_commits: false,
            queue_bytes_max: 16 << 20,
            tail_bytes_max: 4 << 20,
            tail_bytes_total_max: 32 << 20,
            committers_max: 32,
        }
    }
}

/// An open data directory. A cheap handle; the last one dropped closes it.
#[derive(Debug, Clone)]
pub struct Catalog {}

#[expect(unused_variables, reason = "the shape comes first")]
impl Catalog {
    /// Locks the directory, lists its logs and starts opening them in the
    /// background; until a log is open it is `scanning`.
    ///
    /// # Errors
    /// The directory is locked by another process, is one of Styx 0.x, or
    /// cannot be used.
    pub fn open(options: Options) -> Result<Catalog, Error> {
        unimplemented!()
    }

    /// Blocks until no log is `scanning` any more.
    pub fn wait_until_open(&self) {
        unimplemented!()
    }

    /// Whether every log has been opened (well or not).
    #[must_use]
    pub fn is_open(&self) -> bool {
        unimplemented!()
    }

    /// Creates a log, durably; blocks.
    ///
    /// # Errors
    /// It exists; the configuration is invalid; I/O.
    pub fn create(&self, name: &LogName, config: LogConfig) -> Result<Log, Error> {
        unimplemented!()
    }

    /// An open log, whatever its status but `scanning` and `unknown`.
    ///
    /// # Errors
    /// There is none of that name, or it is not available.
    pub fn log(&self, name: &LogName) -> Result<Log, Error> {
        unimplemented!()
    }

    /// What the API says about a log, whatever its status; zeros where unknown.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn info(&self, name: &LogName) -> Result<LogInfo, Error> {
        unimplemented!()
    }

    /// All logs, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<LogInfo> {
        unimplemented!()
    }

    /// All logs that are open, for metrics.
    #[must_use]
    pub fn logs(&self) -> Vec<Log> {
        unimplemented!()
    }

    /// Removes a log whatever its status and ends its readers and writers;
    /// blocks.
    ///
    /// # Errors
    /// There is none of that name, it is being opened, I/O.
    pub fn delete(&self, name: &LogName) -> Result<(), Error> {
        unimplemented!()
    }

    /// Removes all records of a log and gives it a new identity; ends its
    /// readers and writers; blocks.
    ///
    /// # Errors
    /// As [`Catalog::delete`].
    pub fn truncate(&self, name: &LogName) -> Result<Log, Error> {
        unimplemented!()
    }

    /// Makes a log of an archive that [`Log::backup`] wrote. Nothing is left
    /// behind on any fault. Blocks.
    ///
    /// # Errors
    /// It exists; the archive is not one or is damaged; I/O. An error of
    /// `archive` itself is [`Error::Io`].
    pub fn restore(&self, name: &LogName, archive: &mut dyn Read) -> Result<Log, Error> {
        unimplemented!()
    }

    /// Refuses new appends, commits what is queued, writes watermarks, closes
    /// every log and releases the directory. Blocks up to `deadline`; says
    /// whether all was closed by then.
    pub fn close(&self, deadline: Duration) -> bool {
        unimplemented!()
    }
}
