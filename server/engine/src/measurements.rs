//! [`Measurements`]: how long appends, their commits and reads take, over all logs of a catalog.
//!
//! They cost one reading of the clock for an append, three for a commit, and two for a read.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::histogram::Histogram;

/// The durations and sizes of appends, commits and reads of all logs since the catalog was opened.
#[derive(Debug)]
pub struct Measurements {
    /// Durable appends: µs from the queue to the result.
    pub appends: Histogram,
    /// The same appends, and those that failed: µs in the queue, until a group took them.
    pub queue: Histogram,
    /// Commits: bytes that were written for each, including headers.
    pub commit_bytes: Histogram,
    /// Commits: µs of the sync of each.
    pub syncs: Histogram,
    /// Reads that found something: µs from the first attempt to the records or blocks. A batch of
    /// records, or of blocks, is one read. Files that the kernel sends are not read.
    pub reads: Histogram,
    records: AtomicU64,
}

impl Default for Measurements {
    fn default() -> Measurements {
        Measurements {
            appends: Histogram::of_micros(),
            queue: Histogram::of_micros(),
            commit_bytes: Histogram::of_bytes(),
            syncs: Histogram::of_micros(),
            reads: Histogram::of_micros(),
            records: AtomicU64::new(0),
        }
    }
}

impl Measurements {
    /// The records of all commits, also of logs that exist no more.
    #[must_use]
    pub fn records_appended(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Counts a durable commit.
    pub(crate) fn committed(&self, bytes: u64, records: u64, sync_us: u64) {
        self.commit_bytes.add(bytes);
        self.syncs.add(sync_us);
        self.records.fetch_add(records, Ordering::Relaxed);
    }
}
