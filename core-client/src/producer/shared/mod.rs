//! [`Shared`]: what callers' threads and the link have in common.
//!
//! ```text
//! append ─▶ Filling ─▶ link          one short lock; no wait and no I/O under it
//!   ▲ room    │ settled ▲ news       three notifications
//! ```
//! What callers do is in `calls`, what the link does in `turns`. The link is woken
//! only when it waits for that; appends are woken one at a time, each passing on
//! what room it leaves.

mod calls;
mod turns;

pub(super) use turns::{Asked, Turn, Wish};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::ack::Outcome;
use super::filling::{Filling, Limits};
use crate::completion::Source;
use crate::error::Error;
use crate::runtime::Process;

/// Looks at a lock before the process is asked for: a child that was forked
/// while another thread held it would wait for ever.
const TRIES: usize = 64;
/// Failed blocks that are remembered until somebody has been told.
const UNSEEN_MAX: usize = 1024;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    process: Process,
    linger: Duration,
    /// One append may go on.
    room: Notify,
    /// Blocks were settled, or the producer ended.
    settled: Notify,
    /// There is something for the link to look at.
    news: Notify,
}

#[derive(Debug)]
struct State {
    filling: Filling,
    phase: Phase,
    /// The link can send and has nothing to.
    link_waits: bool,
    /// Records before this sequence do not linger.
    flush_before: u64,
    /// Records before this sequence are settled.
    settled_before: u64,
    unseen: Vec<Arc<Outcome>>,
    unchecked_records: u32,
    /// The link is gone: nothing changes any more.
    ended: bool,
    /// Told of everything that waiting callers are woken for.
    source: Option<Source>,
}

/// Whether records are taken.
#[derive(Debug, Clone)]
enum Phase {
    Open,
    /// What was appended is to be sent, until the given time.
    Closing(Instant),
    /// Nobody cares any more.
    Abandoned,
    /// No more records, for this reason.
    Failed(Error),
}

impl Shared {
    pub(super) fn new(limits: Limits, linger: Duration, process: Process) -> Shared {
        let state = State {
            filling: Filling::new(limits, process),
            phase: Phase::Open,
            link_waits: false,
            flush_before: 0,
            settled_before: 0,
            unseen: Vec::new(),
            unchecked_records: 0,
            ended: false,
            source: None,
        };
        Shared {
            state: Mutex::new(state),
            process,
            linger,
            room: Notify::new(),
            settled: Notify::new(),
            news: Notify::new(),
        }
    }

    /// Wakes everybody who waits for records to be settled or for the end.
    fn tell(&self) {
        self.settled.notify_waiters();
        let source = self.lock().source.clone();
        if let Some(source) = source {
            source.ready();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, for a caller that may be a forked child.
    #[allow(
        clippy::inline_always,
        reason = "a call costs 27 instructions of some 360 that an append has"
    )]
    #[inline(always)]
    fn lock_here(&self) -> Result<MutexGuard<'_, State>, Error> {
        for _ in 0..TRIES {
            match self.state.try_lock() {
                Ok(state) => return Ok(state),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        self.process.check()?;
        Ok(self.lock())
    }
}

#[cfg(test)]
impl Shared {
    /// Holds the lock as a thread does that was not forked along.
    pub(super) fn hold(&self) -> impl Drop + '_ {
        self.lock()
    }
}

impl State {
    /// Why no record is taken any more.
    fn refusal(&self) -> Error {
        match &self.phase {
            Phase::Failed(error) => error.clone().with_maybe_appended(false),
            _ => Error::closed("producer"),
        }
    }

    /// Keeps a failed block until somebody has been told.
    fn remember(&mut self, failed: Arc<Outcome>) {
        if self.unseen.len() >= UNSEEN_MAX {
            self.unseen.retain(|block| block.unseen_failure().is_some());
        }
        // So many that were not told will be told by the first of them.
        if self.unseen.len() < UNSEEN_MAX {
            self.unseen.push(failed);
        }
    }

    /// The first failure that nobody has been told, which is now.
    fn take_unseen(&mut self) -> Option<Error> {
        let failures = std::mem::take(&mut self.unseen);
        let first = failures.iter().find_map(|block| block.unseen_failure());
        failures.iter().for_each(|block| block.mark_seen());
        first
    }
}
