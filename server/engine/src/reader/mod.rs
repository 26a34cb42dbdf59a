//! [`Reader`]: a cursor over the durable records of a log.
//!
//! ```text
//! try_read, try_blocks ─▶ last commits in memory ─▶ page cache ─▶ NeedsDisk
//! read, blocks         ─▶ last commits in memory ─▶ page cache ─▶ disk
//! span                 ─▶ a part of a file, which the kernel sends
//! an evicted segment   ─▶ cache of the object store ─▶ NeedsStore: the caller waits ([`fetch`])
//! ```
//!
//! A reader of many records that are not in the page cache reads ahead, past it ([`ahead`]).
//!
//! Invariant: a reader returns nothing after the durable end. It compares the header and body
//! checksums of every block from a file before it returns the block or one of its records. The
//! bodies of a span are an exception: their receiver checks them, and other whole blocks if the
//! caller asks for that. A read of one record may instead compare the checksum of a part of a block
//! ([`one`]).

mod ahead;
mod batch;
mod blocks;
mod extract;
mod fetch;
mod file;
mod measured;
mod one;
mod remote;
mod span;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use styx_protocol::block::{Codec, Header};
use styx_protocol::{LogStatus, Position};

use self::ahead::Order;
use self::extract::{Extract, Extracted};
use crate::Error;
use crate::archive::Kept;
use crate::log::LogInner;
use crate::segment::Segment;
use crate::segment::name::Offset;
use crate::storage::{DiskWait, File};
use crate::sync::lock;
use crate::tail::View;

pub use self::batch::{Batch, Record};
pub use self::blocks::Blocks;
pub use self::fetch::Fetch;
pub use self::span::Span;
pub use self::wait::Wait;

/// What a read found.
#[derive(Debug)]
pub enum Found<T> {
    /// The records or blocks.
    Some(T),
    /// No record, because the position is the durable end.
    AtEnd,
    /// No result, because the bytes are neither in memory nor in the page cache. Call the blocking
    /// method on a thread that may wait for the disk.
    NeedsDisk,
    /// No result, because the bytes are only in the object store. Await the future, give its result
    /// to [`Reader::keep`], and read again. It can take as long as the store does, so apply a
    /// timeout.
    NeedsStore(Fetch),
}

/// A cursor over a log. Retention may remove records that it has read. If retention removes
/// records that it has not read yet, the next read fails with [`Error::OutOfRange`].
#[derive(Debug)]
pub struct Reader {
    log: Arc<LogInner>,
    position: Position,
    place: Option<FilePlace>,
    /// The number of bytes that the last read from the file used; `usize::MAX` before the first.
    used: usize,
    /// The most memory that one block may need.
    block_bytes_max: usize,
    /// The position for the log's tail, once the reader has read more than a record.
    progress: Option<Arc<AtomicU64>>,
    order: Order,
    receiver_checks: bool,
    /// The monotonic time at which a read began that needs the disk.
    begun_us: Option<u64>,
    /// Keeps fetched bytes in the cache until they are read.
    kept: Option<Kept>,
    /// The last position at which bytes from the object store were damaged.
    distrusted: Option<Position>,
}

/// A place in a segment's file, at the start of a block. The block with the reader's position
/// begins here or later.
#[derive(Debug, Clone)]
struct FilePlace {
    segment: Arc<Segment>,
    file: Arc<dyn File>,
    offset: Offset,
}

/// A small read reads this many bytes from the file: 16 KiB.
const READ_BYTES_MIN: usize = 16 << 10;

impl Reader {
    pub(crate) fn new(log: Arc<LogInner>, from: Position) -> Result<Reader, Error> {
        let used = usize::MAX;
        let reader = Reader {
            log,
            position: from,
            place: None,
            used,
            block_bytes_max: usize::MAX,
            progress: None,
            order: Order::default(),
            receiver_checks: false,
            begun_us: None,
            kept: None,
            distrusted: None,
        };
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

    /// Moves back to a position that was already read, for a caller that could use only a part of
    /// a batch. A later position has no effect.
    pub fn go_back_to(&mut self, position: Position) {
        if position < self.position {
            self.position = position;
            // The position may be in a block before the current place.
            self.place = None;
            self.note_progress();
        }
    }

    /// Keeps fetched bytes in the cache until the next read that finds something. Call this with the
    /// result of the future in [`Found::NeedsStore`], and read again.
    pub fn keep(&mut self, kept: Kept) {
        self.kept = Some(kept);
    }

    /// Whether the last read was of an evicted segment, so that there is no span.
    #[must_use]
    pub fn reads_remote(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.file.is_remote())
    }

    /// Limits the memory that the next block may need. A larger one is not read: the read fails
    /// with [`Error::NeedsMemory`], so that the caller can reserve memory and raise the limit.
    /// There is no limit by default.
    pub fn set_block_bytes_max(&mut self, block_bytes_max: usize) {
        self.block_bytes_max = block_bytes_max;
    }

    /// Leaves the checksums of the bodies of blocks to their receiver, as in a [`Span`]. It applies
    /// to [`Reader::blocks`] and [`Reader::try_blocks`], if the log is not known to be damaged and the
    /// segment was not evicted. The reader checks them by default.
    pub fn set_receiver_checks(&mut self, receiver_checks: bool) {
        self.receiver_checks = receiver_checks;
    }

    fn is_known_to_be_damaged(&self) -> bool {
        lock(&self.log.health).0 == LogStatus::Corrupt
    }

    /// Reads at most about `bytes_max` uncompressed bytes, but at least one block, and advances.
    /// Never waits for the disk.
    ///
    /// # Errors
    /// [`Error::CorruptRecord`] at damage, [`Error::OutOfRange`] if the records were removed, an
    /// error if the log was removed or closed, or an I/O error.
    pub fn try_read(&mut self, bytes_max: usize) -> Result<Found<Batch>, Error> {
        self.measured(|reader| reader.next(bytes_max, DiskWait::Forbidden))
    }

    /// As [`Reader::try_read`], but waits for the disk. Never returns [`Found::NeedsDisk`]. Does not
    /// wait for the object store.
    ///
    /// # Errors
    /// As [`Reader::try_read`].
    pub fn read(&mut self, bytes_max: usize) -> Result<Found<Batch>, Error> {
        self.measured(|reader| reader.next(bytes_max, DiskWait::Allowed))
    }

    /// As [`Reader::try_read`], but returns blocks as they are stored, and `bytes_max` limits their
    /// stored size. The first block contains the position.
    ///
    /// # Errors
    /// As [`Reader::try_read`].
    pub fn try_blocks(&mut self, bytes_max: usize) -> Result<Found<Blocks>, Error> {
        self.measured(|reader| reader.next(bytes_max, DiskWait::Forbidden))
    }

    /// As [`Reader::try_blocks`], but waits for the disk. Never returns [`Found::NeedsDisk`].
    ///
    /// # Errors
    /// As [`Reader::try_read`].
    pub fn blocks(&mut self, bytes_max: usize) -> Result<Found<Blocks>, Error> {
        self.measured(|reader| reader.next(bytes_max, DiskWait::Allowed))
    }

    /// Resolves when there is a record at the position, or when the log was removed or closed. In
    /// the second case the next read returns the error.
    #[must_use]
    pub fn wait(&self) -> Wait {
        Wait { log: Arc::clone(&self.log), position: self.position, key: None }
    }

    /// Reads the record at the position and advances by one. Never waits for the disk.
    ///
    /// # Errors
    /// As [`Reader::try_read`].
    pub fn try_record(&mut self) -> Result<Found<Record>, Error> {
        self.read_one(DiskWait::Forbidden)
    }

    /// As [`Reader::try_record`], but waits for the disk.
    ///
    /// # Errors
    /// As [`Reader::try_read`].
    pub fn record(&mut self) -> Result<Found<Record>, Error> {
        self.read_one(DiskWait::Allowed)
    }

    fn next<T: Extract>(&mut self, bytes_max: usize, disk: DiskWait) -> Result<Found<T>, Error> {
        let Some(view) = self.view_with_records()? else { return Ok(Found::AtEnd) };
        let extracted = match self.read_memory(bytes_max)? {
            Some(extracted) => extracted,
            None => match self.read_file(&view, bytes_max, disk)? {
                Ok(extracted) => extracted,
                Err(needs) => return Ok(needs.found()),
            },
        };
        self.kept = None;
        self.position = extracted.next;
        if bytes_max > 0 {
            self.note_progress();
        }
        Ok(Found::Some(extracted.found))
    }

    /// The published state; `None` if the position is the durable end.
    fn view_with_records(&mut self) -> Result<Option<View>, Error> {
        let view = self.log.tail.live_view()?;
        if self.position < view.start() {
            return Err(self.out_of_range(&view));
        }
        if self.position >= view.durable.position {
            // A reader that waits for records must not keep a file open.
            self.place = None;
            return Ok(None);
        }
        Ok(Some(view))
    }

    /// Tells the log's tail how far this reader is, so that the records after it stay in memory.
    fn note_progress(&mut self) {
        match &self.progress {
            Some(progress) => progress.store(self.position.0, Ordering::Relaxed),
            None => {
                let progress = Arc::new(AtomicU64::new(self.position.0));
                self.log.tail.add_reader(&progress);
                self.progress = Some(progress);
            }
        }
    }

    fn read_memory<T: Extract>(&mut self, bytes_max: usize) -> Result<Option<Extracted<T>>, Error> {
        let groups = self.log.tail.cached(self.position, bytes_max);
        let mut blocks = groups.iter().flat_map(|group| group.blocks_from(self.position));
        if self.block_bytes_max < usize::MAX
            && let Some(first) = blocks.find(|block| !block.block.header().is_marker())
        {
            self.check_memory(first.block.header())?;
        }
        let Ok(Some(extracted)) = T::extract(&groups, self.position, bytes_max) else {
            return Ok(None);
        };
        // The position has moved, so the next read from the file must search its place again.
        self.place = None;
        Ok(Some(extracted))
    }

    /// Checks whether the next block, which has this header, may be read.
    fn check_memory(&self, header: &Header) -> Result<(), Error> {
        let raw_bytes = if header.codec == Codec::None { 0 } else { header.raw_size as usize };
        let bytes = usize::try_from(header.block_bytes()).unwrap_or(usize::MAX);
        let bytes = bytes.saturating_add(raw_bytes);
        if bytes <= self.block_bytes_max {
            return Ok(());
        }
        Err(Error::NeedsMemory { position: self.position, bytes })
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
