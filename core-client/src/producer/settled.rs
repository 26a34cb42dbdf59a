//! [`Settled`]: what became of the records of one block, for callers that take the
//! outcomes of many records at once.
//!
//! [`SettledBlocks`] keeps them until they are taken. It loses none and is bounded:
//! while it is full, appends wait.

use std::sync::Arc;

use super::ack::BlockOutcome;
use crate::error::Error;

/// While this many outcomes were not taken, appends wait.
pub(super) const SETTLED_MAX: usize = 65_536;

/// The outcome of the records of one block.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settled {
    /// The sequence of the first record.
    pub first_sequence: u64,
    /// The number of records, with consecutive sequences.
    pub count: u64,
    /// The position of the first record, if all of them are durable; their positions are
    /// consecutive. Otherwise why none was acknowledged.
    pub result: Result<u64, Error>,
    pub(super) outcome: Arc<BlockOutcome>,
}

impl Settled {
    /// The caller has told its user about the failure of these records:
    /// [`flush`](super::Producer::flush) and [`close`](super::Producer::close) do not report
    /// it again.
    pub fn mark_reported(&self) {
        self.outcome.mark_reported();
    }
}

/// The outcomes that were not taken, in the order of their sequences. Without tracking
/// it keeps none.
#[derive(Debug, Default)]
pub(super) struct SettledBlocks {
    is_tracked: bool,
    waiting: Vec<Settled>,
}

impl SettledBlocks {
    pub(super) fn new(is_tracked: bool) -> SettledBlocks {
        SettledBlocks { is_tracked, waiting: Vec::new() }
    }

    pub(super) fn push(&mut self, settled: impl FnOnce() -> Settled) {
        if self.is_tracked {
            self.waiting.push(settled());
        }
    }

    pub(super) fn is_tracked(&self) -> bool {
        self.is_tracked
    }

    /// Whether appends have to wait until outcomes are taken.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= SETTLED_MAX
    }

    /// Moves all of them to the end of `into`.
    pub(super) fn take(&mut self, into: &mut Vec<Settled>) {
        if into.is_empty() {
            std::mem::swap(&mut self.waiting, into);
        } else {
            into.append(&mut self.waiting);
        }
    }
}
