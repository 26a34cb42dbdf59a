//! [`Handle`]: what other threads may do with a consumer while one waits in it.

use std::sync::Arc;

use super::waiting::Waiting;

/// Made by [`Consumer::handle`](super::Consumer::handle). May outlive its
/// consumer.
#[derive(Debug, Clone)]
pub struct Handle {
    waiting: Arc<Waiting>,
}

impl Handle {
    pub(super) fn new(waiting: Arc<Waiting>) -> Handle {
        Handle { waiting }
    }

    /// Ends the consumer: a call that waits returns `closed`, and so do all
    /// further ones. Closing again is fine.
    pub fn close(&self) {
        self.waiting.close();
    }

    /// Lets a [`poll`](super::Consumer::poll) that waits return
    /// [`Polled::Nothing`](super::Polled::Nothing), or the next one that would
    /// wait. Other calls go on waiting.
    pub fn wakeup(&self) {
        self.waiting.wakeup();
    }
}
