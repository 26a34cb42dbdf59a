//! Converts blocks to batches: checks, decompresses and merges them.
//!
//! An [`Assembler`] exists as long as one connection and takes its blocks in order. A
//! large block becomes a batch of its own, in the memory that the socket was read into
//! or that the block was decompressed into. Small blocks are copied into one batch. So a
//! log of many small blocks does not become as many batches, and a short record does not
//! keep a long buffer allocated.
//!
//! Invariant: the resulting records are dense. Records before the requested position and
//! from the end of the range on are left out. A block that does not begin where the last
//! one ended is an error. So is a block whose checksum, sizes or count do not match its
//! bytes.

use bytes::Bytes;
use styx_protocol::block::{Block, Header, ParseError};
use styx_protocol::limits::{MAX_RECORD_SIZE_MAX, RECORD_HEADER_BYTES};
use styx_protocol::{LogId, record};

use super::{RecordBatch, TimestampRun};

/// Blocks with up to this many bytes of records are merged.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// The most bytes of a merged batch.
const MERGED_BYTES_MAX: usize = 256 << 10;

/// See the module.
pub(crate) struct Assembler {
    log: LogId,
    /// The position of the next record.
    next: u64,
    /// The end of the range, exclusive.
    until: u64,
    /// Whether a block of this connection reached `next`.
    began: bool,
    merged: Merged,
    ready: Vec<RecordBatch>,
}

/// The batch that small blocks are copied into.
#[derive(Default)]
struct Merged {
    first_position: u64,
    data: Vec<u8>,
    index: Vec<[u32; 2]>,
    runs: Vec<TimestampRun>,
}

/// A block that cannot be used, and the position from which records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at position {position}: {cause}")]
pub(crate) struct BlockError {
    /// The first missing position.
    pub(crate) position: u64,
    /// A description of the problem.
    pub(crate) cause: Cause,
}

/// A problem with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    /// The block is invalid.
    #[error(transparent)]
    Block(#[from] ParseError),
    /// It is not the next block.
    #[error("received a block that begins at position {found}")]
    OutOfOrder {
        /// Where the block begins.
        found: u64,
    },
    /// There are bytes after the block.
    #[error("{0} unexpected bytes after the block")]
    Trailing(usize),
}

impl Assembler {
    /// An assembler for a connection that requested the records of this log from `next` to
    /// `until`, exclusive.
    pub(crate) fn new(log: LogId, next: u64, until: u64) -> Assembler {
        let (merged, ready) = (Merged::default(), Vec::new());
        Assembler { log, next, until, began: false, merged, ready }
    }

    /// The position after the last record: where to continue after an error.
    pub(crate) fn next_position(&self) -> u64 {
        self.next
    }

    /// Whether every requested record was taken.
    pub(crate) fn is_complete(&self) -> bool {
        self.next >= self.until
    }

    /// Takes one complete block.
    ///
    /// # Errors
    /// The block cannot be used. The blocks before it were taken;
    /// [`finish`](Self::finish) returns their records.
    pub(crate) fn take(&mut self, block: Bytes) -> Result<(), BlockError> {
        self.take_block(block).map_err(|cause| BlockError { position: self.next, cause })
    }

    /// Returns the batches to which nothing will be added, in order.
    pub(crate) fn closed(&mut self) -> std::vec::Drain<'_, RecordBatch> {
        self.ready.drain(..)
    }

    /// Returns all batches, in order.
    pub(crate) fn finish(&mut self) -> std::vec::Drain<'_, RecordBatch> {
        self.close_merged();
        self.ready.drain(..)
    }

    fn take_block(&mut self, block: Bytes) -> Result<(), Cause> {
        let (block, rest) = Block::parse(block, MAX_RECORD_SIZE_MAX)?;
        if !rest.is_empty() {
            return Err(Cause::Trailing(rest.len()));
        }
        let header = block.header();
        if header.is_marker() || self.is_complete() || !self.reaches_next(header)? {
            return Ok(());
        }
        let raw = block.raw()?;
        match raw.len() <= COPIED_BYTES_MAX {
            true => self.merge(header, &raw)?,
            false => self.share(header, raw)?,
        }
        self.began = true;
        self.next = header.end_position().min(self.until);
        Ok(())
    }

    /// Whether the block has requested records.
    fn reaches_next(&self, header: &Header) -> Result<bool, Cause> {
        let (begin, end) = (header.base_position, header.end_position());
        if !self.began && end <= self.next {
            return Ok(false);
        }
        let follows = if self.began { begin == self.next } else { begin <= self.next };
        if follows { Ok(true) } else { Err(Cause::OutOfOrder { found: begin }) }
    }

    /// Makes a batch of this block alone, in the block's memory.
    fn share(&mut self, header: &Header, raw: Bytes) -> Result<(), Cause> {
        self.close_merged();
        let mut index = Vec::new();
        index_records(&raw, 0, header.count, &mut index)?;
        self.leave_out(header, &mut index, 0);
        let runs = vec![TimestampRun { first: 0, timestamp: header.timestamp_us }];
        self.ready.push(RecordBatch::new(self.log, self.next, raw, index, runs));
        Ok(())
    }

    /// Copies the block's records after those of other small blocks.
    fn merge(&mut self, header: &Header, raw: &[u8]) -> Result<(), Cause> {
        if self.merged.data.len() + raw.len() > MERGED_BYTES_MAX {
            self.close_merged();
        }
        let mut merged = std::mem::take(&mut self.merged);
        let (bytes, records) = (merged.data.len(), merged.index.len());
        merged.data.extend_from_slice(raw);
        let indexed = index_records(&merged.data, bytes, header.count, &mut merged.index);
        if indexed.is_ok() {
            self.leave_out(header, &mut merged.index, records);
            if records == 0 {
                merged.first_position = self.next;
            }
            if merged.runs.last().is_none_or(|run| run.timestamp != header.timestamp_us) {
                merged.runs.push(TimestampRun { first: records, timestamp: header.timestamp_us });
            }
        } else {
            merged.data.truncate(bytes);
            merged.index.truncate(records);
        }
        self.merged = merged;
        indexed.map_err(Cause::from)
    }

    /// Removes the records that were not requested from `index`, which has the block's
    /// records from `first` on.
    fn leave_out(&self, header: &Header, index: &mut Vec<[u32; 2]>, first: usize) {
        // Both numbers are at most the block's count.
        let kept_to = self.until.min(header.end_position()) - header.base_position;
        index.truncate(first + kept_to as usize);
        let skipped = self.next - header.base_position;
        index.drain(first..first + skipped as usize);
    }

    fn close_merged(&mut self) {
        if !self.merged.index.is_empty() {
            let Merged { first_position, data, index, runs } = std::mem::take(&mut self.merged);
            let data = Bytes::from(data);
            self.ready.push(RecordBatch::new(self.log, first_position, data, index, runs));
        }
    }
}

/// Adds the payloads of the records in `data`, from `from` to the end, to `index`. There
/// must be exactly `count` records, and at least one.
fn index_records(
    data: &[u8],
    from: usize,
    count: u32,
    index: &mut Vec<[u32; 2]>,
) -> Result<(), ParseError> {
    // A block is far smaller than 4 GiB, so every offset fits into a u32.
    let too_large = ParseError::TooLarge { claimed: u32::MAX, max: u64::from(u32::MAX) };
    u32::try_from(data.len()).map_err(|_| too_large)?;
    let before = index.len();
    // Each record has a header, so this never reserves much more than there are bytes.
    index.reserve((count as usize).min((data.len() - from) / RECORD_HEADER_BYTES));
    let mut at = from;
    while at < data.len() {
        let (start, end) = record::frame(data, at)?;
        index.push([start as u32, end as u32]);
        at = end;
    }
    let found = (index.len() - before) as u64;
    if found == 0 || found != u64::from(count) {
        return Err(ParseError::Contradiction { what: "records", claimed: count, found });
    }
    Ok(())
}
