//! What a log has published: its segments, its durable end and its last commits.
//!
//! ```text
//! committer ──publish──▶ Tail ──view, cached──▶ readers
//!                         └──wake──▶ followers
//! ```
//!
//! One lock guards it and is held for pointer operations only. Everything that is published is
//! durable. The last commits stay in memory as they were written, so followers do not read the
//! file ([`recent`]). Their memory is bounded ([`budget`]).

mod budget;
mod group;
mod recent;

use std::sync::Arc;
use std::sync::atomic::{self, Ordering};
use std::task::Waker;

use styx_protocol::Position;

use crate::Error;
use crate::segment::Segment;
use crate::segment::name::Offset;
use crate::sync::handoff::{AtomicU64, Mutex, lock};
use crate::wait::Wakers;

use self::recent::Recent;

pub(crate) use self::budget::TailBudget;
pub(crate) use self::group::{Group, GroupBlock};

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

    /// Bytes of all segments, up to the durable end, wherever they are.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| self.readable_bytes(segment)).sum()
    }

    /// Bytes of all segment files on the disk, up to the durable end.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let local = self.segments.iter().filter(|segment| !segment.is_remote());
        local.map(|segment| self.readable_bytes(segment)).sum()
    }

    /// Bytes of the segments that are only in the object store.
    pub(crate) fn remote_bytes(&self) -> u64 {
        let remote = self.segments.iter().filter(|segment| segment.is_remote());
        remote.map(|segment| self.readable_bytes(segment)).sum()
    }

    fn newest_record_bytes(&self) -> u64 {
        match self.segments.last() {
            Some(newest) if newest.summary().is_none() => self.durable.record_bytes,
            _ => 0,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tail {
    state: Arc<Mutex<State>>,
    /// The durable position again, to be read without the lock.
    durable: AtomicU64,
    budget: Arc<TailBudget>,
    /// The most memory of commits that are in the page cache too.
    bytes_max: usize,
}

#[derive(Debug)]
struct State {
    view: View,
    recent: Recent,
    followers: Wakers,
    /// Tasks that wait only for the log to be closed: commits do not wake them.
    close_watchers: Wakers,
    closed: Option<Error>,
}

impl Tail {
    pub(crate) fn new(view: View, budget: Arc<TailBudget>, bytes_max: usize) -> Tail {
        Tail {
            durable: AtomicU64::new(view.durable.position.0),
            state: Arc::new(Mutex::new(State {
                view,
                recent: Recent::default(),
                followers: Wakers::default(),
                close_watchers: Wakers::default(),
                closed: None,
            })),
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
        lock(&self.state).recent.from(position, bytes_max)
    }

    /// Publishes a commit, and wakes the followers if it contains records.
    pub(crate) fn publish(&self, durable: DurableEnd, group: Group) {
        // A group of markers alone contains nothing for a reader.
        let has_records = group.end > group.base;
        let is_kept = has_records && group.is_direct && self.make_room(group.cost());
        let (wakers, evicted) = {
            let mut state = lock(&self.state);
            self.set_durable(&mut state, durable);
            let evicted = match (has_records, group.is_direct) {
                (true, false) => state.recent.add_buffered(group, self.bytes_max, &self.budget),
                (true, true) if is_kept => {
                    state.recent.add_direct(self.budget.next_direct_commit(), group);
                    Vec::new()
                }
                _ => vec![group],
            };
            (if has_records { state.followers.drain() } else { Vec::new() }, evicted)
        };
        drop(evicted);
        wake(wakers);
    }

    /// Takes memory for a commit that was written past the page cache. Returns `false` if there is
    /// not enough.
    fn make_room(&self, bytes: usize) -> bool {
        if self.bytes_max == 0 {
            return false;
        }
        let (evicted, is_new) = {
            let mut state = lock(&self.state);
            let evicted = state.recent.make_room(bytes, self.bytes_max, &self.budget);
            (evicted, !std::mem::replace(&mut state.recent.is_in_budget, true))
        };
        if is_new {
            self.budget.add_log(&self.state);
        }
        drop(evicted);
        self.budget.take_direct(bytes)
    }

    /// Adds a reader, whose position the caller updates. While it is behind, direct commits after
    /// its position are kept in memory. It is removed when the caller drops it.
    pub(crate) fn add_reader(&self, position: &Arc<atomic::AtomicU64>) {
        lock(&self.state).recent.add_reader(position);
    }

    /// Publishes a commit that is not kept in memory, because it is too large, and wakes the
    /// followers.
    pub(crate) fn publish_uncached(&self, durable: DurableEnd) {
        let wakers = {
            let mut state = lock(&self.state);
            self.set_durable(&mut state, durable);
            state.followers.drain()
        };
        wake(wakers);
    }

    /// Publishes the next segment after a roll. The caller holds the lock of the log's end.
    pub(crate) fn push_segment(&self, segment: Arc<Segment>, durable: DurableEnd) {
        self.change(|view| {
            let segments = view.segments.iter().cloned().chain([segment]);
            View { segments: Arc::new(segments.collect()), durable }
        });
    }

    /// Removes the segments before the one that begins at `start`; the newest stays. Commits and
    /// rolls may happen meanwhile, and what they have published stays.
    pub(crate) fn drop_segments_before(&self, start: Position) {
        self.change(|view| {
            let before = view.segments.partition_point(|segment| segment.base < start);
            let removed = before.min(view.segments.len().saturating_sub(1));
            let kept = view.segments.iter().skip(removed).cloned();
            View { segments: Arc::new(kept.collect()), durable: view.durable }
        });
    }

    /// Publishes other segments and another end. The caller is the only one that changes the log.
    pub(crate) fn replace(&self, segments: Vec<Arc<Segment>>, durable: DurableEnd) {
        self.change(|_| View { segments: Arc::new(segments), durable });
    }

    /// Changes the view under the lock: what another thread publishes meanwhile must not be lost.
    fn change(&self, change: impl FnOnce(&View) -> View) {
        let (wakers, removed) = {
            let mut state = lock(&self.state);
            let View { segments, durable } = change(&state.view);
            let old = std::mem::replace(&mut state.view.segments, segments);
            self.set_durable(&mut state, durable);
            let start = state.view.start();
            let removed = (old, state.recent.remove_before(start, &self.budget));
            (state.followers.drain(), removed)
        };
        drop(removed);
        wake(wakers);
    }

    fn set_durable(&self, state: &mut State, durable: DurableEnd) {
        let (old, new) = (state.view.durable.position, durable.position);
        debug_assert!(new >= old, "the durable end moves back from {old} to {new}");
        self.durable.store(new.0, Ordering::Release);
        state.view.durable = durable;
    }

    /// Closes the tail: readers get this error, and their open files are closed when they drop
    /// them.
    pub(crate) fn close_with(&self, error: Error) {
        let (segments, wakers, removed) = {
            let mut state = lock(&self.state);
            state.closed.get_or_insert(error);
            let removed = self.forget(&mut state);
            let mut wakers = state.followers.drain();
            wakers.extend(state.close_watchers.drain());
            (Arc::clone(&state.view.segments), wakers, removed)
        };
        drop(removed);
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

    /// Whether a task waits for records.
    pub(crate) fn has_followers(&self) -> bool {
        !lock(&self.state).followers.is_empty()
    }

    /// Removes a registration of [`Tail::register`].
    pub(crate) fn unregister(&self, key: Option<u64>) {
        lock(&self.state).followers.unregister(key);
    }

    /// Removes all commits from memory. Returns them, to be freed outside the lock.
    fn forget(&self, state: &mut State) -> Vec<Group> {
        state.recent.remove_before(Position(u64::MAX), &self.budget)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let removed = self.forget(&mut lock(&self.state));
        drop(removed);
    }
}

fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
