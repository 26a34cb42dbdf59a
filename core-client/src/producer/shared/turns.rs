//! What the link does: take blocks in turn, say what became of them, end.

use std::sync::Arc;
use std::time::Instant;

use super::{Phase, Shared};
use crate::error::Error;
use crate::producer::ack::Outcome;
use crate::producer::filling::Filled;

/// What the link asks at each turn.
#[derive(Debug, Clone, Copy)]
pub(in crate::producer) struct Asked {
    pub(in crate::producer) now: Instant,
    /// Whether it can send another block.
    pub(in crate::producer) can_send: bool,
}

/// What it gets.
#[derive(Debug)]
pub(in crate::producer) struct Turn {
    pub(in crate::producer) block: Option<Filled>,
    /// When the oldest waiting record was appended.
    pub(in crate::producer) oldest: Option<Instant>,
    /// When a lingering block is to be sent.
    pub(in crate::producer) lingers_until: Option<Instant>,
    pub(in crate::producer) wish: Wish,
}

/// What callers want of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::producer) enum Wish {
    /// To go on.
    GoOn,
    /// To end when everything is settled, and in any case at this time.
    Close { before: Instant, all_settled: bool },
    /// To end now.
    Abandon,
}

impl Shared {
    /// Where the producer's stream goes on, before the first record.
    pub(in crate::producer) fn start_at(&self, sequence: u64) {
        let mut state = self.lock();
        state.filling.start_at(sequence);
        state.settled_before = sequence;
    }

    /// How many blocks the server remembers, and bytes of records in one.
    pub(in crate::producer) fn set_limits(&self, blocks: usize, block_bytes_max: usize) {
        self.lock().filling.set_limits(blocks, block_bytes_max);
    }

    /// The sequence of the oldest record that was not taken to be sent.
    pub(in crate::producer) fn next_unsent(&self) -> u64 {
        let state = self.lock();
        state.filling.oldest().map_or(state.filling.next_sequence(), |oldest| oldest.first)
    }

    /// Whether the link has said that it is gone.
    pub(in crate::producer) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// Waits until there may be something new.
    pub(in crate::producer) async fn news(&self) {
        self.news.notified().await;
    }

    /// A block if one is due, and what else there is to know. The link is told
    /// of the next one only if it could send one now.
    pub(in crate::producer) fn turn(&self, asked: Asked) -> Turn {
        let mut state = self.lock();
        let wish = match state.phase {
            Phase::Open | Phase::Failed(_) => Wish::GoOn,
            Phase::Abandoned => Wish::Abandon,
            Phase::Closing(before) => {
                Wish::Close { before, all_settled: state.filling.is_settled() }
            }
        };
        let linger = self.linger;
        let due = state.filling.oldest().map(|oldest| {
            let at_once = state.filling.is_full() || oldest.first < state.flush_before;
            if at_once { asked.now } else { oldest.since + linger }
        });
        let mut block = None;
        if asked.can_send {
            if due.is_some_and(|due| due <= asked.now) {
                block = state.filling.take();
            }
            state.link_waits = block.is_none();
        } else {
            state.link_waits = false;
        }
        let oldest = state.filling.oldest().map(|oldest| oldest.since);
        let lingers_until = if block.is_none() && asked.can_send { due } else { None };
        Turn { block, oldest, lingers_until, wish }
    }

    /// Blocks were acked; `raw_bytes` of each, and the sequence behind the last.
    pub(in crate::producer) fn acked(
        &self,
        raw_bytes: impl Iterator<Item = usize>,
        settled_before: u64,
    ) {
        let mut state = self.lock();
        let was_full = !state.filling.has_room();
        raw_bytes.for_each(|bytes| state.filling.release(bytes));
        state.settled_before = state.settled_before.max(settled_before);
        let has_room = state.filling.has_room();
        drop(state);
        if was_full && has_room {
            self.room.notify_one();
        }
        self.tell();
    }

    /// A block that was taken failed with this error, and the producer goes on.
    pub(in crate::producer) fn failed(
        &self,
        block: &Arc<Outcome>,
        raw_bytes: usize,
        before: u64,
        error: Error,
    ) {
        block.settle(Err(error));
        self.lock().remember(Arc::clone(block));
        self.acked(std::iter::once(raw_bytes), before);
    }

    /// The link ends, and no record is taken any more. What still waits was
    /// never sent and fails with `error`, and so do these blocks, each with its
    /// own; a producer that was closed in peace has neither.
    pub(in crate::producer) fn end(
        &self,
        error: Option<&Error>,
        unacked: Vec<(Arc<Outcome>, Error)>,
    ) {
        // The producer has ended before anybody hears why.
        let never_sent = {
            let mut state = self.lock();
            match error {
                Some(error) => state.phase = Phase::Failed(error.clone()),
                None if matches!(state.phase, Phase::Open) => state.phase = Phase::Abandoned,
                None => {}
            }
            state.filling.drain()
        };
        let cause = error.cloned().unwrap_or_else(|| Error::closed("producer"));
        let never_sent = never_sent
            .into_iter()
            .map(|block| (block.outcome, cause.clone().with_maybe_appended(false)));
        let failed = unacked.into_iter().chain(never_sent).map(|(outcome, error)| {
            outcome.settle(Err(error));
            outcome
        });
        let failed: Vec<Arc<Outcome>> = failed.collect();
        let mut state = self.lock();
        failed.into_iter().for_each(|outcome| state.remember(outcome));
        state.ended = true;
        drop(state);
        self.room.notify_waiters();
        self.tell();
    }
}
