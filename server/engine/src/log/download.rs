//! Brings an archived segment back to the disk: an evicted one, or one whose file is damaged.
//!
//! ```text
//! store ─▶ <base>.seg.tmp ─▶ compare the checksum of the file, check every block ─▶ sync
//!       ─▶ lock, look again ─▶ rename over the segment's file ─▶ publish as both
//! ```
//!
//! Nothing is locked while the store is asked. Invariant: a file is replaced only by one that was
//! checked as a whole.

use std::io;
use std::path::Path;
use std::sync::Arc;

use styx_protocol::Position;

use super::Log;
use super::archive::sealed_at;
use super::inner::LogInner;
use crate::Error;
use crate::archive::Entry;
use crate::archive::remote_file::RemoteFile;
use crate::archive::sealed_segment::check_file;
use crate::segment::Segment;
use crate::storage::{File, read_exact_at, temporary_path, write_all_at};
use crate::sync::lock;

/// The segment is fetched in pieces of this size: 1 MiB.
const READ_BYTES: usize = 1 << 20;

impl Log {
    /// Fetches an archived segment from the object store to the disk. Its file is replaced if there
    /// is one, so this also repairs a damaged one. The segment is then both local and archived, and
    /// can be evicted again. Returns `false` if no archived segment has this base. Blocks, but no
    /// append, read, deletion or eviction waits for it.
    ///
    /// # Errors
    /// The store is not available; [`Error::CorruptRecord`] if its object is missing or damaged, and
    /// nothing was changed; another download of the segment is in progress; the disk is full; I/O.
    pub fn download(&self, base: Position) -> Result<bool, Error> {
        self.0.download(base)
    }
}

impl LogInner {
    pub(crate) fn download(&self, base: Position) -> Result<bool, Error> {
        let view = self.tail.live_view()?;
        let Some(segment) = sealed_at(&view, base) else { return Ok(false) };
        let Some(entry) = segment.entry() else { return Ok(false) };
        self.services.disk_reserve.check(&self.directory, entry.bytes)?;
        let storage = &self.segment_directory.storage;
        let path = temporary_path(&segment.path);
        // It fails if another thread is downloading the segment.
        let file = storage.create(&path).map_err(Error::io("cannot create", &path))?;
        let done = self
            .fetch_to(segment, &entry, &*file, &path)
            .and_then(|()| self.put_in_place(segment, &entry, &path));
        if done.is_err() {
            let _ = storage.remove_file(&path);
        }
        done.map(|()| true)
    }

    /// Copies the bytes of the segment to a file, checks them and syncs the file.
    fn fetch_to(
        &self,
        segment: &Arc<Segment>,
        entry: &Entry,
        file: &dyn File,
        path: &Path,
    ) -> Result<(), Error> {
        let damaged = |position, offset| Error::CorruptRecord {
            position,
            path: segment.path.clone(),
            offset,
            next: Some(entry.end),
        };
        let store = &self.services.store;
        let remote = RemoteFile::waiting(*entry, Arc::clone(&store.depot), store.wait_max);
        let mut buffer = vec![0; READ_BYTES];
        let (mut crc, mut at) = (0, 0);
        while at < entry.bytes {
            let left = usize::try_from(entry.bytes - at).unwrap_or(usize::MAX);
            let piece = &mut buffer[..READ_BYTES.min(left)];
            read_exact_at(&remote, piece, at).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => damaged(segment.base, at),
                _ => Error::io("cannot fetch", &segment.path)(error),
            })?;
            crc = crc32c::crc32c_append(crc, piece);
            write_all_at(file, piece, at)
                .map_err(|(error, _)| Error::io("cannot write", path)(error))?;
            at += piece.len() as u64;
        }
        if crc != entry.file_crc {
            return Err(damaged(segment.base, 0));
        }
        check_file(file, &segment.path, segment.base, &entry.sealed())?;
        file.sync().map_err(Error::io("cannot sync", path))
    }

    /// Gives the checked file its name, if the log still has the segment.
    fn put_in_place(
        &self,
        segment: &Arc<Segment>,
        entry: &Entry,
        path: &Path,
    ) -> Result<(), Error> {
        // A deletion and an eviction take this lock.
        let _list = lock(&self.archive);
        let _alone = lock(&self.trim_lock);
        let view = self.tail.live_view()?;
        let is_same = sealed_at(&view, entry.base).is_some_and(|now| Arc::ptr_eq(now, segment));
        if !is_same {
            return Err(Error::OutOfRange {
                asked: i128::from(entry.base.0),
                start: view.start(),
                end: view.durable.position,
            });
        }
        let storage = &self.segment_directory.storage;
        storage.rename(path, &segment.path).map_err(Error::io("cannot rename", path))?;
        let folder = &self.segment_directory.path;
        storage.sync_dir(folder).map_err(Error::io("cannot sync", folder))?;
        segment.file_was_replaced();
        tracing::info!(log = %self.name, segment = %segment.base, "fetched an archived segment to the disk");
        Ok(())
    }
}
