//! [`Segment`]: what readers and the writer share of one segment file.
//!
//! While it is the newest, its file stays open and its index is in memory. Once
//! sealed it never changes; the file is opened when somebody reads it and closed
//! with the last reader.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};

use styx_protocol::Position;

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
    file: Mutex<Handle>,
    index_file: Mutex<Option<Weak<dyn File>>>,
    /// Bytes of the block that somebody read a record of last; 0 before that.
    block_bytes: AtomicUsize,
}

#[derive(Debug)]
enum Handle {
    Open(Arc<dyn File>),
    Shared(Weak<dyn File>),
    Closed,
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
            file: Mutex::new(Handle::Open(file)),
            index_file: Mutex::new(None),
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
            file: Mutex::new(Handle::Closed),
            index_file: Mutex::new(None),
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
        let mut handle = lock(&self.file);
        if let Handle::Open(file) = &*handle {
            *handle = Handle::Shared(Arc::downgrade(file));
        }
        written
    }

    /// The file, opened if nobody has it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn File>> {
        let mut handle = lock(&self.file);
        if let Some(file) = upgrade(&handle) {
            return Ok(file);
        }
        let file = self.storage.open(&self.path, Access::Read)?;
        *handle = Handle::Shared(Arc::downgrade(&file));
        Ok(file)
    }

    /// The file, if somebody has it open already.
    pub(crate) fn open_file(&self) -> Option<Arc<dyn File>> {
        upgrade(&lock(&self.file))
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
        let open = lock(&self.index_file).as_ref().and_then(Weak::upgrade);
        let file = match (open, disk) {
            (Some(file), _) => file,
            (None, Disk::MayNot) => return Err(io::ErrorKind::WouldBlock.into()),
            (None, Disk::May) => match self.open_index() {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e),
            },
        };
        index::find_in_file(&*file, key, disk)
    }

    fn open_index(&self) -> io::Result<Arc<dyn File>> {
        let mut handle = lock(&self.index_file);
        if let Some(file) = handle.as_ref().and_then(Weak::upgrade) {
            return Ok(file);
        }
        let file = self.storage.open(&self.index_path(), Access::Read)?;
        *handle = Some(Arc::downgrade(&file));
        Ok(file)
    }
}

fn upgrade(handle: &Handle) -> Option<Arc<dyn File>> {
    match handle {
        Handle::Open(file) => Some(Arc::clone(file)),
        Handle::Shared(file) => file.upgrade(),
        Handle::Closed => None,
    }
}
