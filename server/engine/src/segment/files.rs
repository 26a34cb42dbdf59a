//! [`Files`]: what is open of a segment.
//!
//! ```text
//! newest     its file is open
//! finished   its file and its index are opened by who reads them, and closed with
//!            the last reader, unless they are to stay open for a while
//! removed    whatever was read, and for good: closed with the last reader
//! ```

use std::sync::{Arc, Weak};

use crate::storage::File;

/// See the module.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) data: Handle,
    pub(super) index: Handle,
    stay: Stay,
}

/// One of a segment's files.
#[derive(Debug)]
pub(super) enum Handle {
    /// Open whether somebody reads it or not.
    Open(Arc<dyn File>),
    /// Open as long as somebody has it.
    Shared(Weak<dyn File>),
    Closed,
}

/// Whether files stay open without readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    No,
    Yes,
    Never,
}

impl Files {
    pub(super) fn new(data: Handle) -> Files {
        Files { data, index: Handle::Closed, stay: Stay::No }
    }

    /// Remembers a file that was opened, unless somebody else was faster; gives back
    /// the one that counts.
    pub(super) fn opened(
        &mut self,
        handle: fn(&mut Files) -> &mut Handle,
        file: Arc<dyn File>,
    ) -> Arc<dyn File> {
        let stays = self.stay == Stay::Yes;
        let handle = handle(self);
        let file = handle.get().unwrap_or(file);
        *handle = match stays {
            true => Handle::Open(Arc::clone(&file)),
            false => Handle::Shared(Arc::downgrade(&file)),
        };
        file
    }

    /// Keeps open what is open, and what will be opened; `false` if that was so
    /// already, or may not be.
    pub(super) fn stay(&mut self) -> bool {
        if self.stay != Stay::No {
            return false;
        }
        self.stay = Stay::Yes;
        for handle in [&mut self.data, &mut self.index] {
            if let Some(file) = handle.get() {
                *handle = Handle::Open(file);
            }
        }
        true
    }

    /// Leaves what is open to those who read it; what is given back is to be dropped
    /// outside of the lock: closing a file that was removed frees its space.
    #[must_use]
    pub(super) fn let_go(&mut self) -> [Handle; 2] {
        if self.stay == Stay::Yes {
            self.stay = Stay::No;
        }
        [self.data.let_go(), self.index.let_go()]
    }

    /// As [`Files::let_go`], for good.
    #[must_use]
    pub(super) fn retire(&mut self) -> [Handle; 2] {
        self.stay = Stay::Never;
        self.let_go()
    }

    /// Whether they stay open, however few read them.
    pub(super) fn are_staying(&self) -> bool {
        self.stay == Stay::Yes
    }
}

impl Handle {
    /// The file, if it is open.
    pub(super) fn get(&self) -> Option<Arc<dyn File>> {
        match self {
            Handle::Open(file) => Some(Arc::clone(file)),
            Handle::Shared(file) => file.upgrade(),
            Handle::Closed => None,
        }
    }

    fn let_go(&mut self) -> Handle {
        let shared = match self {
            Handle::Open(file) => Handle::Shared(Arc::downgrade(file)),
            _ => return Handle::Closed,
        };
        std::mem::replace(self, shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{RealStorage, Storage};

    /// A reader takes the list of segments, the log is deleted, and the reader goes on.
    #[test]
    fn who_saw_a_segment_before_it_was_removed_cannot_make_it_stay_open() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = RealStorage.create(&directory.path().join("a.seg")).expect("created");
        let mut files = Files::new(Handle::Closed);
        assert!(files.stay());
        let file = files.opened(|files| &mut files.data, file);
        drop(files.retire());
        assert!(!files.stay());
        drop(files.let_go());
        assert!(!files.stay(), "not even once it was let go");
        let file = files.opened(|files| &mut files.data, file);
        assert!(files.data.get().is_some(), "as long as it is read");
        drop(file);
        assert!(files.data.get().is_none());
    }
}
