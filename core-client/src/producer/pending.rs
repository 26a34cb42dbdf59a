//! [`PendingBlocks`]: records that were appended and not yet sent, already in blocks.
//!
//! ```text
//! append ─▶ [ space for headers | record | record | … ]  blocks; the last one takes records
//!                                                          │ take: the oldest
//!                                                          ▼
//!                                                     sealed and sent by the task
//! ```
//! A record is encoded directly into the memory that it will be sent from. Apart from
//! the time at which a block is begun, everything here is deterministic. Bound: a record
//! is accepted while fewer than `in_flight_bytes` are pending or unacknowledged, so
//! there is never more than that plus one append.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use styx_protocol::limits::RECORD_HEADER_BYTES;

use super::ack::{Ack, BlockOutcome, SettledBlock};
use super::block_buffer::{BlockBuffer, PREFIX_BYTES};
use super::encoded::Part;
use crate::error::Error;
use crate::process::Process;

/// The smallest capacity of a new block.
const CAPACITY_MIN: usize = 1 << 10;

/// The limits of pending blocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A block that has this many bytes of records accepts no more.
    pub(super) block_bytes: usize,
    /// The most bytes of records in a block of several records.
    pub(super) block_bytes_max: usize,
    /// The most bytes that are pending or unacknowledged.
    pub(super) in_flight_bytes: usize,
    /// The most unacknowledged blocks.
    pub(super) blocks: usize,
}

/// A block that is not yet sealed.
#[derive(Debug)]
pub(super) struct PendingBlock {
    pub(super) body: BlockBuffer,
    pub(super) count: u32,
    /// Sequence of the first record.
    pub(super) first: u64,
    /// When the first record was appended.
    pub(super) since: Instant,
    pub(super) outcome: Arc<BlockOutcome>,
}

impl PendingBlock {
    /// Bytes of the records before compression.
    pub(super) fn raw_bytes(&self) -> usize {
        self.body.raw_bytes()
    }

    /// It leaves the producer with this result.
    pub(super) fn settled(self, result: Result<u64, Error>) -> SettledBlock {
        let raw_bytes = self.raw_bytes();
        SettledBlock { outcome: self.outcome, count: self.count, raw_bytes, result }
    }
}

/// The result of an append.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) ack: Ack,
    /// Whether a block was begun or became full, so that the task may have work.
    pub(super) is_work: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct PendingBlocks {
    limits: Limits,
    process: Process,
    blocks: VecDeque<PendingBlock>,
    next_sequence: u64,
    /// The sequence of the first record that was ever appended here.
    first_sequence: u64,
    /// Bytes that are pending or unacknowledged.
    in_flight_bytes: usize,
    /// Appends wait from this many bytes in flight on.
    waits_from: usize,
    /// Blocks that were taken and are not acknowledged, and their bytes.
    unacked_blocks: usize,
    unacked_bytes: usize,
    /// Capacity of the next block: about the size of the last one.
    capacity: usize,
}

impl PendingBlocks {
    pub(super) fn new(limits: Limits, process: Process) -> PendingBlocks {
        PendingBlocks {
            limits,
            process,
            blocks: VecDeque::new(),
            next_sequence: 0,
            first_sequence: 0,
            in_flight_bytes: 0,
            waits_from: limits.in_flight_bytes,
            unacked_blocks: 0,
            unacked_bytes: 0,
            capacity: CAPACITY_MIN,
        }
    }

    /// Sets the first sequence, before the first record.
    pub(super) fn start_at(&mut self, sequence: u64) {
        (self.first_sequence, self.next_sequence) = (sequence, sequence);
    }

    /// The number of records that were appended here.
    pub(super) fn appended_records(&self) -> u64 {
        self.next_sequence.saturating_sub(self.first_sequence)
    }

    /// The sequence of the next record.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Sets the server's limits.
    pub(super) fn set_limits(&mut self, blocks: usize, block_bytes_max: usize) {
        self.limits.blocks = blocks;
        self.limits.block_bytes_max = block_bytes_max;
        self.limits.block_bytes = self.limits.block_bytes.min(block_bytes_max);
    }

    /// Whether another record or batch is accepted.
    pub(super) fn has_space(&self) -> bool {
        self.in_flight_bytes < self.waits_from
    }

    /// Until this is called with `false`, no record or batch is accepted.
    pub(super) fn hold(&mut self, hold: bool) {
        self.waits_from = if hold { 0 } else { self.limits.in_flight_bytes };
    }

    /// Bytes that are pending or unacknowledged.
    pub(super) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// The part of [`in_flight_bytes`](Self::in_flight_bytes) that was taken.
    pub(super) fn unacked_bytes(&self) -> usize {
        self.unacked_bytes
    }

    /// Whether the next record of this size begins a block.
    #[inline]
    pub(super) fn begins_block(&self, record_bytes: usize) -> bool {
        !self.blocks.back().is_some_and(|open| self.takes(open, record_bytes))
    }

    /// Appends one record after its header of 8 bytes. There must be space.
    #[inline]
    pub(super) fn push(
        &mut self,
        header: [u8; RECORD_HEADER_BYTES],
        payload: &[u8],
        begins_block: bool,
    ) -> Appended {
        let record_bytes = RECORD_HEADER_BYTES + payload.len();
        if begins_block {
            self.begin(BlockBuffer::with_capacity(self.capacity.max(PREFIX_BYTES + record_bytes)));
        }
        let open = self.blocks.back_mut().expect("a block was begun where there was none");
        open.body.push(header, payload);
        open.count += 1;
        let is_work = begins_block || open.body.open_bytes() >= self.limits.block_bytes;
        let ack = Ack::of_one(Arc::clone(&open.outcome), self.next_sequence);
        self.next_sequence = self.next_sequence.saturating_add(1);
        self.in_flight_bytes += record_bytes;
        Appended { ack, is_work }
    }

    /// Appends records that must be in one block. There must be space.
    pub(super) fn push_part(&mut self, part: Part, begins_block: bool) -> Appended {
        let (part_bytes, count) = (part.raw_bytes(), part.count());
        if begins_block {
            self.begin(part.into_body());
        } else if let Some(open) = self.blocks.back_mut() {
            open.body.bytes.extend_from_slice(part.records());
        }
        let open = self.blocks.back_mut().expect("a block was begun where there was none");
        open.count += count;
        let is_work = begins_block || open.raw_bytes() >= self.limits.block_bytes;
        let outcome = Arc::clone(&open.outcome);
        let ack = Ack::of_batch(outcome, self.next_sequence, count.into());
        self.next_sequence = self.next_sequence.saturating_add(count.into());
        self.in_flight_bytes += part_bytes;
        Appended { ack, is_work }
    }

    /// Whether the oldest block accepts no more records.
    pub(super) fn is_full(&self) -> bool {
        self.blocks.len() > 1
            || self.blocks.front().is_some_and(|open| open.raw_bytes() >= self.limits.block_bytes)
    }

    /// The oldest pending block.
    pub(super) fn oldest(&self) -> Option<&PendingBlock> {
        self.blocks.front()
    }

    /// Takes the oldest block to send it. It counts as in flight until it is
    /// [released](Self::release).
    pub(super) fn take(&mut self) -> Option<PendingBlock> {
        let taken = self.blocks.pop_front()?;
        self.unacked_blocks += 1;
        self.unacked_bytes += taken.raw_bytes();
        self.capacity = (PREFIX_BYTES + taken.raw_bytes()).next_power_of_two();
        let most = PREFIX_BYTES + self.limits.block_bytes;
        self.capacity = self.capacity.clamp(CAPACITY_MIN, most.max(CAPACITY_MIN));
        Some(taken)
    }

    /// A block that was taken is settled.
    pub(super) fn release(&mut self, raw_bytes: usize) {
        self.unacked_blocks = self.unacked_blocks.saturating_sub(1);
        self.unacked_bytes = self.unacked_bytes.saturating_sub(raw_bytes);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(raw_bytes);
    }

    /// Removes all pending blocks. They will not be sent.
    pub(super) fn drain(&mut self) -> VecDeque<PendingBlock> {
        let drained = std::mem::take(&mut self.blocks);
        let bytes: usize = drained.iter().map(PendingBlock::raw_bytes).sum();
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
        drained
    }

    /// Whether no block is pending or unacknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.blocks.is_empty() && self.unacked_blocks == 0
    }

    /// A block accepts records up to `block_bytes`. When as many blocks are unacknowledged
    /// as the server allows, pending records are merged into larger blocks.
    #[inline]
    fn takes(&self, open: &PendingBlock, record_bytes: usize) -> bool {
        let crowded = self.unacked_blocks + self.blocks.len() > self.limits.blocks;
        let Limits { block_bytes, block_bytes_max, .. } = self.limits;
        let most = if crowded { block_bytes_max } else { block_bytes };
        !open.body.is_final() && open.body.open_bytes() + record_bytes <= most
    }

    fn begin(&mut self, body: BlockBuffer) {
        let first = self.next_sequence;
        let outcome = BlockOutcome::new(first, self.process);
        self.blocks.push_back(PendingBlock {
            body,
            count: 0,
            first,
            since: Instant::now(),
            outcome,
        });
    }
}
