//! Reading: a cursor over durable records, from memory or from the file.
//!
//! ```text
//! try_read, try_blocks ─▶ the last commits in memory ─▶ the page cache ─▶ NeedsDisk
//! read, blocks         ─▶ the same, then the disk
//! span                 ─▶ a part of a file, to be sent by the kernel
//! ```
//!
//! Every block from the file is checked as a whole (header and body CRC) before it, or a record
//! of it, is returned. Only the receiver of a span checks its blocks. Nothing after the durable
//! end is read.

mod batch;
mod blocks;
mod extract;
mod file;
mod span;
mod wait;

use std::sync::Arc;

use styx_protocol::Position;

use self::extract::{Extract, Extracted};
use crate::Error;
use crate::log::LogInner;
use crate::segment::Segment;
use crate::segment::name::Offset;
use crate::storage::{DiskWait, File};
use crate::tail::View;

pub use self::batch::{Batch, Record};
pub use self::blocks::Blocks;
pub use self::span::Span;
pub use self::wait::Wait;

/// What a read found.
#[derive(Debug, Clone)]
pub enum Found<T> {
    /// The records or blocks.
    Some(T),
    /// Nothing: the position is the durable end.
    AtEnd,
    /// The bytes are neither in memory nor in the page cache. Call the blocking form on a thread
    /// that may wait for the disk.
    NeedsDisk,
}

/// A cursor. Retention of records that it has read does not affect it. If records that it has
/// not yet read are removed, the next read fails with [`Error::OutOfRange`].
#[derive(Debug)]
pub struct Reader {
    log: Arc<LogInner>,
    position: Position,
    place: Option<FilePlace>,
    /// Bytes that the last read from the file returned.
    used: usize,
}

/// A place in a file: the block with the reader's position begins here or later.
#[derive(Debug, Clone)]
struct FilePlace {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    offset: Offset,
}

/// Bytes read at once for small reads.
const READ_BYTES_MIN: usize = 16 << 10;

impl Reader {
    pub(crate) fn new(log: Arc<LogInner>, from: Position) -> Result<Reader, Error> {
        let reader = Reader { log, position: from, place: None, used: usize::MAX };
        let view = reader.log.tail.live_view()?;
        if from < view.start() || from > view.durable.position {
            return Err(reader.out_of_range(&view));
        }
        Ok(reader)
    }

    /// The position at which the next read begins.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Moves back to a position that was already read, for a caller that could not use a whole
    /// batch. Never moves forward.
    pub fn go_back_to(&mut self, position: Position) {
        if position < self.position {
            self.position = position;
            // The position may be in a block before that place.
            self.place = None;
        }
    }

    /// Reads at most about `bytes_max` bytes, but at least one block, and advances. Never waits for
    /// the disk.
    ///
    /// # Errors
    /// Damage; the records were removed; the log was removed or closed.
    pub fn try_read(&mut self, bytes_max: usize) -> Result<Found<Batch>, Error> {
        self.next(bytes_max, DiskWait::Forbidden)
    }

    /// As [`Reader::try_read`], but waits for the disk. Never returns [`Found::NeedsDisk`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, bytes_max: usize) -> Result<Found<Batch>, Error> {
        self.next(bytes_max, DiskWait::Allowed)
    }

    /// As [`Reader::try_read`], but returns blocks as they are stored. The first one contains the
    /// position.
    ///
    /// # Errors
    /// As there.
    pub fn try_blocks(&mut self, bytes_max: usize) -> Result<Found<Blocks>, Error> {
        self.next(bytes_max, DiskWait::Forbidden)
    }

    /// As [`Reader::try_blocks`], but waits for the disk. Never returns [`Found::NeedsDisk`].
    ///
    /// # Errors
    /// As there.
    pub fn blocks(&mut self, bytes_max: usize) -> Result<Found<Blocks>, Error> {
        self.next(bytes_max, DiskWait::Allowed)
    }

    /// Resolves when there is something to read at the position, or the log was removed or closed
    /// (the next read returns the error).
    #[must_use]
    pub fn wait(&self) -> Wait {
        Wait { log: Arc::clone(&self.log), position: self.position, key: None }
    }

    /// The record at the position.
    pub(crate) fn read_one(&mut self, may_wait: bool) -> Result<Found<Record>, Error> {
        let disk = if may_wait { DiskWait::Allowed } else { DiskWait::Forbidden };
        Ok(match self.next::<Batch>(0, disk)? {
            Found::Some(batch) => match batch.records().next() {
                Some(record) => Found::Some(record),
                None => Found::AtEnd,
            },
            Found::AtEnd => Found::AtEnd,
            Found::NeedsDisk => Found::NeedsDisk,
        })
    }

    fn next<T: Extract>(&mut self, bytes_max: usize, disk: DiskWait) -> Result<Found<T>, Error> {
        let view = self.log.tail.live_view()?;
        if self.position < view.start() {
            return Err(self.out_of_range(&view));
        }
        if self.position >= view.durable.position {
            return Ok(Found::AtEnd);
        }
        let extracted = match self.read_memory(bytes_max) {
            Some(extracted) => extracted,
            None => match self.read_file(&view, bytes_max, disk)? {
                Some(extracted) => extracted,
                None => return Ok(Found::NeedsDisk),
            },
        };
        self.position = extracted.next;
        Ok(Found::Some(extracted.found))
    }

    fn read_memory<T: Extract>(&mut self, bytes_max: usize) -> Option<Extracted<T>> {
        let groups = self.log.tail.cached(self.position, bytes_max);
        let extracted = T::extract(&groups, self.position, bytes_max).ok()??;
        // The next read from the file looks up its place again.
        self.place = None;
        Some(extracted)
    }

    fn damaged(&self, segment: &Segment, offset: Offset) -> Error {
        Error::CorruptRecord {
            position: self.position,
            path: segment.path.clone(),
            offset,
            next: None,
        }
    }

    fn out_of_range(&self, view: &View) -> Error {
        Error::OutOfRange {
            asked: i128::from(self.position.0),
            start: view.start(),
            end: view.durable.position,
        }
    }
}
