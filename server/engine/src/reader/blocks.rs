//! [`Blocks`]: the result of a read of complete blocks, which are sent without decompression.
//!
//! The bytes are shared with the commits in memory or with the read from the file. Invariant:
//! the blocks follow each other as in the log, without a gap.

use std::ops::Range;

use bytes::Bytes;
use styx_protocol::Position;
use styx_protocol::block::{Block, Header};
use styx_protocol::codec::Codecs;

use super::extract::{Bound, Extract, Extracted};
use crate::tail::{Group, GroupBlock};

/// Complete blocks in order, without a gap in the positions of their records. They may include
/// fillers and seals, which have no records.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    parts: Vec<BlockRange>,
    first: Position,
    next: Position,
    len_bytes: usize,
    codecs: Codecs,
}

/// Consecutive blocks of one group, and their bytes.
#[derive(Debug, Clone)]
struct BlockRange {
    group: Group,
    blocks: Range<usize>,
    bytes: Bytes,
}

impl BlockRange {
    fn group_blocks(&self) -> &[GroupBlock] {
        self.group.blocks.get(self.blocks.clone()).unwrap_or_default()
    }
}

impl Blocks {
    /// The position of the first record of the first block. It may be before the reader's position,
    /// which can be in the middle of that block.
    #[must_use]
    pub fn first(&self) -> Position {
        self.first
    }

    /// The position after the last record.
    #[must_use]
    pub fn next(&self) -> Position {
        self.next
    }

    /// The size of all blocks in bytes, including their headers.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The codecs with which the bodies are compressed.
    #[must_use]
    pub fn codecs(&self) -> Codecs {
        self.codecs
    }

    /// The bytes of the blocks in order, shared and not copied. Each part has one or more complete
    /// blocks.
    pub fn parts(&self) -> impl Iterator<Item = &Bytes> + '_ {
        self.parts.iter().map(|part| &part.bytes)
    }

    /// The blocks one by one, without fillers and seals. Their bodies share the same memory.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> + '_ {
        let all = self.parts.iter().flat_map(BlockRange::group_blocks);
        all.map(|block| &block.block).filter(|block| !block.header().is_marker())
    }
}

impl Extract for Blocks {
    const HAS_WHOLE_BLOCKS: bool = true;

    /// The stored size of the block, including its header.
    fn measure(header: &Header) -> usize {
        usize::try_from(header.block_bytes()).unwrap_or(usize::MAX)
    }

    fn extract(
        groups: &[Group],
        from: Position,
        bytes_max: usize,
    ) -> Result<Option<Extracted<Blocks>>, usize> {
        let mut bound = Bound::new(bytes_max);
        let mut blocks = Blocks::default();
        let mut used = 0;
        for group in groups {
            let rest = group.blocks_from(from);
            let fit =
                rest.iter().take_while(|block| bound.admits(Blocks::measure(block.block.header())));
            let extracted = fit.count();
            let (Some(first), Some(last)) =
                (rest.first(), extracted.checked_sub(1).and_then(|last| rest.get(last)))
            else {
                break;
            };
            if blocks.parts.is_empty() {
                blocks.first = Position(first.block.header().base_position);
            }
            blocks.next = last.end();
            for block in rest.iter().take(extracted) {
                blocks.codecs = blocks.codecs.with(block.block.header().codec);
            }
            used = last.at + last.len_bytes();
            blocks.len_bytes += used - first.at;
            let begins = group.blocks.len() - rest.len();
            blocks.parts.push(BlockRange {
                group: group.clone(),
                blocks: begins..begins + extracted,
                bytes: group.bytes.slice(first.at..used),
            });
            if extracted < rest.len() {
                break;
            }
        }
        let next = blocks.next;
        Ok((!blocks.parts.is_empty()).then_some(Extracted { found: blocks, next, used }))
    }
}
