//! What the log remembers of idempotent producers.
//!
//! ```text
//! header of a stored block ─▶ Table ─▶ judge: append | repeated | refused
//!                               └────▶ snapshot at every roll, as a file
//! ```
//!
//! This is data, not a cache: without it a retry would be appended twice. It is
//! rebuilt from block headers, and snapshotted at every roll because retention
//! may remove the headers. Bounds: 65,536 producers and 262,144 blocks a log,
//! 128 blocks a producer; the longest unused goes first, each 7 days after its
//! last append. Invariant: the table of a log has what is durable and no more; what is
//! in flight stands beside it.

mod judge;
mod snapshot;

use std::collections::{BTreeSet, HashMap, VecDeque};

use styx_protocol::Position;
use styx_protocol::block::{Flags, Header};

pub(crate) use judge::{BlockVerdict, Drafts, Known, Verdict};
pub(crate) use snapshot::BYTES_MAX;

const PRODUCERS_MAX: usize = 65_536;
const BLOCKS_MAX: usize = 262_144;
const BLOCKS_OF_ONE_MAX: usize = 128;
const UNUSED_US_MAX: u64 = 7 * 24 * 3600 * 1_000_000;

/// A remembered block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) sequence: u64,
    pub(crate) count: u32,
    pub(crate) body_crc: u32,
    pub(crate) base: Position,
}

/// One producer's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: u32,
    pub(crate) next_sequence: u64,
    pub(crate) last_used_us: u64,
    pub(crate) blocks: VecDeque<Remembered>,
}

impl State {
    /// Takes a block of this producer into account: an append, or a filler that
    /// raises the epoch.
    fn append(&mut self, header: &Header) {
        self.epoch = self.epoch.max(header.producer_epoch);
        self.last_used_us = header.timestamp_us;
        if !header.flags.contains(Flags::FILLER) && header.count > 0 {
            self.add(Remembered {
                sequence: header.sequence,
                count: header.count,
                body_crc: header.body_crc,
                base: Position(header.base_position),
            });
        }
    }

    fn add(&mut self, block: Remembered) {
        // Only a forged block can have no next: what leads there is refused.
        self.next_sequence = block.sequence.saturating_add(u64::from(block.count));
        self.blocks.push_back(block);
        if self.blocks.len() > BLOCKS_OF_ONE_MAX {
            self.blocks.pop_front();
        }
    }

    /// Takes what was remembered later into account.
    fn extend(&mut self, later: State) {
        self.epoch = self.epoch.max(later.epoch);
        self.last_used_us = later.last_used_us;
        later.blocks.into_iter().for_each(|block| self.add(block));
    }
}

/// All producers of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    states: HashMap<u64, State>,
    by_use: BTreeSet<(u64, u64)>,
    blocks: usize,
    /// What the group does that is being written.
    in_flight: Drafts,
}

impl Table {
    /// A producer's state.
    pub(crate) fn get(&self, id: u64) -> Option<&State> {
        self.states.get(&id)
    }

    /// A group is about to be written that does this.
    pub(crate) fn depart(&mut self, drafts: Drafts) {
        self.in_flight = drafts;
    }

    /// The group in flight came to nothing.
    pub(crate) fn turn_back(&mut self) {
        self.in_flight.clear();
    }

    /// The group in flight is durable: takes over what it did, and forgets what is
    /// too old by steady time: the stamps of blocks follow a wall clock that may jump.
    pub(crate) fn land(&mut self, now_us: u64) {
        for (id, draft) in std::mem::take(&mut self.in_flight) {
            if draft.forgets {
                self.remove(id);
            }
            if let Some(later) = draft.state {
                self.update(id, |state| state.extend(later));
            }
        }
        self.forget_while(|table, last_used_us| {
            table.is_crowded() || now_us.saturating_sub(last_used_us) > UNUSED_US_MAX
        });
    }

    /// Takes a stored block into account; those without a producer are none of
    /// ours.
    pub(crate) fn replay(&mut self, header: &Header) {
        if header.producer_id != 0 {
            self.update(header.producer_id, |state| state.append(header));
        }
    }

    /// Changes a producer's state, and forgets what is too much.
    fn update(&mut self, id: u64, change: impl FnOnce(&mut State)) {
        let state = self.states.entry(id).or_default();
        self.by_use.remove(&(state.last_used_us, id));
        self.blocks -= state.blocks.len();
        change(state);
        self.blocks += state.blocks.len();
        self.by_use.insert((state.last_used_us, id));
        self.forget_while(|table, _| table.is_crowded());
    }

    fn remove(&mut self, id: u64) {
        if let Some(state) = self.states.remove(&id) {
            self.blocks -= state.blocks.len();
            self.by_use.remove(&(state.last_used_us, id));
        }
    }

    fn is_crowded(&self) -> bool {
        self.states.len() > PRODUCERS_MAX || self.blocks > BLOCKS_MAX
    }

    /// Forgets the longest unused, again and again.
    fn forget_while(&mut self, goes: impl Fn(&Table, u64) -> bool) {
        while let Some(&(last_used_us, id)) = self.by_use.first()
            && goes(self, last_used_us)
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
    fn the_longest_unused_goes_first_and_after_a_week_everyone() {
        let mut table = Table::default();
        for id in 1..=PRODUCERS_MAX as u64 + 1 {
            table.replay(&header(id, 0, id));
        }
        assert!(table.get(1).is_none());
        assert!(table.get(2).is_some());
        let late = header(9, 1, UNUSED_US_MAX * 2);
        table.replay(&late);
        assert!(table.get(2).is_some(), "the stamp of a block tells nothing of the time");
        table.land(UNUSED_US_MAX + 3);
        assert!(table.get(2).is_some());
        table.land(UNUSED_US_MAX + 4);
        assert!(table.get(2).is_none());
        table.land(UNUSED_US_MAX * 2);
        assert_eq!(table.states.keys().collect::<Vec<_>>(), [&9]);
    }

    #[test]
    fn a_producers_oldest_block_goes_and_the_others_are_counted_once() {
        let mut table = Table::default();
        for sequence in 0..200 {
            table.replay(&header(7, sequence, sequence));
        }
        let state = table.get(7).expect("known");
        assert_eq!(state.blocks.len(), BLOCKS_OF_ONE_MAX);
        assert_eq!(state.blocks.front().map(|block| block.sequence), Some(72));
        assert_eq!((table.blocks, table.by_use.len()), (BLOCKS_OF_ONE_MAX, 1));
    }
}
