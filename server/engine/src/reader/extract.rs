//! What a read returns, extracted from stored blocks: one code path for memory and files, and
//! for records and blocks.

use styx_protocol::Position;
use styx_protocol::block::Header;

use crate::tail::Group;

/// A result that is extracted from blocks.
pub(super) trait Extract: Sized {
    /// What a block counts toward a read's byte limit.
    fn measure(header: &Header) -> usize;

    /// Extracts the blocks, beginning with the one that contains `from`: at least one with records,
    /// and about `bytes_max` bytes. `None` if there is none.
    ///
    /// # Errors
    /// The body of the first block does not match its header; the error is its offset in the group.
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
    /// The position after it.
    pub(super) next: Position,
    /// Bytes of the last group up to there.
    pub(super) used: usize,
}

/// Counts what a read has extracted against its limit.
#[derive(Debug)]
pub(super) struct Bound {
    bytes: usize,
    bytes_max: usize,
}

impl Bound {
    pub(super) fn new(bytes_max: usize) -> Bound {
        Bound { bytes: 0, bytes_max }
    }

    /// Whether this much more may be extracted. The first block always may.
    pub(super) fn admits(&mut self, bytes: usize) -> bool {
        let first = self.bytes == 0;
        self.bytes = self.bytes.saturating_add(bytes.max(1));
        first || self.bytes <= self.bytes_max
    }
}
