//! The [`Depot`] of the engine: reads go to [`Fetch`](crate::fetch::Fetch). A missing object may
//! have been collected, so its log is brought up to date before the engine judges it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use styx_engine::archive::{Depot, Entry, FetchResult, StoreError};
use styx_protocol::{LogId, LogName};

use super::{Inner, Replica};

impl Depot for Replica {
    fn read_cached(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> bool {
        self.0.fetch.read_cached(entry, offset, buffer)
    }

    fn fetch(&self, entry: &Entry, range: Range<u64>, ahead: u64) -> FetchResult {
        let fetched = self.0.fetch.fetch(entry, range, ahead);
        let (inner, entry) = (self.0.clone(), *entry);
        Box::pin(async move {
            match fetched.await {
                Err(StoreError::Missing) => {
                    // On the replica's runtime, because the caller may have none.
                    let runtime = inner.handle.clone();
                    let looked = runtime.spawn(async move { inner.look_again(&entry).await }).await;
                    let stopped = |_| StoreError::Unavailable("the replica was stopped".to_owned());
                    Err(looked
                        .map_err(stopped)
                        .and_then(|looked| looked)
                        .err()
                        .unwrap_or(StoreError::Missing))
                }
                fetched => fetched,
            }
        })
    }

    fn distrust(&self, entry: &Entry, range: Range<u64>) {
        self.0.totals.distrusted();
        self.0.fetch.distrust(entry, range);
    }

    fn notice(&self, _: &LogName, _: LogId) {}
    fn removing(&self, _: &LogName, _: LogId, _: u32) {}
    fn kept(&self, _: &LogName, _: LogId) {}
    fn removed(&self, _: &LogName, _: LogId) {}
    fn disk_is_short(&self, _: &LogName, _: LogId) {}
}

impl Inner {
    /// Brings the logs with this segment up to date.
    async fn look_again(self: Arc<Inner>, entry: &Entry) -> Result<(), StoreError> {
        let asked = Instant::now();
        for id in self.logs.served_with(|log| log.has_entry(entry)) {
            let refreshed = self.refresh(id, asked).await;
            refreshed.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        }
        Ok(())
    }
}
