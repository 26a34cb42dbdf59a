//! [`Segment`]: one segment file, shared by its readers and the writer.
//!
//! While a segment is the newest, its index is in memory, and its file is open unless the log is
//! idle and too many files are open (see [`OpenEnds`](crate::log::open_ends)). After it is
//! sealed, the first reader opens its file and its index again. They are closed when the last
//! reader drops them or when [`OpenSegments`](super::OpenSegments) releases them, whichever is
//! later. Invariant: a sealed segment never changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use styx_protocol::Position;
use styx_protocol::block::Block;

use super::age::{Now, SegmentAge};
use super::files::{FileHandle, SegmentFiles};
use super::index::{self, IndexEntry, IndexRange, SearchKey};
use super::name::{self, Offset};
use super::sealed::Sealed;
use crate::block_parts::{BlockParts, Part, PartTable};
use crate::storage::{Access, DiskWait, File, Identity, Storage};
use crate::sync::lock;

/// The number of the next segment.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A segment, its index and its open files; see the module.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: Position,
    pub(crate) path: PathBuf,
    storage: Arc<dyn Storage>,
    sealed: OnceLock<Sealed>,
    /// The index entries; empty once the segment is sealed.
    entries: RwLock<Vec<IndexEntry>>,
    files: Mutex<SegmentFiles>,
    /// The size in bytes of the block whose record was read last; 0 before the first read.
    block_bytes: AtomicUsize,
    /// Distinguishes the segment from every other one of this process, also from later ones at the
    /// same path.
    number: u64,
    /// There may be tables of parts of its blocks.
    has_part_tables: AtomicBool,
    age: SegmentAge,
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
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            has_part_tables: AtomicBool::new(false),
            age: SegmentAge::default(),
        }
    }

    /// A sealed segment, whose files the first reader opens.
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
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            has_part_tables: AtomicBool::new(false),
            age: SegmentAge::default(),
        }
    }

    /// Makes a table of the parts of a block that was just checked, for later reads of one record.
    pub(crate) fn add_parts(&self, parts: &BlockParts, block: &Block, offset: Offset) {
        if let Some(table) = PartTable::of(block, offset)
            && parts.insert(self.number, table)
        {
            self.has_part_tables.store(true, Ordering::Relaxed);
        }
    }

    /// The part of a block that holds a position, if there is a table of it.
    pub(crate) fn part_of(&self, parts: &BlockParts, position: Position) -> Option<Part> {
        // Most segments have no table, so they do not take the lock.
        if !self.has_part_tables.load(Ordering::Relaxed) {
            return None;
        }
        parts.find(self.number, position)?.part_of(position)
    }

    /// The size in bytes of the block whose record was read last; 0 if unknown.
    pub(crate) fn block_bytes(&self) -> usize {
        self.block_bytes.load(Ordering::Relaxed)
    }

    /// Stores the size of a block, so that later reads can estimate how much to read.
    pub(crate) fn note_block_bytes(&self, bytes: usize) {
        self.block_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The summary, once the segment is sealed.
    pub(crate) fn summary(&self) -> Option<&Sealed> {
        self.sealed.get()
    }

    /// Notes that the log of this segment was opened.
    pub(crate) fn opened(&self, monotonic_us: u64) {
        self.age.opened(monotonic_us);
    }

    /// Notes a commit of records to this segment.
    pub(crate) fn committed(&self, monotonic_us: u64) {
        self.age.committed(monotonic_us);
    }

    /// The age of the newest record in µs, once the segment is sealed. May examine the file.
    pub(crate) fn age_us(&self, now: &Now) -> Option<u64> {
        let sealed = self.summary()?;
        Some(self.age.at(now, sealed, (&*self.storage, &self.path)))
    }

    pub(crate) fn index_path(&self) -> PathBuf {
        self.path.with_extension("idx")
    }

    /// Adds an index entry. Only the writer calls this.
    pub(crate) fn push_entry(&self, entry: IndexEntry) {
        self.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner).push(entry);
    }

    /// Marks the segment as sealed, writes its index and releases its file.
    ///
    /// # Errors
    /// The index cannot be written. The segment is sealed nevertheless.
    pub(crate) fn seal(&self, sealed: Sealed) -> io::Result<()> {
        let mut entries = self.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let written =
            index::write(&*self.storage, &self.index_path(), self.base, &sealed, &entries);
        let _ = self.sealed.set(sealed);
        *entries = Vec::new();
        drop(entries);
        let mut files = lock(&self.files);
        // A reader may have called `keep_open` after the segment was sealed above.
        if !files.are_kept_open() {
            let freed = files.release();
            drop(files);
            drop(freed);
        }
        written
    }

    /// Returns the file, and opens it if necessary.
    ///
    /// # Errors
    /// The file cannot be opened; `NotFound` if retention has removed it.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn File>> {
        self.open(&self.path, |files| &mut files.data)
    }

    /// Returns the file if it is open. Never waits for the disk.
    pub(crate) fn open_file(&self) -> Option<Arc<dyn File>> {
        lock(&self.files).data.get()
    }

    /// From now on, keeps the files open. Returns `false` if they were already kept open, or if the
    /// segment was removed.
    pub(super) fn keep_open(&self) -> bool {
        let mut files = lock(&self.files);
        // The newest segment's file is kept open by the log's end.
        let is_open_end = self.sealed.get().is_none() && files.data.is_open();
        !is_open_end && files.keep_open()
    }

    /// Opens the newest segment's file again for appends. Readers that have the file keep theirs.
    ///
    /// # Errors
    /// The file cannot be opened, or it is not the file of this identity.
    pub(crate) fn reopen_for_appends(
        &self,
        identity: Option<Identity>,
        len_min: u64,
    ) -> io::Result<Arc<dyn File>> {
        let file = self.storage.open(&self.path, Access::Write)?;
        if file.identity()? != identity || file.len()? < len_min {
            return Err(io::Error::other("it was replaced or shortened while it was closed"));
        }
        let displaced = lock(&self.files).data.replace(Arc::clone(&file));
        drop(displaced);
        Ok(file)
    }

    /// From now on, closes the files when their last reader drops them.
    pub(crate) fn release(&self) {
        let freed = lock(&self.files).release();
        drop(freed);
    }

    /// As [`Segment::release`], but permanently, because the segment or its log was removed. Has no
    /// effect on the newest segment, whose file is closed when the segment is dropped.
    pub(crate) fn retire(&self) {
        if self.sealed.get().is_some() {
            let freed = lock(&self.files).retire();
            drop(freed);
        }
    }

    /// Returns the range to search, which begins with an entry at or before the key. `None` means
    /// that the search must begin at the segment's first byte.
    ///
    /// # Errors
    /// The index exists but cannot be read; `WouldBlock` if that needs the disk, and `disk` forbids
    /// it.
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
        // Open the file without the lock, because readers that must not block take it too.
        let file = self.storage.open(path, Access::Read)?;
        Ok(lock(&self.files).opened(handle, file))
    }
}
