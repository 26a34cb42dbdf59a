//! [`WatchedFile`]: a file that is looked at once a second, and read when it has changed.
//!
//! Invariants: a file that a program may be in the middle of writing is not read; a file that
//! is missing for a moment, because an editor replaces it, is not gone.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// For how many looks in a row the file must be missing before it is gone. An editor that
/// replaces the file may remove it for a moment.
const MISSING_LOOKS: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    /// The version that was read, whether that worked or not.
    read: Option<FileVersion>,
    /// The version that the last look found.
    found: Option<FileVersion>,
    /// A change that a program may still be writing.
    unsettled: Option<FileVersion>,
    missing_looks: u32,
}

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing to do.
    Same,
    /// Read it, and then call [`WatchedFile::was_read`].
    Changed,
    /// It is gone, since this look.
    Gone,
}

/// Changes whenever the file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl WatchedFile {
    /// Call it before the file is read for the first time, so that no change is missed.
    pub(crate) fn new(path: PathBuf) -> WatchedFile {
        let read = FileVersion::of(&path);
        WatchedFile { path, read, found: read, unsettled: None, missing_looks: 0 }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the file has changed since it was read. With `is_asked`, an operator says
    /// that it has, and that it is whole.
    pub(crate) fn look(&mut self, is_asked: bool) -> Look {
        self.found = FileVersion::of(&self.path);
        let look = if self.found.is_none() {
            self.missing_looks = self.missing_looks.saturating_add(1);
            let is_gone = self.missing_looks == MISSING_LOOKS && self.read.take().is_some();
            if is_gone { Look::Gone } else { Look::Same }
        } else if is_asked || (self.found != self.read && !self.is_being_written()) {
            Look::Changed
        } else {
            self.missing_looks = 0;
            Look::Same
        };
        if self.found == self.read {
            self.unsettled = None;
        }
        look
    }

    /// The version that the last look found was read, whether that worked or not.
    pub(crate) fn was_read(&mut self) {
        (self.read, self.unsettled, self.missing_looks) = (self.found, None, 0);
    }

    /// Whether a program may be in the middle of writing the file. `styx token` replaces the
    /// file, but an editor may write into it, and half of a file has fewer entries. So such a
    /// change counts when the next look finds the same.
    fn is_being_written(&mut self) -> bool {
        let place = |version: FileVersion| (version.device, version.inode);
        let is_same_file = self.read.map(place) == self.found.map(place);
        is_same_file && std::mem::replace(&mut self.unsettled, self.found) != self.found
    }
}

impl FileVersion {
    fn of(path: &Path) -> Option<FileVersion> {
        let found = std::fs::metadata(path).ok()?;
        Some(FileVersion {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// Reads a text that has at most this many bytes.
///
/// # Errors
/// It cannot be read, or it is larger, or it is not UTF-8.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    let invalid = |why: String| std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(invalid(format!("it is larger than {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8".to_owned()))
}
