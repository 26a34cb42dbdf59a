//! From manifests to logs of the catalog: attaches, extends and removes the log of a name.
//!
//! ```text
//! choose ─▶ none: detach │ another id: attach ─▶ indexes │ the same id: indexes ─▶ extend
//!                                  ▲                             └▶ other history ─┐
//!                                  └──────────────────── loudly ───────────────────┘
//! ```
//!
//! The caller holds the lock of the name. Invariant: the version of a manifest is stored only after
//! the manifest was applied.

use futures_util::{StreamExt, TryStreamExt, stream};
use styx_engine::archive::Entry;
use styx_engine::{Attached, Catalog, Extended, Log};
use styx_protocol::{LogId, LogName, Position};

use super::Inner;
use crate::back_off::BackOff;
use crate::manifest::{self, Manifest};
use crate::store::{Error, Kind, SINGLE_BYTES_MAX, Version};
use crate::{archiver, keys, offline};

/// A manifest that was just read.
#[derive(Debug, Clone)]
pub(super) struct Fresh {
    pub(super) manifest: Manifest,
    version: Version,
}

/// Indexes of one log that are read at the same time.
const INDEXES_AT_ONCE: usize = 8;

impl Inner {
    /// Reads the manifest of a log; `None` if it has this version.
    ///
    /// # Errors
    /// [`Kind::Missing`] if there is none; the store failed; the manifest is damaged.
    pub(super) async fn read(
        &self,
        id: LogId,
        known: Option<&Version>,
    ) -> Result<Option<Fresh>, Error> {
        let key = keys::manifest(id);
        let read = self.store.get_if_changed(&key, manifest::BYTES_MAX, known).await?;
        let Some((bytes, version)) = read else { return Ok(None) };
        let damaged = |why: String| Error::new(Kind::Damaged, key, why);
        match Manifest::decode(&bytes) {
            Err(e) => Err(damaged(e.to_string())),
            Ok(other) if other.id != id => {
                Err(damaged(format!("it is the manifest of the log {}", other.id)))
            }
            Ok(manifest) => Ok(Some(Fresh { manifest, version })),
        }
    }

    /// Brings the log with this name up to date. `candidates` are manifests of logs with the name
    /// that were just read. Returns whether a log was attached, extended or removed.
    ///
    /// # Errors
    /// The store failed, or the log cannot be changed.
    pub(super) async fn settle(
        self: &Inner,
        name: &LogName,
        mut candidates: Vec<Fresh>,
    ) -> Result<bool, Error> {
        loop {
            let served = self.logs.served(name);
            let Some(id) = self.logs.choose(name) else {
                // A damaged manifest is no reason to remove its log.
                return match served.is_some_and(|log| self.logs.is_unreadable(log.id())) {
                    true => Ok(false),
                    false => self.detach(name).await,
                };
            };
            let served = served.filter(|log| log.id() == id);
            let given = candidates.iter().position(|fresh| fresh.manifest.id == id);
            let fresh = match given.map(|at| candidates.swap_remove(at)) {
                Some(fresh) => fresh,
                None if served.is_some() && self.logs.applied(id).is_some() => return Ok(false),
                None => match self.read(id, None).await {
                    Ok(Some(fresh)) => {
                        self.logs.note(&fresh.manifest);
                        fresh
                    }
                    Err(error) if error.kind == Kind::Missing => {
                        self.logs.forget(id);
                        continue;
                    }
                    Ok(None) => return Ok(false),
                    Err(error) => return Err(error),
                },
            };
            if fresh.manifest.deleted_us.is_some() || fresh.manifest.name != *name {
                continue;
            }
            self.logs.set_applied(id, None);
            let has_changed = match served {
                Some(log) => self.advance(&log, &fresh.manifest).await?,
                None => self.attach(&fresh.manifest).await?,
            };
            self.logs.set_applied(id, Some(fresh.version));
            return Ok(has_changed);
        }
    }

    /// Removes the log with this name.
    async fn detach(&self, name: &LogName) -> Result<bool, Error> {
        let removed = name.clone();
        self.change(name, move |catalog| match catalog.detach_replica(&removed) {
            Err(styx_engine::Error::LogNotFound { .. }) => Ok(()),
            detached => detached,
        })
        .await?;
        self.logs.remove_served(name);
        self.list_soon.notify_one();
        tracing::info!(log = %name, "the log is no longer in the archive, so it was removed");
        Ok(true)
    }

    /// Creates the log, or replaces the one that has its name.
    async fn attach(&self, manifest: &Manifest) -> Result<bool, Error> {
        let entries = offline::entries(&self.store, manifest).await?.into_iter();
        let entries: Vec<Entry> = entries.filter(|entry| entry.end > manifest.start).collect();
        let start = entries.first().map_or(manifest.start, |first| manifest.start.max(first.base));
        let attached = Attached {
            config: manifest.config,
            entries,
            start,
            open_epoch: manifest.epoch,
            lineage: manifest.lineage.clone(),
            ..Attached::default()
        };
        let (name, id, owner) = (manifest.name.clone(), manifest.id, manifest.owner.name.clone());
        let log = self
            .change(&manifest.name, move |catalog| {
                catalog.attach_replica(&name, id, &owner, &attached)
            })
            .await?;
        self.logs.set_served(log.clone());
        self.begin_indexes(log);
        Ok(true)
    }

    /// Extends the served log.
    async fn advance(&self, log: &Log, manifest: &Manifest) -> Result<bool, Error> {
        let end = log.end_position();
        let entries = self.last_entries(manifest, end).await?;
        let new = entries.iter().filter(|e| e.base >= end && e.end > manifest.start).copied();
        self.read_indexes(log, new.collect()).await?;
        let (extended, start) = (log.clone(), manifest.start);
        let done = self.change(log.name(), move |_| extended.extend(&entries, start)).await?;
        log.set_owner(&manifest.owner.name);
        match done {
            Extended::Unchanged => Ok(false),
            Extended::Changed => Ok(true),
            Extended::Differs(position) => {
                tracing::error!(
                    log = %log.name(), id = %log.id(), %position,
                    "the archive has another history of the log than this replica: the log is attached again, and its readers get log_changed"
                );
                self.attach(manifest).await
            }
        }
    }

    /// The last entries of a log: at least one, and all after `end`.
    async fn last_entries(&self, manifest: &Manifest, end: Position) -> Result<Vec<Entry>, Error> {
        let last = manifest.pages.len().checked_sub(1).filter(|_| manifest.entries.is_empty());
        let pages = manifest.pages.iter().enumerate();
        let pages = pages.filter(|(at, page)| page.end > end || Some(*at) == last);
        let mut entries = Vec::new();
        for (_, page) in pages {
            entries.extend(archiver::read_page(&self.store, manifest.id, page).await?);
        }
        entries.extend(&manifest.entries);
        Ok(entries)
    }

    /// Reads the indexes of segments and stores them on the disk.
    async fn read_indexes(&self, log: &Log, entries: Vec<Entry>) -> Result<(), Error> {
        stream::iter(entries)
            .map(|entry| async move {
                // It is closed only with the runtime.
                let Ok(_permit) = self.indexes.acquire().await else { return Ok(()) };
                let bytes = match self.store.get(&keys::index(&entry), SINGLE_BYTES_MAX).await {
                    Ok((bytes, _)) => bytes,
                    // Reads of the segment are slower without it.
                    Err(e) if e.kind == Kind::Missing => return Ok(()),
                    Err(e) => return Err(e),
                };
                let indexed = log.clone();
                self.change(log.name(), move |_| indexed.put_index(entry.base, &bytes)).await
            })
            .buffer_unordered(INDEXES_AT_ONCE)
            .try_collect()
            .await
    }

    /// Begins to read the indexes that a log lacks. Until then, its old segments are searched from
    /// their beginning.
    pub(super) fn begin_indexes(&self, log: Log) {
        let Some(inner) = self.weak.upgrade() else { return };
        self.handle.spawn(async move {
            let mut back_off = BackOff::default();
            loop {
                let lacking = log.clone();
                let lacking = inner.change(log.name(), move |_| lacking.without_index()).await;
                let read = match lacking {
                    Ok(lacking) => inner.read_indexes(&log, lacking).await,
                    Err(error) => Err(error),
                };
                match read {
                    // A log that was removed needs none.
                    Err(error) if error.kind != Kind::Invalid => {
                        tracing::debug!(log = %log.name(), "reading indexes failed: {error}");
                        back_off.wait().await;
                    }
                    _ => return,
                }
            }
        });
    }

    /// Changes the catalog on a thread that may block.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        name: &LogName,
        change: impl FnOnce(&Catalog) -> Result<T, styx_engine::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let catalog = self.catalog()?;
        let failed = |why: String| Error::new(Kind::Invalid, format!("the log {name}"), why);
        let _permit = self.changes.acquire().await.map_err(|e| failed(e.to_string()))?;
        let changed = tokio::task::spawn_blocking(move || change(&catalog)).await;
        changed.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
    }
}
