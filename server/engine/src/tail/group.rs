//! [`Group`]: whole blocks with their headers read, of one commit or of one read.
//!
//! ```text
//! bytes    [header|body][header|body][header|body]…    as they are on the disk
//! blocks    └ Kept       └ Kept       └ Kept           shared by all readers
//! ```
//!
//! The bytes were checked when the group was made, so a reader finds its place by
//! position and takes what it needs without looking at them again. A plain block's
//! records are parsed by the first reader that wants records, for all of them; a
//! packed one's are not kept, because they would take more memory than is counted.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use styx_protocol::block::Block;
use styx_protocol::codec::Codec;
use styx_protocol::{Position, Records};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Positions `base..end`.
    pub(crate) base: Position,
    pub(crate) end: Position,
    pub(crate) bytes: Bytes,
    pub(crate) blocks: Arc<[Kept]>,
    /// Of memory, with what is not used of it.
    pub(crate) held_bytes: usize,
    /// Written past the page cache: whoever does not find it in memory asks the device.
    pub(crate) is_direct: bool,
}

/// One block of a group.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) block: Block,
    /// Where it begins in the group.
    pub(crate) at: usize,
    records: OnceLock<Records>,
}

impl Group {
    /// A group of these blocks, whose bytes these are, from `base` on.
    pub(crate) fn new(
        base: Position,
        bytes: Bytes,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Group {
        let mut at = 0;
        let kept = blocks.into_iter().map(|block| {
            let begins = at;
            at += block_len(&block);
            Kept { block, at: begins, records: OnceLock::new() }
        });
        let blocks: Arc<[Kept]> = kept.collect();
        let end = blocks.last().map_or(base, Kept::end);
        Group { base, end, held_bytes: bytes.len(), bytes, blocks, is_direct: false }
    }

    /// What it takes of memory.
    pub(crate) fn cost(&self) -> usize {
        let used = self.bytes.len() + self.blocks.len() * size_of::<Kept>();
        used.max(self.held_bytes)
    }

    /// The blocks from the one that holds `position` on.
    pub(crate) fn blocks_from(&self, position: Position) -> &[Kept] {
        let first = self.blocks.partition_point(|kept| kept.end() <= position);
        self.blocks.get(first..).unwrap_or_default()
    }
}

impl Kept {
    /// The position after its last record.
    pub(crate) fn end(&self) -> Position {
        Position(self.block.header().end_position())
    }

    /// Bytes of the whole block.
    pub(crate) fn len_bytes(&self) -> usize {
        block_len(&self.block)
    }

    /// Its records; `None` if the body does not have what the header says.
    pub(crate) fn records(&self) -> Option<Records> {
        if self.block.header().codec != Codec::None {
            return self.block.records().ok();
        }
        if let Some(records) = self.records.get() {
            return Some(records.clone());
        }
        let records = self.block.records().ok()?;
        Some(self.records.get_or_init(|| records).clone())
    }
}

fn block_len(block: &Block) -> usize {
    block.body().len() + styx_protocol::limits::BLOCK_HEADER_BYTES
}
