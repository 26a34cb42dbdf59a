//! What the core holds of a completion queue: [`Ticket`] for what happens once,
//! [`Source`] for what happens again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Completion, Entry, Outcome, Shared};
use crate::Error;

/// A place in a [`CompletionQueue`](super::CompletionQueue) for the outcome of
/// one call. Dropped without one, it completes as `closed`.
#[derive(Debug)]
pub struct Ticket {
    token: u64,
    /// `None` once completed.
    queue: Option<Arc<Shared>>,
}

impl Ticket {
    pub(super) fn new(token: u64, queue: Arc<Shared>) -> Ticket {
        Ticket { token, queue: Some(queue) }
    }

    /// Puts the outcome into the queue. Never waits.
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

/// Tells a [`CompletionQueue`](super::CompletionQueue) whenever something has
/// become ready, with the same token each time. Between two drains it tells
/// once.
#[derive(Debug, Clone)]
pub struct Source {
    armed: Arc<Armed>,
    queue: Arc<Shared>,
}

/// A source's state, shared with its entry in the queue.
#[derive(Debug)]
pub(super) struct Armed {
    token: u64,
    /// Whether its entry waits in the queue.
    waits: AtomicBool,
}

impl Source {
    pub(super) fn new(token: u64, queue: Arc<Shared>) -> Source {
        Source { armed: Arc::new(Armed { token, waits: AtomicBool::new(false) }), queue }
    }

    /// Puts [`Outcome::Ready`] into the queue, unless it waits there already.
    /// Never waits.
    pub fn ready(&self) {
        if !self.armed.waits.swap(true, Ordering::SeqCst) {
            self.queue.push(Entry::Ready(Arc::clone(&self.armed)));
        }
    }
}

impl Armed {
    /// Its entry left the queue.
    pub(super) fn told(&self) -> Completion {
        self.waits.store(false, Ordering::SeqCst);
        Completion { token: self.token, result: Ok(Outcome::Ready) }
    }
}
