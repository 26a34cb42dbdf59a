//! [`Segment`]: what readers and the writer share of one segment file.
//!
//! While it is the newest, its file stays open and its index is in memory. Once
//! sealed it never changes; the file and the index are opened when somebody reads
//! them, and closed with the last reader or, if later, when
//! [`OpenSegments`](super::OpenSegments) lets them go.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use styx_protocol::Position;

use super::files::{Files, Handle};
use super::index::{self, Entry, Key, Stretch};
use super::name;
use super::sealed::Sealed;
use crate::storage::{Access, Disk, File, Storage};
use crate::wait::lock;

/// See the module.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: Position,
    pub(crate) path: PathBuf,
    storage: Arc<dyn Storage>,
    sealed: OnceLock<Sealed>,
    entries: RwLock<Vec<Entry>>,
    files: Mutex<Files>,
    /// Bytes of the block that somebody read a record of last; 0 before that.
    block_bytes: AtomicUsize,
}

impl Segment {
    /// The newest segment, with its open file and the index so far.
    pub(crate) fn newest(
        storage: Arc<dyn Storage>,
        directory: &Path,
        base: Position,
        file: Arc<dyn File>,
        entries: Vec<Entry>,
    ) -> Segment {
        Segment {
            base,
            path: directory.join(name::segment(base)),
            storage,
            sealed: OnceLock::new(),
            entries: RwLock::new(entries),
            files: Mutex::new(Files::new(Handle::Open(file))),
            block_bytes: AtomicUsize::new(0),
        }
    }

    /// A sealed segment, opened by whoever reads it first.
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
            files: Mutex::new(Files::new(Handle::Closed)),
            block_bytes: AtomicUsize::new(0),
        }
    }

    /// Bytes of a block as they were found last; 0 when that is not known.
    pub(crate) fn block_bytes(&self) -> usize {
        self.block_bytes.load(Ordering::Relaxed)
    }

    /// Tells others how large a block was.
    pub(crate) fn note_block_bytes(&self, bytes: usize) {
        self.block_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What is known once it is sealed.
    pub(crate) fn summary(&self) -> Option<&Sealed> {
        self.sealed.get()
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.path.with_extension("idx")
    }

    /// Adds an index entry; the writer alone does.
    pub(crate) fn push_entry(&self, entry: Entry) {
        self.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(entry);
    }

    /// Marks it sealed, writes its index and lets its file go.
    ///
    /// # Errors
    /// The index cannot be written; the segment is sealed all the same.
    pub(crate) fn seal(&self, sealed: Sealed) -> io::Result<()> {
        let mut entries = self.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let written =
            index::write(&*self.storage, &self.index_path(), self.base, &sealed, &entries);
        let _ = self.sealed.set(sealed);
        *entries = Vec::new();
        drop(entries);
        let mut files = lock(&self.files);
        // A reader may have been here since it is sealed.
        if !files.are_staying() {
            let freed = files.let_go();
            drop(files);
            drop(freed);
        }
        written
    }

    /// The file, opened if nobody has it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn File>> {
        self.open(&self.path, |files| &mut files.data)
    }

    /// The file, if it is open already. Never waits for the disk.
    pub(crate) fn open_file(&self) -> Option<Arc<dyn File>> {
        lock(&self.files).data.get()
    }

    /// From here on the files of a finished segment stay open once they are; `false`
    /// if that was so already, or cannot be.
    pub(super) fn stay_open(&self) -> bool {
        self.sealed.get().is_some() && lock(&self.files).stay()
    }

    /// Its files are closed with their last reader again.
    pub(super) fn let_go(&self) {
        let freed = lock(&self.files).let_go();
        drop(freed);
    }

    /// As [`Segment::let_go`], for good: its log is over, or it was removed from it. The
    /// newest segment's file is closed with the segment.
    pub(crate) fn retire(&self) {
        if self.sealed.get().is_some() {
            let freed = lock(&self.files).retire();
            drop(freed);
        }
    }

    /// Where to look: from an entry at or before the key on, or `None` for the
    /// segment's first byte.
    ///
    /// # Errors
    /// The index exists and cannot be read; `WouldBlock` when the disk would have to
    /// be waited for and may not be.
    pub(crate) fn find(&self, key: Key, disk: Disk) -> io::Result<Option<Stretch>> {
        if self.sealed.get().is_none() {
            let entries = self.entries.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            return Ok(index::find(&entries, key));
        }
        let open = lock(&self.files).index.get();
        let file = match (open, disk) {
            (Some(file), _) => file,
            (None, Disk::MayNot) => return Err(io::ErrorKind::WouldBlock.into()),
            (None, Disk::May) => match self.open(&self.index_path(), |files| &mut files.index) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e),
            },
        };
        index::find_in_file(&*file, key, disk)
    }

    fn open(
        &self,
        path: &Path,
        handle: fn(&mut Files) -> &mut Handle,
    ) -> io::Result<Arc<dyn File>> {
        if let Some(file) = handle(&mut lock(&self.files)).get() {
            return Ok(file);
        }
        // Without the lock: who may not wait for the disk asks for it too.
        let file = self.storage.open(path, Access::Read)?;
        Ok(lock(&self.files).opened(handle, file))
    }
}
