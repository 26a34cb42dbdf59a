//! [`BatchQueue`]: the bounded queue between a consumer's connection and its caller.
//!
//! ```text
//! BatchSender (client's thread) ─ push, set_ends, finish ─▶ batches, ends, outcome ─ take ─▶ caller
//!                               ◀──────── space ──────────          ◀──────── put_back ─
//! ```
//! The bound is in bytes. When the queue is full, the connection stops reading
//! its socket until the caller has taken half of the bytes. The caller waits with
//! a waker, so it needs no runtime. Others watch the queue too: see `watch`.
//!
//! Invariant: the queue is readable exactly while [`take`](BatchQueue::take) returns
//! something, or the caller holds a batch that it has not returned completely.
//! Each change is told to everything that watches the queue.

mod sender;
mod watch;

pub(super) use sender::BatchSender;

use std::collections::VecDeque;
#[cfg(unix)]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use styx_protocol::LogId;
use styx_protocol::frame::Ends;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::stats::ConsumerCounts;
use crate::batch::RecordBatch;
#[cfg(unix)]
use crate::completion::Signal;
use crate::completion::{Source, Ticket};
use crate::error::{Error, Kind};
use crate::process::Process;

/// See the module.
#[derive(Debug)]
pub(crate) struct BatchQueue {
    state: Mutex<BatchQueueState>,
    /// The next record to return. The caller changes it, and a read that begins does so
    /// under the lock of `state`.
    position: AtomicU64,
    /// `wakeup` was called, and no call has returned because of it yet. Set without the
    /// lock, cleared under it.
    woken: AtomicBool,
    /// Raised while the queue is readable. Changed under the lock of `state`, except by
    /// `wakeup`.
    #[cfg(unix)]
    signal: OnceLock<Signal>,
    /// Notified when the queue becomes readable while threads wait in `wait`.
    readable: Condvar,
    /// Notified when the queue has become at most half full.
    space: Notify,
    bytes_max: usize,
    counts: ConsumerCounts,
    process: Process,
}

#[derive(Debug, Default)]
struct BatchQueueState {
    batches: VecDeque<RecordBatch>,
    bytes: usize,
    /// The caller returns the records of a batch one by one, and has some left.
    is_held: bool,
    opened: Option<OpenedRead>,
    ends: Option<Ends>,
    outcome: Option<Result<(), Error>>,
    /// The caller has closed the queue. It stays closed.
    is_closed: bool,
    /// Number of the current sender; no other sender may change anything.
    sender: u64,
    /// The task that owns the current sender.
    task: Option<AbortHandle>,
    waker: Option<Waker>,
    source: Option<Source>,
    /// Completed when the read is open, or has failed to open.
    opening: Option<Ticket>,
    /// Threads in `wait`.
    waiting: usize,
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

/// How a caller returns the records of a batch that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    /// All at once.
    AsBatch,
    /// One by one. If there are more than one, the queue stays readable until
    /// [`BatchQueue::release`].
    OneByOne,
}

impl BatchQueue {
    pub(super) fn new(bytes_max: usize, process: Process) -> BatchQueue {
        BatchQueue {
            state: Mutex::default(),
            position: AtomicU64::new(0),
            woken: AtomicBool::new(false),
            #[cfg(unix)]
            signal: OnceLock::new(),
            readable: Condvar::new(),
            space: Notify::new(),
            bytes_max,
            counts: ConsumerCounts::new(),
            process,
        }
    }

    /// Drops the queued batches, stops the current sender and returns a new one.
    /// `opening` completes when its read is open, or has failed to open.
    pub(super) fn replace_sender(self: &Arc<Self>, opening: Option<Ticket>) -> BatchSender {
        let mut number = 0;
        self.change(|state, news| {
            let replaced = "another seek replaced this one before the server had responded";
            news.complete(state.opening.take(), Err(Error::new(Kind::Closed, replaced)));
            state.clear();
            (state.outcome, state.opening) = (None, opening);
            number = state.sender;
            if state.is_closed {
                let closed = Error::closed("consumer");
                news.complete(state.opening.take(), Err(closed.clone()));
                state.outcome = Some(Err(closed));
                // The sender of a closed queue changes nothing.
                state.sender += 1;
            }
        });
        BatchSender::new(Arc::clone(self), number)
    }

    /// Stores the task that owns the current sender, so that it is stopped with it.
    pub(super) fn set_task(&self, task: AbortHandle) {
        self.lock().task = Some(task);
    }

    /// Closes the queue at once. Queued batches are dropped. Does nothing in a forked
    /// child.
    pub(super) fn close(&self) {
        if !self.process.is_current() {
            return;
        }
        self.change(|state, news| {
            state.clear();
            let closed = Error::closed("consumer");
            news.complete(state.opening.take(), Err(closed.clone()));
            state.outcome = Some(Err(closed));
            state.is_closed = true;
        });
    }

    /// Whether the queue was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits until the read is open, or has ended.
    pub(super) fn poll_open(&self, context: &mut Context<'_>) -> Poll<Result<OpenedRead, Error>> {
        self.process.check()?;
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
    ///
    /// # Errors
    /// `forked`.
    pub(super) fn poll_take(
        &self,
        context: &mut Context<'_>,
        returned: Returned,
    ) -> Poll<Result<QueueItem, Error>> {
        self.process.check()?;
        let mut state = self.lock();
        match self.take_from(&mut state, returned) {
            Some(item) => Poll::Ready(Ok(item)),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The numbers of received records and of connections.
    pub(super) fn counts(&self) -> &ConsumerCounts {
        &self.counts
    }

    /// Memory of the queued batches; 0 in a forked child.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.lock_here().map_or(0, |state| state.bytes)
    }

    /// Takes the next item, if there is one now.
    ///
    /// # Errors
    /// `forked`.
    pub(super) fn take(&self) -> Result<Option<QueueItem>, Error> {
        self.process.check()?;
        Ok(self.take_from(&mut self.lock(), Returned::AsBatch))
    }

    /// Puts batches in front of all others, the first one in front. The caller had taken
    /// them, and holds no batch any more.
    ///
    /// # Errors
    /// The read was closed, or is not open yet: then nothing that the caller has belongs
    /// to it.
    pub(super) fn put_back(&self, batches: [Option<RecordBatch>; 2]) -> Result<(), Error> {
        self.process.check()?;
        let mut result = Ok(());
        self.change(|state, _| {
            if state.opened.is_none() {
                result = Err(match &state.outcome {
                    Some(Err(error)) => error.clone(),
                    _ => Error::invalid_argument("these records were taken before the seek"),
                });
                return;
            }
            state.is_held = false;
            for batch in batches.into_iter().rev().flatten() {
                state.bytes += batch.memory_bytes();
                state.batches.push_front(batch);
            }
        });
        result
    }

    /// The caller has returned the last record of the batch that it held. Does nothing in
    /// a forked child.
    pub(super) fn release(&self) {
        if self.process.is_current() {
            self.change(|state, _| state.is_held = false);
        }
    }

    /// The position of the next record that the caller returns.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Stores the position of the next record that the caller returns.
    pub(super) fn set_position(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// The log of the last connection; `None` before the read is open and in a forked child.
    pub(super) fn log(&self) -> Option<LogId> {
        self.lock_here().and_then(|state| state.opened).map(|opened| opened.log)
    }

    /// The end of the log, as the server last reported it; 0 before that and in a forked
    /// child.
    pub(super) fn log_end(&self) -> u64 {
        self.lock_here().and_then(|state| state.ends).map_or(0, |ends| ends.end.0)
    }

    /// The number of records between the position and the log's end; 0 in a forked child.
    pub(super) fn lag(&self) -> u64 {
        self.log_end().saturating_sub(self.position())
    }

    /// Whether every record that the server has reported was returned.
    pub(super) fn caught_up(&self) -> bool {
        self.lock_here().is_some_and(|state| {
            let end = state.ends.map_or(0, |ends| ends.end.0);
            end <= self.position() && state.batches.is_empty() && !state.is_held
        })
    }

    fn take_from(&self, state: &mut BatchQueueState, returned: Returned) -> Option<QueueItem> {
        let item = if let Some(batch) = state.batches.pop_front() {
            let was_over_half = state.bytes > self.bytes_max / 2;
            state.bytes = state.bytes.saturating_sub(batch.memory_bytes());
            if was_over_half && state.bytes <= self.bytes_max / 2 {
                self.space.notify_one();
            }
            state.is_held = returned == Returned::OneByOne && batch.len() > 1;
            Some(QueueItem::Batch(batch))
        } else if let Some(outcome) = &state.outcome {
            Some(QueueItem::End(outcome.clone()))
        } else if self.woken.swap(false, Ordering::SeqCst) {
            Some(QueueItem::Woken)
        } else {
            None
        };
        self.lower_unless_readable(state);
        item
    }

    fn lock(&self) -> MutexGuard<'_, BatchQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock; `None` in a forked child, where its holder may not exist.
    fn lock_here(&self) -> Option<MutexGuard<'_, BatchQueueState>> {
        self.process.is_current().then(|| self.lock())
    }
}

#[cfg(test)]
impl BatchQueue {
    /// Holds the lock, as a thread does that a fork did not copy.
    pub(super) fn hold(&self) -> impl Drop + '_ {
        self.lock()
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        if !self.process.is_current() {
            // The waker and the task belong to executors, which may lock.
            let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            std::mem::forget((state.waker.take(), state.task.take()));
        }
    }
}

impl BatchQueueState {
    /// Drops the batches and stops the sender. The next sender's read is not open.
    fn clear(&mut self) {
        self.batches.clear();
        (self.bytes, self.is_held, self.opened) = (0, false, None);
        self.sender += 1;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Whether a call returns something without waiting, apart from wake-ups.
    fn has_item(&self) -> bool {
        !self.batches.is_empty() || self.outcome.is_some() || self.is_held
    }
}
