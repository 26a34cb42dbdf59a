//! [`Slots`]: the cache's file, divided into slots of one chunk each.
//!
//! The file has no name, so a crash leaves nothing. A slot is free again when the last owner of it
//! is dropped. Beyond the size of the cache, there are spare slots for blocks that are larger than
//! the cache; the file shrinks again when all of them are free. Invariant: a slot has at most one
//! owner who writes, and is read only by those who share it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The size of a chunk, and of a slot, in bytes.
pub(crate) const CHUNK_BYTES: u64 = 1 << 20;

/// How the file's name begins, for the moment in which it has one.
const NAME: &str = "archive.cache.";

/// The file and its free slots.
#[derive(Debug)]
pub(super) struct Slots {
    file: File,
    /// The number of slots that are no spare ones.
    count: u32,
    free: Mutex<Free>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Free {
    slots: Vec<u32>,
    spare: Vec<u32>,
    /// The number of spare slots that the file has, free or in use.
    spare_count: u32,
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
        let free = Free { slots: (0..slots).rev().collect(), ..Free::default() };
        Ok(Arc::new(Slots { file, count: slots, free: Mutex::new(free), freed: Notify::new() }))
    }

    /// A free slot, if there is one.
    pub(super) fn take(self: &Arc<Slots>) -> Option<Slot> {
        let index = self.free().slots.pop()?;
        Some(Slot { slots: self.clone(), index })
    }

    /// A spare slot. The file grows if none is free.
    pub(super) fn take_spare(self: &Arc<Slots>) -> Slot {
        let mut free = self.free();
        let index = free.spare.pop().unwrap_or_else(|| {
            free.spare_count += 1;
            // A record has at most 1 GiB, and all that are read at a time are in memory too.
            self.count.saturating_add(free.spare_count - 1)
        });
        Slot { slots: self.clone(), index }
    }

    /// The number of slots that are no spare ones.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// The length of the file.
    pub(super) fn file_bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the disk space of spare slots back. A failure is harmless: the slots are used again.
    fn shrink(&self, free: &mut Free) {
        if self.file.set_len(u64::from(self.count) * CHUNK_BYTES).is_ok() {
            (free.spare, free.spare_count) = (Vec::new(), 0);
        }
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
        let mut free = self.slots.free();
        match self.index < self.slots.count {
            true => free.slots.push(self.index),
            false => free.spare.push(self.index),
        }
        if !free.spare.is_empty() && free.spare.len() as u64 == u64::from(free.spare_count) {
            self.slots.shrink(&mut free);
        }
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
