//! [`Ack`]: what became of appended records. [`Outcome`]: the same for a whole
//! block, which is what is acked.
//!
//! ```text
//! append ─▶ Ack ──┐
//! append ─▶ Ack ──┼─▶ Outcome of their block ◀── the link settles it once
//!                 └ position = the block's + distance of the sequences
//! ```
//! An outcome lives as long as its block is unacked or one of its acks is held:
//! old acks can always be asked, and ignored ones cost nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use crate::error::Error;
use crate::runtime::Process;

/// What became of a block.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Sequence of the block's first record.
    first: u64,
    process: Process,
    /// The position of the block's first record, once it is durable.
    result: OnceLock<Result<u64, Error>>,
    settled: Notify,
    /// Whether a failure was told to somebody.
    seen: AtomicBool,
}

impl Outcome {
    pub(super) fn new(first: u64, process: Process) -> Arc<Outcome> {
        Arc::new(Outcome {
            first,
            process,
            result: OnceLock::new(),
            settled: Notify::new(),
            seen: AtomicBool::new(false),
        })
    }

    /// Says what became of the block; the first one to say so is right.
    pub(super) fn settle(&self, result: Result<u64, Error>) {
        if self.result.set(result).is_ok() {
            self.settled.notify_waiters();
        }
    }

    /// The failure that nobody has been told yet.
    pub(super) fn unseen_failure(&self) -> Option<Error> {
        if self.seen.load(Ordering::Relaxed) {
            return None;
        }
        self.result.get().and_then(|result| result.as_ref().err().cloned())
    }

    pub(super) fn mark_seen(&self) {
        self.seen.store(true, Ordering::Relaxed);
    }

    fn base(&self) -> Option<Result<u64, Error>> {
        let result = self.result.get()?;
        if result.is_err() {
            self.mark_seen();
        }
        Some(result.clone())
    }

    async fn wait(&self) -> Result<u64, Error> {
        loop {
            // Created before the look: a settling in between wakes it.
            let settled = self.settled.notified();
            if let Some(result) = self.base() {
                return result;
            }
            settled.await;
        }
    }
}

/// What becomes of appended records. It can be dropped, waited for or looked at;
/// a failure that nobody looks at surfaces in [`flush`](super::Producer::flush)
/// and [`close`](super::Producer::close).
///
/// It outlives its producer, and can be asked from any thread, again and again.
#[derive(Debug, Clone)]
pub struct Ack {
    outcome: Arc<Outcome>,
    sequence: u64,
    /// What a batch has to say besides; small, because most acks are ignored.
    batch: Option<Box<Batch>>,
}

#[derive(Debug, Clone)]
struct Batch {
    count: u64,
    /// The blocks after the first, of a batch over 1 MiB.
    others: Vec<Arc<Outcome>>,
}

impl Ack {
    /// The ack of one record.
    #[inline]
    pub(super) fn of_one(outcome: Arc<Outcome>, sequence: u64) -> Ack {
        Ack { outcome, sequence, batch: None }
    }

    /// The ack of records in one block.
    pub(super) fn of_batch(outcome: Arc<Outcome>, sequence: u64, count: u64) -> Ack {
        let batch = Some(Box::new(Batch { count, others: Vec::new() }));
        Ack { outcome, sequence, batch }
    }

    /// The ack of a batch without records.
    pub(super) fn of_nothing(sequence: u64, process: Process) -> Ack {
        let outcome = Outcome::new(sequence, process);
        outcome.settle(Ok(0));
        Ack::of_batch(outcome, sequence, 0)
    }

    /// The ack of parts that were appended one after the other; `None` without
    /// any.
    pub(super) fn join(parts: Vec<Ack>) -> Option<Ack> {
        let mut parts = parts.into_iter();
        let first = parts.next()?;
        let mut count = first.count();
        let others = parts.map(|part| {
            count += part.count();
            part.outcome
        });
        let others = others.collect();
        Some(Ack { batch: Some(Box::new(Batch { count, others })), ..first })
    }

    /// Number of the (first) record in its producer's stream.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many records it speaks of.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.batch.as_ref().map_or(1, |batch| batch.count)
    }

    fn others(&self) -> &[Arc<Outcome>] {
        self.batch.as_ref().map_or(&[], |batch| &batch.others)
    }

    /// Waits until the records are durable, and gives the position of the first.
    /// Those of one batch of at most 1 MiB follow each other.
    ///
    /// Cancel safe: it only waits.
    ///
    /// # Errors
    /// Why the records were not acked; `maybe_appended` says whether they may be
    /// in the log all the same.
    pub async fn position(&self) -> Result<u64, Error> {
        self.outcome.process.check()?;
        let base = self.outcome.wait().await;
        for other in self.others() {
            other.wait().await?;
        }
        base.map(|base| self.of(base))
    }

    /// What [`position`](Self::position) would give now, without waiting; `None`
    /// while it is not known.
    #[must_use]
    pub fn try_position(&self) -> Option<Result<u64, Error>> {
        if self.others().iter().any(|other| other.result.get().is_none()) {
            return None;
        }
        let base = self.outcome.base()?;
        let failed = self.others().iter().find_map(|other| other.base()?.err());
        Some(match (base, failed) {
            (Ok(base), None) => Ok(self.of(base)),
            (Err(error), _) | (Ok(_), Some(error)) => Err(error),
        })
    }

    fn of(&self, base: u64) -> u64 {
        base.saturating_add(self.sequence.saturating_sub(self.outcome.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::block_on;

    fn outcome(first: u64) -> Arc<Outcome> {
        Outcome::new(first, Process::current())
    }

    #[test]
    fn records_of_a_block_count_from_its_position() {
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
    fn settling_wakes_who_waits() {
        let block = outcome(0);
        let ack = Ack::of_one(Arc::clone(&block), 0);
        let waiting = std::thread::spawn(move || block_on(ack.position()));
        block.settle(Ok(7));
        assert_eq!(waiting.join().expect("it ends").ok(), Some(7));
    }

    #[test]
    fn a_failure_is_unseen_until_an_ack_tells_it() {
        let block = outcome(0);
        let ack = Ack::of_one(Arc::clone(&block), 0);
        assert!(block.unseen_failure().is_none());
        block.settle(Err(Error::closed("producer")));
        assert!(block.unseen_failure().is_some());
        assert!(block_on(ack.position()).is_err());
        assert!(block.unseen_failure().is_none());
    }

    #[test]
    fn parts_are_acked_when_all_of_them_are() {
        let (one, two) = (outcome(0), outcome(5));
        let parts =
            vec![Ack::of_batch(Arc::clone(&one), 0, 5), Ack::of_batch(Arc::clone(&two), 5, 2)];
        let ack = Ack::join(parts).expect("there are parts");
        assert_eq!((ack.sequence(), ack.count()), (0, 7));
        one.settle(Ok(3));
        assert!(ack.try_position().is_none());
        two.settle(Ok(9));
        assert_eq!(ack.try_position().and_then(Result::ok), Some(3));
        assert!(Ack::join(Vec::new()).is_none());
    }
}
