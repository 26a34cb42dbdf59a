//! [`Ack`]: the outcome of appended records. [`BlockOutcome`]: the outcome of a whole
//! block, because the server acknowledges blocks.
//!
//! ```text
//! append ─▶ Ack ──┐
//! append ─▶ Ack ──┼─▶ BlockOutcome of their block ◀── the task settles it once
//!                 └ position = the block's position + the difference of the sequences
//! ```
//! A block outcome exists while its block is unacknowledged or one of its acks exists.
//! So an old ack always has its result, and an ignored ack costs nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::settled::Settled;
use crate::error::Error;
use crate::process::{ForgetInChild, Process};

/// The outcome of a block.
#[derive(Debug)]
pub(super) struct BlockOutcome {
    /// Sequence of the block's first record.
    first: u64,
    process: Process,
    /// The position of the block's first record, once it is durable.
    result: OnceLock<Result<u64, Error>>,
    settled: Notify,
    /// Whether a failure was reported to the caller.
    reported: AtomicBool,
}

impl BlockOutcome {
    pub(super) fn new(first: u64, process: Process) -> Arc<BlockOutcome> {
        Arc::new(BlockOutcome {
            first,
            process,
            result: OnceLock::new(),
            settled: Notify::new(),
            reported: AtomicBool::new(false),
        })
    }

    /// Stores the block's result. Only the first call counts.
    pub(super) fn settle(&self, result: Result<u64, Error>) {
        if self.result.set(result).is_ok() {
            self.settled.notify_waiters();
        }
    }

    /// The failure, if it was not reported to the caller yet.
    pub(super) fn unreported_failure(&self) -> Option<Error> {
        if self.reported.load(Ordering::Relaxed) {
            return None;
        }
        self.result.get().and_then(|result| result.as_ref().err().cloned())
    }

    pub(super) fn mark_reported(&self) {
        self.reported.store(true, Ordering::Relaxed);
    }

    fn base(&self) -> Option<Result<u64, Error>> {
        let result = self.result.get()?;
        if result.is_err() {
            self.mark_reported();
        }
        Some(result.clone())
    }

    async fn wait(&self) -> Result<u64, Error> {
        loop {
            // Created before the check, so that a notification in between is not lost.
            let settled = self.settled.notified();
            if let Some(result) = self.base() {
                return result;
            }
            ForgetInChild::future(self.process, settled).await;
        }
    }
}

/// A block that leaves the producer, and what became of it.
#[derive(Debug)]
pub(super) struct SettledBlock {
    pub(super) outcome: Arc<BlockOutcome>,
    pub(super) count: u32,
    /// Bytes of the records before compression.
    pub(super) raw_bytes: usize,
    pub(super) result: Result<u64, Error>,
}

impl SettledBlock {
    /// The sequence after its last record.
    pub(super) fn end(&self) -> u64 {
        self.outcome.first.saturating_add(self.count.into())
    }

    /// From now on its acks are ready.
    pub(super) fn settle(&self) {
        self.outcome.settle(self.result.clone());
    }

    pub(super) fn to_settled(&self) -> Settled {
        Settled {
            first_sequence: self.outcome.first,
            count: self.count.into(),
            result: self.result.clone(),
            outcome: Arc::clone(&self.outcome),
        }
    }
}

/// The acknowledgement of appended records: their position in the log, or why they were
/// not appended.
///
/// Wait for it, poll it or drop it. [`flush`](super::Producer::flush) and
/// [`close`](super::Producer::close) report failures that no ack has reported. An ack
/// may outlive its producer, and may be used from any thread and any number of times.
#[derive(Debug, Clone)]
pub struct Ack {
    outcome: Arc<BlockOutcome>,
    sequence: u64,
    /// The additional fields of a batch; boxed to keep the ack of one record small.
    batch: Option<Box<Batch>>,
}

#[derive(Debug, Clone)]
struct Batch {
    count: u64,
    /// The blocks after the first one, for a batch over 1 MiB. No block is there twice
    /// in a row.
    others: Vec<Arc<BlockOutcome>>,
}

impl Ack {
    /// The ack of one record.
    #[inline]
    pub(super) fn of_one(outcome: Arc<BlockOutcome>, sequence: u64) -> Ack {
        Ack { outcome, sequence, batch: None }
    }

    /// The ack of records in one block.
    pub(super) fn of_batch(outcome: Arc<BlockOutcome>, sequence: u64, count: u64) -> Ack {
        let batch = Some(Box::new(Batch { count, others: Vec::new() }));
        Ack { outcome, sequence, batch }
    }

    /// The ack of a batch without records.
    pub(super) fn of_nothing(sequence: u64, process: Process) -> Ack {
        let outcome = BlockOutcome::new(sequence, process);
        outcome.settle(Ok(0));
        Ack::of_batch(outcome, sequence, 0)
    }

    /// Adds the ack of the records that were appended next.
    pub(super) fn join(&mut self, next: Ack) {
        let count = self.count() + next.count();
        let batch = self.batch.get_or_insert_with(|| Box::new(Batch { count, others: Vec::new() }));
        batch.count = count;
        if !Arc::ptr_eq(batch.others.last().unwrap_or(&self.outcome), &next.outcome) {
            batch.others.push(next.outcome);
        }
    }

    /// The sequence number of the record, or of a batch's first record.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number of records.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.batch.as_ref().map_or(1, |batch| batch.count)
    }

    fn others(&self) -> &[Arc<BlockOutcome>] {
        self.batch.as_ref().map_or(&[], |batch| &batch.others)
    }

    /// Waits until the records are durable, and returns the position of the first one.
    /// Records of one batch of at most 1 MiB have consecutive positions.
    ///
    /// Cancel safe: it only waits.
    ///
    /// # Errors
    /// Why the records were not acknowledged.
    /// [`maybe_appended`](crate::Error::maybe_appended) says whether they, or some records of
    /// a batch over 1 MiB, may be in the log anyway.
    pub async fn position(&self) -> Result<u64, Error> {
        self.outcome.process.check()?;
        let mut joined = self.outcome.wait().await;
        for other in self.others() {
            joined = both(joined, other.wait().await);
        }
        joined.map(|base| self.of(base))
    }

    /// The result of [`position`](Self::position), without waiting; `None` while it is
    /// not known.
    #[must_use]
    pub fn try_position(&self) -> Option<Result<u64, Error>> {
        if self.others().iter().any(|other| other.result.get().is_none()) {
            return None;
        }
        let mut joined = self.outcome.base()?;
        for other in self.others() {
            joined = both(joined, other.base()?);
        }
        Some(joined.map(|base| self.of(base)))
    }

    fn of(&self, base: u64) -> u64 {
        base.saturating_add(self.sequence.saturating_sub(self.outcome.first))
    }
}

/// The result of two parts: the position of the first one, or the first error. If one part is or
/// may be in the log, the error says so.
fn both(first: Result<u64, Error>, second: Result<u64, Error>) -> Result<u64, Error> {
    let may_exist =
        |part: &Result<u64, Error>| part.as_ref().map_or_else(Error::maybe_appended, |_| true);
    let maybe_appended = may_exist(&first) || may_exist(&second);
    match (first, second) {
        (Ok(base), Ok(_)) => Ok(base),
        (Err(error), _) | (_, Err(error)) => Err(error.with_maybe_appended(maybe_appended)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::block_on;

    fn outcome(first: u64) -> Arc<BlockOutcome> {
        BlockOutcome::new(first, Process::current())
    }

    #[test]
    fn positions_count_from_the_position_of_the_block() {
        let block = outcome(10);
        let acks = [10, 12].map(|sequence| Ack::of_one(Arc::clone(&block), sequence));
        assert!(acks[1].try_position().is_none());
        block.settle(Ok(100));
        block.settle(Err(Error::closed("producer")));
        for (ack, position) in acks.iter().zip([100, 102]) {
            assert_eq!(block_on(ack.position()).ok(), Some(position));
            assert_eq!(ack.try_position().and_then(Result::ok), Some(position));
        }
    }

    #[test]
    fn settling_wakes_a_waiting_caller() {
        let block = outcome(0);
        let ack = Ack::of_one(Arc::clone(&block), 0);
        let waiting = std::thread::spawn(move || block_on(ack.position()));
        block.settle(Ok(7));
        assert_eq!(waiting.join().expect("it ends").ok(), Some(7));
    }

    #[test]
    fn failure_is_unreported_until_an_ack_returns_it() {
        let block = outcome(0);
        let ack = Ack::of_one(Arc::clone(&block), 0);
        assert!(block.unreported_failure().is_none());
        block.settle(Err(Error::closed("producer")));
        assert!(block.unreported_failure().is_some());
        assert!(block_on(ack.position()).is_err());
        assert!(block.unreported_failure().is_none());
    }

    #[test]
    fn joined_ack_is_ready_when_all_parts_are() {
        let (one, two) = (outcome(0), outcome(5));
        let mut ack = Ack::of_batch(Arc::clone(&one), 0, 5);
        ack.join(Ack::of_batch(Arc::clone(&two), 5, 2));
        assert_eq!((ack.sequence(), ack.count()), (0, 7));
        one.settle(Ok(3));
        assert!(ack.try_position().is_none());
        two.settle(Ok(9));
        assert_eq!(ack.try_position().and_then(Result::ok), Some(3));
    }

    #[test]
    fn joined_ack_fails_with_the_first_error_and_says_that_a_part_may_be_in_the_log() {
        let outside = || Error::closed("producer");
        let unknown = || outside().with_maybe_appended(true);
        for (parts, maybe_appended) in [
            ([Ok(3), Err(outside()), Err(outside())], true),
            ([Err(outside()), Err(unknown()), Err(outside())], true),
            ([Err(unknown()), Err(outside()), Err(outside())], true),
            ([Err(outside()), Err(outside()), Err(outside())], false),
        ] {
            let outcomes = [outcome(0), outcome(5), outcome(9)];
            let mut ack = Ack::of_batch(Arc::clone(&outcomes[0]), 0, 5);
            ack.join(Ack::of_batch(Arc::clone(&outcomes[1]), 5, 4));
            ack.join(Ack::of_batch(Arc::clone(&outcomes[2]), 9, 1));
            for (outcome, part) in outcomes.iter().zip(parts) {
                assert!(ack.try_position().is_none());
                outcome.settle(part);
            }
            let results = [ack.try_position().expect("settled"), block_on(ack.position())];
            for error in results.map(|result| result.expect_err("a part failed")) {
                assert_eq!(error.maybe_appended(), maybe_appended);
            }
            assert!(outcomes.iter().all(|part| part.unreported_failure().is_none()));
        }
    }
}
