//! [`Waiting`]: what lies between a consumer's connection and its caller.
//!
//! ```text
//! Feed (a core thread) ─ push, heard, finish ─▶ batches, ends, outcome ─ take ─▶ caller
//!                      ◀──────── room ─────────
//! ```
//! Bounded in bytes: a link that has filled it reads no more from its socket
//! until the caller has taken half. The caller waits by a waker, and so needs
//! no runtime; a descriptor and a completion queue's source may be watched
//! instead.
//!
//! Invariant: the descriptor is readable exactly while
//! [`take`](Waiting::take) would not wait.

mod feed;

pub(super) use feed::Feed;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use styx_protocol::LogId;
use styx_protocol::frame::Ends;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::batch::RecordBatch;
use crate::completion::{Signal, Source};
use crate::error::Error;

/// See the module.
#[derive(Debug)]
pub(super) struct Waiting {
    state: Mutex<State>,
    /// Raised under the lock of `state`.
    signal: OnceLock<Signal>,
    room: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<RecordBatch>,
    bytes: usize,
    opened: Option<Opened>,
    ends: Option<Ends>,
    outcome: Option<Result<(), Error>>,
    /// Which feed may change anything: the last one.
    feed: u64,
    /// What drives it.
    task: Option<AbortHandle>,
    /// Somebody called `wakeup` and nobody has taken it.
    woken: bool,
    waker: Option<Waker>,
    source: Option<Source>,
}

/// Where reading began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) log: LogId,
    pub(super) position: u64,
}

/// What a caller may take.
#[derive(Debug, Clone)]
pub(super) enum Taken {
    /// The next batch.
    Batch(RecordBatch),
    /// There will be no more.
    Over(Result<(), Error>),
    /// Nothing is there; somebody called [`Waiting::wakeup`].
    Woken,
}

impl Waiting {
    pub(super) fn new(bytes_max: usize) -> Waiting {
        let (state, signal) = (Mutex::default(), OnceLock::new());
        Waiting { state, signal, room: Notify::new(), bytes_max }
    }

    /// Drops what waits, ends the feed there was, and makes a new one.
    pub(super) fn begin(self: &Arc<Self>) -> Feed {
        let mut number = 0;
        self.change(|state| {
            state.clear();
            (state.opened, state.outcome) = (None, None);
            number = state.feed;
        });
        Feed::new(Arc::clone(self), number)
    }

    /// Names the task that drives the feed, to be ended with it.
    pub(super) fn set_task(&self, task: AbortHandle) {
        self.lock().task = Some(task);
    }

    /// Ends it at once: what waits is dropped.
    pub(super) fn close(&self) {
        self.change(|state| {
            state.clear();
            state.outcome = Some(Err(Error::closed("consumer")));
        });
    }

    /// Makes a call that waits, or the next one that would, return without
    /// anything.
    pub(super) fn wakeup(&self) {
        self.change(|state| state.woken = true);
    }

    /// Waits until it is open, or over.
    pub(super) fn poll_open(&self, context: &mut Context<'_>) -> Poll<Result<Opened, Error>> {
        let mut state = self.lock();
        match (&state.opened, &state.outcome) {
            (Some(opened), _) => Poll::Ready(Ok(*opened)),
            (None, Some(Err(error))) => Poll::Ready(Err(error.clone())),
            (None, _) => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// What can be taken, as soon as something can.
    pub(super) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Taken> {
        let mut state = self.lock();
        match self.take_from(&mut state) {
            Some(taken) => Poll::Ready(taken),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// What can be taken now.
    pub(super) fn take(&self) -> Option<Taken> {
        self.take_from(&mut self.lock())
    }

    /// Where reading began, once it has.
    pub(super) fn opened(&self) -> Option<Opened> {
        self.lock().opened
    }

    /// What the server last said of the log's ends.
    pub(super) fn ends(&self) -> Option<Ends> {
        self.lock().ends
    }

    /// Whether no batch waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().batches.is_empty()
    }

    /// Tells `source` from now on whenever something can be taken where nothing
    /// could before.
    pub(super) fn notify(&self, source: Source) {
        let mut state = self.lock();
        if state.has_something() {
            source.ready();
        }
        state.source = Some(source);
    }

    /// The descriptor that is readable while something can be taken.
    ///
    /// # Errors
    /// None is left.
    pub(super) fn signal(&self) -> io::Result<&Signal> {
        let state = self.lock();
        if let Some(signal) = self.signal.get() {
            return Ok(signal);
        }
        let signal = Signal::new()?;
        if state.has_something() {
            signal.raise();
        }
        Ok(self.signal.get_or_init(|| signal))
    }

    fn take_from(&self, state: &mut State) -> Option<Taken> {
        let taken = if let Some(batch) = state.batches.pop_front() {
            let was_over_half = state.bytes > self.bytes_max / 2;
            state.bytes = state.bytes.saturating_sub(batch.memory_bytes());
            if was_over_half && state.bytes <= self.bytes_max / 2 {
                self.room.notify_one();
            }
            Taken::Batch(batch)
        } else if let Some(outcome) = &state.outcome {
            return Some(Taken::Over(outcome.clone()));
        } else if std::mem::take(&mut state.woken) {
            Taken::Woken
        } else {
            return None;
        };
        self.tell(true, state);
        Some(taken)
    }

    /// Changes the state, and tells whoever waits for that.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.lock();
            let had_something = state.has_something();
            change(&mut state);
            self.tell(had_something, &state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tells those who watch, if there is something where nothing was, or the
    /// other way round. Neither raising nor telling waits for anything.
    fn tell(&self, had_something: bool, state: &State) {
        let has_something = state.has_something();
        if has_something == had_something {
            return;
        }
        match (self.signal.get(), has_something) {
            (Some(signal), true) => signal.raise(),
            (Some(signal), false) => signal.lower(),
            (None, _) => {}
        }
        if let Some(source) = state.source.as_ref().filter(|_| has_something) {
            source.ready();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
        self.feed += 1;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    fn has_something(&self) -> bool {
        !self.batches.is_empty() || self.outcome.is_some() || self.woken
    }
}
