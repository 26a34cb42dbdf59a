//! The [`Depot`] of the engine: reads go to [`Fetch`](crate::fetch::Fetch), news to the work.

use std::ops::Range;

use styx_engine::archive::{Depot, Entry, FetchResult, LocalLimits};
use styx_protocol::{LogId, LogName};

use super::Archiver;
use super::state::{LogKey, News};

impl Depot for Archiver {
    fn read_cached(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> bool {
        self.0.fetch.read_cached(entry, offset, buffer)
    }

    fn fetch(&self, entry: &Entry, range: Range<u64>, ahead: u64) -> FetchResult {
        self.0.fetch.fetch(entry, range, ahead)
    }

    fn distrust(&self, entry: &Entry, range: Range<u64>) {
        self.0.totals.distrusted();
        self.0.fetch.distrust(entry, range);
    }

    fn notice(&self, log: &LogName, id: LogId) {
        self.0.logs.tell(log, id, News::Changed);
    }

    fn removed(&self, log: &LogName, id: LogId) {
        self.0.logs.tell(log, id, News::Removed);
    }

    fn disk_is_short(&self, log: &LogName, id: LogId) {
        let (inner, key) = (self.0.clone(), LogKey { id, name: log.clone() });
        if !inner.logs.begin_eviction(&key) {
            return;
        }
        // Not a part of the log's work, which may be waiting for the store.
        self.0.handle.spawn_blocking(move || {
            let log = inner.catalog().and_then(|catalog| catalog.log(&key.name).ok());
            let everything = LocalLimits { bytes_max: Some(0), age_max: None };
            match log.filter(|log| log.id() == key.id).map(|log| log.evict(&everything)) {
                Some(Ok(evicted)) => tracing::warn!(
                    log = %key.name,
                    "the disk is short: {} archived segments with {} bytes were evicted early",
                    evicted.segments,
                    evicted.bytes
                ),
                Some(Err(e)) => tracing::warn!(log = %key.name, "cannot evict: {e}"),
                None => {}
            }
            inner.logs.end_eviction(&key);
        });
    }
}
