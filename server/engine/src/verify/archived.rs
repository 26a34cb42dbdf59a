//! Verify of a log with archived segments: those without a file are not checked.
//!
//! Invariant: a segment without a file is accepted only if the list of archived segments has its
//! entry, as in recovery.

use std::path::Path;

use crate::archive::Entry;
use crate::archive::list::{self, Entries};
use crate::format::Unusable;
use crate::storage::{Access, Storage};

/// What there is of a segment.
pub(super) enum Found {
    /// A file of this length.
    File(u64),
    /// No file, but an entry in the list of archived segments.
    Archived(Entry),
}

/// The segments that are only in the object store.
#[derive(Debug, Default)]
pub(super) struct Unchecked {
    segments: u64,
    bytes: u64,
}

impl Unchecked {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.segments += 1;
        self.bytes = self.bytes.saturating_add(entry.bytes);
    }

    pub(super) fn note(&self) -> Option<String> {
        let Unchecked { segments, bytes } = self;
        (*segments > 0).then(|| {
            format!(
                "{segments} segments with {bytes} bytes are only in the object store, and were not checked: run `styx archive verify`"
            )
        })
    }
}

/// The entries of the archived segments of a log, if it has any.
pub(super) fn entries(storage: &dyn Storage, folder: &Path) -> Result<Entries, Unusable> {
    match storage.open(&list::path(folder), Access::Read) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Entries::new()),
        opened => {
            let read = opened.and_then(|file| list::read(&*file));
            let read = read.unwrap_or_else(|error| Err(Unusable::Damaged(error.to_string())));
            read.map(|(entries, _)| entries)
        }
    }
}
