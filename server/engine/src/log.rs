//! One open log: a cheap handle that can be cloned and shared.

use std::io::Write;

use styx_protocol::{LogConfig, LogId, LogInfo, LogName, LogStatus, Position};

use crate::{Append, Error, Found, Full, Reader, Record, Room, Ticket};

/// Where a read begins. Nothing is clamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// Relative to position 0.
    Origin(i64),
    /// Relative to the first kept record.
    Start(i64),
    /// Relative to the durable end.
    End(i64),
    /// The first record appended at or after this, µs since the epoch; the end
    /// if there is none.
    Time(u64),
}

/// Counters for metrics, since the log was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Groups written and synced.
    pub commits: u64,
    /// Records in them.
    pub records_appended: u64,
    /// Bytes written for them, headers and all.
    pub bytes_written: u64,
    /// Bytes waiting to be committed.
    pub queue_bytes: u64,
    /// Bytes of the log's segment files.
    pub disk_bytes: u64,
    /// Segments.
    pub segments: u64,
}

/// A handle on an open log.
#[derive(Debug, Clone)]
pub struct Log {}

#[expect(unused_variables, reason = "the shape comes first")]
impl Log {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &LogName {
        unimplemented!()
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> LogId {
        unimplemented!()
    }

    /// How it is kept.
    #[must_use]
    pub fn config(&self) -> LogConfig {
        unimplemented!()
    }

    /// Whether it can be used.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        unimplemented!()
    }

    /// What the API says about it.
    #[must_use]
    pub fn info(&self) -> LogInfo {
        unimplemented!()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        unimplemented!()
    }

    /// Position of the first kept record.
    #[must_use]
    pub fn start_position(&self) -> Position {
        unimplemented!()
    }

    /// Position after the last durable record.
    #[must_use]
    pub fn end_position(&self) -> Position {
        unimplemented!()
    }

    /// Append times of the first kept and the last durable record, µs since the
    /// epoch; `None` when there is no record. May wait for the disk.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn timestamps(&self) -> Result<Option<(u64, u64)>, Error> {
        unimplemented!()
    }

    /// Queues an append; never waits for the disk. Appends are committed in the
    /// order in which they are queued.
    ///
    /// # Errors
    /// Outer: what is certain at once (too large a record, a log that is not
    /// `ok`, one that is gone). Inner: the queue is full; the append comes back.
    pub fn append(&self, append: Append) -> Result<Result<Ticket, Full>, Error> {
        unimplemented!()
    }

    /// Resolves when the queue may take something again.
    #[must_use]
    pub fn room(&self) -> Room {
        unimplemented!()
    }

    /// Where a read that begins there begins. [`Seek::Time`] may wait for the
    /// disk, the others never do.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the log.
    pub fn seek(&self, to: Seek) -> Result<Position, Error> {
        unimplemented!()
    }

    /// A cursor at this position.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] outside the log; not available; gone.
    pub fn reader(&self, from: Position) -> Result<Reader, Error> {
        unimplemented!()
    }

    /// One record, if it can be had without waiting for the disk.
    ///
    /// # Errors
    /// As [`Log::reader`], and damage.
    pub fn try_record(&self, position: Position) -> Result<Found<Record>, Error> {
        unimplemented!()
    }

    /// One record; may wait for the disk.
    ///
    /// # Errors
    /// As [`Log::reader`], and damage.
    pub fn record(&self, position: Position) -> Result<Found<Record>, Error> {
        unimplemented!()
    }

    /// Removes whole segments before `position`; blocks.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] after the end; not available; I/O.
    pub fn trim(&self, position: Position) -> Result<(), Error> {
        unimplemented!()
    }

    /// Writes a `tar.gz` of the log up to its durable end while appends go on;
    /// blocks.
    ///
    /// # Errors
    /// What reading the log or writing `out` fails with.
    pub fn backup(&self, out: &mut dyn Write) -> Result<(), Error> {
        unimplemented!()
    }
}
