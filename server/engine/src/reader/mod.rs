//! Reading: a cursor over durable records, from memory or from the file.
//!
//! ```text
//! try_read ─▶ the last commits in memory ─▶ the page cache ─▶ NeedsDisk
//! read     ─▶ the same, and the disk
//! ```
//!
//! Every block from the file is checked as a whole (header and body CRC) before
//! a record of it is given out. Nothing beyond the durable end is looked at.

mod batch;
mod file;
mod wait;

use std::sync::Arc;

use bytes::Bytes;
use styx_protocol::block::Header;
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{Position, Records};

use self::batch::Run;
use crate::Error;
use crate::log::Inner;
use crate::segment::Segment;
use crate::segment::name::Offset;
use crate::storage::File;
use crate::tail::View;

pub use self::batch::{Batch, Record};
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
        let batch = self.read_memory(bytes_max);
        let batch = match batch {
            Some(batch) => batch,
            None => match self.read_file(&view, bytes_max, disk)? {
                Some(batch) => batch,
                None => return Ok(Found::NeedsDisk),
            },
        };
        self.position = batch.next();
        Ok(Found::Some(batch))
    }

    fn read_memory(&mut self, bytes_max: usize) -> Option<Batch> {
        let groups = self.log.tail.cached(self.position, bytes_max);
        let mut batch = Batch::default();
        for group in &groups {
            let mut rest = group.bytes.clone();
            while let Some((header, body)) = split_block(&mut rest) {
                let _ = self.add(&mut batch, &header, body);
            }
        }
        // The file is looked up anew once memory no longer has what comes.
        self.place = None;
        (!batch.runs.is_empty()).then_some(batch)
    }

    /// Adds the records of a block from the position on, if there are any; says
    /// whether the block has what its header says.
    fn add(&self, batch: &mut Batch, header: &Header, body: Bytes) -> bool {
        let skip = self.position.0.saturating_sub(header.base_position);
        if header.is_marker() || skip >= u64::from(header.count) {
            return true;
        }
        let Ok(skip) = u32::try_from(skip) else { return true };
        let Ok(records) = Records::parse_lengths(body) else { return false };
        if records.count() != header.count {
            return false;
        }
        batch.runs.push(Run {
            first: Position(header.base_position) + u64::from(skip),
            timestamp_us: header.timestamp_us,
            records: if skip == 0 { records } else { records.skip(skip) },
        });
        true
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
