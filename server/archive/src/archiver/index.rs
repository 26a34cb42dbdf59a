//! Indexes that are missing on the disk: from the store, or rebuilt from the segment.
//!
//! ```text
//! fetch ─▶ GET .idx ─▶ Log::restore_index      a reader waits for it
//! no valid object ─▶ Log::rebuild_index        in the background: it reads the whole segment
//! ```
//!
//! Invariant: a reader never waits for a rebuild, because it can read without an index.

use std::sync::Arc;

use styx_engine::archive::{Entry, StoreError};

use super::log_work::find;
use super::segment_upload::{Failure, blocking};
use super::state::LogKey;
use super::{Inner, READ_DEADLINE};
use crate::fetch::reason;
use crate::keys;
use crate::store::SINGLE_BYTES_MAX;

/// Fetches the index of a segment and stores it in the log's directory.
pub(super) async fn fetch(
    inner: &Arc<Inner>,
    key: &LogKey,
    entry: &Entry,
) -> Result<(), StoreError> {
    let object = keys::index(entry);
    let getting = inner.store.get(&object, SINGLE_BYTES_MAX);
    let bytes = match tokio::time::timeout(READ_DEADLINE, getting).await {
        Ok(got) => got.map_err(|e| reason(&e))?.0,
        Err(_) => {
            return Err(StoreError::Unavailable(format!("no answer for {READ_DEADLINE:?}")));
        }
    };
    let unavailable = |why: String| StoreError::Unavailable(why);
    let log = find(inner, key).await;
    let log = log.ok_or_else(|| unavailable("the log is not open".to_owned()))?;
    let base = entry.base;
    let stored = blocking(move || {
        log.restore_index(base, &bytes).map_err(|e| Failure::Local(e.to_string()))
    });
    match stored.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::Damaged(format!("{object} is not the index of its segment"))),
        Err(failure) => Err(unavailable(format!("the index cannot be stored: {failure:?}"))),
    }
}

/// Rebuilds the index of a segment whose object is missing or damaged.
pub(super) async fn rebuild(inner: &Arc<Inner>, key: &LogKey, entry: &Entry) {
    let _permit = inner.rebuilds.acquire().await;
    let Some(log) = find(inner, key).await else { return };
    let base = entry.base;
    let rebuilt =
        blocking(move || log.rebuild_index(base).map_err(|e| Failure::Local(e.to_string())));
    if let Err(failure) = rebuilt.await {
        tracing::warn!(
            log = %key.name,
            segment = %base,
            "the index of an archived segment cannot be rebuilt, so reads of it are slow: {failure:?}"
        );
    }
}
