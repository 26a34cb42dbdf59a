//! [`Logs`]: which logs have work, and the state of each.
//!
//! The engine tells news while it holds locks of a log, so telling only marks the log and wakes the
//! dispatcher. Invariant: a log has at most one task. News that arrive while it runs are looked at
//! before it ends.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use styx_protocol::{LogId, LogName, Position};
use tokio::sync::Notify;

/// News that the engine tells about a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It was opened, a segment was sealed, or segments were removed from its start.
    Changed,
    /// It was deleted or truncated.
    Removed,
}

/// Whether a log is archived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogStatus {
    /// Nothing is known yet: the log has had nothing to archive since the start.
    #[default]
    Idle,
    /// Segments are being uploaded, or all are archived.
    Archiving,
    /// The last attempt failed for this reason. There will be another.
    Waiting(String),
    /// Another server archives this log: its name. This server no longer does.
    Fenced {
        /// The name of the other server's machine.
        by: String,
    },
    /// The log cannot be archived, for this reason: for example, a segment is damaged.
    Halted(String),
}

/// A log with news.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LogKey {
    pub(super) id: LogId,
    pub(super) name: LogName,
}

/// The work that waits for a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) changed: bool,
    pub(super) removed: bool,
}

/// The numbers of a log for metrics.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lag {
    /// The bytes of sealed segments that are not archived.
    pub(super) bytes: u64,
    /// The timestamp of the oldest record in them, in µs since the epoch; 0 without any.
    pub(super) oldest_us: u64,
}

#[derive(Debug, Default)]
struct State {
    pending: HashMap<LogKey, Pending>,
    running: HashSet<LogKey>,
    /// Files are being evicted because the disk is full.
    is_evicting: bool,
    /// The start positions that the manifests are known to have.
    starts: HashMap<LogKey, Position>,
    status: HashMap<LogName, LogStatus>,
    lag: HashMap<LogName, Lag>,
}

/// The logs of the archiver.
#[derive(Debug, Default)]
pub(super) struct Logs {
    state: Mutex<State>,
    pub(super) wake: Notify,
}

impl Logs {
    /// Marks a log and wakes the dispatcher.
    pub(super) fn tell(&self, name: &LogName, id: LogId, news: News) {
        let key = LogKey { id, name: name.clone() };
        let mut state = self.state();
        let pending = state.pending.entry(key).or_default();
        match news {
            News::Changed => pending.changed = true,
            News::Removed => pending.removed = true,
        }
        drop(state);
        self.wake.notify_one();
    }

    /// The logs with news that have no task. They have one from now on.
    pub(super) fn begin(&self) -> Vec<LogKey> {
        let mut state = self.state();
        let idle: Vec<LogKey> =
            state.pending.keys().filter(|key| !state.running.contains(key)).cloned().collect();
        state.running.extend(idle.iter().cloned());
        idle
    }

    /// Takes the news of a log. Without any, the task of the log has ended.
    pub(super) fn take(&self, key: &LogKey) -> Option<Pending> {
        let mut state = self.state();
        let pending = state.pending.remove(key);
        if pending.is_none() {
            state.running.remove(key);
        }
        pending
    }

    /// Adds the news that arrived during the work for earlier ones.
    pub(super) fn take_more(&self, key: &LogKey, pending: &mut Pending) {
        if let Some(more) = self.state().pending.remove(key) {
            pending.changed |= more.changed;
            pending.removed |= more.removed;
        }
    }

    /// Whether no eviction because of a full disk is under way. One is, from now on.
    pub(super) fn begin_eviction(&self) -> bool {
        !std::mem::replace(&mut self.state().is_evicting, true)
    }

    pub(super) fn end_eviction(&self) {
        self.state().is_evicting = false;
    }

    /// The start position that the manifest of a log has, if it is known.
    pub(super) fn start(&self, key: &LogKey) -> Option<Position> {
        self.state().starts.get(key).copied()
    }

    pub(super) fn set_start(&self, key: &LogKey, start: Position) {
        self.state().starts.insert(key.clone(), start);
    }

    pub(super) fn set_status(&self, name: &LogName, status: LogStatus) {
        self.state().status.insert(name.clone(), status);
    }

    pub(super) fn set_lag(&self, name: &LogName, lag: Lag) {
        self.state().lag.insert(name.clone(), lag);
    }

    /// Forgets a log that was removed.
    pub(super) fn forget(&self, key: &LogKey) {
        let mut state = self.state();
        state.starts.remove(key);
        state.status.remove(&key.name);
        state.lag.remove(&key.name);
    }

    pub(super) fn status(&self, name: &LogName) -> LogStatus {
        self.state().status.get(name).cloned().unwrap_or_default()
    }

    /// The number of fenced logs, of halted ones, and the lag of all together.
    pub(super) fn totals(&self) -> (u64, u64, Lag) {
        let state = self.state();
        let count = |wanted: fn(&LogStatus) -> bool| {
            state.status.values().filter(|status| wanted(status)).count() as u64
        };
        let oldest = state.lag.values().map(|lag| lag.oldest_us).filter(|oldest| *oldest > 0).min();
        let bytes = state.lag.values().map(|lag| lag.bytes).sum();
        (
            count(|status| matches!(status, LogStatus::Fenced { .. })),
            count(|status| matches!(status, LogStatus::Halted(_))),
            Lag { bytes, oldest_us: oldest.unwrap_or(0) },
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
