//! [`Span`]: a part of a segment's file, for whoever sends it without reading it.
//!
//! ```text
//! index    entry            entry            entry          (at most 64 KiB apart)
//! file     [block][block]…  [block][block]…  [block]…  end
//!                 └────────── span ──────────┘
//! ```
//!
//! A span begins with the very block that holds the position: headers are read on
//! the way there from an index entry, and none when the reader stands there
//! already. It ends where an index entry or the readable end says that a block
//! ends. Of what is in it nothing is checked.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use styx_protocol::{LogStatus, Position};

use super::{Place, Reader};
use crate::Error;
use crate::segment::index::Key;
use crate::segment::name::Offset;
use crate::storage::{Disk, File};
use crate::wait::lock;

/// Whole blocks in a file, with the handle to send them by (`AsFd`). They stay
/// what they are for as long as the span lives, even when the log removes them.
#[derive(Debug)]
pub struct Span {
    file: Arc<dyn File>,
    offset: Offset,
    len: u64,
    next: Position,
}

impl Span {
    /// The first byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no byte; never so.
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
    /// Whether what comes next is in memory, or there is nothing. Never waits.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.position >= self.log.tail.end() || !self.log.tail.cached(self.position, 0).is_empty()
    }

    /// What comes next as a part of a file, at most `bytes_max`, and moves on; `None`
    /// when it is in memory or cannot be had so: then read
    /// [blocks](Reader::try_blocks). May wait for the disk.
    ///
    /// It begins with the block that holds the position, as
    /// [blocks](Reader::blocks) do. The receiver checks the blocks, skips fillers and
    /// seals, and finds what is damaged; a reader at the damaged position then says
    /// so. A span may hold blocks of every codec. Of a log that is known to be
    /// damaged there are no spans.
    ///
    /// # Errors
    /// Retention, a log that is gone; the index cannot be read.
    pub fn span(&mut self, bytes_max: u64) -> Result<Option<Span>, Error> {
        let view = self.log.tail.live_view()?;
        if self.position < view.start() {
            return Err(self.out_of_range(&view));
        }
        if self.is_in_memory() || lock(&self.log.health).0 == LogStatus::Corrupt {
            return Ok(None);
        }
        let Some((place, _)) = self.place(&view, Disk::May)? else { return Ok(None) };
        if place.file.fd().is_none() {
            return Ok(None);
        }
        let place = match self.at_its_block(place, &view) {
            // Whoever reads there says what it is.
            Err(Error::CorruptRecord { .. }) => return Ok(None),
            place => place?,
        };
        let Place { segment, file, offset } = place;
        let readable = view.readable_bytes(&segment);
        let limit = offset.saturating_add(bytes_max);
        let (end, next) = if readable <= limit {
            let next = segment.summary().map_or(view.durable.position, |sealed| sealed.end);
            (readable, next)
        } else {
            let stretch = segment.find(Key::Offset(limit), Disk::May);
            let failed = Error::io("cannot read the index of", &segment.path);
            match stretch.map_err(failed)?.map(|stretch| stretch.from) {
                Some(entry) if entry.position > self.position => (entry.offset, entry.position),
                _ => return Ok(None),
            }
        };
        let Some(len) = end.checked_sub(offset).filter(|len| *len > 0) else { return Ok(None) };
        self.position = next;
        self.place = Some(Place { segment, file: Arc::clone(&file), offset: end });
        Ok(Some(Span { file, offset, len, next }))
    }
}
