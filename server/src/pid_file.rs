//! [`PidFile`]: the process id in a file that is locked while the server runs.
//!
//! Only the lock shows that a server runs. After a crash the file still exists, and
//! the next server takes it over; a clean exit removes it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// How often to try again if the file is removed between opening and locking it.
const ATTEMPTS: usize = 10;

/// A locked pid file. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    // Closing the file releases the lock.
    _file: File,
}

impl PidFile {
    /// Locks `path` and writes our process id to it.
    pub(crate) fn take(path: &Path) -> Result<PidFile, Error> {
        let failed = |source| Error::PidFile { path: path.to_owned(), source };
        for _ in 0..ATTEMPTS {
            let mut options = OpenOptions::new();
            let mut file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(locked(path, file)),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            // Its last owner may have removed it between our open and our lock.
            if !is_at(path, &file) {
                continue;
            }
            file.set_len(0).map_err(failed)?;
            file.rewind().map_err(failed)?;
            writeln!(file, "{}", std::process::id()).map_err(failed)?;
            return Ok(PidFile { path: path.to_owned(), _file: file });
        }
        Err(failed(std::io::Error::other("another process keeps removing it")))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), "cannot remove the pid file: {error}");
        }
    }
}

/// Whether `path` is the name of this file.
pub(crate) fn is_at(path: &Path, file: &File) -> bool {
    let (Ok(there), Ok(ours)) = (std::fs::metadata(path), file.metadata()) else { return false };
    (there.dev(), there.ino()) == (ours.dev(), ours.ino())
}

fn locked(path: &Path, file: File) -> Error {
    let mut process = String::new();
    let read = file.take(32).read_to_string(&mut process);
    let process = match (read, process.trim()) {
        (Ok(_), text) if !text.is_empty() => text.to_owned(),
        _ => "unknown".to_owned(),
    };
    Error::PidFileLocked { path: path.to_owned(), process }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_file_is_locked_taken_over_after_a_crash_and_removed() {
        let name = format!("styx-pid-{}-{:x}", std::process::id(), getrandom::u64().expect("rnd"));
        let path = std::env::temp_dir().join(name);
        // A crash leaves a file that nobody locks.
        std::fs::write(&path, "99999999999999\n").expect("write");
        let held = PidFile::take(&path).expect("taken over");
        let pid = std::process::id().to_string();
        assert_eq!(std::fs::read_to_string(&path).expect("read").trim(), pid);
        let refused = PidFile::take(&path).expect_err("it is locked");
        assert!(refused.to_string().contains(&format!("process {pid}")), "{refused}");
        drop(held);
        assert!(!path.exists());
    }
}
