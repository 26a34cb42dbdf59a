//! Known mistakes that can be compiled in, to show that the tests find them.
//!
//! Each sabotage feature of this crate breaks one guarantee of the engine. `cargo xtask sabotage`
//! builds the engine with each feature and lists the tests that fail. Invariant: without these
//! features, the functions here do what their names say, and a release build cannot enable them.

use std::io;
use std::path::Path;

use crate::storage::{File, Storage};

#[cfg(all(
    not(debug_assertions),
    any(
        feature = "ack-before-sync",
        feature = "skip-directory-sync",
        feature = "retry-fsync",
        feature = "truncate-on-any-bad-crc",
        feature = "serve-unsynced",
        feature = "watermark-ahead"
    )
))]
compile_error!(
    "sabotage features break the engine on purpose: do not enable them in a release build"
);

/// Whether a commit is published before it is synced.
pub(crate) const SERVE_UNSYNCED: bool = cfg!(feature = "serve-unsynced");

/// Whether the watermark is advanced to a commit before the commit is synced.
pub(crate) const WATERMARK_AHEAD: bool = cfg!(feature = "watermark-ahead");

/// Whether every invalid block is treated as a torn tail, and so cut off.
pub(crate) const TRUNCATE_ON_ANY_BAD_CRC: bool = cfg!(feature = "truncate-on-any-bad-crc");

/// Syncs a commit. The features skip the sync or retry a failed one.
pub(crate) fn sync_commit(file: &dyn File) -> io::Result<()> {
    if cfg!(feature = "ack-before-sync") {
        return Ok(());
    }
    match file.sync() {
        Err(_) if cfg!(feature = "retry-fsync") => file.sync(),
        synced => synced,
    }
}

/// Makes the name of a new segment durable. A feature skips this.
pub(crate) fn sync_new_name(storage: &dyn Storage, directory: &Path) -> io::Result<()> {
    if cfg!(feature = "skip-directory-sync") {
        return Ok(());
    }
    storage.sync_dir(directory)
}
