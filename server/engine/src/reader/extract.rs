//! [`Extract`]: builds the result of a read from stored blocks.
//!
//! Reads of records and reads of blocks implement it, so both use the same code for memory and
//! for files. Invariant: a read returns at least one block, and at most about its byte limit.

use styx_protocol::Position;
use styx_protocol::block::Header;

use crate::tail::Group;

/// A result of a read, which is built from stored blocks.
pub(super) trait Extract: Sized {
    /// Whether it has whole blocks, so that its receiver can check them.
    const HAS_WHOLE_BLOCKS: bool;

    /// The number of bytes by which a block counts toward the byte limit of a read.
    fn measure(header: &Header) -> usize;

    /// Extracts blocks, beginning with the one that contains `from`: at least one with records, and
    /// about `bytes_max` bytes. `None` if the groups have no such block.
    ///
    /// # Errors
    /// The body of the first block does not match its header. The error is the block's offset in
    /// its group.
    fn extract(
        groups: &[Group],
        from: Position,
        bytes_max: usize,
    ) -> Result<Option<Extracted<Self>>, usize>;
}

/// The result of an extraction.
#[derive(Debug)]
pub(super) struct Extracted<T> {
    pub(super) found: T,
    /// The position after the last record.
    pub(super) next: Position,
    /// The offset in the last group after the last extracted block.
    pub(super) used: usize,
}

/// Counts the bytes that a read has extracted, up to its limit.
#[derive(Debug)]
pub(super) struct Bound {
    bytes: usize,
    bytes_max: usize,
}

impl Bound {
    pub(super) fn new(bytes_max: usize) -> Bound {
        Bound { bytes: 0, bytes_max }
    }

    /// Adds `bytes` and returns whether they may be extracted. The first block is always allowed.
    pub(super) fn admits(&mut self, bytes: usize) -> bool {
        let first = self.bytes == 0;
        self.bytes = self.bytes.saturating_add(bytes.max(1));
        first || self.bytes <= self.bytes_max
    }
}
