//! Reading: a cursor over durable records, from memory or from the file.
//!
//! ```text
//! try_read ─▶ the last commits in memory ─▶ the page cache ─▶ NeedsDisk
//! read     ─▶ the same, and the disk
//! ```
//!
//! Every block from the file is checked as a whole (header and body CRC) before
//! a record of it is given out. Nothing beyond the durable end is looked at.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use styx_protocol::block::Header;
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{Position, Records};

use crate::Error;
use crate::log::Inner;
use crate::segment::Segment;
use crate::segment::index::Key;
use crate::segment::name::Offset;
use crate::storage::File;
use crate::tail::View;
use crate::wait::block_on;

/// One record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number in the log.
    pub position: Position,
    /// When it was appended, µs since the epoch.
    pub timestamp_us: u64,
    /// Its bytes.
    pub payload: Bytes,
}

/// Records of one or more blocks, in order and without a gap.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    runs: Vec<Run>,
}

/// The records of one block.
#[derive(Debug, Clone)]
struct Run {
    first: Position,
    timestamp_us: u64,
    records: Records,
}

impl Batch {
    /// The position of the first record; 0 for an empty batch.
    #[must_use]
    pub fn first(&self) -> Position {
        self.runs.first().map_or(Position::ORIGIN, |run| run.first)
    }

    /// The position after the last record; 0 for an empty batch.
    #[must_use]
    pub fn next(&self) -> Position {
        self.runs.last().map_or(Position::ORIGIN, |run| run.first + u64::from(run.records.count()))
    }

    /// How many records.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.records.count())).sum()
    }

    /// Encoded bytes of all records (8 bytes each and their payloads).
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.records.bytes().len()).sum()
    }

    /// The records; payloads share the batch's memory.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.runs.iter().flat_map(|run| {
            run.records.payloads().zip(0u64..).map(|(payload, i)| Record {
                position: run.first + i,
                timestamp_us: run.timestamp_us,
                payload,
            })
        })
    }

    /// The records block by block, each with the position of its first.
    pub fn blocks(&self) -> impl Iterator<Item = (Position, &Records)> + '_ {
        self.runs.iter().map(|run| (run.first, &run.records))
    }
}

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

/// Whether a read may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    May,
    MayNot,
}

impl Reader {
    pub(crate) fn new(log: Arc<Inner>, from: Position) -> Result<Reader, Error> {
        let reader = Reader { log, position: from, place: None };
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

    /// Resolves when there is something to read at the position, or the log is
    /// gone (the next read says so).
    #[must_use]
    pub fn wait(&self) -> Wait {
        Wait { log: Arc::clone(&self.log), position: self.position, key: None }
    }

    /// The record at the position.
    pub(crate) fn one(&mut self, may_wait: bool) -> Result<Found<Record>, Error> {
        let disk = if may_wait { Disk::May } else { Disk::MayNot };
        Ok(match self.next(0, disk)? {
            Found::Some(batch) => match batch.records().next() {
                Some(record) => Found::Some(record),
                None => Found::AtEnd,
            },
            Found::AtEnd => Found::AtEnd,
            Found::NeedsDisk => Found::NeedsDisk,
        })
    }

    fn next(&mut self, bytes_max: usize, disk: Disk) -> Result<Found<Batch>, Error> {
        let view = self.log.tail.live_view()?;
        if self.position < view.start() {
            return Err(self.out_of_range(&view));
        }
        if self.position >= view.durable.position {
            return Ok(Found::AtEnd);
        }
        let batch = self.from_memory(bytes_max);
        let batch = match batch {
            Some(batch) => batch,
            None => match self.from_file(&view, bytes_max, disk)? {
                Some(batch) => batch,
                None => return Ok(Found::NeedsDisk),
            },
        };
        self.position = batch.next();
        Ok(Found::Some(batch))
    }

    fn from_memory(&mut self, bytes_max: usize) -> Option<Batch> {
        let groups = self.log.tail.cached(self.position, bytes_max);
        let mut batch = Batch::default();
        for group in &groups {
            let mut rest = group.bytes.clone();
            while let Some((header, body)) = split_block(&mut rest) {
                self.add(&mut batch, &header, body);
            }
        }
        // The file is looked up anew once memory no longer has what comes.
        self.place = None;
        (!batch.runs.is_empty()).then_some(batch)
    }

    /// Adds the records of a block from the position on.
    fn add(&self, batch: &mut Batch, header: &Header, body: Bytes) {
        let skip = self.position.0.saturating_sub(header.base_position);
        let Ok(skip) = u32::try_from(skip) else { return };
        if header.is_marker() || skip >= header.count {
            return;
        }
        let Ok(records) = Records::parse_lengths(body) else { return };
        batch.runs.push(Run {
            first: Position(header.base_position) + u64::from(skip),
            timestamp_us: header.timestamp_us,
            records: if skip == 0 { records } else { records.skip(skip) },
        });
    }

    fn from_file(
        &mut self,
        view: &View,
        bytes_max: usize,
        disk: Disk,
    ) -> Result<Option<Batch>, Error> {
        let Some(mut place) = self.place(view, disk)? else { return Ok(None) };
        let limit = view.readable_bytes(&place.segment);
        let mut want = bytes_max.max(READ_BYTES_MIN);
        let mut batch = Batch::default();
        let mut next = self.position;
        while batch.runs.is_empty() {
            if place.offset >= limit {
                // The segment was to hold the position.
                return Err(self.damaged(&place.segment, place.offset));
            }
            let Some(chunk) = self.chunk(&place, limit, want, disk)? else {
                self.place = Some(place);
                return Ok(None);
            };
            let mut rest = chunk.clone();
            while batch.len_bytes() < bytes_max.max(1)
                && let Some((header, body)) = self.checked_block(&place, &mut rest, next)?
            {
                place.offset += header.block_bytes();
                self.add(&mut batch, &header, body);
                next = batch_next(&batch).unwrap_or(next);
            }
            want = if rest.len() == chunk.len() {
                // Not one whole block: it is longer than what was read.
                self.block_bytes(&place, &chunk, limit, next)?
            } else {
                bytes_max.max(READ_BYTES_MIN)
            };
        }
        self.place = Some(place);
        Ok(Some(batch))
    }

    /// The place at hand if it is good for the position, else one looked up.
    fn place(&self, view: &View, disk: Disk) -> Result<Option<Place>, Error> {
        let Some((_, segment)) = view.segment_of(self.position) else {
            return Err(self.out_of_range(view));
        };
        if let Some(place) = &self.place
            && place.segment.base == segment.base
            && place.offset < view.readable_bytes(segment)
        {
            return Ok(Some(place.clone()));
        }
        let open_failed = |error: io::Error| {
            // Retention may have removed it since the view was taken.
            let now = self.log.tail.view();
            if error.kind() == io::ErrorKind::NotFound && self.position < now.start() {
                return self.out_of_range(&now);
            }
            Error::io("cannot open", &segment.path)(error)
        };
        let file = match (segment.open_file(), disk) {
            (Some(file), _) => file,
            (None, Disk::MayNot) => return Ok(None),
            (None, Disk::May) => segment.file().map_err(open_failed)?,
        };
        let entry = segment
            .find(Key::Position(self.position))
            .map_err(Error::io("cannot read the index of", &segment.path))?;
        let offset = entry.map_or(0, |entry| entry.offset);
        Ok(Some(Place { segment: Arc::clone(segment), file, offset }))
    }

    /// Up to `want` bytes at the place, within the readable part.
    fn chunk(
        &self,
        place: &Place,
        limit: u64,
        want: usize,
        disk: Disk,
    ) -> Result<Option<Bytes>, Error> {
        let left = usize::try_from(limit.saturating_sub(place.offset)).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(want.min(left));
        let mut filled = 0;
        while filled < buffer.len() {
            let offset = place.offset + filled as u64;
            let read = match disk {
                Disk::May => place.file.read_at(&mut buffer[filled..], offset).map(Some),
                Disk::MayNot => place.file.try_read_at(&mut buffer[filled..], offset),
            };
            match read {
                Ok(Some(0)) => break,
                Ok(Some(n)) => filled += n,
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, path = %place.segment.path.display(), offset, "cannot read a segment");
                    return Err(self.damaged(&place.segment, offset));
                }
            }
        }
        if filled < BLOCK_HEADER_BYTES {
            return Err(self.damaged(&place.segment, place.offset));
        }
        buffer.truncate(filled);
        Ok(Some(buffer.freeze()))
    }

    /// The next whole block of a chunk that begins at the place, checked. `None`
    /// when the chunk ends before the block does.
    fn checked_block(
        &self,
        place: &Place,
        rest: &mut Bytes,
        next: Position,
    ) -> Result<Option<(Header, Bytes)>, Error> {
        if rest.len() < BLOCK_HEADER_BYTES {
            return Ok(None);
        }
        let damaged = || self.damaged(&place.segment, place.offset);
        let (header, _) = Header::decode(rest).map_err(|_| damaged())?;
        if header.base_position > next.0 {
            return Err(damaged());
        }
        let size = header.body_size as usize;
        if rest.len() - BLOCK_HEADER_BYTES < size {
            return Ok(None);
        }
        let block = rest.split_to(BLOCK_HEADER_BYTES + size);
        let body = block.slice(BLOCK_HEADER_BYTES..);
        // Blocks that are only passed over need not be whole.
        let needed = !header.is_marker() && header.end_position() > next.0;
        if needed && crc32fast::hash(&body) != header.body_crc {
            return Err(damaged());
        }
        Ok(Some((header, body)))
    }

    /// Bytes of the block at the place, of which `chunk` is the beginning.
    fn block_bytes(
        &self,
        place: &Place,
        chunk: &Bytes,
        limit: u64,
        next: Position,
    ) -> Result<usize, Error> {
        let damaged = || self.damaged(&place.segment, place.offset);
        let (header, _) = Header::decode(chunk).map_err(|_| damaged())?;
        let fits = place.offset + header.block_bytes() <= limit;
        let bytes = usize::try_from(header.block_bytes()).map_err(|_| damaged())?;
        if !fits || bytes <= chunk.len() || header.base_position > next.0 {
            return Err(damaged());
        }
        Ok(bytes)
    }

    fn damaged(&self, segment: &Segment, offset: Offset) -> Error {
        Error::CorruptRecord { position: self.position, path: segment.path.clone(), offset }
    }

    fn out_of_range(&self, view: &View) -> Error {
        Error::OutOfRange {
            asked: i128::from(self.position.0),
            start: view.start(),
            end: view.durable.position,
        }
    }
}

fn batch_next(batch: &Batch) -> Option<Position> {
    (!batch.runs.is_empty()).then(|| batch.next())
}

/// The first block of bytes that the committer wrote: known to be good.
fn split_block(rest: &mut Bytes) -> Option<(Header, Bytes)> {
    if rest.is_empty() {
        return None;
    }
    let (header, _) = Header::decode(rest).ok()?;
    let block = rest.split_to(usize::try_from(header.block_bytes()).ok()?);
    Some((header, block.slice(BLOCK_HEADER_BYTES..)))
}

/// See [`Reader::wait`]. Cancel safe.
#[derive(Debug)]
pub struct Wait {
    log: Arc<Inner>,
    position: Position,
    key: Option<u64>,
}

impl Wait {
    /// Blocks this thread until then.
    pub fn wait(self) {
        block_on(self);
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.log.tail.register(this.position, &mut this.key, context.waker()) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.log.tail.unregister(self.key);
    }
}
