//! [`SegmentFiles`]: the open files of a segment.
//!
//! ```text
//! newest     its file is open
//! sealed     its file and its index are opened by the first reader, and closed with the last
//!            one unless they are kept open for a while
//! removed    as sealed, but never kept open: closed with the last reader
//! ```

use std::sync::{Arc, Weak};

use crate::storage::File;

/// See the module.
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
    /// Open while a reader holds it.
    Shared(Weak<dyn File>),
    Closed,
}

/// Whether files stay open without readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeepOpen {
    No,
    Yes,
    Never,
}

impl SegmentFiles {
    pub(super) fn new(data: FileHandle) -> SegmentFiles {
        SegmentFiles { data, index: FileHandle::Closed, keep_open: KeepOpen::No }
    }

    /// Stores a file that was opened, unless another thread was faster. Returns the file to use.
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

    /// Keeps the files open that are open now or will be opened. Returns `false` if that was
    /// already so, or is not allowed.
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

    /// Leaves the open files to their readers. The caller drops the result outside the lock,
    /// because closing a removed file frees its space.
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
        assert!(!files.keep_open(), "not even once it was let go");
        let file = files.opened(|files| &mut files.data, file);
        assert!(files.data.get().is_some(), "as long as it is read");
        drop(file);
        assert!(files.data.get().is_none());
    }
}
