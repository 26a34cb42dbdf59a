//! The [`Depot`] of the engine: reads go to [`Fetch`](crate::fetch::Fetch), news to the work.

use std::ops::Range;
use std::sync::Arc;

use styx_engine::archive::{Depot, Entry, Evicted, FetchResult, Kept, LocalLimits, StoreError};
use styx_protocol::{LogId, LogName};
use tokio::sync::oneshot;

use super::state::{LogKey, News};
use super::{Archiver, Inner, index};

impl Depot for Archiver {
    fn read_cached(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> bool {
        self.0.fetch.read_cached(entry, offset, buffer)
    }

    fn fetch(&self, entry: &Entry, range: Range<u64>, ahead: u64) -> FetchResult {
        self.0.fetch.fetch(entry, range, ahead)
    }

    fn fetch_index(&self, log: &LogName, id: LogId, entry: &Entry) -> FetchResult {
        let (tell, told) = oneshot::channel();
        let (inner, key, entry) = (self.0.clone(), LogKey { id, name: log.clone() }, *entry);
        self.0.handle.spawn(async move {
            let fetched = index::fetch(&inner, &key, &entry).await;
            let is_lost = matches!(fetched, Err(StoreError::Missing | StoreError::Damaged(_)));
            // Nobody may wait any more.
            let _ = tell.send(fetched);
            if is_lost {
                index::rebuild(&inner, &key, &entry).await;
            }
        });
        Box::pin(async move {
            let stopped = || StoreError::Unavailable("the archive was stopped".to_owned());
            told.await.unwrap_or_else(|_| Err(stopped())).map(|()| Kept::new(()))
        })
    }

    fn distrust(&self, entry: &Entry, range: Range<u64>) {
        self.0.totals.distrusted();
        self.0.fetch.distrust(entry, range);
    }

    fn notice(&self, log: &LogName, id: LogId) {
        self.0.logs.tell(log, id, News::Changed);
    }

    fn removing(&self, log: &LogName, id: LogId, open_epoch: u32) {
        // A log without an epoch has no objects.
        if open_epoch > 0 {
            self.0.removals.begin(LogKey { id, name: log.clone() }, open_epoch);
        }
    }

    fn kept(&self, log: &LogName, id: LogId) {
        let key = LogKey { id, name: log.clone() };
        if let Some(removal) = self.0.removals.get(&key) {
            self.0.removals.end(&key, removal);
        }
    }

    fn removed(&self, log: &LogName, id: LogId) {
        self.0.logs.tell(log, id, News::Removed);
    }

    fn disk_is_short(&self, log: &LogName, _: LogId) {
        tracing::debug!(%log, "the disk is short");
        self.0.make_space();
    }
}

impl Inner {
    /// Begins to evict all archived segments, because the disk is short or full. Never waits.
    pub(super) fn make_space(self: &Arc<Inner>) {
        if !self.logs.begin_eviction() {
            return;
        }
        // Not a part of a log's work, which may be waiting for the store. The logs share the disk,
        // so files of all of them are removed.
        let inner = self.clone();
        self.handle.spawn_blocking(move || {
            let everything = LocalLimits { bytes_max: Some(0), age_max: None };
            let mut sum = Evicted::default();
            for log in inner.catalog().map(|catalog| catalog.logs()).unwrap_or_default() {
                match log.evict(&everything) {
                    Ok(evicted) => {
                        sum.segments += evicted.segments;
                        sum.bytes += evicted.bytes;
                    }
                    Err(e) => tracing::warn!(log = %log.name(), "cannot evict: {e}"),
                }
            }
            if sum.segments > 0 {
                tracing::warn!(
                    "the disk is short: {} archived segments of all logs with {} bytes were evicted \
                     early",
                    sum.segments,
                    sum.bytes
                );
            }
            inner.logs.end_eviction();
        });
    }
}
