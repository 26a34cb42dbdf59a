//! [`Error`]: everything that the engine refuses, and every failure.
//!
//! A variant stands for a decision of the caller; its fields hold the details. [`Error::code`]
//! maps it to the public error table.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use styx_protocol::{Code, LogId, LogStatus, Position};

use crate::Cursor;
use crate::archive::StoreError;
use crate::archive::remote_file::store_error;
use crate::commit::failure::is_no_descriptor;
use crate::format::NewerFormat;

/// Why the engine did not do what it was asked to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A log with this name exists.
    #[error("the log {name} already exists: choose another name or delete it first")]
    LogExists {
        /// The name.
        name: String,
    },
    /// The name of a new log is taken by something that the server does not serve. It was not
    /// changed.
    #[error("{} already exists and was not changed: it is {what}; {advice}", path.display())]
    NameTaken {
        /// The path that the log would have.
        path: PathBuf,
        /// A description of the file or directory, such as "an empty directory".
        what: String,
        /// What to do.
        advice: String,
    },
    /// A log was deleted, but its directory was kept, because something else is in it.
    #[error(
        "the log {name} was deleted, but {} is not one of its files, so it was kept with its directory: move it away before you create a log with this name",
        path.display()
    )]
    DirectoryKept {
        /// The name.
        name: String,
        /// Something that was kept.
        path: PathBuf,
    },
    /// The server does not serve the file or directory of this name. It was not changed.
    #[error("the server does not serve {}: it is {what}; {advice}", path.display())]
    NotServed {
        /// The path that the log would have.
        path: PathBuf,
        /// A description of the file or directory, such as "an empty directory".
        what: String,
        /// What to do.
        advice: String,
    },
    /// There is no log with this name.
    #[error("there is no log {name}: create it with POST /logs or `styx logs create {name}`")]
    LogNotFound {
        /// The name.
        name: String,
    },
    /// The log was deleted or truncated while this handle existed.
    #[error("the log {name} was {} in the meantime: open it again", removal_text(*how))]
    LogRemoved {
        /// The name.
        name: String,
        /// Whether it was deleted or truncated.
        how: Removal,
    },
    /// The log's status does not allow the operation.
    #[error("the log {name} is {status}: {cause}")]
    NotAvailable {
        /// The name.
        name: String,
        /// The status.
        status: LogStatus,
        /// What happened, and what to do.
        cause: String,
    },
    /// The position is before the first kept record or after the end.
    #[error("position {asked} is outside the log: read from a position between {start} and {end}")]
    OutOfRange {
        /// The requested position; it may be negative or beyond 2^64.
        asked: i128,
        /// First kept position.
        start: Position,
        /// Position after the last durable record.
        end: Position,
    },
    /// A record is larger than the log's `max_record_size`.
    #[error(
        "a record of {size} bytes (its payload and 8 more) exceeds max_record_size, which is {max}: send a smaller record"
    )]
    RecordTooLarge {
        /// Payload plus 8.
        size: u64,
        /// The log's limit.
        max: u64,
    },
    /// The log does not end at the position that the append expects.
    #[error(
        "the log ends at position {end}, not at the expected position {expected}: read the new records and try again"
    )]
    PositionMismatch {
        /// The position that the append expects.
        expected: Position,
        /// Where the log ends.
        end: Position,
    },
    /// A sequence number is missing between the last append and this one.
    #[error(
        "producer {producer} sent sequence {sequence}, but the next one is {expected}: send the missing records first"
    )]
    SequenceGap {
        /// The producer's id.
        producer: u64,
        /// The sequence number that it sent.
        sequence: u64,
        /// The sequence number that the log expects.
        expected: u64,
    },
    /// A sequence number was used again, with other records.
    #[error(
        "producer {producer} has already used sequence {sequence} for other records: continue with a new sequence"
    )]
    SequenceReused {
        /// The producer's id.
        producer: u64,
        /// The sequence number that it sent.
        sequence: u64,
    },
    /// A producer with a higher epoch has taken over.
    #[error(
        "producer {producer} with epoch {epoch} was fenced by epoch {current}: stop it, or begin it again with a new epoch"
    )]
    ProducerFenced {
        /// The producer's id.
        producer: u64,
        /// The epoch it sent.
        epoch: u32,
        /// The epoch in force.
        current: u32,
    },
    /// A write or a sync failed: the records may exist after a restart.
    #[error(
        "the outcome of the append is unknown because {cause}; restart the server to recover the log"
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
        "the record at position {position} is damaged ({}, byte {offset}); {}; run `styx verify` for details",
        path.display(),
        next_intact(*next)
    )]
    CorruptRecord {
        /// First damaged position.
        position: Position,
        /// The segment file.
        path: PathBuf,
        /// The byte offset in the file.
        offset: u64,
        /// The first readable position after the damage, if it is known.
        next: Option<Position>,
    },
    /// The next record needs more memory than the reader may use for one block. The reader has not
    /// moved: raise its limit and read again.
    #[error("reading the record at position {position} needs {bytes} bytes of memory")]
    NeedsMemory {
        /// Its position.
        position: Position,
        /// Bytes of its block, and of its uncompressed form if the block is compressed.
        bytes: usize,
    },
    /// A file is in a format that only a newer version of Styx knows. Nothing was changed.
    #[error(transparent)]
    NewerFormat(NewerFormat),
    /// The storage is full; nothing of this append was stored.
    #[error("no space left on the storage of {path}: free some space and try again")]
    StorageFull {
        /// A path on the full storage.
        path: PathBuf,
    },
    /// Less than the disk reserve is free; nothing of this append was stored.
    #[error(
        "less than min_free_disk ({reserve_bytes} bytes) is free: {free_bytes} bytes on the storage of {}; free some space and try again",
        path.display()
    )]
    DiskReserve {
        /// A path on the storage.
        path: PathBuf,
        /// The bytes that are free.
        free_bytes: u64,
        /// The bytes that are kept free.
        reserve_bytes: u64,
    },
    /// A configuration value is outside its range.
    #[error(transparent)]
    InvalidConfig(#[from] styx_protocol::log::InvalidConfig),
    /// The bytes to restore are not an archive, or the archive is damaged.
    #[error("the archive cannot be restored: {message}")]
    BadArchive {
        /// What is wrong with it, and where.
        message: String,
    },
    /// The data directory is in use, belongs to Styx 0.x, or is not a data directory.
    #[error("{message}")]
    DataDirectory {
        /// What is wrong and what to do.
        message: String,
    },
    /// The log has no cursor with this name.
    #[error("there is no cursor {name}: set it with PUT, or with `styx cursors set`")]
    CursorNotFound {
        /// The name.
        name: String,
    },
    /// The cursor does not have the expected version.
    #[error("{}", taken_text(name, now.as_deref()))]
    CursorTaken {
        /// The name.
        name: String,
        /// The cursor as it is; `None` if there is none.
        now: Option<Box<Cursor>>,
    },
    /// The cursor's position belongs to a log that was truncated or replaced since.
    #[error(
        "the cursor {name} belongs to the log with the id {id}, which was truncated or replaced: set the cursor to a position of this log, or delete it"
    )]
    CursorOfOtherLog {
        /// The name.
        name: String,
        /// The id of that log.
        id: LogId,
    },
    /// The position of a cursor is after the durable end of the log.
    #[error("position {position} is after the end of the log: use a position up to {end}")]
    CursorBeyondEnd {
        /// The position.
        position: Position,
        /// The position after the last durable record.
        end: Position,
    },
    /// The log has as many cursors as a log can have.
    #[error("the log has {max} cursors, and cannot have more: delete one that is not used")]
    TooManyCursors {
        /// The limit.
        max: usize,
    },
    /// The cursors of the log cannot be read or changed. Everything else works.
    #[error("the cursors of the log cannot be used because of {}: {cause}", path.display())]
    CursorsUnusable {
        /// The file with the cursors.
        path: PathBuf,
        /// The problem, and the remedy.
        cause: String,
    },
    /// The object store with the archived segments does not answer, or refuses.
    #[error("the object store with the older records is not available: {cause}; try again")]
    StoreUnavailable {
        /// Why, if it is known.
        cause: String,
    },
    /// The log belongs to another server, and this one only reads it.
    #[error("this server is a read replica: {}", owner_text(owner.as_deref()))]
    ReadOnly {
        /// The name of the server that owns the log, if it is known.
        owner: Option<String>,
    },
    /// An I/O error outside the append path.
    #[error("{doing} {path}: {source}")]
    Io {
        /// The operation, such as "cannot open".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Arc<io::Error>,
    },
}

/// How a log was removed while handles existed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// No log with this name exists any more.
    Deleted,
    /// The log with this name is now empty and has another id.
    Truncated,
}

/// Why the object store is not available, if a read of an archived segment failed for this reason.
fn unavailable(error: &io::Error) -> Option<String> {
    match store_error(error)? {
        StoreError::Unavailable(cause) => Some(cause.clone()),
        StoreError::Missing | StoreError::Damaged(_) => None,
    }
}

fn owner_text(owner: Option<&str>) -> String {
    match owner {
        Some(owner) => format!("send the request to the server {owner}, which owns the log"),
        None => "send the request to the server that archives its logs".to_owned(),
    }
}

fn removal_text(how: Removal) -> &'static str {
    match how {
        Removal::Deleted => "deleted",
        Removal::Truncated => "truncated",
    }
}

fn taken_text(name: &str, now: Option<&Cursor>) -> String {
    match now {
        Some(cursor) => format!(
            "the cursor {name} was changed in the meantime, and is now at position {} with version {}: get it again",
            cursor.position, cursor.version
        ),
        None => format!("there is no cursor {name} any more: get it again"),
    }
}

fn next_intact(next: Option<Position>) -> String {
    match next {
        Some(next) => format!("reading can continue at position {next}"),
        None => "nothing after it can be read".into(),
    }
}

impl Error {
    /// The code in the public error table.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Error::LogExists { .. } | Error::NameTaken { .. } | Error::DirectoryKept { .. } => {
                Code::LogExist
            }
            Error::LogNotFound { .. }
            | Error::NotServed { .. }
            | Error::LogRemoved { how: Removal::Deleted, .. } => Code::LogNotFound,
            Error::LogRemoved { how: Removal::Truncated, .. } => Code::LogChanged,
            Error::NotAvailable { .. } | Error::NewerFormat(_) => Code::LogNotAvailable,
            Error::OutOfRange { .. } => Code::OutOfRange,
            Error::RecordTooLarge { .. } => Code::RecordTooLarge,
            Error::PositionMismatch { .. } => Code::PositionMismatch,
            Error::SequenceGap { .. } => Code::SequenceGap,
            Error::SequenceReused { .. } => Code::SequenceReused,
            Error::ProducerFenced { .. } => Code::ProducerFenced,
            Error::OutcomeUnknown { .. } => Code::OutcomeUnknown,
            Error::ShuttingDown => Code::ShuttingDown,
            Error::CorruptRecord { .. } => Code::CorruptRecord,
            Error::NeedsMemory { .. } => Code::Overloaded,
            Error::StoreUnavailable { .. } => Code::StoreUnavailable,
            Error::Io { source, .. } if is_no_descriptor(source) => Code::Overloaded,
            Error::StorageFull { .. } | Error::DiskReserve { .. } => Code::StorageFull,
            Error::InvalidConfig(_) | Error::BadArchive { .. } | Error::CursorBeyondEnd { .. } => {
                Code::InvalidParams
            }
            Error::CursorNotFound { .. } => Code::CursorNotFound,
            Error::CursorTaken { .. } => Code::CursorTaken,
            Error::CursorOfOtherLog { .. } => Code::LogChanged,
            Error::TooManyCursors { .. } => Code::TooManyCursors,
            Error::ReadOnly { .. } => Code::ReadOnly,
            Error::DataDirectory { .. } | Error::CursorsUnusable { .. } | Error::Io { .. } => {
                Code::UnknownError
            }
        }
    }

    /// Adds the operation and the path to an I/O error.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Error::StorageFull { path },
            _ if let Some(cause) = unavailable(&source) => Error::StoreUnavailable { cause },
            _ => Error::Io { doing, path, source: Arc::new(source) },
        }
    }
}
