//! [`SealedSegment`]: the files of a sealed segment, for an upload.
//!
//! Invariant: [`SealedSegment::check`] succeeds only if every block of the segment is intact, so that
//! damage is never archived.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use styx_protocol::{LogId, Position};

use super::Entry;
use crate::Error;
use crate::commit::roll::SegmentDirectory;
use crate::producers;
use crate::segment::name::Offset;
use crate::segment::walk::{Bodies, ChainStart, Walk, WalkEnd};
use crate::segment::{Sealed, Segment, index, name};
use crate::storage::{Access, File, Storage, read_file};

/// The largest index that is read: 1 GiB.
const INDEX_BYTES_MAX: u64 = 1 << 30;

/// A sealed segment whose file is on the disk. All of its methods that return a result block.
#[derive(Debug, Clone)]
pub struct SealedSegment {
    segment: Arc<Segment>,
    sealed: Sealed,
    storage: Arc<dyn Storage>,
    /// The path of the producer snapshot at its end.
    producers: PathBuf,
}

impl SealedSegment {
    /// `None` if the segment is not sealed.
    pub(crate) fn new(
        segment: &Arc<Segment>,
        directory: &SegmentDirectory,
    ) -> Option<SealedSegment> {
        let sealed = *segment.summary()?;
        Some(SealedSegment {
            segment: Arc::clone(segment),
            sealed,
            storage: Arc::clone(&directory.storage),
            producers: directory.path.join(name::producers(sealed.end)),
        })
    }

    /// The position of its first record.
    #[must_use]
    pub fn base(&self) -> Position {
        self.segment.base
    }

    /// The position after its last record.
    #[must_use]
    pub fn end(&self) -> Position {
        self.sealed.end
    }

    /// The length of its file in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sealed.bytes
    }

    /// The timestamp of its last record, in µs since the epoch; 0 without records.
    #[must_use]
    pub fn last_timestamp_us(&self) -> u64 {
        self.sealed.last_timestamp_us
    }

    /// Its entry, once it is archived with this checksum of the file, in this epoch of the log.
    #[must_use]
    pub fn entry(&self, file_crc: u32, epoch: u32, home: LogId) -> Entry {
        Entry {
            base: self.segment.base,
            end: self.sealed.end,
            bytes: self.sealed.bytes,
            record_bytes: self.sealed.record_bytes,
            first_timestamp_us: self.sealed.first_timestamp_us,
            last_timestamp_us: self.sealed.last_timestamp_us,
            seal_crc: self.sealed.seal_crc,
            file_crc,
            epoch,
            home,
        }
    }

    /// Reads the whole file, checks every block with its body, and returns the CRC-32C of the file.
    /// Compare it with that of the bytes that were uploaded, which were read later.
    ///
    /// After each piece, of at most 128 KiB, it calls `after_read` with the number of bytes. That may
    /// block, to limit the rate, and its error ends the check.
    ///
    /// # Errors
    /// [`Error::CorruptRecord`] if a block is damaged: do not archive the segment. I/O; `NotFound` if
    /// retention has removed the segment.
    pub fn check(&self, mut after_read: impl FnMut(usize) -> io::Result<()>) -> Result<u32, Error> {
        let file = self.file()?;
        let (mut crc, mut end) = (0, 0);
        let mut watch = |offset: Offset, piece: &[u8]| {
            // The beginning of a piece may have been read before.
            let known = usize::try_from(end - offset.min(end)).unwrap_or(usize::MAX);
            let Some(new) = piece.get(known..).filter(|new| !new.is_empty()) else {
                return Ok(());
            };
            crc = crc32c::crc32c_append(crc, new);
            end = offset + piece.len() as u64;
            after_read(new.len())
        };
        let walk = walk(&*file, self.segment.base, &self.sealed).watched(&mut watch);
        check_blocks(walk, &self.segment.path, &self.sealed)?;
        Ok(crc)
    }

    /// Reads up to `buffer.len()` bytes of the file and returns their number, which is 0 at its end.
    ///
    /// # Errors
    /// I/O; `NotFound` if retention has removed the segment.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let left = usize::try_from(self.sealed.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        let file = self.file()?;
        file.read_at(&mut buffer[..len], offset).map_err(self.failed())
    }

    /// The content of its index.
    ///
    /// # Errors
    /// There is no valid index, because it is a cache; I/O.
    pub fn index(&self) -> Result<Vec<u8>, Error> {
        let path = self.segment.index_path();
        let failed = |error| Error::io("cannot read", &path)(error);
        let bytes = read_file(&*self.storage, &path, INDEX_BYTES_MAX).map_err(failed)?;
        let file = self.storage.open(&path, Access::Read).map_err(failed)?;
        let summary = index::read_summary(&*file, self.segment.base, self.sealed.bytes);
        match summary.map_err(failed)? {
            Some(summary) if summary == self.sealed => Ok(bytes),
            _ => Err(failed(io::ErrorKind::InvalidData.into())),
        }
    }

    /// The producer snapshot at its end. `None` if it no longer exists: the log keeps the two
    /// newest.
    ///
    /// # Errors
    /// I/O.
    pub fn producers(&self) -> Result<Option<Vec<u8>>, Error> {
        match read_file(&*self.storage, &self.producers, producers::BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("cannot read", &self.producers)(error)),
        }
    }

    fn file(&self) -> Result<Arc<dyn File>, Error> {
        self.segment.local_file().map_err(self.failed())
    }

    fn failed(&self) -> impl Fn(io::Error) -> Error {
        let path: &Path = &self.segment.path;
        move |error| Error::io("cannot read", path)(error)
    }
}

/// Checks every block of a segment's file with its body. `path` is for errors.
///
/// # Errors
/// As [`SealedSegment::check`].
pub(crate) fn check_file(
    file: &dyn File,
    path: &Path,
    base: Position,
    sealed: &Sealed,
) -> Result<(), Error> {
    check_blocks(walk(file, base, sealed), path, sealed)
}

fn walk<'a>(file: &'a dyn File, base: Position, sealed: &Sealed) -> Walk<'a> {
    let chain_start = ChainStart { base, prev_crc: None };
    Walk::new(file, sealed.bytes, chain_start, Bodies::Check)
}

fn check_blocks(mut walk: Walk<'_>, path: &Path, sealed: &Sealed) -> Result<(), Error> {
    loop {
        match walk.step().map_err(|error| Error::io("cannot read", path)(error))? {
            Ok(_) => {}
            Err(WalkEnd::Sealed)
                if walk.prev_crc() == Some(sealed.seal_crc) && walk.offset() == sealed.bytes =>
            {
                return Ok(());
            }
            Err(WalkEnd::Newer(newer)) => return Err(newer.error(path)),
            Err(_) => {
                return Err(Error::CorruptRecord {
                    position: walk.position(),
                    path: path.to_owned(),
                    offset: walk.offset(),
                    next: Some(sealed.end),
                });
            }
        }
    }
}
