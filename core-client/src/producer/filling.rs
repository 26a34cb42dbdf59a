//! [`Filling`]: records that wait to be sent, in the blocks they will be sent in.
//!
//! ```text
//! append ─▶ [ room for headers | record | record | … ]  waiting, the last one takes records
//!                                                         │ take: the oldest
//!                                                         ▼
//!                                                    sealed and sent by the link
//! ```
//! A record is encoded where it will be sent from. Pure but for the time at which
//! a block is begun. Bound: a record is taken as long as fewer than `in_flight_bytes` are
//! waiting or unacked, so that there are never more than these and one append.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use styx_protocol::block::{Codec, pack_behind};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, FRAME_HEADER_BYTES, RECORD_HEADER_BYTES};

use super::ack::{Ack, Outcome};
use crate::runtime::Process;

/// What stands before a block's records: the frame's header and the block's.
pub(super) const PREFIX_BYTES: usize = FRAME_HEADER_BYTES + BLOCK_HEADER_BYTES;

/// Room for the first block, and for each one after smaller ones.
const CAPACITY_MIN: usize = 1 << 10;

/// The bounds of what waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A block takes no further record once it has so many bytes of them.
    pub(super) block_bytes: usize,
    /// Bytes of records that a block of several may have.
    pub(super) block_bytes_max: usize,
    /// Bytes that may wait or be unacked.
    pub(super) in_flight_bytes: usize,
    /// Blocks that may be unacked.
    pub(super) blocks: usize,
}

/// The body of a block to be, and room for what stands before it.
#[derive(Debug)]
pub(super) struct Body {
    /// [`PREFIX_BYTES`] of zeros, then the records, or what they were packed to.
    pub(super) bytes: Vec<u8>,
    /// How they are stored and how many bytes they were, once that is decided.
    packed: Option<(Codec, usize)>,
}

impl Body {
    fn with_capacity(bytes: usize) -> Body {
        let mut body = Body { bytes: Vec::with_capacity(bytes), packed: None };
        body.bytes.resize(PREFIX_BYTES, 0);
        body
    }

    /// Bytes of the records before packing.
    pub(super) fn raw_bytes(&self) -> usize {
        self.packed.map_or(self.open_bytes(), |(_, bytes)| bytes)
    }

    /// Decides how the records are stored, if that was not done: packed where it makes
    /// them fewer. From here on it takes no more of them.
    pub(super) fn pack(&mut self, codec: Codec) -> Codec {
        if let Some((decided, _)) = self.packed {
            return decided;
        }
        let raw = self.bytes.get(PREFIX_BYTES..).unwrap_or_default();
        let raw_bytes = raw.len();
        let decided = match pack_behind(PREFIX_BYTES, codec, None, raw) {
            Some(packed) => {
                self.bytes = packed;
                codec
            }
            None => Codec::None,
        };
        self.packed = Some((decided, raw_bytes));
        decided
    }

    /// Bytes of the records of one that takes more; packed ones do not.
    #[inline]
    fn open_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(PREFIX_BYTES)
    }

    #[inline]
    fn push(&mut self, header: [u8; RECORD_HEADER_BYTES], payload: &[u8]) {
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(payload);
    }
}

/// A block of records, not yet sealed.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) body: Body,
    pub(super) count: u32,
    /// Sequence of the first record.
    pub(super) first: u64,
    /// When the first record was appended.
    pub(super) since: Instant,
    pub(super) outcome: Arc<Outcome>,
}

impl Filled {
    /// Bytes of the records.
    pub(super) fn raw_bytes(&self) -> usize {
        self.body.raw_bytes()
    }
}

/// Encoded records that have to stand in one block.
#[derive(Debug)]
pub(super) struct Run {
    body: Body,
    count: u32,
}

/// What an append came to.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) ack: Ack,
    /// Whether a block was begun or became full: the link may want to know.
    pub(super) news: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Filling {
    limits: Limits,
    process: Process,
    waiting: VecDeque<Filled>,
    next_sequence: u64,
    /// Bytes that wait or are unacked.
    in_flight_bytes: usize,
    /// Blocks that were taken and are unacked.
    unacked_blocks: usize,
    /// Room for the next block: about what the last one needed.
    capacity: usize,
}

impl Filling {
    pub(super) fn new(limits: Limits, process: Process) -> Filling {
        Filling {
            limits,
            process,
            waiting: VecDeque::new(),
            next_sequence: 0,
            in_flight_bytes: 0,
            unacked_blocks: 0,
            capacity: CAPACITY_MIN,
        }
    }

    /// Begins at this sequence; before the first record.
    pub(super) fn start_at(&mut self, sequence: u64) {
        self.next_sequence = sequence;
    }

    /// The sequence that the next record will get.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// What the server takes.
    pub(super) fn set_limits(&mut self, blocks: usize, block_bytes_max: usize) {
        self.limits.blocks = blocks;
        self.limits.block_bytes_max = block_bytes_max;
        self.limits.block_bytes = self.limits.block_bytes.min(block_bytes_max);
    }

    /// Whether another record or batch is taken.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight_bytes < self.limits.in_flight_bytes
    }

    /// Whether the next record of this size begins a block.
    #[inline]
    pub(super) fn begins_block(&self, record_bytes: usize) -> bool {
        !self.waiting.back().is_some_and(|open| self.takes(open, record_bytes))
    }

    /// Adds one record behind its 8 bytes of header; there must be room.
    #[inline]
    pub(super) fn push(
        &mut self,
        header: [u8; RECORD_HEADER_BYTES],
        payload: &[u8],
        begins_block: bool,
    ) -> Appended {
        let record_bytes = RECORD_HEADER_BYTES + payload.len();
        if begins_block {
            self.begin(Body::with_capacity(self.capacity.max(PREFIX_BYTES + record_bytes)));
        }
        let open = self.waiting.back_mut().expect("a block was begun where there was none");
        open.body.push(header, payload);
        open.count += 1;
        let news = begins_block || open.body.open_bytes() >= self.limits.block_bytes;
        let ack = Ack::of_one(Arc::clone(&open.outcome), self.next_sequence);
        self.next_sequence = self.next_sequence.saturating_add(1);
        self.in_flight_bytes += record_bytes;
        Appended { ack, news }
    }

    /// Adds records that have to stand in one block; there must be room.
    pub(super) fn push_run(&mut self, run: Run, begins_block: bool) -> Appended {
        let (run_bytes, count) = (run.raw_bytes(), run.count);
        if begins_block {
            self.begin(run.body);
        } else if let Some(open) = self.waiting.back_mut() {
            let records = run.body.bytes.get(PREFIX_BYTES..).unwrap_or_default();
            open.body.bytes.extend_from_slice(records);
        }
        let open = self.waiting.back_mut().expect("a block was begun where there was none");
        open.count += count;
        let news = begins_block || open.raw_bytes() >= self.limits.block_bytes;
        let outcome = Arc::clone(&open.outcome);
        let ack = Ack::of_batch(outcome, self.next_sequence, count.into());
        self.next_sequence = self.next_sequence.saturating_add(count.into());
        self.in_flight_bytes += run_bytes;
        Appended { ack, news }
    }

    /// Whether the oldest block need not wait for more records.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > 1
            || self.waiting.front().is_some_and(|open| open.raw_bytes() >= self.limits.block_bytes)
    }

    /// The oldest block that waits.
    pub(super) fn oldest(&self) -> Option<&Filled> {
        self.waiting.front()
    }

    /// Takes the oldest block out, to be sent. It counts as in flight until it
    /// is [released](Self::release).
    pub(super) fn take(&mut self) -> Option<Filled> {
        let taken = self.waiting.pop_front()?;
        self.unacked_blocks += 1;
        self.capacity = (PREFIX_BYTES + taken.raw_bytes()).next_power_of_two();
        let most = PREFIX_BYTES + self.limits.block_bytes;
        self.capacity = self.capacity.clamp(CAPACITY_MIN, most.max(CAPACITY_MIN));
        Some(taken)
    }

    /// A block that was taken is settled.
    pub(super) fn release(&mut self, raw_bytes: usize) {
        self.unacked_blocks = self.unacked_blocks.saturating_sub(1);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(raw_bytes);
    }

    /// Takes out everything that waits; it will not be sent.
    pub(super) fn drain(&mut self) -> VecDeque<Filled> {
        let drained = std::mem::take(&mut self.waiting);
        let bytes: usize = drained.iter().map(Filled::raw_bytes).sum();
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
        drained
    }

    /// Whether nothing waits and nothing is unacked.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.unacked_blocks == 0
    }

    /// A block takes records up to `block_bytes`. When as many blocks are under
    /// way as the server remembers, what waits is merged into larger ones.
    #[inline]
    fn takes(&self, open: &Filled, record_bytes: usize) -> bool {
        let crowded = self.unacked_blocks + self.waiting.len() > self.limits.blocks;
        let Limits { block_bytes, block_bytes_max, .. } = self.limits;
        let most = if crowded { block_bytes_max } else { block_bytes };
        open.body.packed.is_none() && open.body.open_bytes() + record_bytes <= most
    }

    fn begin(&mut self, body: Body) {
        let first = self.next_sequence;
        let outcome = Outcome::new(first, self.process);
        self.waiting.push_back(Filled { body, count: 0, first, since: Instant::now(), outcome });
    }
}

impl Run {
    /// An empty run.
    pub(super) fn new() -> Run {
        Run { body: Body::with_capacity(PREFIX_BYTES), count: 0 }
    }

    /// Before the first record: makes room for it and for so many more that may be as
    /// large, as far as they can stand in one block. Growing step by step copies all of
    /// them again.
    pub(super) fn expect(&mut self, record_bytes: usize, more: usize, block_bytes_max: usize) {
        if self.is_empty() {
            let bytes = more.saturating_add(1).saturating_mul(record_bytes);
            self.body.bytes.reserve(bytes.min(block_bytes_max));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the records.
    pub(super) fn raw_bytes(&self) -> usize {
        self.body.raw_bytes()
    }

    /// Packs the records before they are appended; they stand in a block of their own.
    pub(super) fn pack(&mut self, codec: Codec) {
        self.body.pack(codec);
    }

    pub(super) fn is_packed(&self) -> bool {
        self.body.packed.is_some()
    }

    /// Whether a record of this size can stand in the same block.
    pub(super) fn fits(&self, record_bytes: usize, block_bytes_max: usize) -> bool {
        self.count == 0 || self.raw_bytes() + record_bytes <= block_bytes_max
    }

    pub(super) fn push(&mut self, header: [u8; RECORD_HEADER_BYTES], payload: &[u8]) {
        self.body.push(header, payload);
        self.count += 1;
    }
}

impl Default for Run {
    fn default() -> Run {
        Run::new()
    }
}
