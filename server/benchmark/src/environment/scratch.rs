//! [`ScratchDirectory`]: a directory that is removed when it is dropped.

use std::path::{Path, PathBuf};

use super::cleanup::CleanupGuard;
use super::{Cleanup, CleanupAction};
use crate::Error;

/// A directory for this process only. It is removed with its contents.
#[derive(Debug)]
pub(crate) struct ScratchDirectory {
    path: PathBuf,
    _guard: CleanupGuard,
}

impl ScratchDirectory {
    /// Creates the directory `styx-benchmark-PID` in `parent`.
    ///
    /// # Errors
    /// It cannot be created there.
    pub(crate) fn new(parent: &Path, cleanup: &Cleanup) -> Result<ScratchDirectory, Error> {
        let failed = |error| {
            Error::Failed(format!(
                "cannot create a directory in {}: {error} (choose another one with --directory)",
                parent.display()
            ))
        };
        let parent = std::path::absolute(parent).map_err(failed)?;
        let path = parent.join(format!("styx-benchmark-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(failed)?;
        let guard = cleanup.add(CleanupAction::Remove(path.clone()));
        Ok(ScratchDirectory { path, _guard: guard })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // If it cannot be removed, its name tells users where it comes from.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
