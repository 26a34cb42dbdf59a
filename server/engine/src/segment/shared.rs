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
use super::archived::{Archived, Place};
use super::files::{FileHandle, SegmentFiles};
use super::index::{self, IndexEntry, IndexRange, SearchKey};
use super::name::{self, Offset};
use super::rereads::Rereads;
use super::sealed::Sealed;
use crate::archive::{Entry, StoreAccess};
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
    /// How often its parts were read when they were not in the page cache.
    pub(crate) rereads: Rereads,
    age: SegmentAge,
    /// Set once the segment is archived.
    archived: OnceLock<Box<Archived>>,
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
            rereads: Rereads::default(),
            age: SegmentAge::default(),
            archived: OnceLock::new(),
        }
    }

    /// A newest segment without records, whose file the first reader opens.
    pub(crate) fn empty(storage: Arc<dyn Storage>, directory: &Path, base: Position) -> Segment {
        Segment {
            base,
            path: directory.join(name::segment(base)),
            storage,
            sealed: OnceLock::new(),
            entries: RwLock::new(Vec::new()),
            files: Mutex::new(SegmentFiles::new(FileHandle::Closed)),
            block_bytes: AtomicUsize::new(0),
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            has_part_tables: AtomicBool::new(false),
            rereads: Rereads::default(),
            age: SegmentAge::default(),
            archived: OnceLock::new(),
        }
    }

    /// A sealed segment, whose files the first reader opens.
    pub(crate) fn sealed(
        storage: Arc<dyn Storage>,
        directory: &Path,
        base: Position,
        sealed: Sealed,
    ) -> Segment {
        Segment { sealed: OnceLock::from(sealed), ..Segment::empty(storage, directory, base) }
    }

    /// An archived segment without a file.
    pub(crate) fn remote(
        storage: Arc<dyn Storage>,
        directory: &Path,
        entry: Entry,
        store: &StoreAccess,
    ) -> Segment {
        let segment = Segment::sealed(storage, directory, entry.base, entry.sealed());
        segment.archived(entry, store).set_remote(true);
        segment
    }

    /// Notes that the segment is archived, or archived again.
    pub(crate) fn set_archived(&self, entry: Entry, store: &StoreAccess) {
        self.archived(entry, store).replace(entry);
    }

    fn archived(&self, entry: Entry, store: &StoreAccess) -> &Archived {
        self.archived.get_or_init(|| Box::new(Archived::new(entry, store)))
    }

    /// The entry, if the segment is archived.
    pub(crate) fn entry(&self) -> Option<Entry> {
        self.archived.get().map(|archived| archived.entry())
    }

    /// Whether the bytes are only in the object store.
    pub(crate) fn is_remote(&self) -> bool {
        self.archived.get().is_some_and(|archived| archived.is_remote())
    }

    /// Where the bytes are.
    pub(crate) fn place(&self) -> Place {
        match self.archived.get() {
            None => Place::Local,
            Some(archived) if archived.is_remote() => Place::Remote,
            Some(_) => Place::Both,
        }
    }

    /// From now on, reads the archived bytes, so that the file can be removed. Readers that have the
    /// file open keep it. Returns `false` if the segment is not archived.
    pub(crate) fn become_remote(&self) -> bool {
        let Some(archived) = self.archived.get() else { return false };
        archived.set_remote(true);
        self.release();
        true
    }

    /// From now on, reads the file that has the segment's name now. Readers that have another one
    /// open keep it.
    pub(crate) fn file_was_replaced(&self) {
        let displaced = lock(&self.files).forget_data();
        drop(displaced);
        self.stay_local();
    }

    /// Reads the file again, because it could not be removed.
    pub(crate) fn stay_local(&self) {
        if let Some(archived) = self.archived.get() {
            archived.set_remote(false);
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

    /// Whether the segment has an index on the disk. Waits for the disk.
    pub(crate) fn has_index(&self) -> bool {
        self.storage.exists(&self.index_path()).unwrap_or(false)
    }

    /// Whether the index of a remote segment is missing and has to be asked for. True once, until
    /// [`Segment::index_did_not_arrive`]. Waits for the disk.
    pub(crate) fn wants_index(&self) -> bool {
        let archived = self.archived.get().filter(|archived| archived.is_remote());
        archived.is_some_and(|archived| !self.has_index() && !archived.want_index(true))
    }

    /// The store did not answer, so the index is asked for again.
    pub(crate) fn index_did_not_arrive(&self) {
        if let Some(archived) = self.archived.get() {
            archived.want_index(false);
        }
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

    /// Returns the file, and opens it if necessary. Reads of a remote segment wait for the store.
    ///
    /// # Errors
    /// The file cannot be opened; `NotFound` if retention has removed it.
    pub(crate) fn file(&self) -> io::Result<Arc<dyn File>> {
        self.local_or(Archived::waiting_file)
    }

    /// As [`Segment::file`], but reads of a remote segment fail with
    /// [`NeedsStore`](crate::archive::remote_file::NeedsStore) instead of waiting.
    ///
    /// # Errors
    /// As [`Segment::file`].
    pub(crate) fn reader_file(&self) -> io::Result<Arc<dyn File>> {
        self.local_or(Archived::file)
    }

    fn local_or(&self, remote: fn(&Archived) -> Arc<dyn File>) -> io::Result<Arc<dyn File>> {
        if let Some(archived) = self.archived.get().filter(|archived| archived.is_remote()) {
            return Ok(remote(archived));
        }
        match self.open(&self.path, |files| &mut files.data) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // The segment may have been evicted in the meantime.
                let archived = self.archived.get().filter(|archived| archived.is_remote());
                archived.map(|archived| remote(archived)).ok_or(error)
            }
            opened => opened,
        }
    }

    /// Returns the file if it can be read without opening it. Never waits for the disk.
    pub(crate) fn open_file(&self) -> Option<Arc<dyn File>> {
        match self.archived.get().filter(|archived| archived.is_remote()) {
            Some(archived) => Some(archived.file()),
            None => lock(&self.files).data.get(),
        }
    }

    /// Returns the local file, whether or not the segment is also archived.
    ///
    /// # Errors
    /// As [`Segment::file`]; `NotFound` if the segment was evicted.
    pub(crate) fn local_file(&self) -> io::Result<Arc<dyn File>> {
        match self.is_remote() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => self.open(&self.path, |files| &mut files.data),
        }
    }

    /// From now on, keeps the files open. Returns `false` if they were already kept open, or if the
    /// segment was removed.
    pub(super) fn keep_open(&self) -> bool {
        let mut files = lock(&self.files);
        // The newest segment's file is kept open by the log's end.
        let is_open_end = self.sealed.get().is_none() && files.data.is_open();
        if is_open_end {
            return false;
        }
        let evicted = if self.is_remote() { Some(files.forget_data()) } else { None };
        let is_new = files.keep_open();
        drop(files);
        drop(evicted);
        is_new
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
