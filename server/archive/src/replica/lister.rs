//! The lister: which logs the archive has.
//!
//! ```text
//! list logs/ ─▶ read the manifests of new ids ─▶ settle each name
//! ```
//!
//! At the start every id is new. Invariant: a log is removed only because of its manifest. An id that
//! is not listed any more is looked at, and names are settled only if every new manifest was read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use styx_protocol::LogId;

use super::Inner;
use super::apply::Fresh;
use super::schedule::SLOWEST;
use crate::back_off::BackOff;
use crate::keys;
use crate::offline::AT_ONCE;
use crate::store::{Error, Kind};

/// Entries that are held between the reading of the manifests and their use. Manifests beyond that
/// are read again.
const HELD_ENTRIES_MAX: usize = 1 << 20;

/// Runs until the runtime ends.
pub(super) async fn run(inner: Arc<Inner>) {
    let (shortest, slowest) = (inner.refresh, inner.refresh * SLOWEST);
    let back_off = || {
        BackOff::between(shortest.min(Duration::from_secs(1)), slowest.min(Duration::from_secs(30)))
    };
    let (mut pause, mut failing) = (shortest, back_off());
    loop {
        let wait = match inner.list().await {
            Ok(has_changed) => {
                inner.totals.succeeded();
                failing = back_off();
                pause = if has_changed { shortest } else { (pause * 2).min(slowest) };
                pause
            }
            Err(error) => {
                inner.totals.failed("listing the logs of the archive", &error);
                failing.pause()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = inner.list_soon.notified() => {
                tokio::time::sleep(shortest.min(wait)).await;
                pause = shortest;
            }
        }
    }
}

impl Inner {
    /// Looks for new logs. Returns whether a log was attached or removed.
    async fn list(self: &Arc<Inner>) -> Result<bool, Error> {
        let folders = self.store.folders(keys::LOGS).await?;
        let ids = folders.iter().filter_map(|folder| u128::from_str_radix(folder, 16).ok());
        let ids: Vec<LogId> = ids.map(LogId).collect();
        let listed: HashSet<LogId> = ids.iter().copied().collect();
        for id in self.logs.others_than(&listed) {
            self.logs.hurry(id);
        }
        let held = self.read_new(self.logs.unknown(&ids)).await?;
        let unsettled = self.logs.unsettled().into_iter();
        let has_changed = stream::iter(unsettled.map(|name| (self.clone(), name)))
            .map(|(inner, name)| {
                let candidates = held.get(&name).cloned().unwrap_or_default();
                async move {
                    let lock = inner.logs.lock(&name);
                    let _alone = lock.lock().await;
                    inner.settle(&name, candidates).await
                }
            })
            .buffer_unordered(AT_ONCE)
            .fold(Ok(false), async |sum: Result<bool, Error>, settled| match (sum, settled) {
                (Ok(sum), Ok(settled)) => Ok(sum || settled),
                (Err(e), _) | (_, Err(e)) => Err(e),
            })
            .await?;
        self.logs.forget_locks();
        self.wake.notify_one();
        Ok(has_changed)
    }

    /// Reads the manifests of these logs. Returns some of them by name.
    async fn read_new(
        self: &Arc<Inner>,
        ids: Vec<LogId>,
    ) -> Result<HashMap<styx_protocol::LogName, Vec<Fresh>>, Error> {
        let mut reads = stream::iter(ids)
            .map(|id| async move { (id, self.read(id, None).await) })
            .buffer_unordered(AT_ONCE);
        let (mut held, mut entries) = (HashMap::<_, Vec<Fresh>>::new(), 0);
        while let Some((id, read)) = reads.next().await {
            match read {
                Ok(Some(fresh)) => {
                    self.logs.note(&fresh.manifest);
                    entries += fresh.manifest.entries.len();
                    if entries <= HELD_ENTRIES_MAX && fresh.manifest.deleted_us.is_none() {
                        held.entry(fresh.manifest.name.clone()).or_default().push(fresh);
                    }
                }
                // Its first segment was not archived yet, or the manifest was removed in between.
                Ok(None) => {}
                Err(error) if error.kind == Kind::Missing => {}
                Err(error) if error.kind == Kind::Damaged => {
                    if self.logs.note_unreadable(id) {
                        tracing::error!("a log of the archive cannot be served: {error}");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(held)
    }
}
