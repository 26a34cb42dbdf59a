//! Blocks become batches here: checked, unpacked, put together.
//!
//! An [`Assembler`] lives as long as one connection and takes its blocks in
//! their order. A block of some size becomes a batch of its own, in the memory
//! that the socket was read into or that it was unpacked into. Small ones are
//! copied behind each other, so that a log of many small blocks does not become
//! as many batches, and a short record does not keep a long buffer alive.
//!
//! Invariant: what comes out is dense. A record before the position asked for
//! is left out, as is one from the end of the range on; a block that does not
//! begin where the last one ended is a fault, and so is one whose checksum,
//! sizes or count do not agree with its bytes.

use bytes::Bytes;
use styx_protocol::block::{Block, Header, ParseError};
use styx_protocol::limits::{MAX_RECORD_SIZE_MAX, RECORD_HEADER_BYTES};
use styx_protocol::{LogId, record};

use super::{RecordBatch, Run};

/// Blocks with up to so many bytes of records are copied behind each other.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Bytes of one batch of small blocks.
const MERGED_BYTES_MAX: usize = 256 << 10;

/// See the module.
pub(crate) struct Assembler {
    log: LogId,
    /// The next record to come out.
    next: u64,
    /// The first that must not come out.
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
    runs: Vec<Run>,
}

/// A block that cannot be used, and from where on records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at position {position}: {cause}")]
pub(crate) struct Fault {
    /// The first position that is missing.
    pub(crate) position: u64,
    /// Why.
    pub(crate) cause: Cause,
}

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    /// The block itself.
    #[error(transparent)]
    Block(#[from] ParseError),
    /// It is not the block that follows.
    #[error("a block of position {found} came")]
    OutOfOrder {
        /// Where the block begins.
        found: u64,
    },
    /// There is something behind it, where nothing can be.
    #[error("{0} bytes stand behind the block")]
    Trailing(usize),
}

impl Assembler {
    /// For a connection that was asked for the records of this log from `next`
    /// up to, not with, `until`.
    pub(crate) fn new(log: LogId, next: u64, until: u64) -> Assembler {
        let (merged, ready) = (Merged::default(), Vec::new());
        Assembler { log, next, until, began: false, merged, ready }
    }

    /// The position after the last record taken: where to go on after a fault.
    pub(crate) fn next_position(&self) -> u64 {
        self.next
    }

    /// Whether every record asked for was taken.
    pub(crate) fn is_complete(&self) -> bool {
        self.next >= self.until
    }

    /// Takes one whole block.
    ///
    /// # Errors
    /// It cannot be used. The blocks before it are taken, and
    /// [`finish`](Self::finish) gives them out.
    pub(crate) fn take(&mut self, block: Bytes) -> Result<(), Fault> {
        self.take_block(block).map_err(|cause| Fault { position: self.next, cause })
    }

    /// Gives out the batches that nothing will be added to, in order.
    pub(crate) fn closed(&mut self) -> std::vec::Drain<'_, RecordBatch> {
        self.ready.drain(..)
    }

    /// Gives out all that was taken, in order.
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

    /// Whether the block has records that are to come out.
    fn reaches_next(&self, header: &Header) -> Result<bool, Cause> {
        let (begin, end) = (header.base_position, header.end_position());
        if !self.began && end <= self.next {
            return Ok(false);
        }
        let follows = if self.began { begin == self.next } else { begin <= self.next };
        if follows { Ok(true) } else { Err(Cause::OutOfOrder { found: begin }) }
    }

    /// A batch of this block alone, in its own memory.
    fn share(&mut self, header: &Header, raw: Bytes) -> Result<(), Cause> {
        self.close_merged();
        let mut index = Vec::new();
        index_records(&raw, 0, header.count, &mut index)?;
        self.leave_out(header, &mut index, 0);
        let runs = vec![Run { first: 0, timestamp: header.timestamp_us }];
        self.ready.push(RecordBatch::new(self.log, self.next, raw, index, runs));
        Ok(())
    }

    /// Puts the block's records behind those of other small ones.
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
                merged.runs.push(Run { first: records, timestamp: header.timestamp_us });
            }
        } else {
            merged.data.truncate(bytes);
            merged.index.truncate(records);
        }
        self.merged = merged;
        indexed.map_err(Cause::from)
    }

    /// Of the block's records, which `index` has from `first` on, leaves out
    /// those that were not asked for.
    fn leave_out(&self, header: &Header, index: &mut Vec<[u32; 2]>, first: usize) {
        // Neither is more than the block's count.
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

/// Notes where the payloads of the records are that fill `data` from `from` to
/// its end. There must be `count` of them, and at least one.
fn index_records(
    data: &[u8],
    from: usize,
    count: u32,
    index: &mut Vec<[u32; 2]>,
) -> Result<(), ParseError> {
    // A block is far smaller, so that every place in it fits.
    let too_large = ParseError::TooLarge { claimed: u32::MAX, max: u64::from(u32::MAX) };
    u32::try_from(data.len()).map_err(|_| too_large)?;
    let before = index.len();
    // A record has at least its header: no more is allocated than is there.
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
