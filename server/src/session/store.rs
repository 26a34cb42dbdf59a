//! Waiting for the object store, without a thread.
//!
//! ```text
//! read ─▶ NeedsStore ─▶ free the memory for the response ─▶ await the fetch ─▶ read again
//! ```
//!
//! Invariant: a store that does not answer costs its own readers an error after
//! [`STORE_WAIT_MAX`], and everybody else nothing.

use std::time::Duration;

use styx_engine::Fetch;
use styx_engine::archive::Kept;

use super::Error;

/// How long a read waits for one answer of the store.
const STORE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits until the bytes of a read are in the cache. The result keeps them there.
///
/// # Errors
/// The store does not answer or refuses, the log no longer has the records, or they are damaged.
pub(super) async fn fetched(fetch: Fetch) -> Result<Kept, Error> {
    match tokio::time::timeout(STORE_WAIT_MAX, fetch).await {
        Ok(fetched) => Ok(fetched?),
        Err(_) => {
            let cause = format!("it did not answer for {} s", STORE_WAIT_MAX.as_secs());
            Err(styx_engine::Error::StoreUnavailable { cause }.into())
        }
    }
}
