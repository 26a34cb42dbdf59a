//! [`Handle`]: controls a consumer from other threads while one thread waits in it.

use std::sync::Arc;
use std::time::Duration;

use super::batch_queue::BatchQueue;
use super::bell::Bell;

/// Closes, wakes or watches a consumer from any thread. [`Consumer::handle`] returns it.
///
/// It may outlive its consumer.
///
/// [`Consumer::handle`]: super::Consumer::handle
#[derive(Debug, Clone)]
pub struct Handle {
    queue: Arc<BatchQueue>,
    bell: Arc<Bell>,
}

impl Handle {
    pub(super) fn new(queue: Arc<BatchQueue>, bell: Arc<Bell>) -> Handle {
        Handle { queue, bell }
    }

    /// Closes the consumer. A call that is waiting returns the error `closed`, and
    /// so does every later call. Closing it again has no effect.
    ///
    /// Not for signal handlers: it takes a lock.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Makes a waiting [`poll`](super::Consumer::poll) return
    /// [`Polled::Nothing`](super::Polled::Nothing). If none is waiting, the next
    /// `poll` that would wait returns it. Other calls keep waiting. Several wake-ups
    /// before that count as one.
    ///
    /// A signal handler may call it: it takes no lock, allocates nothing and never waits.
    /// A thread of the client wakes the waiting call.
    pub fn wakeup(&self) {
        if self.queue.wakeup() {
            self.bell.ring();
        }
    }

    /// Blocks this thread up to `at_most` until a [`poll`](super::Consumer::poll) would
    /// not wait: there is a batch, the end of the read, an error or a wake-up. Returns
    /// whether that is the case. It takes nothing, so it returns `true` until the consumer
    /// is called.
    ///
    /// In a forked child it returns `true`, because calls fail there without waiting.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> bool {
        self.queue.wait(at_most)
    }

    /// See [`Consumer::position`](super::Consumer::position). While another thread takes
    /// records, the position may be old when it is returned.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.queue.position()
    }

    /// See [`Consumer::lag`](super::Consumer::lag).
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.queue.lag()
    }

    /// See [`Consumer::caught_up`](super::Consumer::caught_up).
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.queue.caught_up()
    }
}
