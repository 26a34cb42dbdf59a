//! [`Group`]: whole blocks with decoded headers, of one commit or one read.
//!
//! ```text
//! bytes    [header|body][header|body][header|body]…    as they are on the disk
//! blocks    └ GroupBlock └ GroupBlock └ GroupBlock     shared by all readers
//! ```
//!
//! The bytes were checked when the group was created, so a reader finds its blocks by position
//! and does not check them again. The first reader that wants records parses those of a plain
//! block, for all readers. The records of a packed block are not kept, because they would use
//! more memory than is counted.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use styx_protocol::block::Block;
use styx_protocol::codec::Codec;
use styx_protocol::{Position, Records};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The group holds the positions `base..end`.
    pub(crate) base: Position,
    pub(crate) end: Position,
    pub(crate) bytes: Bytes,
    pub(crate) blocks: Arc<[GroupBlock]>,
    /// Bytes of memory that the buffer occupies, including its unused part.
    pub(crate) held_bytes: usize,
    /// The group was written past the page cache, so a reader that does not find it in memory reads
    /// the device.
    pub(crate) is_direct: bool,
}

/// One block of a group.
#[derive(Debug)]
pub(crate) struct GroupBlock {
    pub(crate) block: Block,
    /// Its offset in the group.
    pub(crate) at: usize,
    records: OnceLock<Records>,
}

impl Group {
    /// A group of these blocks, which begins at position `base`; `bytes` holds the blocks.
    pub(crate) fn new(
        base: Position,
        bytes: Bytes,
        blocks: impl IntoIterator<Item = Block>,
    ) -> Group {
        let mut at = 0;
        let block = blocks.into_iter().map(|block| {
            let begins = at;
            at += block_len(&block);
            GroupBlock { block, at: begins, records: OnceLock::new() }
        });
        let blocks: Arc<[GroupBlock]> = block.collect();
        let end = blocks.last().map_or(base, GroupBlock::end);
        Group { base, end, held_bytes: bytes.len(), bytes, blocks, is_direct: false }
    }

    /// The memory that the group uses.
    pub(crate) fn cost(&self) -> usize {
        let used = self.bytes.len() + self.blocks.len() * size_of::<GroupBlock>();
        used.max(self.held_bytes)
    }

    /// The blocks, beginning with the one that holds `position`.
    pub(crate) fn blocks_from(&self, position: Position) -> &[GroupBlock] {
        let first = self.blocks.partition_point(|block| block.end() <= position);
        self.blocks.get(first..).unwrap_or_default()
    }
}

impl GroupBlock {
    /// The position after its last record.
    pub(crate) fn end(&self) -> Position {
        Position(self.block.header().end_position())
    }

    /// Bytes of the whole block.
    pub(crate) fn len_bytes(&self) -> usize {
        block_len(&self.block)
    }

    /// Its records; `None` if the body does not match its header.
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
