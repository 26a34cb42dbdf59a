//! [`Window`]: sealed blocks that are not yet acknowledged.
//!
//! ```text
//!            written on this connection    not yet
//! acked ◀── [ block | block | block ] ──── [ block | … ] ◀── sealed
//!            └ acks settle blocks from the front
//! ```
//! After a reconnect, all blocks are written again from the front, with the same bytes.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use styx_protocol::frame::Ack;

use super::ack::SettledBlock;
use super::sealed::{SealedBlock, SendState};
use crate::error::Error;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Window {
    blocks: VecDeque<SealedBlock>,
    /// How many of them were written completely on this connection.
    written: usize,
}

/// The blocks that an ack covers.
#[derive(Debug)]
pub(super) struct AckedBlocks {
    /// The blocks with their positions, in order.
    pub(super) blocks: Vec<SettledBlock>,
    /// The highest position after one of them.
    pub(super) end_position: u64,
}

impl Window {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The number of blocks.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// When the oldest unacknowledged record was appended.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.blocks.front().map(|block| block.since)
    }

    /// The sequence of the oldest unacknowledged record, and the one after the newest.
    pub(super) fn sequences(&self) -> Option<(u64, u64)> {
        Some((self.blocks.front()?.first, self.blocks.back()?.end()))
    }

    /// Adds a block after all others.
    pub(super) fn push(&mut self, block: SealedBlock) {
        self.blocks.push_back(block);
    }

    /// The bytes to write next, if fewer than `blocks_max` blocks are unacknowledged.
    pub(super) fn next(&self, blocks_max: usize) -> Option<Bytes> {
        if self.written >= blocks_max {
            return None;
        }
        self.blocks.get(self.written).map(|block| block.frame.clone())
    }

    /// The block that [`next`](Self::next) returned was written completely. Returns
    /// whether it was sent before.
    pub(super) fn wrote(&mut self) -> bool {
        let Some(block) = self.blocks.get_mut(self.written) else { return false };
        self.written += 1;
        if block.state == SendState::NotSent {
            block.state = SendState::SentOnThisConnection;
        }
        block.state == SendState::SentEarlier
    }

    /// Removes the blocks that an ack covers: all of them or none.
    ///
    /// # Errors
    /// The ack covers records that were not sent, or a part of a block.
    pub(super) fn ack(&mut self, ack: &Ack) -> Result<AckedBlocks, Error> {
        let mut bases = Vec::new();
        for run in &ack.runs {
            let (mut base, mut left) = (run.base.0, run.count);
            while left > 0 {
                let block = self.blocks.get(bases.len()).filter(|_| bases.len() < self.written);
                let block = block.ok_or_else(|| wrong("records that were not sent"))?;
                left = left.checked_sub(block.count).ok_or_else(|| wrong("part of a block"))?;
                bases.push(base);
                base = base.saturating_add(block.count.into());
            }
        }
        self.written -= bases.len();
        let blocks = self.blocks.drain(..bases.len()).zip(bases);
        let blocks = blocks.map(|(block, base)| block.settled(Ok(base))).collect();
        let end_position = ack.runs.iter().map(|run| run.end().0).max().unwrap_or_default();
        Ok(AckedBlocks { blocks, end_position })
    }

    /// The connection broke. `none_appended` means: the server has reported that no
    /// unacknowledged record is in the log.
    pub(super) fn disconnected(&mut self, none_appended: bool) {
        self.written = 0;
        for block in
            self.blocks.iter_mut().filter(|block| block.state == SendState::SentOnThisConnection)
        {
            block.state = if none_appended { SendState::NotSent } else { SendState::SentEarlier };
        }
    }

    /// Removes the blocks that may have been appended. Without a producer id they cannot
    /// be sent again.
    pub(super) fn take_maybe_appended(&mut self) -> VecDeque<SealedBlock> {
        let (maybe_appended, others) =
            self.blocks.drain(..).partition(|block| block.state != SendState::NotSent);
        self.blocks = others;
        self.written = 0;
        maybe_appended
    }

    /// Removes all blocks.
    pub(super) fn drain(&mut self) -> VecDeque<SealedBlock> {
        self.written = 0;
        std::mem::take(&mut self.blocks)
    }
}

fn wrong(what: &str) -> Error {
    Error::bad_answer(format!("the server acknowledged {what}")).with_maybe_appended(true)
}
