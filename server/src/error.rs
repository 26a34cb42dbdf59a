//! [`Error`]: why the daemon does not start or had to stop.

use std::path::PathBuf;

/// Why the daemon does not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be used.
    #[error("{0}")]
    Open(#[from] crate::OpenError),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; stop what listens there, or choose another with --bind-address"
    )]
    Bind {
        /// As configured.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// Another process holds the pid file.
    #[error("the pid file {path} is locked: another server runs with it (process {process})")]
    PidFileLocked {
        /// The file.
        path: PathBuf,
        /// What the file says, or "unknown".
        process: String,
    },
    /// The pid file cannot be written.
    #[error("cannot write the pid file {path}: {source}")]
    PidFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The system refused threads, signals or the like.
    #[error("{doing}: {source}")]
    System {
        /// What was being done, as in "cannot start the runtime".
        doing: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Not every log could be closed in time; what was
    /// acknowledged is safe all the same.
    #[error("not every log could be closed within {seconds} s; what was acknowledged is safe")]
    ShutdownTimeout {
        /// How long it took.
        seconds: u64,
    },
}
