//! [`TailBudget`]: the memory of the recent commits of all logs together.
//!
//! Commits that are in the page cache too share a small budget: a log that finds it used evicts
//! its own. Commits that were written past the page cache share a large one, which evicts the
//! oldest of all logs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{self, Arc, Weak};

use super::State;
use crate::sync::handoff::{self, Mutex};
use crate::sync::lock;

/// See the module.
#[derive(Debug)]
pub(crate) struct TailBudget {
    buffered: AtomicUsize,
    buffered_max: usize,
    direct: AtomicUsize,
    direct_max: usize,
    /// The number of commits so far that were written past the page cache.
    direct_commits: AtomicU64,
    /// The logs that may have such commits in memory. Each has at most one entry.
    direct_logs: sync::Mutex<Vec<Weak<Mutex<State>>>>,
}

fn take(used: &AtomicUsize, bytes: usize, bytes_max: usize) -> bool {
    let add = |used: usize| used.checked_add(bytes).filter(|used| *used <= bytes_max);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

impl TailBudget {
    pub(crate) fn new(buffered_max: usize, direct_max: usize) -> TailBudget {
        TailBudget {
            buffered: AtomicUsize::new(0),
            buffered_max,
            direct: AtomicUsize::new(0),
            direct_max,
            direct_commits: AtomicU64::new(0),
            direct_logs: sync::Mutex::default(),
        }
    }

    /// Takes memory for a commit that is in the page cache too; returns whether there is enough.
    pub(super) fn take_buffered(&self, bytes: usize) -> bool {
        take(&self.buffered, bytes, self.buffered_max)
    }

    /// Returns memory of [`take_buffered`](Self::take_buffered).
    pub(super) fn release_buffered(&self, bytes: usize) {
        self.buffered.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes memory for a commit that was written past the page cache, and evicts the oldest ones
    /// of all logs for it. Returns `false` if there is not enough. The caller must not hold the
    /// lock of a log.
    pub(super) fn take_direct(&self, bytes: usize) -> bool {
        while !take(&self.direct, bytes, self.direct_max) {
            if bytes > self.direct_max || !self.evict_oldest() {
                return false;
            }
        }
        true
    }

    /// Returns memory of [`take_direct`](Self::take_direct).
    pub(super) fn release_direct(&self, bytes: usize) {
        self.direct.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The number of the next commit, which orders the commits of all logs by age.
    pub(super) fn next_direct_commit(&self) -> u64 {
        self.direct_commits.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a log that had no direct commit in memory before.
    pub(super) fn add_log(&self, log: &Arc<Mutex<State>>) {
        lock(&self.direct_logs).push(Arc::downgrade(log));
    }

    /// Evicts the oldest commit that was written past the page cache; returns whether there was
    /// one.
    fn evict_oldest(&self) -> bool {
        let mut oldest: Option<(u64, Arc<Mutex<State>>)> = None;
        lock(&self.direct_logs).retain(|log| {
            let Some(log) = log.upgrade() else { return false };
            let mut state = handoff::lock(&log);
            let Some(commit) = state.recent.oldest_direct() else {
                state.recent.is_in_budget = false;
                return false;
            };
            drop(state);
            if oldest.as_ref().is_none_or(|(oldest, _)| commit < *oldest) {
                oldest = Some((commit, log));
            }
            true
        });
        let Some((commit, log)) = oldest else { return false };
        // Another thread may have evicted it meanwhile, which is as good.
        let evicted = handoff::lock(&log).recent.evict_direct(commit);
        if let Some(group) = evicted {
            self.release_direct(group.cost());
        }
        true
    }
}
