//! [`Slots`]: the cache's file, divided into slots of one chunk each.
//!
//! The file has no name, so a crash leaves nothing. A slot is free again when the last owner of it
//! is dropped. Invariant: a slot has at most one owner who writes, and is read only by those who
//! share it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The size of a chunk, and of a slot, in bytes.
pub(crate) const CHUNK_BYTES: u64 = 1 << 20;

/// How the file's name begins, for the moment in which it has one.
const NAME: &str = "archive.cache.";

/// The file and its free slots.
#[derive(Debug)]
pub(super) struct Slots {
    file: File,
    free: Mutex<Vec<u32>>,
    freed: Notify,
}

/// A slot that is in use.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    index: u32,
}

impl Slots {
    /// A file with this number of slots in a directory. It grows when slots are first used.
    pub(super) fn create(directory: &Path, slots: u32) -> io::Result<Arc<Slots>> {
        remove_old(directory)?;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = directory.join(format!("{NAME}{:016x}", u64::from_be_bytes(random)));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        let free = Mutex::new((0..slots).rev().collect());
        Ok(Arc::new(Slots { file, free, freed: Notify::new() }))
    }

    /// A free slot, if there is one.
    pub(super) fn take(self: &Arc<Slots>) -> Option<Slot> {
        let index = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Slot { slots: self.clone(), index })
    }

    /// Is woken when a slot becomes free.
    pub(super) fn freed(&self) -> &Notify {
        &self.freed
    }
}

impl Slot {
    /// Writes at the beginning of the slot. At most [`CHUNK_BYTES`].
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.slots.file.write_all_at(bytes, self.at())
    }

    /// Reads the bytes that begin at `offset` within the slot.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.slots.file.read_exact_at(buffer, self.at() + offset)
    }

    fn at(&self) -> u64 {
        u64::from(self.index) * CHUNK_BYTES
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut free = self.slots.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(self.index);
        drop(free);
        self.slots.freed.notify_one();
    }
}

/// Removes files that a crash left between their creation and the removal of their names.
fn remove_old(directory: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().and_then(|name| name.strip_prefix(NAME));
        let is_ours = is_ours.is_some_and(|rest| {
            rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if is_ours && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
