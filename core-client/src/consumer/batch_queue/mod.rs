//! [`BatchQueue`]: the bounded queue between a consumer's connection and its caller.
//!
//! ```text
//! BatchSender (client's thread) ─ push, set_ends, finish ─▶ batches, ends, outcome ─ take ─▶ caller
//!                               ◀──────── space ──────────
//! ```
//! The bound is in bytes. When the queue is full, the connection stops reading
//! its socket until the caller has taken half of the bytes. The caller waits with
//! a waker, so it needs no runtime. It can also watch a file descriptor, or a
//! source of a completion queue.
//!
//! Invariant: the descriptor is readable exactly while
//! [`take`](BatchQueue::take) returns something.

mod sender;

pub(super) use sender::BatchSender;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use styx_protocol::LogId;
use styx_protocol::frame::Ends;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::stats::ConsumerCounts;
use crate::batch::RecordBatch;
use crate::completion::{Signal, Source};
use crate::error::Error;

/// See the module.
#[derive(Debug)]
pub(crate) struct BatchQueue {
    state: Mutex<BatchQueueState>,
    /// Raised and lowered under the lock of `state`.
    signal: OnceLock<Signal>,
    /// Notified when the queue has become at most half full.
    space: Notify,
    bytes_max: usize,
    counts: ConsumerCounts,
}

#[derive(Debug, Default)]
struct BatchQueueState {
    batches: VecDeque<RecordBatch>,
    bytes: usize,
    opened: Option<OpenedRead>,
    ends: Option<Ends>,
    outcome: Option<Result<(), Error>>,
    /// Number of the current sender; no other sender may change anything.
    sender: u64,
    /// The task that owns the current sender.
    task: Option<AbortHandle>,
    /// `wakeup` was called, and no call has returned because of it yet.
    woken: bool,
    waker: Option<Waker>,
    source: Option<Source>,
}

/// Where a read began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenedRead {
    pub(super) log: LogId,
    pub(super) position: u64,
}

/// What a caller takes from the queue.
#[derive(Debug, Clone)]
pub(super) enum QueueItem {
    /// The next batch.
    Batch(RecordBatch),
    /// The read has ended: there are no more batches.
    End(Result<(), Error>),
    /// The queue is empty, and [`BatchQueue::wakeup`] was called.
    Woken,
}

impl BatchQueue {
    pub(super) fn new(bytes_max: usize) -> BatchQueue {
        let (state, signal) = (Mutex::default(), OnceLock::new());
        BatchQueue { state, signal, space: Notify::new(), bytes_max, counts: ConsumerCounts::new() }
    }

    /// Drops the queued batches, stops the current sender and returns a new one.
    pub(super) fn replace_sender(self: &Arc<Self>) -> BatchSender {
        let mut number = 0;
        self.change(|state| {
            state.clear();
            (state.opened, state.outcome) = (None, None);
            number = state.sender;
        });
        BatchSender::new(Arc::clone(self), number)
    }

    /// Stores the task that owns the current sender, so that it is stopped with it.
    pub(super) fn set_task(&self, task: AbortHandle) {
        self.lock().task = Some(task);
    }

    /// Closes the queue at once. Queued batches are dropped.
    pub(super) fn close(&self) {
        self.change(|state| {
            state.clear();
            state.outcome = Some(Err(Error::closed("consumer")));
        });
    }

    /// Makes a waiting call, or the next call that would wait, return
    /// [`QueueItem::Woken`].
    pub(super) fn wakeup(&self) {
        self.change(|state| state.woken = true);
    }

    /// Waits until the read is open, or has ended.
    pub(super) fn poll_open(&self, context: &mut Context<'_>) -> Poll<Result<OpenedRead, Error>> {
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

    /// Waits for the next item and takes it.
    pub(super) fn poll_take(&self, context: &mut Context<'_>) -> Poll<QueueItem> {
        let mut state = self.lock();
        match self.take_from(&mut state) {
            Some(item) => Poll::Ready(item),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Takes the next item, if there is one now.
    pub(super) fn take(&self) -> Option<QueueItem> {
        self.take_from(&mut self.lock())
    }

    /// Where the read began; `None` until it is open.
    pub(super) fn opened(&self) -> Option<OpenedRead> {
        self.lock().opened
    }

    /// The log's ends, as the server last reported them.
    pub(super) fn ends(&self) -> Option<Ends> {
        self.lock().ends
    }

    /// What was received, and on which connections.
    pub(super) fn counts(&self) -> &ConsumerCounts {
        &self.counts
    }

    /// Memory of the queued batches.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Whether no batch is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().batches.is_empty()
    }

    /// From now on, notifies `source` whenever the queue becomes readable. If it is
    /// readable already, it notifies `source` at once.
    pub(crate) fn notify(&self, source: Source) {
        let mut state = self.lock();
        if state.is_readable() {
            source.ready();
        }
        state.source = Some(source);
    }

    /// The descriptor that is readable while something can be taken.
    ///
    /// # Errors
    /// The system has no free descriptor.
    pub(crate) fn signal(&self) -> io::Result<&Signal> {
        let state = self.lock();
        if let Some(signal) = self.signal.get() {
            return Ok(signal);
        }
        let signal = Signal::new()?;
        if state.is_readable() {
            signal.raise();
        }
        Ok(self.signal.get_or_init(|| signal))
    }

    fn take_from(&self, state: &mut BatchQueueState) -> Option<QueueItem> {
        let item = if let Some(batch) = state.batches.pop_front() {
            let was_over_half = state.bytes > self.bytes_max / 2;
            state.bytes = state.bytes.saturating_sub(batch.memory_bytes());
            if was_over_half && state.bytes <= self.bytes_max / 2 {
                self.space.notify_one();
            }
            QueueItem::Batch(batch)
        } else if let Some(outcome) = &state.outcome {
            return Some(QueueItem::End(outcome.clone()));
        } else if std::mem::take(&mut state.woken) {
            QueueItem::Woken
        } else {
            return None;
        };
        self.notify_watchers(true, state);
        Some(item)
    }

    /// Changes the state, then notifies the watchers and wakes the waiting caller.
    fn change(&self, change: impl FnOnce(&mut BatchQueueState)) {
        let waker = {
            let mut state = self.lock();
            let was_readable = state.is_readable();
            change(&mut state);
            self.notify_watchers(was_readable, &state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Updates the descriptor and the source if the queue became readable, or is no
    /// longer readable. Never waits.
    fn notify_watchers(&self, was_readable: bool, state: &BatchQueueState) {
        let is_readable = state.is_readable();
        if is_readable == was_readable {
            return;
        }
        match (self.signal.get(), is_readable) {
            (Some(signal), true) => signal.raise(),
            (Some(signal), false) => signal.lower(),
            (None, _) => {}
        }
        if let Some(source) = state.source.as_ref().filter(|_| is_readable) {
            source.ready();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BatchQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BatchQueueState {
    fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
        self.sender += 1;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    fn is_readable(&self) -> bool {
        !self.batches.is_empty() || self.outcome.is_some() || self.woken
    }
}
