//! Lists the files of a folder.

use std::path::{Path, PathBuf};

/// The files in a folder and below whose names end with one of these, in the order of their
/// paths. None if there is no such folder.
pub(super) fn below(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("node_modules") {
                found.extend(below(&path, ends));
            }
        } else if ends.iter().any(|end| path.to_string_lossy().ends_with(end)) {
            found.push(path);
        }
    }
    found.sort();
    found
}
