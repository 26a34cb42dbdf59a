//! The places where a known mistake can be compiled in.
//!
//! A promise is only as good as the test that fails when it is broken. Each feature of this
//! crate breaks one promise. `cargo xtask sabotage` builds each of them and shows the tests
//! that catch it. Without these features, the functions here do what their names say.

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
compile_error!("sabotage features are for tests: never in a release build");

/// Publishes a commit before it is synced.
pub(crate) const SERVE_UNSYNCED: bool = cfg!(feature = "serve-unsynced");

/// Writes the watermark of a commit before it is synced.
pub(crate) const WATERMARK_AHEAD: bool = cfg!(feature = "watermark-ahead");

/// Treats every invalid block as a torn tail.
pub(crate) const TRUNCATE_ON_ANY_BAD_CRC: bool = cfg!(feature = "truncate-on-any-bad-crc");

/// Syncs a commit.
pub(crate) fn sync_commit(file: &dyn File) -> io::Result<()> {
    if cfg!(feature = "ack-before-sync") {
        return Ok(());
    }
    match file.sync() {
        Err(_) if cfg!(feature = "retry-fsync") => file.sync(),
        synced => synced,
    }
}

/// Makes the name of a new segment durable.
pub(crate) fn sync_new_name(storage: &dyn Storage, directory: &Path) -> io::Result<()> {
    if cfg!(feature = "skip-directory-sync") {
        return Ok(());
    }
    storage.sync_dir(directory)
}
