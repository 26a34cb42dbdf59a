//! [`SealedBlock`]: the final bytes of a block, sent again until it is acknowledged.
//!
//! ```text
//! frame header | block header | records, plain or compressed
//! └ 8 bytes      └ 96 bytes     └ plain records stay where they were encoded
//! ```

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use styx_protocol::block::{self, Codec, Origin};
use styx_protocol::frame::blocks_header;
use styx_protocol::limits::FRAME_HEADER_BYTES;

use super::ack::{BlockOutcome, SettledBlock};
use super::block_buffer::PREFIX_BYTES;
use super::pending::PendingBlock;
use crate::error::Error;

/// Whether an unacknowledged block was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendState {
    /// The server cannot have received all of it.
    NotSent,
    /// All of it was sent on the current connection.
    SentOnThisConnection,
    /// All of it was sent on a connection that broke.
    SentEarlier,
}

/// The identity and the size of a block that was taken, but has no final bytes, to settle it.
#[derive(Debug)]
pub(super) struct UnsealedBlock {
    outcome: Arc<BlockOutcome>,
    count: u32,
    raw_bytes: usize,
}

impl UnsealedBlock {
    pub(super) fn of(block: &PendingBlock) -> UnsealedBlock {
        let outcome = Arc::clone(&block.outcome);
        UnsealedBlock { outcome, count: block.count, raw_bytes: block.raw_bytes() }
    }

    /// It leaves the producer with this result.
    pub(super) fn settled(self, result: Result<u64, Error>) -> SettledBlock {
        let UnsealedBlock { outcome, count, raw_bytes } = self;
        SettledBlock { outcome, count, raw_bytes, result }
    }
}

/// See the module. Its bytes never change.
#[derive(Debug, Clone)]
pub(super) struct SealedBlock {
    pub(super) frame: Bytes,
    pub(super) first: u64,
    pub(super) count: u32,
    /// Bytes of the records before compression.
    pub(super) raw_bytes: usize,
    /// When its first record was appended.
    pub(super) since: Instant,
    pub(super) outcome: Arc<BlockOutcome>,
    pub(super) state: SendState,
}

impl SealedBlock {
    /// Seals a block: from here on its bytes are fixed.
    pub(super) fn seal(block: PendingBlock, origin: Origin, codec: Codec) -> SealedBlock {
        let PendingBlock { mut body, count, first, since, outcome } = block;
        let codec = body.compress(codec);
        let raw_bytes = body.raw_bytes();
        let mut bytes = body.bytes;
        let (prefix, body) = bytes.split_at_mut(PREFIX_BYTES);
        let header = block::header_of(codec, count, raw_bytes, body, origin);
        let (frame_header, block_header) = prefix.split_at_mut(FRAME_HEADER_BYTES);
        frame_header.copy_from_slice(&blocks_header(block_header.len() + body.len()));
        block_header.copy_from_slice(&header.encode().0);
        // A small block does not keep the memory of a large one.
        if bytes.capacity() / 2 > bytes.len() {
            bytes.shrink_to_fit();
        }
        let frame = bytes.into();
        SealedBlock { frame, first, count, raw_bytes, since, outcome, state: SendState::NotSent }
    }

    /// The sequence after its last record.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }

    /// It leaves the producer with this result.
    pub(super) fn settled(self, result: Result<u64, Error>) -> SettledBlock {
        let SealedBlock { outcome, count, raw_bytes, .. } = self;
        SettledBlock { outcome, count, raw_bytes, result }
    }
}

#[cfg(test)]
mod tests {
    use styx_protocol::Position;
    use styx_protocol::block::build_with;
    use styx_protocol::record;

    use super::super::encoded::{Part, header_of};
    use super::super::pending::{Limits, PendingBlocks};
    use super::*;
    use crate::process::Process;

    /// This crate builds blocks in place; the protocol crate builds the same by copying.
    #[test]
    fn sealed_block_equals_protocol_block_in_a_frame() {
        let limits = Limits {
            block_bytes: 1 << 18,
            block_bytes_max: 1 << 20,
            in_flight_bytes: 1 << 20,
            blocks: 8,
        };
        let payloads: Vec<Vec<u8>> = (0..50u8).map(|i| vec![i / 10; usize::from(i)]).collect();
        let origin = Origin {
            producer_id: 7,
            producer_epoch: 2,
            sequence: 11,
            expected: Some(Position(40)),
        };
        for (codec, origin) in
            Codec::ALL.into_iter().flat_map(|codec| [(codec, origin), (codec, Origin::default())])
        {
            let mut pending = PendingBlocks::new(limits, Process::current());
            let mut builder = record::Builder::new();
            for payload in &payloads {
                let begins_block = pending.begins_block(payload.len());
                pending.push(header_of(payload).expect("small"), payload, begins_block);
                assert!(builder.push(payload));
            }
            let sealed = SealedBlock::seal(pending.take().expect("a block"), origin, codec);
            let block = build_with(codec, None, &builder.take(), origin);
            let expected = [&blocks_header(block.len())[..], &block].concat();
            assert_eq!(sealed.frame, expected, "{codec}");
            assert_eq!((sealed.count, sealed.end()), (50, 50));
        }
    }

    /// A batch that the caller compressed has the same bytes as one that the task
    /// compresses, and gets a block of its own.
    #[test]
    fn batch_compressed_by_the_caller_equals_protocol_block_and_accepts_no_more() {
        let limits = Limits {
            block_bytes: 1 << 18,
            block_bytes_max: 1 << 20,
            in_flight_bytes: 1 << 20,
            blocks: 8,
        };
        for (codec, payload) in
            Codec::ALL.into_iter().flat_map(|codec| [(codec, &[7; 200][..]), (codec, b"")])
        {
            let mut pending = PendingBlocks::new(limits, Process::current());
            let (mut batch, mut builder) = (Part::with_capacity(0), record::Builder::new());
            batch.push(header_of(payload).expect("small"), payload);
            assert!(builder.push(payload));
            let raw_bytes = batch.raw_bytes();
            batch.compress(codec);
            assert_eq!(batch.raw_bytes(), raw_bytes);
            let begins_block = pending.begins_block(raw_bytes);
            pending.push_part(batch, begins_block);
            assert!(pending.begins_block(8), "it accepts no more records");
            let sealed =
                SealedBlock::seal(pending.take().expect("a block"), Origin::default(), codec);
            let block = build_with(codec, None, &builder.take(), Origin::default());
            assert_eq!(sealed.frame, [&blocks_header(block.len())[..], &block].concat(), "{codec}");
            assert_eq!((sealed.count, sealed.raw_bytes), (1, raw_bytes));
        }
    }
}
