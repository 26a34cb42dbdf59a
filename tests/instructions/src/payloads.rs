//! The records that every case works on, and the blocks they make.

use bytes::Bytes;
use styx_protocol::block::{Block, Origin, build};
use styx_protocol::record::Builder;
use styx_protocol::{Position, Records};

/// Records of each run: enough blocks that what a block costs is seen, and that
/// what only the first one costs is not.
pub(crate) const RECORDS: usize = 32_768;

/// Bytes of records in a block: what a producer puts into one by default.
const BLOCK_BYTES: usize = 256 << 10;

/// All of one size. What they hold makes no difference to any count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payloads {
    payload_bytes: usize,
}

static BYTES: [u8; 1024] = [b'x'; 1024];

impl Payloads {
    pub(crate) fn of(payload_bytes: usize) -> Payloads {
        Payloads { payload_bytes }
    }

    /// One run's payloads, at changing addresses.
    pub(crate) fn each(self) -> impl Iterator<Item = &'static [u8]> {
        (0..RECORDS).filter_map(move |i| BYTES.get(i % 512..)?.get(..self.payload_bytes))
    }

    /// One run's records, encoded, as much in each as stands in a block.
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

    /// One run's blocks as a producer sends them, the first of which has this
    /// sequence.
    pub(crate) fn blocks(self, producer_id: u64, sequence: u64) -> Vec<Bytes> {
        self.built(sequence, |sequence| Origin { producer_id, sequence, ..Origin::default() })
    }

    /// One run's blocks as a consumer gets them, from this position on.
    pub(crate) fn stored(self, position: u64) -> Vec<Bytes> {
        // A producer that names the position it expects sends nearly that.
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

/// One block, all of these bytes.
pub(crate) fn parsed(bytes: Bytes) -> Block {
    Block::parse(bytes, u64::MAX).expect("a good block").0
}
