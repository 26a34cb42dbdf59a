//! [`DiskReserve`]: the disk space that appends leave free, so that an operator can still work.
//!
//! ```text
//! a commit needs new space ─▶ free space of the log's file system ─▶ more than the reserve: allowed
//!                                                                └▶ else: refused before writing
//! ```
//! Only a commit that needs new space asks, so a busy log asks about once in a megabyte. Concurrent
//! commits may together use a few megabytes of the reserve. Invariant: a refusal leaves no trace,
//! and reads, deletions and retention never ask.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::Error;
use crate::clock::Clock;
use crate::storage::Storage;
use crate::sync::lock;

/// How often a refusal is logged at most.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// The space beyond the reserve with which it counts as free again, so that a nearly full disk
/// does not change its state with every commit.
const MARGIN_BYTES: u64 = 8 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct DiskReserve {
    storage: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    /// 0 if nothing is kept free.
    bytes: u64,
    refusals: AtomicU64,
    is_reached: AtomicBool,
    last_line: Mutex<Option<Duration>>,
}

/// The free space of a file system at one moment, and the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    free_bytes: u64,
    reserve_bytes: u64,
}

/// The counts of the reserve, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskReserveStats {
    /// The bytes that are kept free; 0 if nothing is.
    pub bytes: u64,
    /// Commits, new logs and restores that were refused.
    pub refusals: u64,
    /// Whether one was refused, and no later one has found more than 8 MiB beyond the reserve.
    pub is_reached: bool,
}

impl DiskReserve {
    pub(crate) fn new(storage: Arc<dyn Storage>, clock: Arc<dyn Clock>, bytes: u64) -> DiskReserve {
        DiskReserve {
            storage,
            clock,
            bytes,
            refusals: AtomicU64::new(0),
            is_reached: AtomicBool::new(false),
            last_line: Mutex::default(),
        }
    }

    /// The free space where this directory is. It is unlimited if there is no reserve, or if the
    /// file system does not know its free space.
    pub(crate) fn free_space(&self, directory: &Path) -> FreeSpace {
        if self.bytes == 0 {
            return FreeSpace::UNLIMITED;
        }
        match self.storage.free_bytes(directory) {
            Ok(Some(free_bytes)) => {
                let space = FreeSpace { free_bytes, reserve_bytes: self.bytes };
                if space.has(MARGIN_BYTES) {
                    self.note_enough();
                }
                space
            }
            Ok(None) => FreeSpace::UNLIMITED,
            Err(error) => {
                let path = directory.display();
                tracing::debug!(%path, "cannot read the free space of the file system: {error}");
                FreeSpace::UNLIMITED
            }
        }
    }

    /// Refuses something that needs `bytes` of new space in this directory, if too little is free.
    ///
    /// # Errors
    /// [`Error::DiskReserve`].
    pub(crate) fn check(&self, directory: &Path, bytes: u64) -> Result<(), Error> {
        let space = self.free_space(directory);
        if space.has(bytes) { Ok(()) } else { Err(self.refusal(directory, space)) }
    }

    fn note_enough(&self) {
        if self.is_reached.load(Ordering::Relaxed) && self.is_reached.swap(false, Ordering::Relaxed)
        {
            tracing::info!("enough disk space is free again: appends are accepted");
        }
    }

    /// Notes a refusal, and returns its error.
    pub(crate) fn refusal(&self, directory: &Path, space: FreeSpace) -> Error {
        let refusals = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
        self.is_reached.store(true, Ordering::Relaxed);
        let now = self.clock.monotonic();
        let mut last = lock(&self.last_line);
        if last.is_none_or(|last| now.saturating_sub(last) >= LINE_EVERY) {
            *last = Some(now);
            tracing::error!(
                path = %directory.display(),
                free_bytes = space.free_bytes,
                min_free_disk = space.reserve_bytes,
                refusals,
                "appends are refused because less than min_free_disk is free; free some space, \
                 and they are accepted again"
            );
        }
        Error::DiskReserve {
            path: directory.to_owned(),
            free_bytes: space.free_bytes,
            reserve_bytes: space.reserve_bytes,
        }
    }

    pub(crate) fn stats(&self) -> DiskReserveStats {
        DiskReserveStats {
            bytes: self.bytes,
            refusals: self.refusals.load(Ordering::Relaxed),
            is_reached: self.is_reached.load(Ordering::Relaxed),
        }
    }
}

impl FreeSpace {
    pub(crate) const UNLIMITED: FreeSpace = FreeSpace { free_bytes: u64::MAX, reserve_bytes: 0 };

    /// Whether the reserve stays free after `bytes` more were used.
    pub(crate) fn has(self, bytes: u64) -> bool {
        self.free_bytes.checked_sub(bytes).is_some_and(|left| left >= self.reserve_bytes)
    }

    #[cfg(test)]
    pub(crate) fn above_the_reserve(bytes: u64) -> FreeSpace {
        FreeSpace { free_bytes: 1000 + bytes, reserve_bytes: 1000 }
    }
}
