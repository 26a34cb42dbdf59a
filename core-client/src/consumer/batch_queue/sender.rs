//! [`BatchSender`]: the end of a [`BatchQueue`] that a connection writes to.
//!
//! Invariant: once a seek has replaced a sender, or the consumer was closed, the
//! old sender changes nothing, however long its task keeps running.

use std::sync::Arc;

use styx_protocol::frame::Ends;

use super::watch::News;
use super::{BatchQueue, BatchQueueState, OpenedRead};
use crate::activity::Activity;
use crate::batch::RecordBatch;
use crate::completion::Outcome;
use crate::error::Error;

/// See the module. Its last call is [`finish`](Self::finish). If it is dropped
/// without that call, the read ends with the error `closed`.
#[derive(Debug)]
pub(crate) struct BatchSender {
    queue: Arc<BatchQueue>,
    number: u64,
}

impl BatchSender {
    pub(super) fn new(queue: Arc<BatchQueue>, number: u64) -> BatchSender {
        BatchSender { queue, number }
    }

    /// Stores where the read begins: the server has accepted the request. Of a later connection
    /// only the log counts, which may have been restored from the earlier one.
    pub(crate) fn set_opened(&self, opened: OpenedRead) {
        self.change(|state, news| {
            if let Some(earlier) = &mut state.opened {
                earlier.log = opened.log;
            } else {
                state.opened = Some(opened);
                self.queue.set_position(opened.position);
                news.complete(state.opening.take(), Ok(Outcome::Done));
                // Even if there is no record yet: a caller may wait for the seek.
                news.tell_source(state);
            }
        });
    }

    /// Stores the log's ends, as the server last reported them.
    pub(crate) fn set_ends(&self, ends: Ends) {
        let mut state = self.queue.lock();
        if state.sender == self.number {
            state.ends = Some(ends);
        }
    }

    /// Appends a batch to the queue. Never waits, so call
    /// [`is_full`](Self::is_full) first.
    pub(crate) fn push(&self, batch: RecordBatch) {
        self.queue.counts.received(&batch);
        self.change(|state, _| {
            state.bytes += batch.memory_bytes();
            state.batches.push_back(batch);
        });
    }

    /// The numbers of the connections.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.queue.counts.activity
    }

    /// Whether the queue has reached its limit.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.lock().bytes >= self.queue.bytes_max
    }

    /// Waits until the queue is at most half full.
    pub(crate) async fn wait_for_space(&self) {
        while self.queue.lock().bytes > self.queue.bytes_max / 2 {
            self.queue.space.notified().await;
        }
    }

    /// Stores how the read ended. The caller receives it after the queued batches.
    /// Only the first call counts.
    pub(crate) fn finish(&self, outcome: Result<(), Error>) {
        self.change(|state, news| {
            let outcome = state.outcome.get_or_insert(outcome);
            if let Err(error) = outcome {
                news.complete(state.opening.take(), Err(error.clone()));
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut BatchQueueState, &mut News)) {
        self.queue.change(|state, news| {
            if state.sender == self.number {
                change(state, news);
            }
        });
    }
}

impl Drop for BatchSender {
    fn drop(&mut self) {
        self.finish(Err(Error::closed("client")));
    }
}
