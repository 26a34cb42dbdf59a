//! [`Error`]: everything the engine refuses or fails at.
//!
//! A variant is a decision the caller makes; what a person needs to know is in
//! its fields. [`Error::code`] is the row of the public error table.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use styx_protocol::{Code, LogStatus, Position};

/// Why the engine did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A log of that name exists.
    #[error("the log {name} exists already: choose another name or delete it first")]
    LogExists {
        /// The name.
        name: String,
    },
    /// No log of that name.
    #[error("there is no log {name}: create it with POST /logs or `styx logs create {name}`")]
    LogNotFound {
        /// The name.
        name: String,
    },
    /// The log was deleted or truncated while this handle was held.
    #[error("the log {name} was {} meanwhile: open it again", gone(*how))]
    LogGone {
        /// The name.
        name: String,
        /// What became of it.
        how: Removal,
    },
    /// The log cannot do this in the state it is in.
    #[error("the log {name} is {status}: {cause}")]
    NotAvailable {
        /// The name.
        name: String,
        /// The state.
        status: LogStatus,
        /// What happened and what to run.
        cause: String,
    },
    /// The position is before the first kept record or after the end.
    #[error("position {asked} is outside the log, which holds {start} up to {end}")]
    OutOfRange {
        /// What was asked for; may be negative or beyond 2^64.
        asked: i128,
        /// First kept position.
        start: Position,
        /// Position after the last durable record.
        end: Position,
    },
    /// A record is over the log's `max_record_size`.
    #[error("a record of {size} bytes (8 more than its payload) is over max_record_size, {max}")]
    RecordTooLarge {
        /// Payload plus 8.
        size: u64,
        /// The log's limit.
        max: u64,
    },
    /// A conditional append met another end.
    #[error("the log ends at {end}, not at the expected position {expected}")]
    PositionMismatch {
        /// What the append asked for.
        expected: Position,
        /// Where the log ends.
        end: Position,
    },
    /// An idempotent append left records out.
    #[error("producer {producer} continues with sequence {sequence}, but {expected} is next")]
    SequenceGap {
        /// The producer's id.
        producer: u64,
        /// What it sent.
        sequence: u64,
        /// What the log expects.
        expected: u64,
    },
    /// A sequence came again with other records.
    #[error("producer {producer} used sequence {sequence} for other records before")]
    SequenceReused {
        /// The producer's id.
        producer: u64,
        /// What it sent.
        sequence: u64,
    },
    /// A producer with a higher epoch took over.
    #[error("producer {producer} with epoch {epoch} was fenced by epoch {current}")]
    ProducerFenced {
        /// The producer's id.
        producer: u64,
        /// The epoch it sent.
        epoch: u32,
        /// The epoch in force.
        current: u32,
    },
    /// The write or sync failed: the records may be there after a restart.
    #[error(
        "the append's outcome is unknown, because {cause}; restart the server to recover the log"
    )]
    OutcomeUnknown {
        /// The first failure.
        cause: String,
    },
    /// The catalog is closing.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// A stored record fails its checksum.
    #[error(
        "the record at position {position} is damaged ({}, byte {offset}); {}; `styx verify` says more",
        path.display(),
        next_intact(*next)
    )]
    CorruptRecord {
        /// First damaged position.
        position: Position,
        /// The segment file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The first position behind the damage that can be read, if it is known.
        next: Option<Position>,
    },
    /// No space left; nothing of this append is kept.
    #[error("no space left on the storage of {path}: free some and try again")]
    StorageFull {
        /// Where space is missing.
        path: PathBuf,
    },
    /// A configuration value is outside its range.
    #[error(transparent)]
    InvalidConfig(#[from] styx_protocol::log::InvalidConfig),
    /// The archive to restore is not one, or is damaged.
    #[error("the archive cannot be restored: {message}")]
    BadArchive {
        /// What is wrong with it, and where.
        message: String,
    },
    /// The data directory is in use, of an older version, or not ours.
    #[error("{message}")]
    DataDirectory {
        /// What is wrong and what to do.
        message: String,
    },
    /// An I/O error outside the append path.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was being done, as in "cannot open".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Arc<io::Error>,
    },
}

/// How a log went away under its handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// There is none of its name any more.
    Deleted,
    /// There is an empty one of its name, with another identity.
    Truncated,
}

fn gone(how: Removal) -> &'static str {
    match how {
        Removal::Deleted => "deleted",
        Removal::Truncated => "truncated",
    }
}

fn next_intact(next: Option<Position>) -> String {
    match next {
        Some(next) => format!("reading can go on at position {next}"),
        None => "nothing behind it can be read".into(),
    }
}

impl Error {
    /// The row of the public error table.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Error::LogExists { .. } => Code::LogExist,
            Error::LogNotFound { .. } | Error::LogGone { how: Removal::Deleted, .. } => {
                Code::LogNotFound
            }
            Error::LogGone { how: Removal::Truncated, .. } => Code::LogChanged,
            Error::NotAvailable { .. } => Code::LogNotAvailable,
            Error::OutOfRange { .. } => Code::OutOfRange,
            Error::RecordTooLarge { .. } => Code::RecordTooLarge,
            Error::PositionMismatch { .. } => Code::PositionMismatch,
            Error::SequenceGap { .. } => Code::SequenceGap,
            Error::SequenceReused { .. } => Code::SequenceReused,
            Error::ProducerFenced { .. } => Code::ProducerFenced,
            Error::OutcomeUnknown { .. } => Code::OutcomeUnknown,
            Error::ShuttingDown => Code::ShuttingDown,
            Error::CorruptRecord { .. } => Code::CorruptRecord,
            Error::StorageFull { .. } => Code::StorageFull,
            Error::InvalidConfig(_) | Error::BadArchive { .. } => Code::InvalidParams,
            Error::DataDirectory { .. } | Error::Io { .. } => Code::UnknownError,
        }
    }

    /// Wraps an I/O error with what was being done to which file.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Error::StorageFull { path },
            _ => Error::Io { doing, path, source: Arc::new(source) },
        }
    }
}
