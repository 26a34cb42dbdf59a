//! Known mistakes that can be switched on, to show that the tests find them.
//!
//! Each mistake breaks one guarantee of the engine. `cargo xtask sabotage` builds the engine once
//! with the feature `sabotage`, runs the tests with each mistake, and lists those that fail. The
//! environment variable `STYX_SABOTAGE` has the mistake's name. Invariant: without the feature,
//! the functions here do what their names say, and a release build cannot enable it.

use std::io;
use std::path::Path;

use crate::storage::{File, Storage};

#[cfg(all(feature = "sabotage", not(debug_assertions)))]
compile_error!(
    "the feature sabotage breaks the engine on purpose: do not enable it in a release build"
);

/// A known mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// A commit is acknowledged without a sync.
    AckBeforeSync,
    /// The name of a new segment is not synced.
    SkipDirectorySync,
    /// A failed sync is tried again.
    RetryFsync,
    /// Every invalid block is treated as a torn tail, and so cut off.
    TruncateOnAnyBadCrc,
    /// A commit is published before it is synced.
    ServeUnsynced,
    /// The watermark is advanced to a commit before the commit is synced.
    WatermarkAhead,
    /// A cursor is answered without a sync of its file and of the file's name.
    CursorBeforeSync,
    /// A part of a block is read without a comparison of its checksum.
    TrustPartTables,
    /// A segment may be evicted before the list of archived segments is durable.
    EvictBeforeManifest,
}

/// The names for `STYX_SABOTAGE`. docs/reliability.md has a row for each.
#[cfg(feature = "sabotage")]
const NAMES: [(&str, Mistake); 9] = [
    ("ack-before-sync", Mistake::AckBeforeSync),
    ("skip-directory-sync", Mistake::SkipDirectorySync),
    ("retry-fsync", Mistake::RetryFsync),
    ("truncate-on-any-bad-crc", Mistake::TruncateOnAnyBadCrc),
    ("serve-unsynced", Mistake::ServeUnsynced),
    ("watermark-ahead", Mistake::WatermarkAhead),
    ("cursor-before-sync", Mistake::CursorBeforeSync),
    ("trust-part-tables", Mistake::TrustPartTables),
    ("evict-before-manifest", Mistake::EvictBeforeManifest),
];

/// Whether this mistake is switched on.
#[cfg(not(feature = "sabotage"))]
pub(crate) const fn makes(_mistake: Mistake) -> bool {
    false
}

/// Whether this mistake is switched on.
///
/// # Panics
/// If `STYX_SABOTAGE` names no mistake: a misspelled one would seem to be caught by no test.
#[cfg(feature = "sabotage")]
pub(crate) fn makes(mistake: Mistake) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Mistake>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("STYX_SABOTAGE").ok()?;
        let known = NAMES.iter().find(|(known, _)| *known == name);
        Some(known.unwrap_or_else(|| panic!("STYX_SABOTAGE: no mistake is called {name}")).1)
    });
    *chosen == Some(mistake)
}

/// Syncs a commit. Mistakes skip the sync or retry a failed one.
pub(crate) fn sync_commit(file: &dyn File) -> io::Result<()> {
    if makes(Mistake::AckBeforeSync) {
        return Ok(());
    }
    match file.sync() {
        Err(_) if makes(Mistake::RetryFsync) => file.sync(),
        synced => synced,
    }
}

/// Makes the name of a new segment durable. A mistake skips this.
pub(crate) fn sync_new_name(storage: &dyn Storage, directory: &Path) -> io::Result<()> {
    if makes(Mistake::SkipDirectorySync) {
        return Ok(());
    }
    storage.sync_dir(directory)
}
