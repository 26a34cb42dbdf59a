//! [`WatchedStorage`]: the real storage, with counters for opens, open files, syncs and reads that
//! may wait for the disk. Tests can make calls fail, and simulate files that are not in the page
//! cache.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use styx_engine::storage::{Access, DirectoryEntry, File, Lock, RealStorage, Storage};

/// Calls that a test can make fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// To open or create a file, and to sync a directory, which opens it.
    Open,
    /// To write to a file or reserve its space.
    Write,
    Sync,
}

/// The real storage with counters. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct WatchedStorage(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By file name, without the directory.
    files: BTreeMap<String, Counts>,
    syncs: BTreeMap<PathBuf, usize>,
    /// Calls for paths with this suffix fail with this number of the system.
    faults: BTreeMap<Call, (&'static str, i32)>,
    failures: u64,
    /// Files whose names have this suffix are not in the page cache.
    cold: Option<&'static str>,
    waits: u64,
    read_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    opens: usize,
    open: usize,
}

#[derive(Debug)]
struct WatchedFile {
    real: Arc<dyn File>,
    path: PathBuf,
    name: String,
    state: Arc<Mutex<State>>,
}

impl WatchedStorage {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    /// Resets the counters of opens to 0.
    pub(crate) fn forget_opens(&self) {
        self.state().files.values_mut().for_each(|file| file.opens = 0);
    }

    /// Returns how often a file was opened.
    pub(crate) fn opens(&self, name: &str) -> usize {
        self.state().files.get(name).map_or(0, |file| file.opens)
    }

    /// Returns the number of open handles of a file.
    pub(crate) fn open_now(&self, name: &str) -> usize {
        self.state().files.get(name).map_or(0, |file| file.open)
    }

    /// Returns the number of open handles of all files whose names have this suffix.
    pub(crate) fn open_in_all(&self, end: &str) -> usize {
        let state = self.state();
        state.files.iter().filter(|(name, _)| name.ends_with(end)).map(|(_, file)| file.open).sum()
    }

    /// Returns the number of reads so far that may wait for the disk.
    pub(crate) fn waits(&self) -> u64 {
        self.state().waits
    }

    /// Returns the number of bytes that were read so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.state().read_bytes
    }

    /// Returns how often the files whose paths have this suffix were synced.
    pub(crate) fn syncs(&self, end: &str) -> usize {
        let state = self.state();
        state.syncs.iter().filter(|(path, _)| path.ends_with(end)).map(|(_, syncs)| syncs).sum()
    }

    /// Returns the number of calls so far that the test made fail.
    pub(crate) fn failures(&self) -> u64 {
        self.state().failures
    }

    /// Makes opens of files with this suffix fail; `None` makes them succeed again.
    pub(crate) fn fail_opens(&self, end: Option<&'static str>) {
        match end {
            Some(end) => self.fail(Call::Open, end, 5),
            None => self.succeed(),
        }
    }

    /// Makes calls for paths with this suffix fail with this number of the system.
    pub(crate) fn fail(&self, call: Call, end: &'static str, error: i32) {
        self.state().faults.insert(call, (end, error));
    }

    /// Makes all calls succeed again.
    pub(crate) fn succeed(&self) {
        self.state().faults.clear();
    }

    /// Treats files with this suffix as not in the page cache; `None` ends this.
    pub(crate) fn evict_from_cache(&self, end: Option<&'static str>) {
        self.state().cold = end;
    }

    fn file(&self, path: &Path, real: Arc<dyn File>) -> Arc<dyn File> {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mut state = self.state();
        let counts = state.files.entry(name.clone()).or_default();
        counts.opens += 1;
        counts.open += 1;
        Arc::new(WatchedFile { real, path: path.to_owned(), name, state: Arc::clone(&self.0) })
    }
}

impl State {
    /// Fails if the test wants this call to fail.
    fn check(&mut self, call: Call, path: &Path) -> io::Result<()> {
        match self.faults.get(&call) {
            Some((end, error)) if path.to_string_lossy().ends_with(end) => {
                self.failures += 1;
                Err(io::Error::from_raw_os_error(*error))
            }
            _ => Ok(()),
        }
    }
}

impl WatchedFile {
    fn read(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.real.read_at(buf, offset)?;
        self.state.lock().expect("no panic").read_bytes += bytes as u64;
        Ok(bytes)
    }

    fn check(&self, call: Call) -> io::Result<()> {
        self.state.lock().expect("no panic").check(call, &self.path)
    }
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        let mut state = self.state.lock().expect("no panic");
        state.files.get_mut(&self.name).expect("it was opened").open -= 1;
    }
}

impl Storage for WatchedStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealStorage.create_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealStorage.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        RealStorage.list(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.state().check(Call::Open, path)?;
        Ok(self.file(path, RealStorage.create(path)?))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        self.state().check(Call::Open, path)?;
        Ok(self.file(path, RealStorage.open(path, access)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealStorage.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealStorage.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealStorage.remove_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state().check(Call::Open, path)
    }
    fn lock(&self, path: &Path, content: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        RealStorage.lock(path, content)
    }
    fn lock_shared(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        RealStorage.lock_shared(path)
    }
}

impl File for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.state.lock().expect("no panic").waits += 1;
        self.read(buf, offset)
    }
    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        let cold = self.state.lock().expect("no panic").cold;
        match cold.is_some_and(|end| self.name.ends_with(end)) {
            true => Ok(None),
            // Not every file system supports reads only from the page cache, so this one waits.
            false => self.read(buf, offset).map(Some),
        }
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.check(Call::Write)?;
        self.real.write_at(bytes, offset)
    }
    fn reserve(&self, offset: u64, end: u64) -> io::Result<()> {
        self.check(Call::Write)?;
        self.real.reserve(offset, end)
    }
    fn sync(&self) -> io::Result<()> {
        self.check(Call::Sync)?;
        let mut state = self.state.lock().expect("no panic");
        *state.syncs.entry(self.path.clone()).or_default() += 1;
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        self.real.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.real.set_len(len)
    }
    fn drop_cache(&self) -> io::Result<()> {
        self.real.drop_cache()
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.real.fd()
    }
}
