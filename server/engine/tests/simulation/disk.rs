//! [`Disk`]: a simulated disk that loses unsynced data, page by page and name by name.
//!
//! ```text
//! file        bytes that readers see | for each 4 KiB page: the bytes on the medium, and
//!             every version written since the last sync | the same for the length
//! directory   names that readers see | names on the medium, and the changes since
//! ```
//!
//! After a power cut, each page has its synced version, any newer version, or a mixture of their
//! 512-byte sectors. The file has any of its unsynced lengths, and any subset of the name changes
//! is kept. A failed sync loses data that it should have synced, and the page cache looks clean
//! afterwards. A kill -9 loses nothing. Invariant: synced data and names are never lost.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use styx_engine::storage::{Access, DIRECT_ALIGNMENT, DirectoryEntry, File, Lock, Storage};

use crate::random::Random;

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power is cut: this call and all later ones fail.
    PowerCut,
    /// The call fails with this error. If `permanent`, all later calls fail too.
    Error { kind: ErrorKind, permanent: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Io,
    NoSpace,
    ReadOnly,
    /// The call was interrupted, and the caller must repeat it.
    Interrupted,
    /// A write writes only a part of its bytes, without an error.
    Short,
}

impl ErrorKind {
    fn error(self) -> io::Error {
        match self {
            ErrorKind::Io | ErrorKind::Short => io::Error::from_raw_os_error(5),
            ErrorKind::NoSpace => io::Error::from_raw_os_error(28),
            ErrorKind::ReadOnly => io::Error::from_raw_os_error(30),
            ErrorKind::Interrupted => io::ErrorKind::Interrupted.into(),
        }
    }
}

/// The content of a file.
#[derive(Debug, Clone, Default)]
struct Inode {
    /// The bytes that readers see.
    bytes: Vec<u8>,
    /// The pages on the medium, by number.
    medium: BTreeMap<usize, Vec<u8>>,
    /// The length on the medium.
    medium_len: usize,
    /// The versions of each page since the last sync, oldest first.
    versions: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The lengths since the last sync, oldest first.
    lengths: Vec<usize>,
}

/// Cuts off, or adds zeros. `Vec::resize` adds them one at a time without optimisation, and most
/// time would be spent there.
fn resize(bytes: &mut Vec<u8>, len: usize) {
    match len.checked_sub(bytes.len()) {
        Some(more) => bytes.extend_from_slice(&vec![0; more]),
        None => bytes.truncate(len),
    }
}

impl Inode {
    /// Returns a page as readers see it, padded with zeros.
    fn page(&self, page: usize) -> Vec<u8> {
        let from = (page * PAGE).min(self.bytes.len());
        let to = (from + PAGE).min(self.bytes.len());
        let mut bytes = self.bytes[from..to].to_vec();
        resize(&mut bytes, PAGE);
        bytes
    }

    /// Adds the current bytes of these pages, and the current length, as unsynced versions.
    fn touch(&mut self, from: usize, to: usize) {
        for page in from / PAGE..to.div_ceil(PAGE) {
            let version = self.page(page);
            self.versions.entry(page).or_default().push(version);
        }
        self.lengths.push(self.bytes.len());
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            resize(&mut self.bytes, end);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        self.touch(offset, end);
    }

    fn set_len(&mut self, len: usize) {
        let old = self.bytes.len();
        resize(&mut self.bytes, len);
        if len < old {
            self.touch(len, old);
        } else {
            self.lengths.push(len);
        }
    }

    fn sync(&mut self) {
        for (page, versions) in std::mem::take(&mut self.versions) {
            if let Some(last) = versions.into_iter().next_back() {
                self.medium.insert(page, last);
            }
        }
        self.lengths.clear();
        self.medium_len = self.bytes.len();
    }

    /// Simulates a failed sync: it writes only some pages, but afterwards all of them look clean.
    fn fail_sync(&mut self, random: &mut Random) {
        for (page, versions) in std::mem::take(&mut self.versions) {
            if random.chance(30)
                && let Some(last) = versions.into_iter().next_back()
            {
                self.medium.insert(page, last);
            }
        }
        if let Some(len) = std::mem::take(&mut self.lengths).pop() {
            self.medium_len = len;
        }
    }

    /// Replaces all clean pages by those on the medium.
    fn drop_cache(&mut self) {
        let pages = self.bytes.len().div_ceil(PAGE);
        for page in 0..pages {
            if self.versions.contains_key(&page) {
                continue;
            }
            let from = page * PAGE;
            let to = (from + PAGE).min(self.bytes.len());
            match self.medium.get(&page) {
                Some(bytes) => self.bytes[from..to].copy_from_slice(&bytes[..to - from]),
                None => self.bytes[from..to].fill(0),
            }
        }
    }

    /// Simulates a power cut. `keep` is the chance in percent that a page or the length has its
    /// newest version afterwards; otherwise the version is random.
    fn cut_power(&mut self, random: &mut Random, keep: u64) {
        let mut lengths = vec![self.medium_len];
        lengths.append(&mut self.lengths);
        let len = if random.chance(keep) {
            *lengths.last().expect("never empty")
        } else {
            *random.pick(&lengths)
        };
        for (page, newer) in std::mem::take(&mut self.versions) {
            let mut versions = vec![self.medium.get(&page).cloned().unwrap_or(vec![0; PAGE])];
            versions.extend(newer);
            let kept = match random.below(100) as u64 {
                p if p < keep => versions.pop().expect("never empty"),
                _ => match random.below(3) {
                    0 => versions.swap_remove(0),
                    1 => random.pick(&versions).clone(),
                    _ => (0..PAGE / SECTOR)
                        .flat_map(|s| random.pick(&versions)[s * SECTOR..(s + 1) * SECTOR].to_vec())
                        .collect(),
                },
            };
            self.medium.insert(page, kept);
        }
        self.bytes = vec![0; len];
        for page in 0..len.div_ceil(PAGE) {
            let (from, to) = (page * PAGE, ((page + 1) * PAGE).min(len));
            if let Some(bytes) = self.medium.get(&page) {
                self.bytes[from..to].copy_from_slice(&bytes[..to - from]);
            }
        }
        self.medium = (0..len.div_ceil(PAGE)).map(|page| (page, self.page(page))).collect();
        self.medium_len = len;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory(usize),
}

#[derive(Debug, Clone)]
enum Change {
    Set(String, Node),
    Remove(String),
    /// Both changes are kept or neither is, because file systems journal a rename.
    Rename {
        from: String,
        to: String,
        node: Node,
    },
}

/// The names in a directory.
#[derive(Debug, Clone, Default)]
struct Directory {
    /// The names that readers see.
    names: BTreeMap<String, Node>,
    /// The names on the medium.
    medium: BTreeMap<String, Node>,
    /// The changes since the last sync, oldest first.
    changes: Vec<Change>,
}

impl Directory {
    fn apply(names: &mut BTreeMap<String, Node>, change: &Change) {
        match change {
            Change::Set(name, node) => {
                names.insert(name.clone(), *node);
            }
            Change::Remove(name) => {
                names.remove(name);
            }
            Change::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }

    fn change(&mut self, change: Change) {
        Directory::apply(&mut self.names, &change);
        self.changes.push(change);
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    directories: Vec<Directory>,
    /// The next fault, and the number of calls that still succeed before it.
    pending_fault: Option<(u64, Fault)>,
    /// The number of calls so far that change something.
    calls: u64,
    /// Whether the power is off.
    off: bool,
    random: Option<Random>,
    locked: bool,
    /// The size of the disk in bytes; `None` means no limit.
    space: Option<usize>,
    /// The modification times of files, in µs since the epoch. Only tests set them.
    modified: BTreeMap<PathBuf, u64>,
}

/// A simulated disk. Clones share its state.
#[derive(Debug, Clone)]
pub(crate) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub(crate) fn new(seed: u64) -> Disk {
        Disk(Arc::new(Mutex::new(State {
            directories: vec![Directory::default()],
            random: Some(Random::new(seed)),
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next `calls` calls that change something succeed, and makes the call after them
    /// fail.
    pub(crate) fn fail_after(&self, calls: u64, fault: Fault) {
        self.state().pending_fault = Some((calls, fault));
    }

    /// Removes a fault that has not happened yet, or a permanent one.
    pub(crate) fn clear_fault(&self) {
        self.state().pending_fault = None;
    }

    /// Returns the number of calls so far that change something.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Returns whether the power is off.
    pub(crate) fn is_off(&self) -> bool {
        self.state().off
    }

    /// Returns the size of all files that have a name, in bytes.
    pub(crate) fn used(&self) -> usize {
        self.state().used()
    }

    /// Sets the size of the disk in bytes; `None` means no limit.
    pub(crate) fn limit_space(&self, bytes: Option<usize>) {
        self.state().space = bytes;
    }

    /// Sets the modification time of a file, in µs since the epoch.
    pub(crate) fn set_modified(&self, path: &Path, us: u64) {
        self.state().modified.insert(path.to_owned(), us);
    }

    /// Restarts the machine after a kill (`None`), which loses nothing, or after a power cut. The
    /// number is the chance in percent that the newest version of a page is kept. The chance of a
    /// name change is half of the number plus 50 percent.
    pub(crate) fn restart(&self, power_cut: Option<u64>) {
        let mut state = self.state();
        state.off = false;
        state.locked = false;
        state.pending_fault = None;
        let Some(keep) = power_cut else { return };
        let mut random = state.random.take().expect("the generator is put back after each use");
        for directory in &mut state.directories {
            let mut names = directory.medium.clone();
            for change in std::mem::take(&mut directory.changes) {
                if random.chance(50 + keep / 2) {
                    Directory::apply(&mut names, &change);
                }
            }
            directory.names.clone_from(&names);
            directory.medium = names;
        }
        for inode in &mut state.inodes {
            inode.cut_power(&mut random, keep);
        }
        state.free_unnamed();
        state.random = Some(random);
    }

    /// Returns an independent copy of the disk as readers see it, with everything synced.
    pub(crate) fn copy(&self) -> Disk {
        let mut state = self.state().clone();
        state.locked = false;
        state.pending_fault = None;
        state.off = false;
        for inode in &mut state.inodes {
            inode.sync();
        }
        Disk(Arc::new(Mutex::new(state)))
    }

    /// Returns the bytes of a file as readers see them.
    pub(crate) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let Some(Node::File(inode)) = state.node(path) else { return None };
        Some(state.inodes[inode].bytes.clone())
    }

    /// Damages a file: applies `f` to its bytes and syncs them.
    pub(crate) fn damage<T>(&self, path: &Path, f: impl FnOnce(&mut Vec<u8>) -> T) -> Option<T> {
        let mut state = self.state();
        let Some(Node::File(inode)) = state.node(path) else { return None };
        let inode = &mut state.inodes[inode];
        let result = f(&mut inode.bytes);
        let len = inode.bytes.len();
        inode.touch(0, len);
        inode.sync();
        Some(result)
    }
}

impl State {
    /// Counts a call that changes something. Returns how it fails, or `None` if it succeeds.
    fn tick(&mut self) -> Option<ErrorKind> {
        if self.off {
            return Some(ErrorKind::Io);
        }
        self.calls += 1;
        let (left, fault) = self.pending_fault.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        match *fault {
            Fault::PowerCut => {
                self.off = true;
                Some(ErrorKind::Io)
            }
            Fault::Error { kind, permanent } => {
                if !permanent {
                    self.pending_fault = None;
                }
                Some(kind)
            }
        }
    }

    /// Like [`State::tick`], for calls that can be neither short nor interrupted.
    fn call(&mut self) -> io::Result<()> {
        match self.tick() {
            // Only a write can be short or interrupted.
            None | Some(ErrorKind::Short | ErrorKind::Interrupted) => Ok(()),
            Some(kind) => Err(kind.error()),
        }
    }

    fn node(&self, path: &Path) -> Option<Node> {
        let mut node = Node::Directory(0);
        for part in path.components().skip(1) {
            let Node::Directory(directory) = node else { return None };
            let name = part.as_os_str().to_str()?;
            node = *self.directories[directory].names.get(name)?;
        }
        Some(node)
    }

    fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        match self.node(path) {
            Some(Node::Directory(directory)) => Ok(&mut self.directories[directory]),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn parent(&mut self, path: &Path) -> io::Result<(&mut Directory, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let directory = self.directory(path.parent().expect("a parent"))?;
        Ok((directory, name))
    }

    /// Frees the content of files that have no name any more.
    fn free_unnamed(&mut self) {
        let named: std::collections::BTreeSet<usize> = self
            .directories
            .iter()
            .flat_map(|directory| directory.names.values())
            .filter_map(|node| match node {
                Node::File(inode) => Some(*inode),
                Node::Directory(_) => None,
            })
            .collect();
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            if !named.contains(&number) {
                *inode = Inode::default();
            }
        }
    }

    /// Returns the size of all files that have a name, in bytes.
    fn used(&self) -> usize {
        let named = |directory: &Directory| -> usize {
            let files = directory.names.values().filter_map(|node| match node {
                Node::File(inode) => Some(self.inodes[*inode].bytes.len()),
                Node::Directory(_) => None,
            });
            files.sum()
        };
        self.directories.iter().map(named).sum()
    }
}

/// An open file.
#[derive(Debug)]
struct Handle {
    disk: Disk,
    inode: usize,
}

#[derive(Debug)]
struct HeldLock;

impl Lock for HeldLock {}

impl Storage for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        if state.node(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.directories.push(Directory::default());
        let node = Node::Directory(state.directories.len() - 1);
        let (parent, name) = state.parent(path)?;
        parent.change(Change::Set(name, node));
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut so_far = std::path::PathBuf::new();
        for part in path.components() {
            so_far.push(part);
            if so_far.parent().is_some() && self.state().node(&so_far).is_none() {
                self.create_dir(&so_far)?;
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut state = self.state();
        let names = state.directory(path)?.names.clone();
        let entry = |(name, node): (String, Node)| match node {
            Node::File(inode) => {
                DirectoryEntry { name, is_dir: false, len: state.inodes[inode].bytes.len() as u64 }
            }
            Node::Directory(_) => DirectoryEntry { name, is_dir: true, len: 0 },
        };
        Ok(names.into_iter().map(entry).collect())
    }

    fn modified_us(&self, path: &Path) -> io::Result<Option<u64>> {
        Ok(self.state().modified.get(path).copied())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.call()?;
        if state.node(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        let (parent, name) = state.parent(path)?;
        parent.change(Change::Set(name, Node::File(inode)));
        Ok(Arc::new(Handle { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Arc<dyn File>> {
        let state = self.state();
        if state.off {
            return Err(ErrorKind::Io.error());
        }
        match state.node(path) {
            Some(Node::File(inode)) => Ok(Arc::new(Handle { disk: self.clone(), inode })),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let node = state.node(from).ok_or(io::ErrorKind::NotFound)?;
        assert_eq!(from.parent(), to.parent(), "the engine renames within a directory");
        let (parent, from) = state.parent(from)?;
        let to = to.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        parent.change(Change::Rename { from, to, node });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let Some(Node::File(_)) = state.node(path) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        state.call()?;
        let (parent, name) = state.parent(path)?;
        parent.change(Change::Remove(name));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        for entry in self.list(path)? {
            let inner = path.join(&entry.name);
            if entry.is_dir {
                self.remove_dir_all(&inner)?;
            } else {
                self.remove_file(&inner)?;
            }
        }
        let mut state = self.state();
        state.call()?;
        let (parent, name) = state.parent(path)?;
        parent.change(Change::Remove(name));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        let directory = state.directory(path)?;
        directory.medium = directory.names.clone();
        directory.changes.clear();
        Ok(())
    }

    fn lock(&self, _: &Path, _: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        let mut state = self.state();
        state.call()?;
        if std::mem::replace(&mut state.locked, true) {
            return Ok(Err("the simulation".into()));
        }
        Ok(Ok(Box::new(HeldLock)))
    }
}

impl File for Handle {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        if state.off {
            return Err(ErrorKind::Io.error());
        }
        let bytes = &state.inodes[self.inode].bytes;
        let from = usize::try_from(offset).expect("it fits").min(bytes.len());
        let n = buf.len().min(bytes.len() - from);
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buf, offset).map(Some)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let mut bytes = bytes;
        match state.tick() {
            None => {}
            Some(ErrorKind::Short) => bytes = &bytes[..bytes.len().div_ceil(2)],
            Some(kind) => return Err(kind.error()),
        }
        let offset = usize::try_from(offset).expect("it fits");
        let grows = (offset + bytes.len()).saturating_sub(state.inodes[self.inode].bytes.len());
        if let Some(space) = state.space {
            let left = space.saturating_sub(state.used());
            if grows > left {
                let fits = bytes.len().saturating_sub(grows - left);
                if fits == 0 {
                    return Err(ErrorKind::NoSpace.error());
                }
                bytes = &bytes[..fits];
            }
        }
        state.inodes[self.inode].write(bytes, offset);
        Ok(bytes.len())
    }

    /// Loses as much as any other write, because only a sync flushes the device's own cache.
    fn write_direct_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let aligned = bytes.as_ptr().align_offset(DIRECT_ALIGNMENT) == 0
            && bytes.len().is_multiple_of(DIRECT_ALIGNMENT)
            && offset.is_multiple_of(DIRECT_ALIGNMENT as u64);
        assert!(aligned, "{} bytes at {:p} for offset {offset}", bytes.len(), bytes.as_ptr());
        self.write_at(bytes, offset)
    }

    fn reserve(&self, _: u64, end: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call()?;
        let len = state.inodes[self.inode].bytes.len();
        let grows = usize::try_from(end).expect("it fits").saturating_sub(len);
        match state.space {
            Some(space) if grows > space.saturating_sub(state.used()) => {
                Err(ErrorKind::NoSpace.error())
            }
            _ => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let failed = match state.tick() {
            None | Some(ErrorKind::Short | ErrorKind::Interrupted) => None,
            Some(kind) => Some(kind.error()),
        };
        if let Some(error) = failed {
            if !state.off {
                let mut random =
                    state.random.take().expect("the generator is put back after each use");
                state.inodes[self.inode].fail_sync(&mut random);
                state.random = Some(random);
            }
            return Err(error);
        }
        state.inodes[self.inode].sync();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.call()?;
        state.inodes[self.inode].set_len(usize::try_from(len).expect("it fits"));
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.off {
            return Err(ErrorKind::Io.error());
        }
        state.inodes[self.inode].drop_cache();
        Ok(())
    }
}
