//! [`SegmentFiles`]: the open files of a segment.
//!
//! ```text
//! newest     the data file stays open while the log's end uses it; otherwise like sealed
//! sealed     the first reader opens the data file and the index; they are closed when the last
//!            reader drops them, or later if they are kept open
//! removed    like sealed, but never kept open
//! ```
//!
//! [`Segment`](super::Segment) guards this with a lock. Invariant: no file of a removed segment
//! is open without a reader, so that its disk space is freed.

use std::sync::{Arc, Weak};

use crate::storage::File;

/// The data file and the index of a segment, if they are open; see the module.
#[derive(Debug)]
pub(super) struct SegmentFiles {
    pub(super) data: FileHandle,
    pub(super) index: FileHandle,
    keep_open: KeepOpen,
}

/// One of a segment's files.
#[derive(Debug)]
pub(super) enum FileHandle {
    /// Open even without readers.
    Open(Arc<dyn File>),
    /// Open while at least one reader holds it.
    Shared(Weak<dyn File>),
    Closed,
}

/// Whether the files stay open without readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeepOpen {
    No,
    Yes,
    /// No, and this cannot change, because the segment was removed.
    Never,
}

impl SegmentFiles {
    pub(super) fn new(data: FileHandle) -> SegmentFiles {
        SegmentFiles { data, index: FileHandle::Closed, keep_open: KeepOpen::No }
    }

    /// Stores a file that was opened, unless another thread stored one before. Returns the file to
    /// use.
    pub(super) fn opened(
        &mut self,
        handle: fn(&mut SegmentFiles) -> &mut FileHandle,
        file: Arc<dyn File>,
    ) -> Arc<dyn File> {
        let is_kept_open = self.keep_open == KeepOpen::Yes;
        let handle = handle(self);
        let file = handle.get().unwrap_or(file);
        *handle = match is_kept_open {
            true => FileHandle::Open(Arc::clone(&file)),
            false => FileHandle::Shared(Arc::downgrade(&file)),
        };
        file
    }

    /// From now on, keeps the files open: those that are open now, and those that will be opened.
    /// Returns `false` if they were already kept open or the segment was removed.
    pub(super) fn keep_open(&mut self) -> bool {
        if self.keep_open != KeepOpen::No {
            return false;
        }
        self.keep_open = KeepOpen::Yes;
        for handle in [&mut self.data, &mut self.index] {
            if let Some(file) = handle.get() {
                *handle = FileHandle::Open(file);
            }
        }
        true
    }

    /// From now on, closes the files when their last reader drops them. The caller must drop the
    /// result outside the lock, because closing a removed file frees its disk space, which takes
    /// time.
    #[must_use]
    pub(super) fn release(&mut self) -> [FileHandle; 2] {
        if self.keep_open == KeepOpen::Yes {
            self.keep_open = KeepOpen::No;
        }
        [self.data.release(), self.index.release()]
    }

    /// As [`SegmentFiles::release`], permanently.
    #[must_use]
    pub(super) fn retire(&mut self) -> [FileHandle; 2] {
        self.keep_open = KeepOpen::Never;
        self.release()
    }

    /// Forgets the data file, because it was evicted. The caller must drop the result outside the
    /// lock, as that of [`SegmentFiles::release`].
    #[must_use]
    pub(super) fn forget_data(&mut self) -> FileHandle {
        std::mem::replace(&mut self.data, FileHandle::Closed)
    }

    /// Whether the files stay open without readers.
    pub(super) fn are_kept_open(&self) -> bool {
        self.keep_open == KeepOpen::Yes
    }
}

impl FileHandle {
    /// The file, if it is open.
    pub(super) fn get(&self) -> Option<Arc<dyn File>> {
        match self {
            FileHandle::Open(file) => Some(Arc::clone(file)),
            FileHandle::Shared(file) => file.upgrade(),
            FileHandle::Closed => None,
        }
    }

    /// Whether the file stays open without readers.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, FileHandle::Open(_))
    }

    /// Keeps this file open. Returns the handle that it replaces.
    pub(super) fn replace(&mut self, file: Arc<dyn File>) -> FileHandle {
        std::mem::replace(self, FileHandle::Open(file))
    }

    fn release(&mut self) -> FileHandle {
        let shared = match self {
            FileHandle::Open(file) => FileHandle::Shared(Arc::downgrade(file)),
            _ => return FileHandle::Closed,
        };
        std::mem::replace(self, shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{RealStorage, Storage};

    /// A reader takes the list of segments, the log is deleted, and the reader continues.
    #[test]
    fn a_removed_segment_cannot_be_kept_open() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = RealStorage.create(&directory.path().join("a.seg")).expect("created");
        let mut files = SegmentFiles::new(FileHandle::Closed);
        assert!(files.keep_open());
        let file = files.opened(|files| &mut files.data, file);
        drop(files.retire());
        assert!(!files.keep_open());
        drop(files.release());
        assert!(!files.keep_open(), "releasing the files again does not allow it");
        let file = files.opened(|files| &mut files.data, file);
        assert!(files.data.get().is_some(), "a reader holds the file");
        drop(file);
        assert!(files.data.get().is_none());
    }
}
