//! Reading many records in order from a file that is not in the page cache, with [`ReadAhead`].
//!
//! [`ReadAhead`]: crate::read_ahead::ReadAhead

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use styx_protocol::Position;

use super::{FilePlace, READ_BYTES_MIN, Reader};
use crate::read_ahead::{Lookup, PIECE_BYTES, Piece};
use crate::segment::name::Offset;
use crate::storage::{DiskWait, File};

/// A reader reads ahead after it has read this many bytes in order: 256 KiB.
const ORDERED_BYTES_MIN: usize = 256 << 10;
/// The number of pieces that are read in advance for a reader.
const PIECES_AHEAD: u64 = 2;
/// They are read if the last piece was used up within this time.
const FAST_PIECE: Duration = Duration::from_millis(250);

/// A reader looks at the page cache again after this many pieces.
const LOOK_EVERY: u64 = 4;
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
    /// The part of the segment in which the reader last looked at the page cache.
    looked_in: Option<(Position, u64)>,
    /// The part that is read through the page cache: it is there, or many readers read it.
    cached: Option<(Position, u64)>,
    /// The number of looks so far.
    looks: u64,
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

    /// The bytes that were committed to all logs since the catalog was opened.
    #[must_use]
    pub fn committed_bytes(&self) -> u64 {
        self.log.services.measurements.commit_bytes.sum()
    }

    /// Decides whether to read ahead, before a large part of a file from this place on. May wait
    /// for the disk.
    pub(super) fn is_cold_at(&mut self, place: &FilePlace, limit: Offset) -> bool {
        let is_worth_it = limit.saturating_sub(place.offset) > PIECE_BYTES as u64 / 2;
        let index = place.offset / PIECE_BYTES as u64;
        let cold = is_worth_it && self.is_cold_part(place, limit, index);
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
        if self.order.cached == Some(part_of(place, index)) {
            self.order.is_cold = false;
            return Ahead::Unavailable;
        }
        let Some(piece) = piece_of(&place.file, limit, index) else { return Ahead::Unavailable };
        let is_ordered = self.order.bytes >= ORDERED_BYTES_MIN;
        let service = &self.log.services.read_ahead;
        let found = match (service.try_get(&piece), disk) {
            (Lookup::Ready(bytes), _) => Some(bytes),
            (Lookup::Reading, DiskWait::Forbidden) => return Ahead::NeedsDisk,
            (Lookup::Absent, DiskWait::Forbidden) => {
                // The kernel reads in advance for a reader that goes through the page cache, so
                // that reader may never need the disk.
                if !self.order.is_cold && is_ordered && self.is_look_due(place, index) {
                    self.order.is_cold = self.is_cold_part(place, limit, index);
                }
                return if self.order.is_cold { Ahead::NeedsDisk } else { Ahead::Unavailable };
            }
            (Lookup::Reading, DiskWait::Allowed) => self.get(&piece),
            (Lookup::Absent, DiskWait::Allowed) => {
                let is_wanted = match self.order.is_cold {
                    true => {
                        !self.is_look_due(place, index) || self.is_cold_part(place, limit, index)
                    }
                    false => is_ordered && self.is_cold_part(place, limit, index),
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
            if is_fast {
                self.prefetch(place, limit, index);
            }
        }
        Ahead::Bytes(bytes)
    }

    /// Reads the pieces after this one in advance, up to a part that is or should be in the page
    /// cache.
    fn prefetch(&mut self, place: &FilePlace, limit: Offset, index: u64) {
        for index in index + 1..=index + PIECES_AHEAD {
            let Some(piece) = piece_of(&place.file, limit, index) else { return };
            let begins_part = index.is_multiple_of(LOOK_EVERY);
            if begins_part && matches!(self.log.services.read_ahead.try_get(&piece), Lookup::Absent)
            {
                let place = FilePlace { offset: index * PIECE_BYTES as u64, ..place.clone() };
                if !self.is_cold_part(&place, limit, index) {
                    self.order.cached = Some(part_of(&place, index));
                    return;
                }
            }
            self.log.services.read_ahead.prefetch(&piece);
        }
    }

    /// Whether the reader has not looked at the page cache in this part of the file.
    fn is_look_due(&self, place: &FilePlace, index: u64) -> bool {
        self.order.looked_in != Some(part_of(place, index))
    }

    /// Whether this part of the file is not in the page cache, and should be read past it.
    fn is_cold_part(&mut self, place: &FilePlace, limit: Offset, index: u64) -> bool {
        let part = part_of(place, index);
        if self.order.cached == Some(part) {
            return false;
        }
        let is_first_look = self.is_look_due(place, index);
        if self.is_in_page_cache(place, limit, index) {
            return false;
        }
        if is_first_look && place.segment.rereads.begin(part.1) {
            self.order.cached = Some(part);
            return false;
        }
        true
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
    fn is_in_page_cache(&mut self, place: &FilePlace, limit: Offset, index: u64) -> bool {
        self.order.looked_in = Some(part_of(place, index));
        self.order.looks += 1;
        let bytes = limit.saturating_sub(place.offset).clamp(1, LOOK_BYTES);
        // Nobody must look at the same pages again, which would then be in the page cache.
        let reader = std::ptr::from_ref(self).addr() as u64;
        let seed = reader ^ place.offset ^ self.order.looks.rotate_right(16);
        (1..=4).all(|n: u64| {
            let at = (seed ^ n.rotate_left(16)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            let offset = place.offset + at % bytes;
            matches!(place.file.try_read_at(&mut [0], offset), Ok(Some(1)))
        })
    }
}

/// The part of a segment for which one look at the page cache is enough.
fn part_of(place: &FilePlace, index: u64) -> (Position, u64) {
    (place.segment.base, index / LOOK_EVERY)
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
    use std::path::{Path, PathBuf};
    use std::time::Instant;

    use styx_protocol::{LogConfig, Records};

    use super::*;
    use crate::{Catalog, Found, Log, Options};

    const RECORD_BYTES: u64 = 100_000;

    fn open(directory: &Path) -> Catalog {
        let options = Options { direct_bytes_min: 50_000, ..Options::new(directory) };
        let catalog = Catalog::open(options).expect("opened");
        catalog.wait_until_open();
        catalog
    }

    /// A catalog with a log whose records are neither in its memory nor in the page cache.
    fn with_cold_log(directory: &Path, records: u64) -> (Catalog, Log) {
        let name = "log".parse().expect("a name");
        let catalog = open(directory);
        let log = catalog.create(&name, LogConfig::default()).expect("created");
        for _ in 0..records {
            let payload = [b'x'; RECORD_BYTES as usize];
            log.append_durably(Records::one(&payload)).expect("appended");
        }
        drop(log);
        assert!(catalog.close(Duration::from_secs(30)));
        // Nothing is appended from now on, so only a reader can wake the maintainer's thread.
        let catalog = open(directory);
        let log = catalog.log(&name).expect("open");
        for file in segments(directory) {
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
        (catalog, log)
    }

    fn segments(directory: &Path) -> impl Iterator<Item = std::fs::File> {
        let files = std::fs::read_dir(directory.join("log/0")).expect("listed").flatten();
        let is_segment = |path: &PathBuf| path.extension().is_some_and(|name| name == "seg");
        let paths = files.map(|file| file.path()).filter(is_segment);
        paths.map(|path| std::fs::File::open(path).expect("it opens"))
    }

    /// Regression test: a reader that never needed the disk, because the kernel read in advance for
    /// it, read a whole cold log through the page cache.
    #[test]
    fn reader_in_the_page_cache_notices_that_the_next_records_are_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let (_catalog, log) = with_cold_log(directory.path(), 320);
        let cached_bytes = 10 * RECORD_BYTES;
        for file in segments(directory.path()) {
            // Without this, the kernel reads more than is asked for.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random);
            let mut cached = vec![0; cached_bytes as usize];
            std::os::unix::fs::FileExt::read_at(&file, &mut cached, 0).expect("read");
        }
        let mut reader = log.reader(Position::ORIGIN).expect("a reader");
        let mut bytes = 0;
        while let Found::Some(batch) = reader.try_read(1).expect("no error") {
            bytes += batch.len_bytes();
        }
        assert!(reader.reads_ahead());
        let ordered = ORDERED_BYTES_MIN..ORDERED_BYTES_MIN + 2 * RECORD_BYTES as usize;
        assert!(ordered.contains(&bytes), "{bytes} bytes through the page cache");
        while let Found::Some(batch) = reader.read(1 << 20).expect("no error") {
            bytes += batch.len_bytes();
            assert!(reader.reads_ahead() || reader.position().0 == 320);
        }
        assert_eq!(bytes as u64, 320 * (RECORD_BYTES + 8));
    }

    /// Reads the log from its start, and returns whether a batch was read past the page cache.
    fn reads_cold(log: &Log) -> bool {
        let mut reader = log.reader(Position::ORIGIN).expect("a reader");
        let mut is_cold = false;
        while let Found::Some(batch) = reader.read(1 << 20).expect("no error") {
            is_cold |= reader.reads_ahead();
            drop(batch);
        }
        is_cold
    }

    /// Regression test: records that many readers read were read from the disk each time.
    #[test]
    fn records_that_are_read_a_third_time_stay_in_the_page_cache() {
        let directory = tempfile::tempdir().expect("a directory");
        let (_catalog, log) = with_cold_log(directory.path(), 320);
        let is_cached = || {
            segments(directory.path()).all(|file| {
                let size = file.metadata().expect("its size").len();
                (0..size).step_by(1 << 20).all(|at| {
                    let mut byte = [0];
                    let slice = std::io::IoSliceMut::new(&mut byte);
                    let flags = rustix::io::ReadWriteFlags::NOWAIT;
                    rustix::io::preadv2(&file, &mut [slice], at, flags).is_ok_and(|read| read == 1)
                })
            })
        };
        let ahead = &log.0.services.read_ahead;
        for _ in 0..2 {
            assert!(reads_cold(&log) && !is_cached(), "read past the page cache");
            let begun = Instant::now();
            // A later reader would take the pieces of this one.
            while ahead.is_active() {
                assert!(begun.elapsed() < Duration::from_secs(20), "they are kept");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        assert!(!reads_cold(&log) && is_cached(), "read into the page cache");
        assert!(!reads_cold(&log) && !ahead.is_active(), "found there");
    }

    /// Regression test: nothing woke the thread that frees the pieces, so an idle server kept them
    /// for up to a minute.
    #[test]
    fn pieces_of_a_reader_that_stopped_are_freed_soon() {
        let directory = tempfile::tempdir().expect("a directory");
        let (_catalog, log) = with_cold_log(directory.path(), 80);
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
