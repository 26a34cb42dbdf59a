//! [`Span`]: a part of a segment's file, to be sent without reading it.
//!
//! ```text
//! index    entry            entry            entry          (at most 16 KiB apart)
//! file     [block][block]…  [block][block]…  [block]…  end
//!                 └────────── span ──────────┘
//! ```
//!
//! A span begins with the block that contains the position. Headers are read on the way there
//! from an index entry, but none if the reader is already there. A span ends at an index entry
//! or at the readable end, because a block ends there. Its content is not checked.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use styx_protocol::{LogStatus, Position};

use super::{FilePlace, Reader};
use crate::Error;
use crate::segment::index::SearchKey;
use crate::segment::name::Offset;
use crate::storage::{DiskWait, File};
use crate::sync::lock;

/// Whole blocks in a file, and the handle to send them (`AsFd`). The bytes do not change while
/// the span exists, even if the log removes them.
#[derive(Debug)]
pub struct Span {
    file: Arc<dyn File>,
    offset: Offset,
    len: u64,
    next: Position,
}

impl Span {
    /// The offset of the first byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes; never true.
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
        self.file.fd().expect("a span is made of a file that has one")
    }
}

impl Reader {
    /// Whether the next records are in memory, or there are none. Never waits.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.position >= self.log.tail.end() || !self.log.tail.cached(self.position, 0).is_empty()
    }

    /// The next blocks as a part of a file, at most `bytes_max` bytes; advances. `None` if they are
    /// in memory or cannot be sent this way: then read [blocks](Reader::try_blocks). May wait for
    /// the disk.
    ///
    /// The span begins with the block that contains the position, like [blocks](Reader::blocks).
    /// The receiver checks the blocks, skips fillers and seals, and detects damage; a reader at the
    /// damaged position then reports it. A span may contain blocks of every codec. A log that is
    /// known to be damaged returns no spans.
    ///
    /// # Errors
    /// The records were removed; the log was removed or closed; the index cannot be read.
    pub fn span(&mut self, bytes_max: u64) -> Result<Option<Span>, Error> {
        let view = self.log.tail.live_view()?;
        if self.position < view.start() {
            return Err(self.out_of_range(&view));
        }
        if self.is_in_memory() || lock(&self.log.health).0 == LogStatus::Corrupt {
            return Ok(None);
        }
        let Some((place, _)) = self.place(&view, DiskWait::Allowed)? else { return Ok(None) };
        if place.file.fd().is_none() {
            return Ok(None);
        }
        let place = match self.advance_to_block(place, &view) {
            // A reader of the blocks reports the damage.
            Err(Error::CorruptRecord { .. }) => return Ok(None),
            place => place?,
        };
        let FilePlace { segment, file, offset } = place;
        let readable = view.readable_bytes(&segment);
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
        self.place = Some(FilePlace { segment, file: Arc::clone(&file), offset: end });
        Ok(Some(Span { file, offset, len, next }))
    }
}
