//! What a log has published: its segments, its durable end and its last commits.
//!
//! ```text
//! committer ──publish──▶ Tail ──view, cached──▶ readers
//!                         └──wake──▶ followers
//! ```
//!
//! One lock guards it and is held for pointer operations only. Everything that is published is
//! durable. The last commits stay in memory as they were written, so followers do not read the
//! file. Their memory is bounded per log and for all logs together. Commits that were written
//! past the page cache may use more of it: each is large, and a follower that falls a little
//! behind would have to wait for the device.

mod group;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use styx_protocol::Position;

use crate::Error;
use crate::segment::Segment;
use crate::segment::name::Offset;
use crate::sync::handoff::{AtomicU64, Mutex, lock};
use crate::wait::Wakers;

pub(crate) use group::{Group, GroupBlock};

/// How far the newest segment is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DurableEnd {
    pub(crate) position: Position,
    /// Where the next block will begin in the newest segment.
    pub(crate) offset: Offset,
    /// Uncompressed bytes of the newest segment's records.
    pub(crate) record_bytes: u64,
    /// Timestamps of the newest segment's first and last record; 0 without records.
    pub(crate) first_timestamp_us: u64,
    pub(crate) last_timestamp_us: u64,
}

/// A consistent view of the published state. The last segment is the newest.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) segments: Arc<Vec<Arc<Segment>>>,
    pub(crate) durable: DurableEnd,
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

/// The memory of the recent commits of all logs together.
#[derive(Debug)]
pub(crate) struct TailBudget {
    used: AtomicUsize,
    max: usize,
}

impl TailBudget {
    pub(crate) fn new(max: usize) -> TailBudget {
        TailBudget { used: AtomicUsize::new(0), max }
    }

    fn take(&self, bytes: usize) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= self.max)
            })
            .is_ok()
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The factor by which the limit per log is larger for commits that are not in the page cache.
const DIRECT_SHARE: usize = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tail {
    state: Mutex<State>,
    /// The durable position again, to be read without the lock.
    durable: AtomicU64,
    budget: Arc<TailBudget>,
    bytes_max: usize,
}

#[derive(Debug)]
struct State {
    view: View,
    groups: VecDeque<Group>,
    bytes: usize,
    followers: Wakers,
    /// Tasks that wait only for the log to be closed: commits do not wake them.
    close_watchers: Wakers,
    closed: Option<Error>,
}

impl Tail {
    pub(crate) fn new(view: View, budget: Arc<TailBudget>, bytes_max: usize) -> Tail {
        Tail {
            durable: AtomicU64::new(view.durable.position.0),
            state: Mutex::new(State {
                view,
                groups: VecDeque::new(),
                bytes: 0,
                followers: Wakers::default(),
                close_watchers: Wakers::default(),
                closed: None,
            }),
            budget,
            bytes_max,
        }
    }

    /// The durable end.
    pub(crate) fn end(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// The published state.
    pub(crate) fn view(&self) -> View {
        lock(&self.state).view.clone()
    }

    /// The published state, unless the log is closed.
    ///
    /// # Errors
    /// The log was removed or closed.
    pub(crate) fn live_view(&self) -> Result<View, Error> {
        let state = lock(&self.state);
        match &state.closed {
            Some(error) => Err(error.clone()),
            None => Ok(state.view.clone()),
        }
    }

    /// The commits in memory, beginning with the one that holds `position`: at least one, and about
    /// `bytes_max` bytes. Empty if that commit is not in memory.
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

    /// Publishes a commit, and wakes the followers if it contains records.
    pub(crate) fn publish(&self, durable: DurableEnd, group: Group) {
        let (wakers, evicted) = {
            let mut state = lock(&self.state);
            state.view.durable = durable;
            self.durable.store(durable.position.0, Ordering::Release);
            // A group of markers alone contains nothing for a reader.
            match group.end > group.base {
                true => (state.followers.drain(), self.remember(&mut state, group)),
                false => (Vec::new(), Vec::new()),
            }
        };
        drop(evicted);
        wake(wakers);
    }

    /// Publishes a commit that is not kept in memory, because it is too large, and wakes the
    /// followers. The commits in memory must follow each other, so earlier ones are evicted.
    pub(crate) fn publish_uncached(&self, durable: DurableEnd) {
        let (wakers, evicted) = {
            let mut state = lock(&self.state);
            state.view.durable = durable;
            self.durable.store(durable.position.0, Ordering::Release);
            let mut evicted = Vec::new();
            while let Some(group) = self.evict(&mut state) {
                evicted.push(group);
            }
            (state.followers.drain(), evicted)
        };
        drop(evicted);
        wake(wakers);
    }

    /// Publishes a new list of segments.
    pub(crate) fn publish_segments(&self, segments: Vec<Arc<Segment>>, durable: DurableEnd) {
        let wakers = {
            let mut state = lock(&self.state);
            state.view = View { segments: Arc::new(segments), durable };
            self.durable.store(durable.position.0, Ordering::Release);
            let start = state.view.start();
            while let Some(group) = state.groups.pop_front_if(|group| group.base < start) {
                state.bytes -= group.cost();
                self.budget.release(group.cost());
            }
            state.followers.drain()
        };
        wake(wakers);
    }

    /// Removes segments from the front; the newest stays.
    pub(crate) fn drop_segments(&self, count: usize) {
        let view = self.view();
        let block = view.segments.iter().skip(count).cloned().collect();
        let durable = view.durable;
        self.publish_segments(block, durable);
    }

    /// Closes the tail: readers get this error, and their open files are closed when they drop
    /// them.
    pub(crate) fn close_with(&self, error: Error) {
        let (segments, wakers) = {
            let mut state = lock(&self.state);
            state.closed.get_or_insert(error);
            self.forget(&mut state);
            let mut wakers = state.followers.drain();
            wakers.extend(state.close_watchers.drain());
            (Arc::clone(&state.view.segments), wakers)
        };
        wake(wakers);
        for segment in segments.iter() {
            segment.retire();
        }
    }

    /// Returns why the tail is closed, or registers a waker to be woken then.
    pub(crate) fn register_close(&self, key: &mut Option<u64>, waker: &Waker) -> Option<Error> {
        let mut state = lock(&self.state);
        if state.closed.is_none() {
            state.close_watchers.register(key, waker);
        }
        state.closed.clone()
    }

    /// Removes a registration of [`Tail::register_close`].
    pub(crate) fn unregister_close(&self, key: Option<u64>) {
        lock(&self.state).close_watchers.unregister(key);
    }

    /// Registers a waker for records beyond `position`; returns `false` if there are some now.
    pub(crate) fn register(
        &self,
        position: Position,
        key: &mut Option<u64>,
        waker: &Waker,
    ) -> bool {
        let mut state = lock(&self.state);
        if state.view.durable.position > position || state.closed.is_some() {
            return false;
        }
        state.followers.register(key, waker);
        true
    }

    /// Removes a registration of [`Tail::register`].
    pub(crate) fn unregister(&self, key: Option<u64>) {
        lock(&self.state).followers.unregister(key);
    }

    /// Keeps a commit in memory and evicts older ones for it. Returns the evicted ones, to be freed
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
        self.budget.release(group.cost());
        Some(group)
    }

    fn forget(&self, state: &mut State) {
        self.budget.release(state.bytes);
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
