//! [`Sealed`]: a block as it is sent, again and again until it is acked.
//!
//! ```text
//! frame header | block header | records, or their packed form
//! └ 8 bytes      └ 96 bytes     └ where they were encoded, when they are plain
//! ```

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use styx_protocol::block::{self, Codec, Origin};
use styx_protocol::frame::blocks_header;
use styx_protocol::limits::FRAME_HEADER_BYTES;

use super::ack::Outcome;
use super::filling::{Filled, PREFIX_BYTES};

/// What may have become of a block that is not acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The server cannot have it whole.
    NotSent,
    /// It was sent whole, on the connection that is open.
    SentHere,
    /// It was sent whole on a connection that broke.
    SentBefore,
}

/// See the module. Its bytes never change.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) frame: Bytes,
    pub(super) first: u64,
    pub(super) count: u32,
    /// Bytes of the records before packing.
    pub(super) raw_bytes: usize,
    /// When its first record was appended.
    pub(super) since: Instant,
    pub(super) outcome: Arc<Outcome>,
    pub(super) fate: Fate,
}

impl Sealed {
    /// Seals a block: its bytes are decided here once and for all.
    pub(super) fn seal(filled: Filled, origin: Origin, codec: Codec) -> Sealed {
        let Filled { mut body, count, first, since, outcome } = filled;
        let codec = body.pack(codec);
        let raw_bytes = body.raw_bytes();
        let mut bytes = body.bytes;
        let (prefix, body) = bytes.split_at_mut(PREFIX_BYTES);
        let header = block::header_of(codec, count, raw_bytes, body, origin);
        let (frame_header, block_header) = prefix.split_at_mut(FRAME_HEADER_BYTES);
        frame_header.copy_from_slice(&blocks_header(block_header.len() + body.len()));
        block_header.copy_from_slice(&header.encode().0);
        // A block that turned out small does not keep the room of a large one.
        if bytes.capacity() / 2 > bytes.len() {
            bytes.shrink_to_fit();
        }
        let frame = bytes.into();
        Sealed { frame, first, count, raw_bytes, since, outcome, fate: Fate::NotSent }
    }

    /// The sequence behind its last record.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }
}

#[cfg(test)]
mod tests {
    use styx_protocol::Position;
    use styx_protocol::block::build_with;
    use styx_protocol::record;

    use super::super::filling::{Filling, Limits, Run};
    use super::super::header_of;
    use super::*;
    use crate::runtime::Process;

    /// What this crate builds in place is what the protocol builds by copying.
    #[test]
    fn a_sealed_block_is_the_protocols_block_in_a_frame() {
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
            let mut filling = Filling::new(limits, Process::current());
            let mut builder = record::Builder::new();
            for payload in &payloads {
                let begins_block = filling.begins_block(payload.len());
                filling.push(header_of(payload).expect("small"), payload, begins_block);
                assert!(builder.push(payload));
            }
            let sealed = Sealed::seal(filling.take().expect("a block"), origin, codec);
            let block = build_with(codec, None, &builder.take(), origin);
            let expected = [&blocks_header(block.len())[..], &block].concat();
            assert_eq!(sealed.frame, expected, "{codec}");
            assert_eq!((sealed.count, sealed.end()), (50, 50));
        }
    }

    /// A batch that the caller packed is sealed as one that the link packs, and stands
    /// alone.
    #[test]
    fn a_run_that_comes_packed_is_the_protocols_block_and_takes_no_more() {
        let limits = Limits {
            block_bytes: 1 << 18,
            block_bytes_max: 1 << 20,
            in_flight_bytes: 1 << 20,
            blocks: 8,
        };
        for (codec, payload) in
            Codec::ALL.into_iter().flat_map(|codec| [(codec, &[7; 200][..]), (codec, b"")])
        {
            let mut filling = Filling::new(limits, Process::current());
            let (mut run, mut builder) = (Run::new(), record::Builder::new());
            run.push(header_of(payload).expect("small"), payload);
            assert!(builder.push(payload));
            let raw_bytes = run.raw_bytes();
            run.pack(codec);
            assert_eq!(run.raw_bytes(), raw_bytes);
            let begins_block = filling.begins_block(raw_bytes);
            filling.push_run(run, begins_block);
            assert!(filling.begins_block(8), "it takes no more");
            let sealed = Sealed::seal(filling.take().expect("a block"), Origin::default(), codec);
            let block = build_with(codec, None, &builder.take(), Origin::default());
            assert_eq!(sealed.frame, [&blocks_header(block.len())[..], &block].concat(), "{codec}");
            assert_eq!((sealed.count, sealed.raw_bytes), (1, raw_bytes));
        }
    }
}
