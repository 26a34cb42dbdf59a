//! [`Blocks`]: stored blocks as they are, to be sent on without being unpacked.

use std::ops::Range;

use bytes::Bytes;
use styx_protocol::Position;
use styx_protocol::block::{Block, Header};
use styx_protocol::codec::Codecs;

use super::take::{Bound, Take, Taken};
use crate::tail::{Group, Kept};

/// Whole blocks in order and without a gap between their records; fillers and
/// seals may stand among them, which carry none.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    parts: Vec<Part>,
    first: Position,
    next: Position,
    len_bytes: usize,
    codecs: Codecs,
}

/// Blocks of one group that stand one behind the other.
#[derive(Debug, Clone)]
struct Part {
    group: Group,
    blocks: Range<usize>,
    bytes: Bytes,
}

impl Part {
    fn kept(&self) -> &[Kept] {
        self.group.blocks.get(self.blocks.clone()).unwrap_or_default()
    }
}

impl Blocks {
    /// The position of the first record of the first block: at or before the
    /// reader's, which may lie inside that block.
    #[must_use]
    pub fn first(&self) -> Position {
        self.first
    }

    /// The position after the last record.
    #[must_use]
    pub fn next(&self) -> Position {
        self.next
    }

    /// Bytes of all blocks, headers and all.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// The codecs of their bodies.
    #[must_use]
    pub fn codecs(&self) -> Codecs {
        self.codecs
    }

    /// The bytes, one run of whole blocks after the other; shared, not copied.
    pub fn parts(&self) -> impl Iterator<Item = &Bytes> + '_ {
        self.parts.iter().map(|part| &part.bytes)
    }

    /// The blocks one by one, fillers and seals left out; bodies are shared.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> + '_ {
        let all = self.parts.iter().flat_map(Part::kept);
        all.map(|kept| &kept.block).filter(|block| !block.header().is_marker())
    }
}

impl Take for Blocks {
    /// Blocks take their memory as they are stored.
    fn measure(header: &Header) -> usize {
        usize::try_from(header.block_bytes()).unwrap_or(usize::MAX)
    }

    fn take(
        groups: &[Group],
        from: Position,
        bytes_max: usize,
    ) -> Result<Option<Taken<Blocks>>, usize> {
        let mut bound = Bound::new(bytes_max);
        let mut blocks = Blocks::default();
        let mut used = 0;
        for group in groups {
            let rest = group.blocks_from(from);
            let fit =
                rest.iter().take_while(|kept| bound.admits(Blocks::measure(kept.block.header())));
            let taken = fit.count();
            let (Some(first), Some(last)) =
                (rest.first(), taken.checked_sub(1).and_then(|last| rest.get(last)))
            else {
                break;
            };
            if blocks.parts.is_empty() {
                blocks.first = Position(first.block.header().base_position);
            }
            blocks.next = last.end();
            for kept in rest.iter().take(taken) {
                blocks.codecs = blocks.codecs.with(kept.block.header().codec);
            }
            used = last.at + last.len_bytes();
            blocks.len_bytes += used - first.at;
            let begins = group.blocks.len() - rest.len();
            blocks.parts.push(Part {
                group: group.clone(),
                blocks: begins..begins + taken,
                bytes: group.bytes.slice(first.at..used),
            });
            if taken < rest.len() {
                break;
            }
        }
        let next = blocks.next;
        Ok((!blocks.parts.is_empty()).then_some(Taken { found: blocks, next, used }))
    }
}
