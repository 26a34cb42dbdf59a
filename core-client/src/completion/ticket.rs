//! The writing ends of a completion queue: [`Ticket`] for an event that happens once,
//! [`Source`] for an event that repeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Completion, CompletionShared, Entry, Outcome};
use crate::Error;

/// A place in a [`CompletionQueue`](super::CompletionQueue) for the result of one call.
/// If it is dropped without a result, it completes with `closed`.
#[derive(Debug)]
pub struct Ticket {
    token: u64,
    /// `None` once completed.
    queue: Option<Arc<CompletionShared>>,
}

impl Ticket {
    pub(super) fn new(token: u64, queue: Arc<CompletionShared>) -> Ticket {
        Ticket { token, queue: Some(queue) }
    }

    /// Puts the result into the queue. Never waits.
    pub fn complete(mut self, result: Result<Outcome, Error>) {
        self.push(result);
    }

    fn push(&mut self, result: Result<Outcome, Error>) {
        if let Some(queue) = self.queue.take() {
            queue.push(Entry::Once(Completion { token: self.token, result }));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.push(Err(Error::closed("client")));
    }
}

/// Notifies a [`CompletionQueue`](super::CompletionQueue) whenever something is ready,
/// with the same token each time. Between two drains it has one entry at most.
#[derive(Debug, Clone)]
pub struct Source {
    state: Arc<SourceState>,
    queue: Arc<CompletionShared>,
}

/// A source's state, shared with its entry in the queue.
#[derive(Debug)]
pub(super) struct SourceState {
    token: u64,
    /// Whether its entry is in the queue.
    is_queued: AtomicBool,
}

impl Source {
    pub(super) fn new(token: u64, queue: Arc<CompletionShared>) -> Source {
        Source { state: Arc::new(SourceState { token, is_queued: AtomicBool::new(false) }), queue }
    }

    /// Puts [`Outcome::Ready`] into the queue, unless it is there already. Never waits.
    pub fn ready(&self) {
        if !self.state.is_queued.swap(true, Ordering::SeqCst) {
            self.queue.push(Entry::Ready(Arc::clone(&self.state)));
        }
    }
}

impl SourceState {
    /// Called when its entry leaves the queue.
    pub(super) fn take(&self) -> Completion {
        self.is_queued.store(false, Ordering::SeqCst);
        Completion { token: self.token, result: Ok(Outcome::Ready) }
    }
}
