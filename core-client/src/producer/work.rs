//! The methods of [`ProducerShared`] for the producer's task: take blocks, report
//! what became of them, and end.

use std::time::Instant;

use super::ack::SettledBlock;
use super::pending::PendingBlock;
use super::shared::{CloseLimit, Phase, ProducerShared};
use crate::error::Error;

/// What the task asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkRequest {
    pub(super) now: Instant,
    /// Whether it can send another block.
    pub(super) can_send: bool,
}

/// What the task has to do.
#[derive(Debug)]
pub(super) struct Work {
    /// The next block, if one is due.
    pub(super) block: Option<PendingBlock>,
    /// When the oldest pending record was appended.
    pub(super) oldest: Option<Instant>,
    /// When a lingering block becomes due.
    pub(super) lingers_until: Option<Instant>,
    pub(super) intent: Intent,
}

/// What the callers want the task to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    /// Keep running.
    Continue,
    /// End once every record is settled, and at this time at the latest.
    Close { before: Instant, limit: CloseLimit, all_settled: bool },
    /// End now.
    Abandon,
}

impl ProducerShared {
    /// Sets the first sequence, before the first record.
    pub(super) fn start_at(&self, sequence: u64) {
        let mut state = self.lock();
        state.pending.start_at(sequence);
        state.settled_before = sequence;
    }

    /// Sets the server's limits: unacknowledged blocks, and record bytes of one block.
    pub(super) fn set_limits(&self, blocks: usize, block_bytes_max: usize) {
        self.lock().pending.set_limits(blocks, block_bytes_max);
    }

    /// The sequence of the oldest record that the task has not taken.
    pub(super) fn next_unsent(&self) -> u64 {
        let state = self.lock();
        state.pending.oldest().map_or(state.pending.next_sequence(), |oldest| oldest.first)
    }

    /// Whether the task has ended.
    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits until the task may have something to do.
    pub(super) async fn wait_for_work(&self) {
        self.work.notified().await;
    }

    /// The next block, if one is due, and everything else the task needs to know. The
    /// task is notified of a later block only if it could send one now.
    pub(super) fn next_work(&self, request: WorkRequest) -> Work {
        let mut state = self.lock();
        let intent = match state.phase {
            Phase::Open | Phase::Failed(_) => Intent::Continue,
            Phase::Abandoned => Intent::Abandon,
            Phase::Closing { before, limit } => {
                Intent::Close { before, limit, all_settled: state.pending.is_settled() }
            }
        };
        let linger = self.linger;
        let due = state.pending.oldest().map(|oldest| {
            let at_once = state.pending.is_full() || oldest.first < state.flush_before;
            if at_once { request.now } else { oldest.since + linger }
        });
        let mut block = None;
        if request.can_send {
            if due.is_some_and(|due| due <= request.now) {
                block = state.pending.take();
            }
            state.task_waits = block.is_none();
        } else {
            state.task_waits = false;
        }
        let oldest = state.pending.oldest().map(|oldest| oldest.since);
        let lingers_until = if block.is_none() && request.can_send { due } else { None };
        Work { block, oldest, lingers_until, intent }
    }

    /// These blocks are settled, in the order of their sequences. The counters change
    /// before an ack is ready, and a flush returns after it.
    pub(super) fn settle(&self, blocks: Vec<SettledBlock>) {
        let Some(settled_before) = blocks.last().map(SettledBlock::end) else { return };
        let now = Instant::now();
        let was_full = {
            let mut state = self.lock();
            let was_full = !state.pending.has_space();
            blocks.iter().for_each(|block| state.release(block));
            if blocks.iter().any(|block| block.result.is_ok()) {
                state.counts.acked(now);
            }
            was_full
        };
        blocks.iter().for_each(SettledBlock::settle);
        let mut state = self.lock();
        state.settled_before = state.settled_before.max(settled_before);
        blocks.into_iter().for_each(|block| state.keep_settled(block));
        let has_space = state.pending.has_space();
        let source = state.source.clone();
        drop(state);
        if was_full && has_space {
            self.space.notify_one();
        }
        self.notify_settled(source);
    }

    /// The task ends, and the producer accepts no more records. Pending blocks were
    /// never sent and fail with `error`. The blocks in `unacked` have failed too. After a
    /// clean close there are neither.
    pub(super) fn end(&self, error: Option<&Error>, unacked: Vec<SettledBlock>) {
        let cause = error.cloned().unwrap_or_else(|| Error::closed("producer"));
        let cause = cause.with_maybe_appended(false);
        // The phase changes first, so that a caller that sees a failed block cannot
        // append another record.
        let failed: Vec<SettledBlock> = {
            let mut state = self.lock();
            match error {
                Some(error) => state.phase = Phase::Failed(error.clone()),
                None if matches!(state.phase, Phase::Open) => state.phase = Phase::Abandoned,
                None => {}
            }
            unacked.iter().for_each(|block| state.release(block));
            let never_sent = state.pending.drain().into_iter().map(|block| {
                let block = block.settled(Err(cause.clone()));
                state.counts.count(&block);
                block
            });
            unacked.into_iter().chain(never_sent).collect()
        };
        failed.iter().for_each(SettledBlock::settle);
        let mut state = self.lock();
        failed.into_iter().for_each(|block| state.keep_settled(block));
        state.ended = true;
        let source = state.source.clone();
        drop(state);
        self.space.notify_waiters();
        self.notify_settled(source);
    }
}
