//! Reading: a cursor over durable records, from memory or from the file.
//!
//! ```text
//! try_read, try_blocks ─▶ the last commits in memory ─▶ the page cache ─▶ NeedsDisk
//! read, blocks         ─▶ the same, and the disk
//! span                 ─▶ a part of a file, to be sent by the kernel
//! ```
//!
//! Every block from the file is checked as a whole (header and body CRC) before
//! it, or a record of it, is given out; a span alone is left to its receiver to
//! check. Nothing beyond the durable end is looked at.

mod batch;
mod blocks;
mod file;
mod span;
mod take;
mod wait;

use std::sync::Arc;

use styx_protocol::Position;

use self::take::{Take, Taken};
use crate::Error;
use crate::log::Inner;
use crate::segment::Segment;
use crate::segment::name::Offset;
use crate::storage::{Disk, File};
use crate::tail::View;

pub use self::batch::{Batch, Record};
pub use self::blocks::Blocks;
pub use self::span::Span;
pub use self::wait::Wait;

/// What a read found.
#[derive(Debug, Clone)]
pub enum Found<T> {
    /// This.
    Some(T),
    /// Nothing: the position is the durable end.
    AtEnd,
    /// The bytes are neither in memory nor in the page cache: call the blocking
    /// form on a thread that may wait for the disk.
    NeedsDisk,
}

/// A cursor. It survives retention of what it has read; when what it has yet to
/// read is removed, the next read is [`Error::OutOfRange`].
#[derive(Debug)]
pub struct Reader {
    log: Arc<Inner>,
    position: Position,
    place: Option<Place>,
    /// Bytes of the file that the last read of it made use of.
    used: usize,
}

/// Where the block with the reader's position begins, or one before it.
#[derive(Debug, Clone)]
struct Place {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    offset: Offset,
}

/// Bytes read at once when little is asked for.
const READ_BYTES_MIN: usize = 16 << 10;

impl Reader {
    pub(crate) fn new(log: Arc<Inner>, from: Position) -> Result<Reader, Error> {
        let reader = Reader { log, position: from, place: None, used: usize::MAX };
        let view = reader.log.tail.live_view()?;
        if from < view.start() || from > view.durable.position {
            return Err(reader.out_of_range(&view));
        }
        Ok(reader)
    }

    /// The position the next read begins at.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Moves back to a position that was read already, or is just to be read; who
    /// could not use all of a batch goes on there. Never moves forward.
    pub fn go_back_to(&mut self, position: Position) {
        if position < self.position {
            self.position = position;
            // It may lie in a block before that place.
            self.place = None;
        }
    }

    /// Reads at most about `bytes_max` (one block at least) and moves on. Never
    /// waits for the disk.
    ///
    /// # Errors
    /// Damage, retention, a log that is gone.
    pub fn try_read(&mut self, bytes_max: usize) -> Result<Found<Batch>, Error> {
        self.next(bytes_max, Disk::MayNot)
    }

    /// As [`Reader::try_read`], but waits for the disk; never
    /// [`Found::NeedsDisk`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, bytes_max: usize) -> Result<Found<Batch>, Error> {
        self.next(bytes_max, Disk::May)
    }

    /// As [`Reader::try_read`], but blocks as they are stored, the one that holds the
    /// position first.
    ///
    /// # Errors
    /// As there.
    pub fn try_blocks(&mut self, bytes_max: usize) -> Result<Found<Blocks>, Error> {
        self.next(bytes_max, Disk::MayNot)
    }

    /// As [`Reader::try_blocks`], but waits for the disk; never
    /// [`Found::NeedsDisk`].
    ///
    /// # Errors
    /// As there.
    pub fn blocks(&mut self, bytes_max: usize) -> Result<Found<Blocks>, Error> {
        self.next(bytes_max, Disk::May)
    }

    /// Resolves when there is something to read at the position, or the log is
    /// gone (the next read says so).
    #[must_use]
    pub fn wait(&self) -> Wait {
        Wait { log: Arc::clone(&self.log), position: self.position, key: None }
    }

    /// The record at the position.
    pub(crate) fn one(&mut self, may_wait: bool) -> Result<Found<Record>, Error> {
        let disk = if may_wait { Disk::May } else { Disk::MayNot };
        Ok(match self.next::<Batch>(0, disk)? {
            Found::Some(batch) => match batch.records().next() {
                Some(record) => Found::Some(record),
                None => Found::AtEnd,
            },
            Found::AtEnd => Found::AtEnd,
            Found::NeedsDisk => Found::NeedsDisk,
        })
    }

    fn next<T: Take>(&mut self, bytes_max: usize, disk: Disk) -> Result<Found<T>, Error> {
        let view = self.log.tail.live_view()?;
        if self.position < view.start() {
            return Err(self.out_of_range(&view));
        }
        if self.position >= view.durable.position {
            return Ok(Found::AtEnd);
        }
        let taken = match self.read_memory(bytes_max) {
            Some(taken) => taken,
            None => match self.read_file(&view, bytes_max, disk)? {
                Some(taken) => taken,
                None => return Ok(Found::NeedsDisk),
            },
        };
        self.position = taken.next;
        Ok(Found::Some(taken.found))
    }

    fn read_memory<T: Take>(&mut self, bytes_max: usize) -> Option<Taken<T>> {
        let groups = self.log.tail.cached(self.position, bytes_max);
        let taken = T::take(&groups, self.position, bytes_max).ok()??;
        // The file is looked up anew once memory no longer has what comes.
        self.place = None;
        Some(taken)
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
