//! [`Checked`]: a producer's block that a server may store unchanged.
//!
//! Received bytes become a [`Block`], which becomes a `Checked`. This is the only way to
//! get one, so a `Checked` can be appended without checking its records again. The body is
//! shared, never copied, and stays compressed if it was.

use bytes::Bytes;

use super::{Block, Flags, Header, ParseError};
use crate::limits::RECORD_HEADER_BYTES;
use crate::{Position, codec, record};

/// A block whose header, body and records were checked. It has no field that only a server
/// may set, and no record that is longer than its log allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    block: Block,
    longest: usize,
}

impl Checked {
    pub(super) fn check(block: Block, payload_bytes_max: usize) -> Result<Checked, ParseError> {
        block.check_from_producer()?;
        let codec = block.header().codec;
        let run = codec::with_unpacked(codec, block.body(), block.raw_bytes(), record::check_run)
            .map_err(|fault| block.unpack_error(fault))??;
        block.check_count(run.count)?;
        if run.longest > payload_bytes_max {
            let record_bytes = |payload: usize| (payload + RECORD_HEADER_BYTES) as u64;
            let (size, max) = (record_bytes(run.longest), record_bytes(payload_bytes_max));
            return Err(ParseError::RecordTooLarge { size, max });
        }
        Ok(Checked { block, longest: run.longest })
    }

    /// The header as received. The server's fields are 0, except that `base_position` is
    /// the value of [`expected`](Self::expected).
    #[must_use]
    pub fn header(&self) -> &Header {
        self.block.header()
    }

    /// The body as received, to be stored unchanged.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        self.block.body()
    }

    /// The number of records, at least one.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.header().count
    }

    /// Payload bytes of the longest record.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The position at which the log must end for the block to be appended, if the producer
    /// requires one.
    #[must_use]
    pub fn expected(&self) -> Option<Position> {
        let header = self.header();
        let asked = header.flags.contains(Flags::EXPECT_POSITION);
        asked.then_some(Position(header.base_position))
    }

    /// The block as received.
    #[must_use]
    pub fn block(&self) -> &Block {
        &self.block
    }
}
