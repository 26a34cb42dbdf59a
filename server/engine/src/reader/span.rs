//! [`Span`]: a part of a segment's file, which the kernel sends without a copy to user space.
//!
//! ```text
//! index    entry            entry            entry          (at most 16 KiB apart)
//! file     [block][block]…  [block][block]…  [block]…  end
//!                 └────────── span ──────────┘
//! ```
//!
//! A span begins with the block that contains the position. To find it, the reader reads block
//! headers from an index entry on. A span ends at an index entry or at the readable end, because
//! a block ends there. The receiver checks the content. Invariant: a span has only complete,
//! durable blocks.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use styx_protocol::Position;

use super::{FilePlace, Reader};
use crate::Error;
use crate::segment::index::SearchKey;
use crate::segment::name::Offset;
use crate::storage::{DiskWait, File};

/// Complete blocks in a file, and the file descriptor to send them from ([`AsFd`]). The bytes do
/// not change while the span exists, even if retention removes the segment.
#[derive(Debug)]
pub struct Span {
    file: Arc<dyn File>,
    offset: Offset,
    len: u64,
    next: Position,
}

impl Span {
    /// The offset of the first byte in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Always `false`: a span has at least one block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The position after the last record.
    #[must_use]
    pub fn next(&self) -> Position {
        self.next
    }
}

impl AsFd for Span {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.fd().expect("a span is created only for a file with a descriptor")
    }
}

impl Reader {
    /// Whether the next records are in memory, or the position is the durable end. Never waits.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.position >= self.log.tail.end() || !self.log.tail.cached(self.position, 0).is_empty()
    }

    /// Returns the next blocks as a part of a file, at most `bytes_max` bytes, and advances. May
    /// wait for the disk. Returns `None` if the blocks are in memory or cannot be sent this way.
    /// The caller then uses [`Reader::try_blocks`].
    ///
    /// The span begins with the block that contains the position, as in [`Reader::blocks`]. It may
    /// contain blocks of every codec. The receiver checks the blocks, skips fillers and seals, and
    /// detects damage. A read at the damaged position then reports the damage. A log that is known
    /// to be damaged returns no spans.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if the records were removed, an error if the log was removed or
    /// closed, or an I/O error.
    pub fn span(&mut self, bytes_max: u64) -> Result<Option<Span>, Error> {
        self.begun_us = None;
        let view = self.log.tail.live_view()?;
        if self.position < view.start() {
            return Err(self.out_of_range(&view));
        }
        if self.is_in_memory() || self.is_known_to_be_damaged() {
            return Ok(None);
        }
        let Ok((place, _)) = self.place(&view, DiskWait::Allowed)? else { return Ok(None) };
        // An evicted segment has no descriptor.
        if place.file.fd().is_none() {
            return Ok(None);
        }
        let place = match self.advance_to_block(place, &view) {
            // A read of the blocks reports the damage.
            Err(Error::CorruptRecord { .. }) => return Ok(None),
            place => place?,
        };
        let FilePlace { segment, file, offset } = place;
        let readable = view.readable_bytes(&segment);
        let place = FilePlace { segment, file, offset };
        if self.is_cold_at(&place, readable) {
            self.place = Some(place);
            return Ok(None);
        }
        let FilePlace { segment, file, offset } = place;
        let limit = offset.saturating_add(bytes_max);
        let (end, next) = if readable <= limit {
            let next = segment.summary().map_or(view.durable.position, |sealed| sealed.end);
            (readable, next)
        } else {
            let range = segment.find(SearchKey::Offset(limit), DiskWait::Allowed);
            let failed = Error::io("cannot read the index of", &segment.path);
            match range.map_err(failed)?.map(|range| range.from) {
                Some(entry) if entry.position > self.position => (entry.offset, entry.position),
                _ => return Ok(None),
            }
        };
        let Some(len) = end.checked_sub(offset).filter(|len| *len > 0) else { return Ok(None) };
        self.position = next;
        self.note_progress();
        self.place = Some(FilePlace { segment, file: Arc::clone(&file), offset: end });
        Ok(Some(Span { file, offset, len, next }))
    }
}
