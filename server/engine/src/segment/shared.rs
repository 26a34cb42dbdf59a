//! [`Segment`]: what readers and the writer share of one segment file.
//!
//! While a segment is the newest, its file stays open and its index is in memory. Once sealed
//! it never changes. The first reader then opens its file and its index. They are closed with
//! the last reader or when [`OpenSegments`](super::OpenSegments) releases them, whichever is
//! later.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use styx_protocol::Position;

use super::files::{FileHandle, SegmentFiles};
use super::index::{self, IndexEntry, IndexRange, SearchKey};
use super::name;
use super::sealed::Sealed;
use crate::storage::{Access, DiskWait, File, Storage};
use crate::sync::lock;

/// See the module.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: Position,
    pub(crate) path: PathBuf,
    storage: Arc<dyn Storage>,
    sealed: OnceLock<Sealed>,
    entries: RwLock<Vec<IndexEntry>>,
    files: Mutex<SegmentFiles>,
    /// The size of the block whose record was read last; 0 before that.
    block_bytes: AtomicUsize,
}

impl Segment {
    /// The newest segment, with its open file and its index so far.
    pub(crate) fn newest(
        storage: Arc<dyn Storage>,
        directory: &Path,
        base: Position,
        file: Arc<dyn File>,
        entries: Vec<IndexEntry>,
    ) -> Segment {
        Segment {
            base,
            path: directory.join(name::segment(base)),
            storage,
            sealed: OnceLock::new(),
            entries: RwLock::new(entries),
            files: Mutex::new(SegmentFiles::new(FileHandle::Open(file))),
            block_bytes: AtomicUsize::new(0),
        }
    }

    /// A sealed segment, opened by its first reader.
    pub(crate) fn sealed(
        storage: Arc<dyn Storage>,
        directory: &Path,
        base: Position,
        sealed: Sealed,
    ) -> Segment {
        Segment {
            base,
            path: directory.join(name::segment(base)),
            storage,
            sealed: OnceLock::from(sealed),
            entries: RwLock::new(Vec::new()),
            files: Mutex::new(SegmentFiles::new(FileHandle::Closed)),
            block_bytes: AtomicUsize::new(0),
        }
    }

    /// The size of the block that was read last; 0 if unknown.
    pub(crate) fn block_bytes(&self) -> usize {
        self.block_bytes.load(Ordering::Relaxed)
    }

    /// Stores the size of a block for later reads.
    pub(crate) fn note_block_bytes(&self, bytes: usize) {
        self.block_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The summary, once the segment is sealed.
    pub(crate) fn summary(&self) -> Option<&Sealed> {
        self.sealed.get()
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.path.with_extension("idx")
    }

    /// Adds an index entry; only the writer calls this.
    pub(crate) fn push_entry(&self, entry: IndexEntry) {
        self.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(entry);
    }

    /// Marks the segment as sealed, writes its index and releases its file.
    ///
    /// # Errors
    /// The index cannot be written; the segment is sealed nevertheless.
    pub(crate) fn seal(&self, sealed: Sealed) -> io::Result<()> {
        let mut entries = self.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let written =
            index::write(&*self.storage, &self.index_path(), self.base, &sealed, &entries);
        let _ = self.sealed.set(sealed);
        *entries = Vec::new();
        drop(entries);
        let mut files = lock(&self.files);
        // A reader may have asked to keep it open since it was sealed.
        if !files.are_kept_open() {
            let freed = files.release();
            drop(files);
            drop(freed);
        }
        written
    }

    /// The file, opened if it is not open.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn File>> {
        self.open(&self.path, |files| &mut files.data)
    }

    /// The file, if it is open. Never waits for the disk.
    pub(crate) fn open_file(&self) -> Option<Arc<dyn File>> {
        lock(&self.files).data.get()
    }

    /// From now on the files of a sealed segment stay open. Returns `false` if that was already so,
    /// or is not possible.
    pub(super) fn keep_open(&self) -> bool {
        self.sealed.get().is_some() && lock(&self.files).keep_open()
    }

    /// The files are closed with their last reader again.
    pub(super) fn release(&self) {
        let freed = lock(&self.files).release();
        drop(freed);
    }

    /// As [`Segment::release`], permanently, because the segment or its log was removed. The newest
    /// segment's file is closed with the segment.
    pub(crate) fn retire(&self) {
        if self.sealed.get().is_some() {
            let freed = lock(&self.files).retire();
            drop(freed);
        }
    }

    /// Where to search: from an entry at or before the key, or `None` for the segment's first byte.
    ///
    /// # Errors
    /// The index exists and cannot be read; `WouldBlock` if the read would have to wait for the
    /// disk and must not.
    pub(crate) fn find(&self, key: SearchKey, disk: DiskWait) -> io::Result<Option<IndexRange>> {
        if self.sealed.get().is_none() {
            let entries = self.entries.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            return Ok(index::find(&entries, key));
        }
        let open = lock(&self.files).index.get();
        let file = match (open, disk) {
            (Some(file), _) => file,
            (None, DiskWait::Forbidden) => return Err(io::ErrorKind::WouldBlock.into()),
            (None, DiskWait::Allowed) => {
                match self.open(&self.index_path(), |files| &mut files.index) {
                    Ok(file) => file,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(e) => return Err(e),
                }
            }
        };
        index::find_in_file(&*file, key, disk)
    }

    fn open(
        &self,
        path: &Path,
        handle: fn(&mut SegmentFiles) -> &mut FileHandle,
    ) -> io::Result<Arc<dyn File>> {
        if let Some(file) = handle(&mut lock(&self.files)).get() {
            return Ok(file);
        }
        // Without the lock, because non-blocking readers take it too.
        let file = self.storage.open(path, Access::Read)?;
        Ok(lock(&self.files).opened(handle, file))
    }
}
