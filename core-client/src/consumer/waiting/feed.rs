//! [`Feed`]: the side of [`Waiting`] that a connection fills.
//!
//! Invariant: a feed that another one has replaced, after a seek, or that was
//! closed, changes nothing any more, however long its task goes on.

use std::sync::Arc;

use styx_protocol::frame::Ends;

use super::{Opened, State, Waiting};
use crate::batch::RecordBatch;
use crate::error::Error;

/// See the module. The last thing it says is how it ended; dropped without
/// that, it says that the client is closed.
#[derive(Debug)]
pub(crate) struct Feed {
    waiting: Arc<Waiting>,
    number: u64,
}

impl Feed {
    pub(super) fn new(waiting: Arc<Waiting>, number: u64) -> Feed {
        Feed { waiting, number }
    }

    /// The server answered: reading begins.
    pub(crate) fn open(&self, opened: Opened) {
        self.change(|state| {
            state.opened.get_or_insert(opened);
        });
    }

    /// The server told of the log's ends.
    pub(crate) fn heard(&self, ends: Ends) {
        let mut state = self.waiting.lock();
        if state.feed == self.number {
            state.ends = Some(ends);
        }
    }

    /// Puts a batch behind the others; never waits. To be asked before:
    /// [`is_full`](Self::is_full).
    pub(crate) fn push(&self, batch: RecordBatch) {
        self.change(|state| {
            state.bytes += batch.memory_bytes();
            state.batches.push_back(batch);
        });
    }

    /// Whether no more should be pushed.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.lock().bytes >= self.waiting.bytes_max
    }

    /// Waits until at most half of what may wait does.
    pub(crate) async fn room(&self) {
        while self.waiting.lock().bytes > self.waiting.bytes_max / 2 {
            self.waiting.room.notified().await;
        }
    }

    /// Says how it ended, behind the batches. Only the first word counts.
    pub(crate) fn finish(&self, outcome: Result<(), Error>) {
        self.change(|state| {
            state.outcome.get_or_insert(outcome);
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.waiting.change(|state| {
            if state.feed == self.number {
                change(state);
            }
        });
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.finish(Err(Error::closed("client")));
    }
}
