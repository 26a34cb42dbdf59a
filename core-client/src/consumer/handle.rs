//! [`Handle`]: controls a consumer from other threads while one thread waits in it.

use std::sync::Arc;

use super::batch_queue::BatchQueue;

/// Closes or wakes a consumer from any thread. [`Consumer::handle`] returns it.
///
/// It may outlive its consumer.
///
/// [`Consumer::handle`]: super::Consumer::handle
#[derive(Debug, Clone)]
pub struct Handle {
    queue: Arc<BatchQueue>,
}

impl Handle {
    pub(super) fn new(queue: Arc<BatchQueue>) -> Handle {
        Handle { queue }
    }

    /// Closes the consumer. A call that is waiting returns the error `closed`, and
    /// so does every later call. Closing it again has no effect.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Makes a waiting [`poll`](super::Consumer::poll) return
    /// [`Polled::Nothing`](super::Polled::Nothing). If none is waiting, the next
    /// `poll` that would wait returns it. Other calls keep waiting.
    ///
    /// Not for signal handlers: it takes a lock.
    pub fn wakeup(&self) {
        self.queue.wakeup();
    }
}
