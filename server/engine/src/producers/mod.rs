//! The producers table of a log: the epochs, sequence numbers and last blocks of its producers.
//!
//! ```text
//! header of a stored block ─▶ ProducerTable ─▶ deduplication: append | repeated | refused
//!                                   └────────▶ snapshot file, written at every roll
//! ```
//!
//! The table is data, not a cache: without it, a retry would be appended twice. Recovery rebuilds
//! it from a snapshot and the block headers after it. Every roll writes a snapshot, because
//! retention may remove the headers.
//!
//! Limits: 65,536 producers and 262,144 blocks per log, and 128 blocks per producer. Above a
//! limit, the least recently used producer is forgotten. Every producer is forgotten 7 days after
//! its last append.
//!
//! Invariant: the states in the table are durable. The changes of the group in flight are kept
//! separately.

mod deduplication;
mod snapshot;

use std::collections::{BTreeSet, HashMap, VecDeque};

use styx_protocol::block::{Flags, Header};
use styx_protocol::{Codec, Position};

pub(crate) use deduplication::{
    BlockDecision, PendingChanges, ProducerView, RecordsDecision, SentRecords,
};
pub(crate) use snapshot::BYTES_MAX;

const PRODUCERS_MAX: usize = 65_536;
const BLOCKS_MAX: usize = 262_144;
const PRODUCER_BLOCKS_MAX: usize = 128;
const UNUSED_US_MAX: u64 = 7 * 24 * 3600 * 1_000_000;

/// A stored block that is remembered, to recognize a repeated append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RememberedBlock {
    pub(crate) sequence: u64,
    pub(crate) count: u32,
    pub(crate) body_crc: u32,
    /// Whether `body_crc` is known to be the checksum of uncompressed records. A snapshot does
    /// not contain this, so it is false for the blocks of one.
    pub(crate) is_crc_of_records: bool,
    pub(crate) base: Position,
}

/// The state of one producer, or the changes that a group makes to it. The blocks are sorted from
/// oldest to newest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProducerHistory {
    pub(crate) epoch: u32,
    pub(crate) next_sequence: u64,
    pub(crate) last_used_us: u64,
    pub(crate) blocks: VecDeque<RememberedBlock>,
}

impl ProducerHistory {
    /// Applies a block of this producer: an append, or a filler that raises the epoch.
    fn append(&mut self, header: &Header) {
        self.epoch = self.epoch.max(header.producer_epoch);
        self.last_used_us = header.timestamp_us;
        if !header.flags.contains(Flags::FILLER) && header.count > 0 {
            self.add(RememberedBlock {
                sequence: header.sequence,
                count: header.count,
                body_crc: header.body_crc,
                is_crc_of_records: header.codec == Codec::None,
                base: Position(header.base_position),
            });
        }
    }

    fn add(&mut self, block: RememberedBlock) {
        // Only a forged block can overflow here, because such appends are refused.
        self.next_sequence = block.sequence.saturating_add(u64::from(block.count));
        self.blocks.push_back(block);
        if self.blocks.len() > PRODUCER_BLOCKS_MAX {
            self.blocks.pop_front();
        }
    }

    /// Applies the changes of a later group.
    fn extend(&mut self, later: ProducerHistory) {
        self.epoch = self.epoch.max(later.epoch);
        self.last_used_us = later.last_used_us;
        later.blocks.into_iter().for_each(|block| self.add(block));
    }
}

/// The states of all producers of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProducerTable {
    states: HashMap<u64, ProducerHistory>,
    /// `(last_used_us, id)` of all producers.
    by_use: BTreeSet<(u64, u64)>,
    /// The number of remembered blocks of all producers.
    blocks: usize,
    /// The changes of the group that is being written.
    in_flight: PendingChanges,
}

impl ProducerTable {
    /// The durable state of a producer.
    pub(crate) fn get(&self, id: u64) -> Option<&ProducerHistory> {
        self.states.get(&id)
    }

    /// Stores the changes of a group before it is written.
    pub(crate) fn begin_group(&mut self, changes: PendingChanges) {
        self.in_flight = changes;
    }

    /// Discards the changes of the group in flight, because it failed.
    pub(crate) fn abort_group(&mut self) {
        self.in_flight.clear();
    }

    /// Applies the changes of the group in flight, which is now durable. Also forgets producers
    /// that were not used for 7 days at the steady time `now_us`. The time is not taken from block
    /// timestamps, because they follow a wall clock that may jump.
    pub(crate) fn commit_group(&mut self, now_us: u64) {
        for (id, change) in std::mem::take(&mut self.in_flight) {
            if change.forgets {
                self.remove(id);
            }
            if let Some(later) = change.state {
                self.update(id, |state| state.extend(later));
            }
        }
        self.forget_while(|table, last_used_us| {
            table.is_over_limit() || now_us.saturating_sub(last_used_us) > UNUSED_US_MAX
        });
    }

    /// Applies a stored block. Blocks without a producer are ignored.
    pub(crate) fn replay(&mut self, header: &Header) {
        if header.producer_id != 0 {
            self.update(header.producer_id, |state| state.append(header));
        }
    }

    /// Changes the state of a producer. Forgets the least recently used ones above a limit.
    fn update(&mut self, id: u64, change: impl FnOnce(&mut ProducerHistory)) {
        let state = self.states.entry(id).or_default();
        self.by_use.remove(&(state.last_used_us, id));
        self.blocks -= state.blocks.len();
        change(state);
        self.blocks += state.blocks.len();
        self.by_use.insert((state.last_used_us, id));
        self.forget_while(|table, _| table.is_over_limit());
    }

    fn remove(&mut self, id: u64) {
        if let Some(state) = self.states.remove(&id) {
            self.blocks -= state.blocks.len();
            self.by_use.remove(&(state.last_used_us, id));
        }
    }

    fn is_over_limit(&self) -> bool {
        self.states.len() > PRODUCERS_MAX || self.blocks > BLOCKS_MAX
    }

    /// Forgets the least recently used producers while the condition holds.
    fn forget_while(&mut self, condition: impl Fn(&ProducerTable, u64) -> bool) {
        while let Some(&(last_used_us, id)) = self.by_use.first()
            && condition(self, last_used_us)
        {
            self.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(id: u64, sequence: u64, base: u64) -> Header {
        Header {
            producer_id: id,
            sequence,
            count: 1,
            base_position: base,
            timestamp_us: base + 1,
            ..Header::default()
        }
    }

    #[test]
    fn the_least_recently_used_producer_is_forgotten_first() {
        let mut table = ProducerTable::default();
        for id in 1..=PRODUCERS_MAX as u64 + 1 {
            table.replay(&header(id, 0, id));
        }
        assert!(table.get(1).is_none());
        assert!(table.get(2).is_some());
        let late = header(9, 1, UNUSED_US_MAX * 2);
        table.replay(&late);
        assert!(table.get(2).is_some(), "a block's timestamp is not the current time");
        table.commit_group(UNUSED_US_MAX + 3);
        assert!(table.get(2).is_some());
        table.commit_group(UNUSED_US_MAX + 4);
        assert!(table.get(2).is_none());
        table.commit_group(UNUSED_US_MAX * 2);
        assert_eq!(table.states.keys().collect::<Vec<_>>(), [&9]);
    }

    #[test]
    fn only_the_last_128_blocks_of_a_producer_are_remembered() {
        let mut table = ProducerTable::default();
        for sequence in 0..200 {
            table.replay(&header(7, sequence, sequence));
        }
        let state = table.get(7).expect("the producer is remembered");
        assert_eq!(state.blocks.len(), PRODUCER_BLOCKS_MAX);
        assert_eq!(state.blocks.front().map(|block| block.sequence), Some(72));
        assert_eq!((table.blocks, table.by_use.len()), (PRODUCER_BLOCKS_MAX, 1));
    }
}
