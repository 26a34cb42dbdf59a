//! What a read makes of stored blocks: one path for all, from memory and from the
//! file.

use styx_protocol::Position;
use styx_protocol::block::Header;

use crate::tail::Group;

/// Something that is made of blocks.
pub(super) trait Take: Sized {
    /// What a block counts for against a read's bound.
    fn measure(header: &Header) -> usize;

    /// Takes the blocks from the one that holds `from` on: one with records at
    /// least, and about `bytes_max` in all. `None` when there is none.
    ///
    /// # Errors
    /// The first block has not what its header says; where it begins in its group.
    fn take(
        groups: &[Group],
        from: Position,
        bytes_max: usize,
    ) -> Result<Option<Taken<Self>>, usize>;
}

/// What was taken.
#[derive(Debug)]
pub(super) struct Taken<T> {
    pub(super) found: T,
    /// The position after it.
    pub(super) next: Position,
    /// Bytes of the last group up to there.
    pub(super) used: usize,
}

/// Keeps count of what a read has taken.
#[derive(Debug)]
pub(super) struct Bound {
    bytes: usize,
    bytes_max: usize,
}

impl Bound {
    pub(super) fn new(bytes_max: usize) -> Bound {
        Bound { bytes: 0, bytes_max }
    }

    /// Whether this much more may be taken; the first always may.
    pub(super) fn admits(&mut self, bytes: usize) -> bool {
        let first = self.bytes == 0;
        self.bytes = self.bytes.saturating_add(bytes.max(1));
        first || self.bytes <= self.bytes_max
    }
}
