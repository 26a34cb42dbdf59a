//! [`Recent`]: the last commits of one log, as they were written.
//!
//! ```text
//! buffered   [group][group][group]     in the page cache too, so few are kept
//! direct     [group]      [group]      only here and on the device
//! ```
//!
//! A commit is in one of the two queues, ordered by position. Between the commits may be others
//! that are not in memory. Usually few of both kinds are kept. While a reader is behind, all
//! direct commits after its position are kept, as far as the budget allows. Memory that was never
//! used is slow to fill, so this is not done without such a reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use styx_protocol::Position;

use super::budget::TailBudget;
use super::group::Group;

/// The factor by which more is kept of direct commits, without a reader that is behind. A reader
/// that does not find one in memory would have to wait for the device.
const DIRECT_SHARE: usize = 3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Written through the page cache.
    buffered: VecDeque<Group>,
    /// The memory of these.
    buffered_bytes: usize,
    /// Written past the page cache, each with its number among those of all logs.
    direct: VecDeque<(u64, Group)>,
    /// The memory of these.
    direct_bytes: usize,
    /// The positions of the readers.
    readers: Vec<Weak<AtomicU64>>,
    /// The budget knows that this log may have direct commits.
    pub(super) is_in_budget: bool,
}

impl Recent {
    /// The consecutive commits, beginning with the one that holds `position`: at least one, and
    /// about `bytes_max` bytes. Empty if that commit is not here.
    pub(super) fn from(&self, position: Position, bytes_max: usize) -> Vec<Group> {
        let mut taken: Vec<Group> = Vec::new();
        let (mut next, mut bytes) = (position, 0);
        loop {
            let begun = taken.len();
            let first = self.buffered.partition_point(|group| group.end <= next);
            let buffered = self.buffered.range(first..);
            let first = self.direct.partition_point(|(_, group)| group.end <= next);
            let direct = self.direct.range(first..).map(|(_, group)| group);
            // At most one of the queues holds `next`.
            let is_buffered = buffered.clone().next().is_some_and(|group| group.base <= next);
            let mut add = |group: &Group| {
                let is_next = group.base <= next;
                let fits = taken.is_empty() || bytes + group.bytes.len() <= bytes_max;
                if is_next && fits {
                    bytes += group.bytes.len();
                    next = group.end;
                    taken.push(group.clone());
                }
                is_next && fits
            };
            match is_buffered {
                true => buffered.take_while(|group| add(group)).for_each(drop),
                false => direct.take_while(|group| add(group)).for_each(drop),
            }
            if taken.len() == begun {
                return taken;
            }
        }
    }

    /// Keeps a commit that is in the page cache too, and evicts older ones of its kind for it.
    /// Returns the evicted ones, to be freed outside the lock.
    pub(super) fn add_buffered(
        &mut self,
        group: Group,
        bytes_max: usize,
        budget: &TailBudget,
    ) -> Vec<Group> {
        let bytes = group.cost();
        let mut evicted = Vec::new();
        while self.buffered_bytes + bytes > bytes_max || !budget.take_buffered(bytes) {
            let Some(oldest) = self.buffered.pop_front() else {
                evicted.push(group);
                return evicted;
            };
            self.buffered_bytes -= oldest.cost();
            budget.release_buffered(oldest.cost());
            evicted.push(oldest);
        }
        self.buffered_bytes += bytes;
        self.buffered.push_back(group);
        evicted
    }

    /// Evicts direct commits that no reader needs, to make room for one of this size. The limit is
    /// that of the buffered ones. Returns the evicted ones, to be freed outside the lock.
    pub(super) fn make_room(
        &mut self,
        bytes: usize,
        bytes_max: usize,
        budget: &TailBudget,
    ) -> Vec<Group> {
        let bytes_max = bytes_max.saturating_mul(DIRECT_SHARE);
        let mut evicted = Vec::new();
        if self.direct_bytes + bytes <= bytes_max {
            return evicted;
        }
        let needed = self.first_needed();
        while self.direct_bytes + bytes > bytes_max
            && let Some((_, group)) = self.direct.pop_front_if(|(_, group)| group.end <= needed)
        {
            self.direct_bytes -= group.cost();
            budget.release_direct(group.cost());
            evicted.push(group);
        }
        evicted
    }

    /// The lowest position of a reader among the direct commits; a reader before them does not
    /// count.
    fn first_needed(&mut self) -> Position {
        let Some((_, oldest)) = self.direct.front() else { return Position(u64::MAX) };
        let (from, mut first) = (oldest.base.0, u64::MAX);
        self.readers.retain(|reader| {
            let Some(position) = reader.upgrade() else { return false };
            let position = position.load(Ordering::Relaxed);
            first = first.min(if position < from { u64::MAX } else { position });
            true
        });
        Position(first)
    }

    /// Keeps a direct commit. The caller has taken its memory from the budget.
    pub(super) fn add_direct(&mut self, commit: u64, group: Group) {
        self.direct_bytes += group.cost();
        self.direct.push_back((commit, group));
    }

    /// The number of the oldest direct commit.
    pub(super) fn oldest_direct(&self) -> Option<u64> {
        self.direct.front().map(|(commit, _)| *commit)
    }

    /// Removes the oldest direct commit, if it has this number. The caller returns its memory to
    /// the budget.
    pub(super) fn evict_direct(&mut self, commit: u64) -> Option<Group> {
        let (_, group) = self.direct.pop_front_if(|(number, _)| *number == commit)?;
        self.direct_bytes -= group.cost();
        Some(group)
    }

    /// Removes all commits that begin before `start`. Returns them, to be freed outside the lock.
    pub(super) fn remove_before(&mut self, start: Position, budget: &TailBudget) -> Vec<Group> {
        let mut removed = Vec::new();
        while let Some(group) = self.buffered.pop_front_if(|group| group.base < start) {
            self.buffered_bytes -= group.cost();
            budget.release_buffered(group.cost());
            removed.push(group);
        }
        while let Some((_, group)) = self.direct.pop_front_if(|(_, group)| group.base < start) {
            self.direct_bytes -= group.cost();
            budget.release_direct(group.cost());
            removed.push(group);
        }
        removed
    }

    /// Adds a reader, whose position the caller updates. It is removed when the caller drops it.
    pub(super) fn add_reader(&mut self, position: &Arc<AtomicU64>) {
        if self.readers.len() == self.readers.capacity() {
            self.readers.retain(|reader| reader.strong_count() > 0);
        }
        self.readers.push(Arc::downgrade(position));
    }
}
