//! [`ConsumerStats`]: the numbers of a consumer, for programs that watch it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Consumer;
use crate::activity::Activity;
use crate::batch::RecordBatch;

/// The numbers of a consumer since it was opened, and its present state.
/// [`Consumer::stats`] returns it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerStats {
    /// Records that were received. They include records that a seek has dropped.
    pub received_records: u64,
    /// Bytes of these records; each counts 8 bytes plus its payload.
    pub received_bytes: u64,
    /// Batches of these records.
    pub received_batches: u64,
    /// Memory of the received batches that were not taken yet, in bytes.
    pub buffered_bytes: u64,
    /// Whether a connection is open. A connection without a sign of life is open until
    /// the [silence timeout](crate::client::Builder::silence_timeout).
    pub is_connected: bool,
    /// Connections after the first.
    pub reconnects: u64,
    /// How long ago anything was received. A server sends a sign of life at least once
    /// in half the silence timeout. While the buffer is full, nothing is received, and
    /// this is not silence of the server.
    pub since_last_heard: Option<Duration>,
}

/// The counters of a consumer. Its task changes them at most once for each batch.
#[derive(Debug)]
pub(crate) struct ConsumerCounts {
    pub(super) activity: Arc<Activity>,
    records: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
}

impl ConsumerCounts {
    pub(super) fn new() -> ConsumerCounts {
        ConsumerCounts {
            activity: Arc::new(Activity::new()),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        }
    }

    /// A batch was received. Called before its consumer can take it.
    pub(super) fn received(&self, batch: &RecordBatch) {
        self.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(batch.data().len() as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }
}

impl Consumer {
    /// The numbers of the consumer and its present state. The call waits for nothing, so it
    /// also works while the server does not answer.
    #[must_use]
    pub fn stats(&self) -> ConsumerStats {
        let counts = self.queue().counts();
        ConsumerStats {
            received_records: counts.records.load(Ordering::Relaxed),
            received_bytes: counts.bytes.load(Ordering::Relaxed),
            received_batches: counts.batches.load(Ordering::Relaxed),
            buffered_bytes: self.queue().buffered_bytes() as u64,
            is_connected: counts.activity.is_connected(),
            reconnects: counts.activity.reconnects(),
            since_last_heard: counts.activity.silence(),
        }
    }
}
