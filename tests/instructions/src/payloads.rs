//! [`Payloads`]: the records of all cases, and their blocks.

use bytes::Bytes;
use styx_protocol::block::{Block, Origin, build};
use styx_protocol::record::Builder;
use styx_protocol::{Position, Records};

/// Records per run: enough blocks to show the cost of a block, and to hide the cost of the
/// first one.
pub(crate) const RECORDS: usize = 32_768;

/// Bytes of records in a block: the default of a producer.
const BLOCK_BYTES: usize = 256 << 10;

/// Payloads of one size. Their content does not change any count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payloads {
    payload_bytes: usize,
}

static BYTES: [u8; 1024] = [b'x'; 1024];

impl Payloads {
    pub(crate) fn of(payload_bytes: usize) -> Payloads {
        Payloads { payload_bytes }
    }

    /// The payloads of one run, at changing addresses.
    pub(crate) fn each(self) -> impl Iterator<Item = &'static [u8]> {
        (0..RECORDS).filter_map(move |i| BYTES.get(i % 512..)?.get(..self.payload_bytes))
    }

    /// The encoded records of one run, split into the content of blocks.
    pub(crate) fn records(self) -> Vec<Records> {
        let mut all = Vec::new();
        let mut builder = Builder::new();
        for payload in self.each() {
            assert!(builder.push(payload), "less than a block");
            if builder.len_bytes() >= BLOCK_BYTES {
                all.push(builder.take());
            }
        }
        all.push(builder.take());
        all
    }

    /// The blocks of one run as a producer sends them. The first has this sequence.
    pub(crate) fn blocks(self, producer_id: u64, sequence: u64) -> Vec<Bytes> {
        self.built(sequence, |sequence| Origin { producer_id, sequence, ..Origin::default() })
    }

    /// The blocks of one run as a consumer receives them, starting at this position.
    pub(crate) fn stored(self, position: u64) -> Vec<Bytes> {
        // A block with an expected position is nearly the same as a stored block.
        self.built(position, |base| Origin { expected: Some(Position(base)), ..Origin::default() })
    }

    fn built(self, mut next: u64, origin: impl Fn(u64) -> Origin) -> Vec<Bytes> {
        let blocks = self.records().into_iter().map(|records| {
            let block = build(&records, origin(next));
            next += u64::from(records.count());
            block
        });
        blocks.collect()
    }
}

/// Parses bytes that are exactly one block.
pub(crate) fn parsed(bytes: Bytes) -> Block {
    Block::parse(bytes, u64::MAX).expect("a valid block").0
}
