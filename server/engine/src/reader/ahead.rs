//! Reading many records in order from a file that is not in the page cache, with [`ReadAhead`].
//!
//! [`ReadAhead`]: crate::read_ahead::ReadAhead

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{FilePlace, READ_BYTES_MIN, Reader};
use crate::read_ahead::{Lookup, PIECE_BYTES, Piece};
use crate::segment::name::Offset;
use crate::storage::{DiskWait, File};

/// A reader reads ahead after it has read this many bytes in order: 256 KiB.
const ORDERED_BYTES_MIN: usize = 256 << 10;
/// Two further pieces are read in advance if the last one was used up within this time.
const FAST_PIECE: Duration = Duration::from_millis(250);

/// A reader that reads ahead looks at the page cache again after this many pieces.
const LOOK_EVERY: u64 = 8;
/// How far it looks.
const LOOK_BYTES: u64 = 32 << 20;

/// How a reader reads from files.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Bytes that were read in order until now.
    pub(super) bytes: usize,
    /// The file was not in the page cache at the last look.
    pub(super) is_cold: bool,
    /// The last piece, and when its first byte was read.
    piece: u64,
    piece_since: Duration,
}

/// The result of a read from pieces.
pub(super) enum Ahead {
    Bytes(Bytes),
    /// The disk is needed, and the read must not wait for it.
    NeedsDisk,
    /// The caller has to read the file itself.
    Unavailable,
}

impl Reader {
    /// Whether the next records are read past the page cache, in advance.
    #[must_use]
    pub fn reads_ahead(&self) -> bool {
        self.order.is_cold
    }

    /// Decides whether to read ahead, before a large part of a file from this place on. May wait
    /// for the disk.
    pub(super) fn is_cold_at(&mut self, place: &FilePlace, limit: Offset) -> bool {
        let is_worth_it = limit.saturating_sub(place.offset) > PIECE_BYTES as u64 / 2;
        let cold = is_worth_it && !self.is_in_page_cache(place, limit);
        self.order.is_cold = cold;
        cold
    }

    /// Reads at least `least` bytes at the place, but not beyond `limit`.
    pub(super) fn read_ahead(
        &mut self,
        place: &FilePlace,
        limit: Offset,
        least: usize,
        disk: DiskWait,
    ) -> Ahead {
        let mut index = place.offset / PIECE_BYTES as u64;
        let within = usize::try_from(place.offset % PIECE_BYTES as u64).unwrap_or(0);
        let first = match self.piece(place, limit, index, disk) {
            Ahead::Bytes(piece) if within < piece.len() => piece.slice(within..),
            Ahead::Bytes(_) => return Ahead::Unavailable,
            none => return none,
        };
        let left = usize::try_from(limit.saturating_sub(place.offset)).unwrap_or(usize::MAX);
        if first.len() >= least.min(left) {
            return Ahead::Bytes(first);
        }
        // A block crosses the boundary.
        let wanted = least.max(READ_BYTES_MIN).min(left);
        let mut joined = BytesMut::with_capacity(wanted);
        joined.extend_from_slice(&first);
        while joined.len() < wanted {
            index += 1;
            match self.piece(place, limit, index, disk) {
                Ahead::Bytes(piece) if !piece.is_empty() => {
                    let part = piece.len().min(wanted - joined.len());
                    joined.extend_from_slice(piece.get(..part).unwrap_or_default());
                }
                Ahead::Bytes(_) => return Ahead::Unavailable,
                none => return none,
            }
        }
        Ahead::Bytes(joined.freeze())
    }

    fn piece(&mut self, place: &FilePlace, limit: Offset, index: u64, disk: DiskWait) -> Ahead {
        let Some(piece) = piece_of(&place.file, limit, index) else { return Ahead::Unavailable };
        let service = &self.log.services.read_ahead;
        let found = match (service.try_get(&piece), disk) {
            (Lookup::Ready(bytes), _) => Some(bytes),
            (Lookup::Reading, DiskWait::Forbidden) => return Ahead::NeedsDisk,
            (Lookup::Absent, DiskWait::Forbidden) => {
                return if self.order.is_cold { Ahead::NeedsDisk } else { Ahead::Unavailable };
            }
            (Lookup::Reading, DiskWait::Allowed) => self.get(&piece),
            (Lookup::Absent, DiskWait::Allowed) => {
                let is_wanted = match self.order.is_cold {
                    true => {
                        !index.is_multiple_of(LOOK_EVERY) || !self.is_in_page_cache(place, limit)
                    }
                    false => {
                        let is_ordered = self.order.bytes >= ORDERED_BYTES_MIN;
                        is_ordered && !self.is_in_page_cache(place, limit)
                    }
                };
                is_wanted.then(|| self.get(&piece)).flatten()
            }
        };
        self.order.is_cold = found.is_some();
        let Some(bytes) = found else { return Ahead::Unavailable };
        if index != self.order.piece {
            let now = self.log.services.time.monotonic();
            let is_fast = now.saturating_sub(self.order.piece_since) < FAST_PIECE;
            (self.order.piece, self.order.piece_since) = (index, now);
            let next = [index + 1, index + 2].into_iter().filter(|_| is_fast);
            for piece in next.filter_map(|index| piece_of(&place.file, limit, index)) {
                self.log.services.read_ahead.prefetch(&piece);
            }
        }
        Ahead::Bytes(bytes)
    }

    /// Waits for a piece, and has its memory freed later.
    fn get(&self, piece: &Piece) -> Option<Bytes> {
        let bytes = self.log.services.read_ahead.get(piece)?;
        self.log.services.maintainer.wake();
        Some(bytes)
    }

    /// Looks at four places of the next 32 MiB: more than the kernel reads in advance, so a reader
    /// that goes through the page cache does not take its own traces for a cached file. A look
    /// reads at most one page into the page cache.
    fn is_in_page_cache(&self, place: &FilePlace, limit: Offset) -> bool {
        let bytes = limit.saturating_sub(place.offset).clamp(1, LOOK_BYTES);
        // Other readers must not look at the same pages, which would then be in the page cache.
        let seed = std::ptr::from_ref(self).addr() as u64 ^ place.offset;
        (1..=4).all(|n: u64| {
            let at = (seed ^ n.rotate_left(16)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            let offset = place.offset + at % bytes;
            matches!(place.file.try_read_at(&mut [0], offset), Ok(Some(1)))
        })
    }
}

/// The piece with this index, as far as it is readable.
fn piece_of(file: &Arc<dyn File>, limit: Offset, index: u64) -> Option<Piece> {
    let begin = index.checked_mul(PIECE_BYTES as u64)?;
    let left = limit.checked_sub(begin).filter(|left| *left > 0)?;
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
    Some(Piece { file: Arc::clone(file), index, len })
}

#[cfg(all(test, not(feature = "loom")))]
#[allow(clippy::disallowed_methods, reason = "the test drops the pages of real files")]
mod tests {
    use std::time::Instant;

    use styx_protocol::{LogConfig, Position, Records};

    use super::*;
    use crate::{Catalog, Found, Options};

    /// Regression test: nothing woke the thread that frees the pieces, so an idle server kept them
    /// for up to a minute.
    #[test]
    fn pieces_of_a_reader_that_stopped_are_freed_soon() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = || {
            let options = Options { direct_bytes_min: 50_000, ..Options::new(directory.path()) };
            let catalog = Catalog::open(options).expect("opened");
            catalog.wait_until_open();
            catalog
        };
        let name = "log".parse().expect("a name");
        let catalog = open();
        let log = catalog.create(&name, LogConfig::default()).expect("created");
        for _ in 0..80 {
            log.append_durably(Records::one(&[b'x'; 100_000])).expect("appended");
        }
        drop(log);
        assert!(catalog.close(Duration::from_secs(30)));
        // Nothing is appended from now on, so only the reader can wake the thread.
        let catalog = open();
        let log = catalog.log(&name).expect("open");
        for file in std::fs::read_dir(directory.path().join("log/0")).expect("listed").flatten() {
            let file = std::fs::File::open(file.path()).expect("it opens");
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
        let mut reader = log.reader(Position::ORIGIN).expect("a reader");
        assert!(reader.span(4 << 20).expect("no error").is_none(), "the file is cold");
        let read = reader.blocks(1 << 20).expect("read");
        assert!(matches!(read, Found::Some(_)) && reader.reads_ahead());
        drop(read);
        let ahead = &log.0.services.read_ahead;
        assert!(ahead.is_active());
        let begun = Instant::now();
        while ahead.is_active() {
            assert!(begun.elapsed() < Duration::from_secs(20), "they are kept");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
