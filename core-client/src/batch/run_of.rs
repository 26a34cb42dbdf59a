//! [`LastRun`]: finds the timestamp of a record by its index.
//!
//! Most batches have one run. In the others, records are usually asked for one after the
//! other, so the run of the last one is tried before all runs are searched.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::TimestampRun;

/// The index of the run that was found last. Any value is valid: it only saves a search.
#[derive(Default)]
pub(super) struct LastRun(AtomicUsize);

impl LastRun {
    /// The timestamp of the record at this index, if it is in the run that was found last.
    #[inline]
    pub(super) fn timestamp(&self, runs: &[TimestampRun], at: usize) -> Option<u64> {
        let last = self.0.load(Ordering::Relaxed);
        let run = runs.get(last).filter(|run| run.first <= at)?;
        let is_in_run = runs.get(last + 1).is_none_or(|next| at < next.first);
        is_in_run.then_some(run.timestamp)
    }

    /// The timestamp of the record at this index, in any run.
    pub(super) fn search(&self, runs: &[TimestampRun], at: usize) -> u64 {
        let found = runs.partition_point(|run| run.first <= at).saturating_sub(1);
        self.0.store(found, Ordering::Relaxed);
        runs.get(found).map_or(0, |run| run.timestamp)
    }
}
