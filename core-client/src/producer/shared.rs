//! [`ProducerShared`]: the state that callers' threads share with the producer's task.
//!
//! ```text
//! append ─▶ PendingBlocks ─▶ task    one short lock; no wait and no I/O under it
//!   ▲ space   │ settled   ▲ work     three notifications
//! ```
//! `calls` has the methods for callers, `work` has those for the task. The task is
//! only notified while it waits for records. Waiting appends are woken one at a
//! time; each of them wakes the next one if it leaves space.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::ack::{BlockOutcome, SettledBlock};
use super::pending::{Limits, PendingBlocks};
use super::settled::{Settled, SettledBlocks};
use super::stats::SettledCounts;
use crate::activity::Activity;
use crate::completion::Source;
use crate::error::Error;
use crate::process::Process;

/// How often the lock is tried before the process id is checked. If another thread
/// held the lock during a fork, a child that simply locks would wait forever.
const TRIES: usize = 64;
/// Failed blocks that are remembered until an error was reported to the caller.
const UNREPORTED_MAX: usize = 1024;

#[derive(Debug)]
pub(crate) struct ProducerShared {
    state: Mutex<ProducerState>,
    pub(super) process: Process,
    pub(super) linger: Duration,
    /// The connections. Written by the task.
    pub(super) activity: Arc<Activity>,
    /// One waiting append may continue.
    pub(super) space: Notify,
    /// Blocks were settled, or the producer ended.
    pub(super) settled: Notify,
    /// The task has something to do.
    pub(super) work: Notify,
}

#[derive(Debug)]
pub(super) struct ProducerState {
    pub(super) pending: PendingBlocks,
    pub(super) phase: Phase,
    /// The task could send a block, but none is due.
    pub(super) task_waits: bool,
    /// Records before this sequence do not linger.
    pub(super) flush_before: u64,
    /// Records before this sequence are settled.
    pub(super) settled_before: u64,
    pub(super) counts: SettledCounts,
    /// Outcomes that the caller has not taken.
    pub(super) settled: SettledBlocks,
    /// Failed blocks whose error was not reported to the caller yet.
    pub(super) unreported: Vec<Arc<BlockOutcome>>,
    pub(super) unchecked_records: u32,
    /// The task has ended: nothing changes any more.
    pub(super) ended: bool,
    /// Notified of everything that wakes waiting callers.
    pub(super) source: Option<Source>,
}

/// Whether the producer accepts records.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Open,
    /// Pending records are still sent, until the given time.
    Closing {
        before: Instant,
        limit: CloseLimit,
    },
    /// The producer was dropped.
    Abandoned,
    /// The producer ended with this error.
    Failed(Error),
}

/// How long closing may take, and where that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloseLimit {
    pub(crate) within: Duration,
    /// The option or argument, for the error.
    pub(crate) name: &'static str,
}

impl ProducerShared {
    pub(super) fn new(
        limits: Limits,
        linger: Duration,
        track_settled: bool,
        process: Process,
    ) -> ProducerShared {
        let state = ProducerState {
            pending: PendingBlocks::new(limits, process),
            phase: Phase::Open,
            task_waits: false,
            flush_before: 0,
            settled_before: 0,
            counts: SettledCounts::default(),
            settled: SettledBlocks::new(track_settled),
            unreported: Vec::new(),
            unchecked_records: 0,
            ended: false,
            source: None,
        };
        ProducerShared {
            state: Mutex::new(state),
            process,
            linger,
            activity: Arc::new(Activity::new()),
            space: Notify::new(),
            settled: Notify::new(),
            work: Notify::new(),
        }
    }

    /// Wakes every caller that waits for records to be settled or for the end.
    pub(super) fn notify_settled(&self, source: Option<Source>) {
        self.settled.notify_waiters();
        if let Some(source) = source {
            source.ready();
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ProducerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, for a caller that may be a forked child.
    #[allow(
        clippy::inline_always,
        reason = "a call costs 27 instructions of some 360 that an append has"
    )]
    #[inline(always)]
    pub(super) fn lock_unless_forked(&self) -> Result<MutexGuard<'_, ProducerState>, Error> {
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
impl ProducerShared {
    /// Holds the lock, as a thread does that a fork did not copy.
    pub(super) fn hold(&self) -> impl Drop + '_ {
        self.lock()
    }
}

impl ProducerState {
    /// Why the producer does not accept records.
    pub(super) fn closed_error(&self) -> Error {
        match &self.phase {
            Phase::Failed(error) => error.clone().with_maybe_appended(false),
            _ => Error::closed("producer"),
        }
    }

    /// A block leaves what is in flight.
    pub(super) fn release(&mut self, block: &SettledBlock) {
        self.pending.release(block.raw_bytes);
        self.counts.count(block);
    }

    /// Keeps the outcome of a block for callers that take it later.
    pub(super) fn keep_settled(&mut self, block: SettledBlock) {
        self.settled.push(|| block.to_settled());
        if self.settled.is_full() {
            self.pending.hold(true);
        }
        if block.result.is_err() {
            self.keep_unreported(block.outcome);
        }
    }

    /// Moves the outcomes that were not taken into `into`. Returns whether appends may
    /// continue that waited for it.
    pub(super) fn take_settled(&mut self, into: &mut Vec<Settled>) -> bool {
        let had_space = self.pending.has_space();
        self.settled.take(into);
        self.pending.hold(false);
        !had_space && self.pending.has_space()
    }

    /// Keeps a failed block until its error was reported.
    fn keep_unreported(&mut self, failed: Arc<BlockOutcome>) {
        if self.unreported.len() >= UNREPORTED_MAX {
            self.unreported.retain(|block| block.unreported_failure().is_some());
        }
        // The first of this many unreported failures is reported in place of the rest.
        if self.unreported.len() < UNREPORTED_MAX {
            self.unreported.push(failed);
        }
    }

    /// The first unreported failure. All of them count as reported from now on.
    pub(super) fn take_unreported(&mut self) -> Option<Error> {
        let failures = std::mem::take(&mut self.unreported);
        let first = failures.iter().find_map(|block| block.unreported_failure());
        failures.iter().for_each(|block| block.mark_reported());
        first
    }
}
