//! [`OpenEnds`]: limits how many logs have the file of their newest segment open.
//!
//! ```text
//! commit ─▶ file open? ─yes─▶ write
//!           └no─▶ open, add to [oldest … newest] ─▶ too many? close the file of the oldest log
//!                                                    that committed nothing since it was added
//! ```
//!
//! A commit to an open file does not touch this list. A log's last commit shows whether it was
//! used: such a log gets a second chance and goes to the end of the list. A file is closed under
//! its log's `end` lock, which every commit holds, and only after everything in it is synced: the
//! error of a failed write could be lost with the descriptor. Readers hold the file themselves, so
//! it stays open for them.
//!
//! Invariant: the list has weak references only, so it keeps no removed log.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};

use super::LogInner;
use crate::storage::File;
use crate::sync::lock;

/// See the module.
#[derive(Debug)]
pub(crate) struct OpenEnds {
    /// Each uses up to two file descriptors: the second one is for direct writes.
    files_max: usize,
    oldest_first: Mutex<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    log: Weak<LogInner>,
    /// The log's last commit when the entry was added.
    committed_at_us: u64,
}

impl OpenEnds {
    /// Keeps up to `files_max` files open, but at least one.
    pub(crate) fn new(files_max: usize) -> OpenEnds {
        OpenEnds { files_max: files_max.max(1), oldest_first: Mutex::default() }
    }

    /// Adds a log whose file was opened, and closes files of other logs beyond the limit.
    fn add(&self, log: Weak<LogInner>, committed_at_us: u64) {
        let mut closed = Vec::new();
        let mut oldest_first = lock(&self.oldest_first);
        // In the first round every log may have been used, in the second round none was.
        for _ in 0..2 * oldest_first.len() {
            if oldest_first.len() < self.files_max {
                break;
            }
            let Some(entry) = oldest_first.pop_front() else { break };
            oldest_first.extend(entry.close(&mut closed));
        }
        oldest_first.push_back(Entry { log, committed_at_us });
        drop(oldest_first);
        // Closing a file may free its disk space, which takes time.
        drop(closed);
    }
}

impl Entry {
    /// Closes the log's file. Returns the entry if the file stays open.
    fn close(self, closed: &mut Vec<Arc<dyn File>>) -> Option<Entry> {
        let log = self.log.upgrade()?;
        let committed_at_us = log.committed_at_us.load(Ordering::Relaxed);
        if committed_at_us != self.committed_at_us {
            return Some(Entry { committed_at_us, ..self });
        }
        // The committer must not conclude from a locked `end` that a group is in flight, so it
        // cannot begin one meanwhile.
        let Some(_next_head) = try_lock(&log.next_head) else { return Some(self) };
        let Some(mut end_guard) = try_lock(&log.end) else { return Some(self) };
        let end = end_guard.as_mut()?;
        if let Err(error) = end.sync_rest() {
            log.taint(&format!("a sync failed: {error}"));
        }
        closed.extend(end.close_file());
        log.is_end_open.store(false, Ordering::Relaxed);
        None
    }
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl LogInner {
    /// Counts the open file of the newest segment. The caller holds the `end` lock, or is the only
    /// one that has the log.
    pub(crate) fn note_open_end(&self) {
        if !self.is_end_open.swap(true, Ordering::Relaxed) {
            let committed_at_us = self.committed_at_us.load(Ordering::Relaxed);
            self.services.open_ends.add(self.weak_self.clone(), committed_at_us);
        }
    }
}
