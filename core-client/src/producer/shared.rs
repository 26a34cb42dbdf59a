//! [`Shared`]: what callers' threads and the link have in common.
//!
//! ```text
//! append ─▶ Filling ─▶ link          one short lock; no wait and no I/O under it
//!   ▲ room    │ settled ▲ news       three notifications
//! ```
//! The link is woken only when it waits for that; appends are woken one at a
//! time, each passing on what room it leaves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use styx_protocol::limits::RECORD_HEADER_BYTES;
use tokio::sync::Notify;

use super::ack::{Ack, Outcome};
use super::filling::{Appended, Filled, Filling, Limits, Run};
use crate::error::Error;
use crate::runtime::Process;

/// Looks at a lock before the process is asked for: a child that was forked
/// while another thread held it would wait for ever.
const TRIES: usize = 64;
/// Records between two looks at the process id, which is a system call.
const UNCHECKED_RECORDS_MAX: u32 = 128;
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

/// What the link asks at each turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) now: Instant,
    /// Whether it can send another block.
    pub(super) can_send: bool,
}

/// What it gets.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) block: Option<Filled>,
    /// When the oldest waiting record was appended.
    pub(super) oldest: Option<Instant>,
    /// When a lingering block is to be sent.
    pub(super) lingers_until: Option<Instant>,
    pub(super) wish: Wish,
}

/// What callers want of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To go on.
    GoOn,
    /// To end when everything is settled, and in any case at this time.
    Close { before: Instant, all_settled: bool },
    /// To end now.
    Abandon,
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

    /// Adds a record behind its header; `None` when there is no room.
    ///
    /// # Errors
    /// No record is taken any more, or this is a forked child.
    #[inline]
    pub(super) fn push(
        &self,
        header: [u8; RECORD_HEADER_BYTES],
        payload: &[u8],
    ) -> Result<Option<Ack>, Error> {
        self.add(RECORD_HEADER_BYTES + payload.len(), |filling, begins_block| {
            filling.push(header, payload, begins_block)
        })
    }

    /// As [`push`](Self::push), for records that have to stand in one block. The
    /// run is taken out where there is room.
    pub(super) fn push_run(&self, run: &mut Option<Run>) -> Result<Option<Ack>, Error> {
        let Some(bytes) = run.as_ref().map(Run::raw_bytes) else { return Ok(None) };
        self.add(bytes, |filling, begins_block| {
            let run = run.take().expect("it was looked at above");
            filling.push_run(run, begins_block)
        })
    }

    #[inline]
    fn add(
        &self,
        bytes: usize,
        push: impl FnOnce(&mut Filling, bool) -> Appended,
    ) -> Result<Option<Ack>, Error> {
        let mut state = self.lock_here()?;
        if !matches!(state.phase, Phase::Open) {
            return Err(state.refusal());
        }
        if !state.filling.has_room() {
            return Ok(None);
        }
        state.unchecked_records += 1;
        let begins = state.filling.begins_block(bytes);
        if begins || state.unchecked_records >= UNCHECKED_RECORDS_MAX {
            self.process.check()?;
            state.unchecked_records = 0;
        }
        let appended = push(&mut state.filling, begins);
        let wake = appended.news && std::mem::take(&mut state.link_waits);
        drop(state);
        if wake {
            self.news.notify_one();
        }
        Ok(Some(appended.ack))
    }

    /// Waits until `push` gives something. Cancel safe: until it has, nothing
    /// was appended.
    pub(super) async fn when_room<T>(
        &self,
        mut push: impl FnMut() -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        loop {
            // Created before the look, so that room made in between is noticed.
            let room = self.room.notified();
            if let Some(done) = push()? {
                self.pass_on_room();
                return Ok(done);
            }
            room.await;
        }
    }

    /// One waiting append was let in: perhaps there is room for the next one.
    fn pass_on_room(&self) {
        if self.lock().filling.has_room() {
            self.room.notify_one();
        }
    }

    /// Waits until every record before this call is settled.
    ///
    /// # Errors
    /// One of them was not acked and nobody had been told, or the producer
    /// ended by an error.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        self.process.check()?;
        let before = {
            let mut state = self.lock();
            state.flush_before = state.filling.next_sequence();
            state.flush_before
        };
        self.news.notify_one();
        loop {
            let settled = self.settled.notified();
            {
                let mut state = self.lock();
                if state.settled_before >= before || state.ended {
                    let unseen = state.take_unseen();
                    return match (unseen, &state.phase) {
                        (Some(error), _) => Err(error),
                        (None, Phase::Failed(error)) => Err(error.clone()),
                        (None, _) if state.settled_before < before => Err(state.refusal()),
                        (None, _) => Ok(()),
                    };
                }
            }
            settled.await;
        }
    }

    /// Takes no more records and waits until the link has ended.
    ///
    /// # Errors
    /// A record was not acked, and nobody had been told.
    pub(super) async fn close(&self, patience: Duration) -> Result<(), Error> {
        self.process.check()?;
        {
            let mut state = self.lock();
            if matches!(state.phase, Phase::Open) {
                state.phase = Phase::Closing(Instant::now() + patience);
                state.flush_before = state.filling.next_sequence();
            }
        }
        self.room.notify_waiters();
        self.news.notify_one();
        loop {
            let settled = self.settled.notified();
            {
                let mut state = self.lock();
                if state.ended {
                    return state.take_unseen().map_or(Ok(()), Err);
                }
            }
            settled.await;
        }
    }

    /// The handle is gone: the link ends at once.
    pub(super) fn abandon(&self) {
        // In a forked child there is no link, and perhaps nobody to unlock.
        let Ok(mut state) = self.lock_here() else { return };
        if matches!(state.phase, Phase::Open | Phase::Closing(_)) {
            state.phase = Phase::Abandoned;
        }
        drop(state);
        self.news.notify_one();
    }

    /// The sequence that the next record will get.
    pub(super) fn next_sequence(&self) -> u64 {
        self.lock_here().map(|state| state.filling.next_sequence()).unwrap_or_default()
    }

    pub(super) fn settled_before(&self) -> u64 {
        self.lock().settled_before
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, for a caller that may be a forked child.
    #[inline]
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

/// For the link.
impl Shared {
    /// Where the producer's stream goes on, before the first record.
    pub(super) fn start_at(&self, sequence: u64) {
        let mut state = self.lock();
        state.filling.start_at(sequence);
        state.settled_before = sequence;
    }

    /// How many blocks the server remembers, and bytes of records in one.
    pub(super) fn set_limits(&self, blocks: usize, block_bytes_max: usize) {
        self.lock().filling.set_limits(blocks, block_bytes_max);
    }

    /// The sequence of the oldest record that was not taken to be sent.
    pub(super) fn next_unsent(&self) -> u64 {
        let state = self.lock();
        state.filling.oldest().map_or(state.filling.next_sequence(), |oldest| oldest.first)
    }

    /// Whether the link has said that it is gone.
    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits until there may be something new.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// A block if one is due, and what else there is to know. The link is told
    /// of the next one only if it could send one now.
    pub(super) fn turn(&self, asked: Asked) -> Turn {
        let mut state = self.lock();
        let wish = match state.phase {
            Phase::Open | Phase::Failed(_) => Wish::GoOn,
            Phase::Abandoned => Wish::Abandon,
            Phase::Closing(before) => {
                Wish::Close { before, all_settled: state.filling.is_settled() }
            }
        };
        let linger = self.linger;
        let due = state.filling.oldest().map(|oldest| {
            let at_once = state.filling.is_full() || oldest.first < state.flush_before;
            if at_once { asked.now } else { oldest.since + linger }
        });
        let mut block = None;
        if asked.can_send {
            if due.is_some_and(|due| due <= asked.now) {
                block = state.filling.take();
            }
            state.link_waits = block.is_none();
        } else {
            state.link_waits = false;
        }
        let oldest = state.filling.oldest().map(|oldest| oldest.since);
        let lingers_until = if block.is_none() && asked.can_send { due } else { None };
        Turn { block, oldest, lingers_until, wish }
    }

    /// Blocks were acked; `raw_bytes` of each, and the sequence behind the last.
    pub(super) fn acked(&self, raw_bytes: impl Iterator<Item = usize>, settled_before: u64) {
        let mut state = self.lock();
        let was_full = !state.filling.has_room();
        raw_bytes.for_each(|bytes| state.filling.release(bytes));
        state.settled_before = state.settled_before.max(settled_before);
        let has_room = state.filling.has_room();
        drop(state);
        if was_full && has_room {
            self.room.notify_one();
        }
        self.settled.notify_waiters();
    }

    /// A block that was taken failed with this error, and the producer goes on.
    pub(super) fn failed(&self, block: &Arc<Outcome>, raw_bytes: usize, before: u64, error: Error) {
        block.settle(Err(error));
        self.lock().remember(Arc::clone(block));
        self.acked(std::iter::once(raw_bytes), before);
    }

    /// The link ends, and no record is taken any more. What still waits was
    /// never sent and fails with `error`, and so do these blocks, each with its
    /// own; a producer that was closed in peace has neither.
    pub(super) fn end(&self, error: Option<&Error>, unacked: Vec<(Arc<Outcome>, Error)>) {
        // The producer has ended before anybody hears why.
        let never_sent = {
            let mut state = self.lock();
            match error {
                Some(error) => state.phase = Phase::Failed(error.clone()),
                None if matches!(state.phase, Phase::Open) => state.phase = Phase::Abandoned,
                None => {}
            }
            state.filling.drain()
        };
        let cause = error.cloned().unwrap_or_else(|| Error::closed("producer"));
        let never_sent = never_sent
            .into_iter()
            .map(|block| (block.outcome, cause.clone().with_maybe_appended(false)));
        let failed = unacked.into_iter().chain(never_sent).map(|(outcome, error)| {
            outcome.settle(Err(error));
            outcome
        });
        let failed: Vec<Arc<Outcome>> = failed.collect();
        let mut state = self.lock();
        failed.into_iter().for_each(|outcome| state.remember(outcome));
        state.settled_before = state.filling.next_sequence();
        state.ended = true;
        drop(state);
        self.room.notify_waiters();
        self.settled.notify_waiters();
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
