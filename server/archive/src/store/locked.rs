//! Conditional writes in a directory: a file is compared and replaced under a lock.
//!
//! The client of `object_store` for directories cannot replace a file conditionally. The version of
//! a file is the SHA-256 of its bytes: times and inode numbers can repeat. Invariant: the new bytes
//! and their name are synced before the write counts as successful.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Version;
use super::error::{Error, Kind};

/// The name of the file that is locked, in the directory of the archive.
const LOCK: &str = "styx-archive.lock";

/// The version of a file with these bytes.
pub(super) fn version(bytes: &[u8]) -> Version {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    Version::of_tag(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file if it has this version, or if it does not exist.
pub(super) async fn put_if(
    directory: PathBuf,
    path: PathBuf,
    expected: Option<Version>,
    bytes: Bytes,
) -> Result<Version, Error> {
    let what = format!("put {}", path.display());
    let written = tokio::task::spawn_blocking(move || {
        write_under_lock(&directory, &path, expected.as_ref(), &bytes)
    });
    match written.await.map_err(io::Error::other).flatten() {
        Ok(Some(version)) => Ok(version),
        Ok(None) => Err(Error::new(Kind::Condition, what, "the file has another version")),
        Err(e) => Err(Error::new(Kind::Unavailable, what, e.to_string())),
    }
}

fn write_under_lock(
    directory: &Path,
    path: &Path,
    expected: Option<&Version>,
    bytes: &[u8],
) -> io::Result<Option<Version>> {
    let lock = File::options().create(true).append(true).open(directory.join(LOCK))?;
    // Held until the file is dropped.
    lock.lock()?;
    let current = match fs::read(path) {
        Ok(current) => Some(version(&current)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    if current.as_ref() != expected {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or(directory);
    create_folders(directory, folder)?;
    // Listings skip names that end in a hash sign and digits.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push("#0");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()?;
    Ok(Some(version(bytes)))
}

/// Creates the folders between `directory` and `folder`, and syncs their names.
fn create_folders(directory: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() || !folder.starts_with(directory) {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(directory);
    create_folders(directory, parent)?;
    match fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => File::open(parent)?.sync_all(),
    }
}
