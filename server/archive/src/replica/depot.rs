//! The [`Depot`] of the engine: reads go to [`Fetch`](crate::fetch::Fetch). A missing object may
//! have been collected, so its log is brought up to date before the engine judges it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use styx_engine::archive::{Depot, Entry, FetchResult, Kept, StoreError};
use styx_protocol::{LogId, LogName};

use super::{Inner, READ_DEADLINE, Replica};
use crate::fetch::reason;
use crate::keys;
use crate::store::SINGLE_BYTES_MAX;

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

    fn fetch_index(&self, log: &LogName, id: LogId, entry: &Entry) -> FetchResult {
        let (inner, name, entry) = (self.0.clone(), log.clone(), *entry);
        let task = self.0.handle.spawn(async move {
            let fetched = inner.fetch_index(&name, id, &entry).await;
            if matches!(fetched, Err(StoreError::Missing | StoreError::Damaged(_))) {
                inner.clone().begin_rebuild(&name, id, entry);
            }
            fetched
        });
        Box::pin(async move {
            let stopped = |_| StoreError::Unavailable("the replica was stopped".to_owned());
            task.await.map_err(stopped).flatten().map(|()| Kept::new(()))
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
    /// Reads the index of a segment and stores it in the log's directory.
    async fn fetch_index(
        &self,
        name: &LogName,
        id: LogId,
        entry: &Entry,
    ) -> Result<(), StoreError> {
        let object = keys::index(entry);
        let getting = self.store.get(&object, SINGLE_BYTES_MAX);
        let bytes = match tokio::time::timeout(READ_DEADLINE, getting).await {
            Ok(got) => got.map_err(|error| reason(&error))?.0,
            Err(_) => {
                return Err(StoreError::Unavailable(format!("no answer for {READ_DEADLINE:?}")));
            }
        };
        let served = self.logs.served(name).filter(|log| log.id() == id);
        let log =
            served.ok_or_else(|| StoreError::Unavailable("the log is not open".to_owned()))?;
        let base = entry.base;
        match self.change(name, move |_| log.restore_index(base, &bytes)).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(StoreError::Damaged(format!("{object} is not the index of its segment")))
            }
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }

    /// Begins to make an index from a segment, all of which is read for that.
    fn begin_rebuild(self: Arc<Inner>, name: &LogName, id: LogId, entry: Entry) {
        let Some(log) = self.logs.served(name).filter(|log| log.id() == id) else { return };
        self.handle.clone().spawn(async move {
            let _permit = self.rebuilds.acquire().await;
            let (rebuilt, base) = (log.clone(), entry.base);
            let done = tokio::task::spawn_blocking(move || rebuilt.rebuild_index(base)).await;
            if let Ok(Err(error)) = done {
                tracing::warn!(
                    log = %log.name(), segment = %base, %error,
                    "the index of an archived segment cannot be rebuilt, so reads of it are slow"
                );
            }
        });
    }

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
