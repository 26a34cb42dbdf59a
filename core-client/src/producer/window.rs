//! [`Window`]: blocks that were taken to be sent and are not acked yet.
//!
//! ```text
//!            written on this connection    not yet
//! acked ◀── [ block | block | block ] ──── [ block | … ] ◀── sealed
//!            └ acks settle from the front
//! ```
//! After a reconnect everything is written again, from the front, byte for byte.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use styx_protocol::frame::Ack;

use super::sealed::{Fate, Sealed};
use crate::error::Error;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Window {
    blocks: VecDeque<Sealed>,
    /// How many of them were written whole on this connection.
    written: usize,
}

/// What an ack settled.
#[derive(Debug)]
pub(super) struct Settled {
    /// The blocks, in order.
    pub(super) blocks: Vec<Sealed>,
    /// The highest position behind one of them.
    pub(super) end_position: u64,
}

impl Window {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many blocks.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// When the oldest unacked record was appended.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.blocks.front().map(|block| block.since)
    }

    /// Sequences from the oldest unacked record to behind the newest.
    pub(super) fn sequences(&self) -> Option<(u64, u64)> {
        Some((self.blocks.front()?.first, self.blocks.back()?.end()))
    }

    /// Adds a block behind all others.
    pub(super) fn push(&mut self, block: Sealed) {
        self.blocks.push_back(block);
    }

    /// The bytes to write next, when fewer than `blocks_max` are unacked.
    pub(super) fn next(&self, blocks_max: usize) -> Option<Bytes> {
        if self.written >= blocks_max {
            return None;
        }
        self.blocks.get(self.written).map(|block| block.frame.clone())
    }

    /// What [`next`](Self::next) gave was written whole.
    pub(super) fn wrote(&mut self) {
        if let Some(block) = self.blocks.get_mut(self.written) {
            self.written += 1;
            if block.fate == Fate::NotSent {
                block.fate = Fate::SentHere;
            }
        }
    }

    /// Settles what an ack speaks of: all of it or nothing.
    ///
    /// # Errors
    /// It speaks of records that were not sent, or of a part of a block.
    pub(super) fn ack(&mut self, ack: &Ack) -> Result<Settled, Error> {
        let mut bases = Vec::new();
        for run in &ack.runs {
            let (mut base, mut left) = (run.base.0, run.count);
            while left > 0 {
                let block = self.blocks.get(bases.len()).filter(|_| bases.len() < self.written);
                let block = block.ok_or_else(|| wrong("records that were not sent"))?;
                left = left.checked_sub(block.count).ok_or_else(|| wrong("half a block"))?;
                bases.push(base);
                base = base.saturating_add(block.count.into());
            }
        }
        self.written -= bases.len();
        let blocks: Vec<Sealed> = self.blocks.drain(..bases.len()).collect();
        for (block, base) in blocks.iter().zip(bases) {
            block.outcome.settle(Ok(base));
        }
        let end_position = ack.runs.iter().map(|run| run.end().0).max().unwrap_or_default();
        Ok(Settled { blocks, end_position })
    }

    /// The connection broke. With `none_appended` the server has said that
    /// nothing of what was unacked is in the log.
    pub(super) fn disconnected(&mut self, none_appended: bool) {
        self.written = 0;
        for block in self.blocks.iter_mut().filter(|block| block.fate == Fate::SentHere) {
            block.fate = if none_appended { Fate::NotSent } else { Fate::SentBefore };
        }
    }

    /// Takes out the blocks that may have been appended: without a producer id
    /// they cannot be sent again.
    pub(super) fn take_doubtful(&mut self) -> VecDeque<Sealed> {
        let (doubtful, others) =
            self.blocks.drain(..).partition(|block| block.fate != Fate::NotSent);
        self.blocks = others;
        self.written = 0;
        doubtful
    }

    /// Takes out everything.
    pub(super) fn drain(&mut self) -> VecDeque<Sealed> {
        self.written = 0;
        std::mem::take(&mut self.blocks)
    }
}

fn wrong(what: &str) -> Error {
    Error::bad_answer(format!("the server acked {what}")).with_maybe_appended(true)
}
