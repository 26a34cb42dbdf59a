//! Small files that are read and replaced as a whole.
//!
//! ```text
//! write_temporary ─▶ sync ─▶ rename ─▶ sync of the directory
//! ```
//! Invariant: a path has its old or its new content after any failure, never a part of it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Access, File, Storage, if_there, read_exact_at, write_all_at};

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// The error of a call; `FileTooLarge` if the file has more than `max` bytes.
pub(crate) fn read_file(storage: &dyn Storage, path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = storage.open(path, Access::Read)?;
    let len = file.len()?;
    if len > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

/// Replaces a whole file: writes a temporary file, syncs it, renames it and syncs the
/// directory.
///
/// # Errors
/// The error of a call. The path then has the old or the new content, never a part of it.
pub(crate) fn replace_file(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_temporary(storage, path, bytes)?.sync()?;
    rename_durably(storage, path)
}

/// The first step of [`replace_file`]: writes the temporary file, without a sync.
///
/// # Errors
/// The error of a call. The path is unchanged.
pub(crate) fn write_temporary(
    storage: &dyn Storage,
    path: &Path,
    bytes: &[u8],
) -> io::Result<Arc<dyn File>> {
    let temporary = temporary_path(path);
    if_there(storage.remove_file(&temporary))?;
    let file = storage.create(&temporary)?;
    write_all_at(&*file, bytes, 0).map_err(|(e, _)| e)?;
    Ok(file)
}

/// The last step of [`replace_file`]: renames the temporary file, which is synced, and syncs the
/// directory.
///
/// # Errors
/// The error of a call. The path then has the old or the new content.
pub(crate) fn rename_durably(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    storage.rename(&temporary_path(path), path)?;
    storage.sync_dir(path.parent().ok_or(io::ErrorKind::InvalidInput)?)
}

/// Returns the path at which a file is written before it is renamed to `path`. Recovery removes
/// leftover files with such names.
pub(crate) fn temporary_path(path: &Path) -> std::path::PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(TEMPORARY_SUFFIX);
    path.with_file_name(name)
}

/// The suffix of the names of unfinished files.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
