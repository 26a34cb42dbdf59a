//! [`Scratch`]: a directory that goes when it is dropped.

use std::path::{Path, PathBuf};

use super::interrupt::Entered;
use super::{Duties, Duty};
use crate::failure::Failure;

/// A directory of this process alone, removed with all that is in it.
#[derive(Debug)]
pub(in crate::benchmark) struct Scratch {
    path: PathBuf,
    _duty: Entered,
}

impl Scratch {
    /// Makes it inside of `parent`.
    ///
    /// # Errors
    /// It cannot be made there.
    pub(in crate::benchmark) fn new(parent: &Path, duties: &Duties) -> Result<Scratch, Failure> {
        let failed = |error| {
            Failure::Failed(format!(
                "{}: cannot make a directory: {error}; name another one with --directory",
                parent.display()
            ))
        };
        let parent = std::path::absolute(parent).map_err(failed)?;
        let path = parent.join(format!("styx-benchmark-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(failed)?;
        let duty = duties.enter(Duty::Remove(path.clone()));
        Ok(Scratch { path, _duty: duty })
    }

    pub(in crate::benchmark) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is named by its own name.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
