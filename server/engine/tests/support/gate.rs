//! [`GatedStorage`]: the real storage, in which a test can block a call until it sets its result.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use styx_engine::storage::{Access, DirectoryEntry, File, Identity, Lock, RealStorage, Storage};

/// A storage call that a test can block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Reserve,
    Sync,
    /// The removal of a file.
    Remove,
    /// The look at the identity of a directory, before it is changed.
    Identity,
}

/// Blocks the next call of a kind until the test sets its result. Other calls go on meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: Option<Call>,
    is_blocking: bool,
    /// The errors of the next calls, from the last element on. Later calls succeed.
    errors: Option<Vec<io::ErrorKind>>,
}

impl Gate {
    pub(crate) fn close(&self, call: Call) {
        self.state.lock().expect("no panic").closed = Some(call);
    }

    fn pass(&self, call: Call) -> io::Result<()> {
        let mut state = self.state.lock().expect("no panic");
        let is_one_blocked = state.is_blocking && state.errors.is_none();
        if state.closed != Some(call) || is_one_blocked {
            return Ok(());
        }
        state.is_blocking = true;
        self.changed.notify_all();
        let state = self.changed.wait_while(state, |state| state.errors.is_none());
        let mut state = state.expect("no panic");
        match state.errors.as_mut().and_then(Vec::pop) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    pub(crate) fn wait_until_blocking(&self) {
        let state = self.state.lock().expect("no panic");
        drop(self.changed.wait_while(state, |state| !state.is_blocking).expect("no panic"));
    }

    /// Opens the gate permanently, after these errors.
    pub(crate) fn open(&self, errors: &[io::ErrorKind]) {
        self.state.lock().expect("no panic").errors = Some(errors.to_vec());
        self.changed.notify_all();
    }
}

/// The real storage, with a gate for some of its calls.
#[derive(Debug)]
pub(crate) struct GatedStorage {
    real: RealStorage,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct GatedFile {
    real: Arc<dyn File>,
    gate: Arc<Gate>,
}

impl GatedStorage {
    pub(crate) fn new(gate: &Arc<Gate>) -> GatedStorage {
        GatedStorage { real: RealStorage, gate: Arc::clone(gate) }
    }

    fn file(&self, real: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(GatedFile { real, gate: Arc::clone(&self.gate) })
    }
}

impl Storage for GatedStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.real.create_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.real.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.real.list(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.real.create(path)?))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn File>> {
        Ok(self.file(self.real.open(path, access)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.gate.pass(Call::Remove)?;
        self.real.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.real.remove_dir_all(path)
    }
    fn identity(&self, path: &Path) -> io::Result<Option<Identity>> {
        self.gate.pass(Call::Identity)?;
        self.real.identity(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.real.sync_dir(path)
    }
    fn lock(&self, path: &Path, content: &str) -> io::Result<Result<Box<dyn Lock>, String>> {
        self.real.lock(path, content)
    }
    fn lock_shared(&self, path: &Path) -> io::Result<Result<Box<dyn Lock>, String>> {
        self.real.lock_shared(path)
    }
}

impl File for GatedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.real.read_at(buf, offset)
    }
    fn try_read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.real.try_read_at(buf, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.real.write_at(bytes, offset)
    }
    fn write_direct_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.real.write_direct_at(bytes, offset)
    }
    fn reserve(&self, offset: u64, end: u64) -> io::Result<()> {
        self.gate.pass(Call::Reserve)?;
        self.real.reserve(offset, end)
    }
    fn sync(&self) -> io::Result<()> {
        self.gate.pass(Call::Sync)?;
        self.real.sync()
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
    fn identity(&self) -> io::Result<Option<Identity>> {
        self.real.identity()
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.real.fd()
    }
}
