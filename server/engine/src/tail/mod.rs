//! What a log has published: its segments, its durable end, its last commits.
//!
//! ```text
//! committer ──publish──▶ Tail ──view, cached──▶ readers
//!                         └──wake──▶ who waits for more
//! ```
//!
//! One lock, held for pointer work alone. Everything published is durable. The
//! last commits stay in memory as they were written, bounded per log and for
//! all logs together, so that followers never touch the file. Of commits that were
//! written past the page cache more of them stay: each is large, and a follower a
//! little behind would have to wait for the device.

mod group;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use styx_protocol::Position;

use crate::Error;
use crate::segment::Segment;
use crate::segment::name::Offset;
use crate::sync::{AtomicU64, Mutex, lock};
use crate::wait::Wakers;

pub(crate) use group::{Group, Kept};

/// How far the newest segment is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Durable {
    pub(crate) position: Position,
    /// Where the next block will begin in the newest segment.
    pub(crate) offset: Offset,
    /// Uncompressed bytes of the newest segment's records.
    pub(crate) record_bytes: u64,
    /// Of the newest segment's first and last record; 0 without one.
    pub(crate) first_timestamp_us: u64,
    pub(crate) last_timestamp_us: u64,
}

/// A consistent picture. The last segment is the newest one.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) segments: Arc<Vec<Arc<Segment>>>,
    pub(crate) durable: Durable,
}

impl View {
    /// The first kept position.
    pub(crate) fn start(&self) -> Position {
        self.segments.first().map_or(self.durable.position, |segment| segment.base)
    }

    /// The segment that holds a position at or after [`View::start`].
    pub(crate) fn segment_of(&self, position: Position) -> Option<(usize, &Arc<Segment>)> {
        let after = self.segments.partition_point(|segment| segment.base <= position);
        let index = after.checked_sub(1)?;
        Some((index, self.segments.get(index)?))
    }

    /// Bytes of a segment that may be read.
    pub(crate) fn readable_bytes(&self, segment: &Segment) -> u64 {
        match segment.summary() {
            Some(sealed) => sealed.bytes,
            None => self.durable.offset,
        }
    }

    /// Uncompressed bytes of all records.
    pub(crate) fn record_bytes(&self) -> u64 {
        let sealed = self.segments.iter().filter_map(|segment| segment.summary());
        sealed.map(|sealed| sealed.record_bytes).sum::<u64>() + self.newest_record_bytes()
    }

    /// Bytes of all segment files, up to the durable end.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| self.readable_bytes(segment)).sum()
    }

    fn newest_record_bytes(&self) -> u64 {
        match self.segments.last() {
            Some(newest) if newest.summary().is_none() => self.durable.record_bytes,
            _ => 0,
        }
    }
}

/// Bytes of recent commits in memory, of all logs together.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Budget {
        Budget { used: AtomicUsize::new(0), max }
    }

    fn take(&self, bytes: usize) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= self.max)
            })
            .is_ok()
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// How many times as many bytes of commits stay that no page cache has.
const DIRECT_SHARE: usize = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tail {
    state: Mutex<State>,
    /// The durable position again, to be read without the lock.
    durable: AtomicU64,
    budget: Arc<Budget>,
    bytes_max: usize,
}

#[derive(Debug)]
struct State {
    view: View,
    groups: VecDeque<Group>,
    bytes: usize,
    waiting: Wakers,
    /// Who waits for the log's end alone: commits do not wake them.
    watching: Wakers,
    ended: Option<Error>,
}

impl Tail {
    pub(crate) fn new(view: View, budget: Arc<Budget>, bytes_max: usize) -> Tail {
        Tail {
            durable: AtomicU64::new(view.durable.position.0),
            state: Mutex::new(State {
                view,
                groups: VecDeque::new(),
                bytes: 0,
                waiting: Wakers::default(),
                watching: Wakers::default(),
                ended: None,
            }),
            budget,
            bytes_max,
        }
    }

    /// The durable end.
    pub(crate) fn end(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// What is published.
    pub(crate) fn view(&self) -> View {
        lock(&self.state).view.clone()
    }

    /// What is published, or why nothing is any more.
    ///
    /// # Errors
    /// The log is gone or closed.
    pub(crate) fn live_view(&self) -> Result<View, Error> {
        let state = lock(&self.state);
        match &state.ended {
            Some(error) => Err(error.clone()),
            None => Ok(state.view.clone()),
        }
    }

    /// The commits in memory from the one that holds `position` on, at least one
    /// and about `bytes_max` in all; none when that one is not in memory.
    pub(crate) fn cached(&self, position: Position, bytes_max: usize) -> Vec<Group> {
        let state = lock(&self.state);
        let first = state.groups.partition_point(|group| group.end <= position);
        let mut taken = Vec::new();
        let mut bytes = 0;
        for group in state.groups.range(first..) {
            if taken.is_empty() && group.base > position {
                break;
            }
            if !taken.is_empty() && bytes + group.bytes.len() > bytes_max {
                break;
            }
            bytes += group.bytes.len();
            taken.push(group.clone());
        }
        taken
    }

    /// Publishes a commit and wakes who waits for records, if it has some.
    pub(crate) fn publish(&self, durable: Durable, group: Group) {
        let (woken, evicted) = {
            let mut state = lock(&self.state);
            state.view.durable = durable;
            self.durable.store(durable.position.0, Ordering::Release);
            // A group of markers alone is nothing to a reader.
            match group.end > group.base {
                true => (state.waiting.drain(), self.remember(&mut state, group)),
                false => (Vec::new(), Vec::new()),
            }
        };
        drop(evicted);
        wake(woken);
    }

    /// Publishes another list of segments.
    pub(crate) fn publish_segments(&self, segments: Vec<Arc<Segment>>, durable: Durable) {
        let woken = {
            let mut state = lock(&self.state);
            state.view = View { segments: Arc::new(segments), durable };
            self.durable.store(durable.position.0, Ordering::Release);
            let start = state.view.start();
            while let Some(group) = state.groups.pop_front_if(|group| group.base < start) {
                state.bytes -= group.cost();
                self.budget.give(group.cost());
            }
            state.waiting.drain()
        };
        wake(woken);
    }

    /// Removes segments from the front; the newest stays.
    pub(crate) fn drop_segments(&self, count: usize) {
        let view = self.view();
        let kept = view.segments.iter().skip(count).cloned().collect();
        let durable = view.durable;
        self.publish_segments(kept, durable);
    }

    /// Nothing comes any more: readers get this error, and what they have open is
    /// closed with them.
    pub(crate) fn end_with(&self, error: Error) {
        let (segments, woken) = {
            let mut state = lock(&self.state);
            state.ended.get_or_insert(error);
            self.forget(&mut state);
            let mut woken = state.waiting.drain();
            woken.extend(state.watching.drain());
            (Arc::clone(&state.view.segments), woken)
        };
        wake(woken);
        for segment in segments.iter() {
            segment.retire();
        }
    }

    /// Why nothing is published any more, or registers to be woken then.
    pub(crate) fn watch(&self, key: &mut Option<u64>, waker: &Waker) -> Option<Error> {
        let mut state = lock(&self.state);
        if state.ended.is_none() {
            state.watching.register(key, waker);
        }
        state.ended.clone()
    }

    /// Takes a registration of [`Tail::watch`] back.
    pub(crate) fn unwatch(&self, key: Option<u64>) {
        lock(&self.state).watching.forget(key);
    }

    /// Registers to be woken, unless there is something beyond `position`.
    pub(crate) fn register(
        &self,
        position: Position,
        key: &mut Option<u64>,
        waker: &Waker,
    ) -> bool {
        let mut state = lock(&self.state);
        if state.view.durable.position > position || state.ended.is_some() {
            return false;
        }
        state.waiting.register(key, waker);
        true
    }

    /// Takes a registration back.
    pub(crate) fn unregister(&self, key: Option<u64>) {
        lock(&self.state).waiting.forget(key);
    }

    /// Keeps a commit, at the cost of older ones; gives back what is to be freed
    /// outside the lock.
    fn remember(&self, state: &mut State, group: Group) -> Vec<Group> {
        let bytes = group.cost();
        let bytes_max =
            self.bytes_max.saturating_mul(if group.is_direct { DIRECT_SHARE } else { 1 });
        let mut evicted = Vec::new();
        while !state.groups.is_empty() && (state.bytes + bytes > bytes_max || bytes > bytes_max) {
            evicted.extend(self.evict(state));
        }
        if bytes > bytes_max {
            return evicted;
        }
        while !self.budget.take(bytes) {
            match self.evict(state) {
                Some(group) => evicted.push(group),
                None => return evicted,
            }
        }
        state.bytes += bytes;
        state.groups.push_back(group);
        evicted
    }

    fn evict(&self, state: &mut State) -> Option<Group> {
        let group = state.groups.pop_front()?;
        state.bytes -= group.cost();
        self.budget.give(group.cost());
        Some(group)
    }

    fn forget(&self, state: &mut State) {
        self.budget.give(state.bytes);
        state.bytes = 0;
        state.groups.clear();
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.forget(&mut lock(&self.state));
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
