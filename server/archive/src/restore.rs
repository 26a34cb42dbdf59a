//! `styx restore`: logs from an archive, in a data directory that no server uses.
//!
//! ```text
//! manifests ─▶ selection ─▶ entries, indexes, producers ─▶ Catalog::attach ─▶ a log whose history is
//!                                                                             remote
//! ```
//!
//! The history stays in the store: reads fetch it. A restored log has a new id, and its entries keep
//! the id of the log that it was restored from, whose objects it reads and never changes. So a trial
//! cannot hurt the original, unless the restored log is to take its place. A log that an earlier, interrupted restore has created is kept, so a
//! second run finishes the first.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use styx_engine::archive::Entry;
use styx_engine::{Attached, Catalog, Options};
use styx_protocol::{LogId, LogName, Position};
use tokio::sync::{Semaphore, mpsc};

use crate::adopt::owner_of;
use crate::download;
use crate::keys;
use crate::manifest::Manifest;
use crate::offline::{self, AT_ONCE, Progress, Tell};
use crate::selection::{self, LeftOut, Wanted};
use crate::store::{Error, Kind, SINGLE_BYTES_MAX, Store};
use crate::succession::succeed;

/// The logs to restore, and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The data directory. It is created if it does not exist. No server may use it.
    pub data_directory: PathBuf,
    /// Which logs.
    pub logs: Wanted,
    /// A time in µs since the epoch: the log ends before the first segment with a newer record. So
    /// nothing newer is restored, and up to one segment of older records is left out.
    pub until_us: Option<u64>,
    /// Whether the restored logs take the place of their originals in the archive: the servers that
    /// owned these archive them no more, and the originals are marked as deleted. For a disaster.
    pub adopts: bool,
}

/// A restored log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its name.
    pub log: LogName,
    /// Its new id.
    pub id: LogId,
    /// The id of the log that it was restored from.
    pub from: LogId,
    /// The position of its first record.
    pub start: Position,
    /// The position after its last restored record.
    pub end: Position,
    /// The number of its segments in the store.
    pub segments: u64,
    /// The bytes of their files.
    pub bytes: u64,
    /// Whether an earlier restore has created it, and this one has changed nothing.
    pub existed: bool,
    /// Its segments, for a download.
    pub(crate) entries: Vec<Entry>,
}

/// The result of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The logs that are in the data directory now, by name.
    pub restored: Vec<Restored>,
    /// Logs that were not restored, and why.
    pub left_out: Vec<LeftOut>,
}

/// Restores logs. Blocks. Logs of which nothing is archived are not restored. A log that cannot be
/// restored is left out, and the others are restored.
///
/// # Errors
/// The store failed, the archive has no log with the wanted name or id, or the data directory is in
/// use or cannot be written. Logs that were restored before the failure stay, and another call
/// continues.
pub fn restore(store: &Store, options: &RestoreOptions, tell: Tell<'_>) -> Result<Outcome, Error> {
    let directory = &options.data_directory;
    let local = |why: String| Error::new(Kind::Invalid, directory.display().to_string(), why);
    offline::run(async {
        let (manifests, left_out) = selection::select(store, &options.logs, tell).await?;
        std::fs::create_dir_all(directory).map_err(|e| local(e.to_string()))?;
        let catalog = Catalog::open(Options::new(directory)).map_err(|e| local(e.to_string()))?;
        download::remove_leftovers(directory)?;
        catalog.wait_until_open();
        let total = manifests.iter().map(|manifest| manifest.size().0).sum();
        let restoring = Restoring {
            store,
            catalog: &catalog,
            until_us: options.until_us,
            requests: Semaphore::new(AT_ONCE),
            indexes: AtomicU64::new(0),
        };
        let mut logs = stream::iter(manifests)
            .map(|manifest| restoring.log(manifest))
            .buffer_unordered(LOGS_AT_ONCE);
        let mut outcome = Outcome { left_out, ..Outcome::default() };
        let mut clock = tokio::time::interval(SHOWN_EVERY);
        loop {
            tokio::select! {
                log = logs.next() => match log {
                    Some(Ok(log)) => outcome.restored.extend(log),
                    Some(Err(Failure::Log(left_out))) => outcome.left_out.push(left_out),
                    Some(Err(Failure::Store(e))) => return Err(e),
                    Some(Err(Failure::Local(why))) => return Err(local(why)),
                    None => break,
                },
                _ = clock.tick() => {
                    let done = restoring.indexes.load(Ordering::Relaxed);
                    tell(Progress { what: "fetching indexes", done, total });
                }
            }
        }
        outcome.restored.sort_by(|a: &Restored, b| a.log.as_str().cmp(b.log.as_str()));
        drop(logs);
        if options.adopts {
            let owner = owner_of(directory)?;
            let total = outcome.restored.len() as u64;
            for (done, restored) in (1..).zip(&outcome.restored) {
                let log = catalog.log(&restored.log).map_err(|e| local(e.to_string()))?;
                succeed(store, &log, restored.from, restored.end, &owner).await?;
                tell(Progress { what: "adopting logs", done, total });
            }
        }
        catalog.close(CLOSE_DEADLINE);
        Ok(outcome)
    })
}

/// Logs that are restored at the same time, so that reads of the store and syncs of files overlap.
const LOGS_AT_ONCE: usize = 32;

/// Indexes of one log that are fetched at the same time. All logs together have [`AT_ONCE`].
const INDEXES_AT_ONCE: usize = 16;

/// How often the progress is told.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// How long the restored logs may take to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(60);

enum Failure {
    Store(Error),
    Local(String),
    Log(LeftOut),
}

/// A restore that is in progress.
struct Restoring<'a> {
    store: &'a Store,
    catalog: &'a Catalog,
    until_us: Option<u64>,
    /// One permit for each index that is fetched. So the memory for them is bounded.
    requests: Semaphore,
    /// The number of indexes that were fetched.
    indexes: AtomicU64,
}

impl Restoring<'_> {
    /// Restores one log. `None` if nothing of it is as old as the time.
    async fn log(&self, manifest: Manifest) -> Result<Option<Restored>, Failure> {
        let (name, from) = (manifest.name.clone(), manifest.id);
        let left_out =
            |why: String| Failure::Log(LeftOut::Unusable { log: Some((name.clone(), from)), why });
        let of_store = |e: Error| match e.kind {
            // The others may be intact.
            Kind::Missing | Kind::Damaged => left_out(e.to_string()),
            _ => Failure::Store(e),
        };
        let Some(attached) = self.read(&manifest).await.map_err(of_store)? else { return Ok(None) };
        let end = attached.entries.last().map_or(attached.start, |entry| entry.end);
        let restored = |id, existed| Restored {
            log: name.clone(),
            id,
            from,
            start: attached.start,
            end,
            segments: attached.entries.len() as u64,
            bytes: attached.entries.iter().map(|entry| entry.bytes).sum(),
            existed,
            entries: attached.entries.clone(),
        };
        if let Ok(log) = self.catalog.log(&name) {
            let earlier = log.lineage().ancestors().last().copied();
            return match earlier {
                Some(earlier) if (earlier.id, earlier.fork) == (from, end) => {
                    Ok(Some(restored(log.id(), true)))
                }
                Some(earlier) if earlier.id == from => Err(left_out(format!(
                    "the data directory has it already, restored up to position {} instead of {end}: \
                     use another data directory",
                    earlier.fork
                ))),
                _ => Err(left_out(
                    "the data directory has another log with this name: use another data directory"
                        .to_owned(),
                )),
            };
        }
        match self.attach((&name, from), attached.clone()).await {
            Ok(id) => Ok(Some(restored(id, false))),
            Err(Failure::Store(e)) => Err(of_store(e)),
            Err(Failure::Local(why)) => Err(Failure::Local(format!("log {name}: {why}"))),
            Err(failure) => Err(failure),
        }
    }

    /// Reads what a log needs beside its indexes. `None` if nothing is as old as the time.
    async fn read(&self, manifest: &Manifest) -> Result<Option<Attached>, Error> {
        let start = manifest.start;
        let entries = offline::entries(self.store, manifest).await?.into_iter();
        let is_old = |entry: &Entry| self.until_us.is_none_or(|us| entry.last_timestamp_us <= us);
        let entries: Vec<Entry> =
            entries.filter(|entry| entry.end > start).take_while(is_old).collect();
        // A log whose records have all expired keeps its position. One that was younger than the
        // time is not restored.
        if entries.is_empty() && self.until_us.is_some() {
            return Ok(None);
        }
        let producers = match entries.last() {
            Some(newest) => optional(self.store, &keys::producers(newest)).await?,
            None => None,
        };
        let start = entries.first().map_or(start, |entry| start.max(entry.base));
        let end = entries.last().map_or(start, |entry| entry.end);
        Ok(Some(Attached {
            config: manifest.config,
            start,
            open_epoch: manifest.epoch,
            producers,
            lineage: manifest.lineage.restored(manifest.id, end),
            entries,
        }))
    }

    /// Creates the log. Its indexes go to the disk as they arrive.
    async fn attach(
        &self,
        (name, from): (&LogName, LogId),
        attached: Attached,
    ) -> Result<LogId, Failure> {
        let entries = attached.entries.clone();
        let (give, mut take) = mpsc::channel(1);
        let (catalog, log) = (self.catalog.clone(), name.clone());
        let attaching = tokio::task::spawn_blocking(move || {
            let mut is_complete = false;
            let indexes = std::iter::from_fn(move || match take.blocking_recv() {
                Some(Some(index)) => Some(Ok(index)),
                Some(None) => {
                    is_complete = true;
                    None
                }
                None if is_complete => None,
                // So that the log is not created without some of them.
                None => Some(Err(styx_engine::Error::BadArchive {
                    message: "not all indexes were fetched".to_owned(),
                })),
            });
            catalog.attach(&log, &attached, indexes).map(|log| log.id())
        });
        let sender = &give;
        let fetched: Result<(), Option<Error>> = stream::iter(entries.into_iter().map(Ok))
            .try_for_each_concurrent(INDEXES_AT_ONCE, |entry| async move {
                let _permit = self.requests.acquire().await;
                let index = optional(self.store, &keys::index(&entry)).await.map_err(Some)?;
                self.indexes.fetch_add(1, Ordering::Relaxed);
                match index {
                    // Nobody takes it if the log cannot be created.
                    Some(index) => sender.send(Some((entry.base, index))).await.map_err(|_| None),
                    None => Ok(()),
                }
            })
            .await;
        if fetched.is_ok() {
            // As above.
            let _ = give.send(None).await;
        }
        drop(give);
        let attached = attaching.await.map_err(|e| Failure::Local(e.to_string()))?;
        match (fetched, attached) {
            (Err(Some(error)), _) => Err(Failure::Store(error)),
            (_, Ok(id)) => Ok(id),
            // The objects are not those of a log, or something else has the name.
            (
                _,
                Err(
                    error @ (styx_engine::Error::BadArchive { .. }
                    | styx_engine::Error::LogExists { .. }
                    | styx_engine::Error::NameTaken { .. }),
                ),
            ) => {
                let log = Some((name.clone(), from));
                Err(Failure::Log(LeftOut::Unusable { log, why: error.to_string() }))
            }
            (_, Err(error)) => Err(Failure::Local(error.to_string())),
        }
    }
}

/// An object that may be missing.
async fn optional(store: &Store, key: &str) -> Result<Option<Vec<u8>>, Error> {
    match store.get(key, SINGLE_BYTES_MAX).await {
        Ok((bytes, _)) => Ok(Some(bytes.to_vec())),
        Err(e) if e.kind == Kind::Missing => Ok(None),
        Err(e) => Err(e),
    }
}
