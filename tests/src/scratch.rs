//! [`Scratch`]: a separate directory for each test. It is on the disk that the build
//! uses, because a sync on a memory filesystem would prove nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new directory. It is deleted when it is dropped, but kept when the test fails.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Creates one. Its path contains `name`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Scratch {
        Scratch::in_folder(&crate::binary::target().join("tmp"), name)
    }

    /// Creates one on another filesystem than the servers' data, if there is one. A power
    /// cut of the server's disk must not affect the notes about it.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn elsewhere(name: &str) -> Scratch {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Scratch::in_folder(memory, name) } else { Scratch::new(name) }
    }

    fn in_folder(folder: &Path, name: &str) -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("styx-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Scratch { path }
    }

    /// Whether a path is that of a scratch directory whose process is gone.
    #[must_use]
    pub fn is_left_behind(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut words = name.strip_prefix("styx-").unwrap_or_default().rsplit('-');
        let process = words.nth(1).and_then(|process| process.parse::<u32>().ok());
        process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file in it and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for inspection: {}", self.path.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
