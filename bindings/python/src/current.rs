//! [`Current`]: the batch of which a consumer returns records one by one.
//!
//! ```text
//! Consumer ─┐
//!           ├─▶ Current ── next ──▶ RecordBatch
//! Records  ─┘
//! ```
//! The iterator claims records without the lock of the consumer. The consumer stops it before
//! it does anything else with the rest.
//!
//! Invariant: a record is either claimed, or in the rest that [`Current::stop`] returns.

use std::sync::atomic::{AtomicUsize, Ordering};

use styx_client::RecordBatch;

/// The next index of a batch that was stopped. It is far from an overflow.
const STOPPED: usize = usize::MAX / 2;

/// See the module.
pub(crate) struct Current {
    batch: RecordBatch,
    /// The index of the next record. There is none if it is not below the length.
    next: AtomicUsize,
}

impl Current {
    /// The records of a batch from an index on.
    pub(crate) fn new(batch: RecordBatch, next: usize) -> Current {
        Current { batch, next: AtomicUsize::new(next) }
    }

    /// The whole batch.
    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The index of the next record, which belongs to the caller.
    #[inline]
    pub(crate) fn claim(&self) -> Option<usize> {
        let at = if cfg!(Py_GIL_DISABLED) {
            self.next.fetch_add(1, Ordering::Relaxed)
        } else {
            // The interpreter's lock protects it too, and an atomic addition takes longer.
            let at = self.next.load(Ordering::Relaxed);
            self.next.store(at + 1, Ordering::Relaxed);
            at
        };
        (at < self.batch.len()).then_some(at)
    }

    /// The number of records that were not claimed.
    pub(crate) fn rest(&self) -> usize {
        self.batch.len().saturating_sub(self.next.load(Ordering::Relaxed))
    }

    /// The records that were not claimed. Nothing can claim them any more.
    pub(crate) fn stop(&self) -> RecordBatch {
        let next = self.next.swap(STOPPED, Ordering::Relaxed);
        self.batch.slice(next..self.batch.len())
    }
}
