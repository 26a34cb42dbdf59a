//! [`Archived`]: where the bytes of an archived segment are.
//!
//! ```text
//! local    no entry
//! both     an entry, and the file
//! remote   an entry; the file was evicted, or is missing
//! ```
//!
//! Invariant: a segment becomes remote before its file is removed. So a reader that finds no file
//! looks again and finds a remote segment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::archive::remote_file::RemoteFile;
use crate::archive::{Entry, StoreAccess};
use crate::storage::File;
use crate::sync::lock;

/// Where the bytes of a segment are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Only on the disk.
    Local,
    /// On the disk and in the object store.
    Both,
    /// Only in the object store.
    Remote,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Archived {
    store: StoreAccess,
    current: Mutex<(Entry, Arc<dyn File>)>,
    is_remote: AtomicBool,
    /// A reader has asked the store for the index, because there is none on the disk.
    is_index_wanted: AtomicBool,
}

impl Archived {
    pub(super) fn new(entry: Entry, store: &StoreAccess) -> Archived {
        let store = store.clone();
        let current = Mutex::new((entry, file(entry, &store)));
        let (is_remote, is_index_wanted) = (AtomicBool::new(false), AtomicBool::new(false));
        Archived { store, current, is_remote, is_index_wanted }
    }

    pub(super) fn is_remote(&self) -> bool {
        self.is_remote.load(Ordering::Acquire)
    }

    pub(super) fn set_remote(&self, is_remote: bool) {
        self.is_remote.store(is_remote, Ordering::Release);
    }

    /// Notes whether the index is wanted. Returns whether it was.
    pub(super) fn want_index(&self, wanted: bool) -> bool {
        self.is_index_wanted.swap(wanted, Ordering::AcqRel)
    }

    pub(super) fn entry(&self) -> Entry {
        lock(&self.current).0
    }

    /// The segment was uploaded again.
    pub(super) fn replace(&self, entry: Entry) {
        *lock(&self.current) = (entry, file(entry, &self.store));
    }

    /// A file whose reads do not wait.
    pub(super) fn file(&self) -> Arc<dyn File> {
        Arc::clone(&lock(&self.current).1)
    }

    /// A file whose reads wait for the store.
    pub(super) fn waiting_file(&self) -> Arc<dyn File> {
        let depot = Arc::clone(&self.store.depot);
        Arc::new(RemoteFile::waiting(self.entry(), depot, self.store.wait_max))
    }
}

fn file(entry: Entry, store: &StoreAccess) -> Arc<dyn File> {
    Arc::new(RemoteFile::new(entry, Arc::clone(&store.depot)))
}
