//! Damage to a log's files, made by hand while its server is stopped.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The segment files of a log, oldest first.
///
/// # Panics
/// When the log's directory cannot be read.
#[must_use]
pub fn segments(log: &Path) -> Vec<PathBuf> {
    let generations = entries(log).into_iter().filter(|path| path.is_dir());
    let files = generations.flat_map(|generation| entries(&generation));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect()
}

/// Flips one bit in the stored copy of `bytes`, and returns the segment and the
/// offset of the copy in it.
///
/// # Panics
/// When no segment holds these bytes.
pub fn flip_bit(log: &Path, bytes: &[u8]) -> (PathBuf, u64) {
    for path in segments(log) {
        let stored = std::fs::read(&path).expect("a segment");
        if let Some(at) = stored.windows(bytes.len()).position(|window| window == bytes) {
            let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a segment");
            file.write_at(&[stored[at + 5] ^ 4], at as u64 + 5).expect("it can be written");
            return (path, at as u64);
        }
    }
    panic!("{} is in no segment of {}", bytes.escape_ascii(), log.display());
}

/// Everything in a directory, sorted by name.
///
/// # Panics
/// When the directory cannot be read.
#[must_use]
pub fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}
