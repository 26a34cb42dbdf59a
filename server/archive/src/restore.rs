//! `styx restore`: logs from an archive, in a data directory that no server uses.
//!
//! ```text
//! manifests ─▶ entries, indexes, producers ─▶ Catalog::attach ─▶ a log whose history is remote
//! ```
//!
//! The history stays in the store: reads fetch it. A restored log has a new id, and its entries keep
//! the id of the log that it was restored from, whose objects it reads and never changes. So a trial
//! cannot hurt the original.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use styx_engine::archive::Entry;
use styx_engine::{Attached, Catalog, Options};
use styx_protocol::{LogId, LogName, Position};

use crate::keys;
use crate::manifest::Manifest;
use crate::offline::{self, FoundLog, Progress, Tell};
use crate::store::{Error, Kind, SINGLE_BYTES_MAX, Store};

/// What to restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The data directory. It is created if it does not exist. No server may use it.
    pub data_directory: PathBuf,
    /// The name of one log. `None` for all that were not deleted.
    pub log: Option<LogName>,
    /// A time in µs since the epoch: the log ends before the first segment with a newer record. So
    /// nothing newer is restored, and up to one segment of older records is left out.
    pub until_us: Option<u64>,
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
    /// The position after its last record.
    pub end: Position,
    /// The number of its segments in the store.
    pub segments: u64,
    /// The bytes of their files.
    pub bytes: u64,
    /// Its segments, for a download.
    pub(crate) entries: Vec<Entry>,
}

/// Restores logs. Blocks. Logs of which nothing is archived are left out.
///
/// # Errors
/// The store failed, an object is missing or damaged, a log with the same name exists, or the data
/// directory is in use. Logs that were restored before the failure stay.
pub fn restore(
    store: &Store,
    options: &RestoreOptions,
    tell: Tell<'_>,
) -> Result<Vec<Restored>, Error> {
    let directory = &options.data_directory;
    let local = |why: String| Error::new(Kind::Invalid, directory.display().to_string(), why);
    offline::run(async {
        let manifests = choose(store, options, tell).await?;
        std::fs::create_dir_all(directory).map_err(|e| local(e.to_string()))?;
        let catalog = Catalog::open(Options::new(directory)).map_err(|e| local(e.to_string()))?;
        catalog.wait_until_open();
        let total = manifests.len() as u64;
        let mut logs = stream::iter(manifests)
            .map(|manifest| restore_log(store, &catalog, manifest, options.until_us))
            .buffer_unordered(LOGS_AT_ONCE);
        let (mut restored, mut done) = (Vec::new(), 0);
        while let Some(log) = logs.next().await {
            restored.extend(log.map_err(|e| match e {
                Failure::Store(e) => e,
                Failure::Local(why) => local(why),
            })?);
            done += 1;
            tell(Progress { what: "restoring logs", done, total });
        }
        restored.sort_by(|a: &Restored, b| a.log.as_str().cmp(b.log.as_str()));
        catalog.close(CLOSE_DEADLINE);
        Ok(restored)
    })
}

/// Logs that are restored at the same time, so that reads of the store and syncs of files overlap.
const LOGS_AT_ONCE: usize = 32;

/// How long the restored logs may take to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(60);

enum Failure {
    Store(Error),
    Local(String),
}

/// Restores one log. `None` if nothing of it is as old as the time.
async fn restore_log(
    store: &Store,
    catalog: &Catalog,
    manifest: Manifest,
    until_us: Option<u64>,
) -> Result<Option<Restored>, Failure> {
    let log = read_log(store, manifest, until_us).await.map_err(Failure::Store)?;
    let Some((name, from, attached)) = log else { return Ok(None) };
    let catalog = catalog.clone();
    let attached = tokio::task::spawn_blocking(move || {
        let segments = attached.entries.len() as u64;
        let bytes = attached.entries.iter().map(|entry| entry.bytes).sum();
        let log = catalog.attach(&name, &attached)?;
        let (id, start, end) = (log.id(), log.start_position(), log.end_position());
        let entries = attached.entries;
        Ok(Restored { log: name, id, from, start, end, segments, bytes, entries })
    });
    let attached = attached.await.map_err(|e| Failure::Local(e.to_string()))?;
    attached.map(Some).map_err(|e: styx_engine::Error| Failure::Local(e.to_string()))
}

/// A log as the store has it: its name, its id, and what the engine needs.
type Log = (LogName, LogId, Attached);

/// The manifests of the logs to restore.
async fn choose(
    store: &Store,
    options: &RestoreOptions,
    tell: Tell<'_>,
) -> Result<Vec<Manifest>, Error> {
    let found = offline::manifests(store, tell).await?;
    let manifests = select(found, options.log.as_ref())?;
    if let (Some(name), true) = (&options.log, manifests.is_empty()) {
        let why = format!("the archive has no log {name}: run styx archive status");
        return Err(Error::new(Kind::Missing, store.location().to_string(), why));
    }
    newest_of_each_name(store, manifests)
}

/// Leaves out logs from which another one with the same name was restored: after a disaster, the
/// restored log continues the archive under a new id.
///
/// # Errors
/// Two logs with the same name have nothing to do with each other.
fn newest_of_each_name(store: &Store, manifests: Vec<Manifest>) -> Result<Vec<Manifest>, Error> {
    let ancestors: HashSet<(LogName, LogId)> = manifests
        .iter()
        .flat_map(|manifest| {
            manifest.lineage.iter().map(|ancestor| (manifest.name.clone(), ancestor.id))
        })
        .collect();
    let is_newest =
        |manifest: &Manifest| !ancestors.contains(&(manifest.name.clone(), manifest.id));
    let newest: Vec<Manifest> = manifests.into_iter().filter(is_newest).collect();
    let mut names = HashSet::new();
    match newest.iter().find(|manifest| !names.insert(manifest.name.as_str())) {
        None => Ok(newest),
        Some(manifest) => {
            let name = &manifest.name;
            let why = format!(
                "the archive has two logs with the name {name} and different histories: run styx \
                 archive status"
            );
            Err(Error::new(Kind::Invalid, store.location().to_string(), why))
        }
    }
}

/// Reads what a log needs on the disk. `None` if nothing is as old as the time.
async fn read_log(
    store: &Store,
    manifest: Manifest,
    until_us: Option<u64>,
) -> Result<Option<Log>, Error> {
    let start = manifest.start;
    let entries = offline::entries(store, &manifest).await?.into_iter();
    let entries: Vec<Entry> = entries
        .filter(|entry| entry.end > start)
        .take_while(|entry| until_us.is_none_or(|until| entry.last_timestamp_us <= until))
        .collect();
    // A log whose records have all expired keeps its position. One that was younger than the time is
    // left out.
    if entries.is_empty() && until_us.is_some() {
        return Ok(None);
    }
    let producers = async {
        match entries.last() {
            Some(newest) => optional(store, &keys::producers(newest)).await,
            None => Ok(None),
        }
    };
    let indexes = stream::iter(entries.clone())
        .map(|entry| async move {
            let index = optional(store, &keys::index(&entry)).await?;
            Ok::<_, Error>(index.map(|index| (entry.base, index)))
        })
        .buffered(8)
        .try_collect::<Vec<_>>();
    let (producers, indexes) = tokio::try_join!(producers, indexes)?;
    let attached = Attached {
        config: manifest.config,
        start: entries.first().map_or(start, |entry| start.max(entry.base)),
        open_epoch: manifest.epoch,
        producers,
        indexes: indexes.into_iter().flatten().collect(),
        entries,
    };
    Ok(Some((manifest.name, manifest.id, attached)))
}

/// An object that may be missing.
async fn optional(store: &Store, key: &str) -> Result<Option<Vec<u8>>, Error> {
    match store.get(key, SINGLE_BYTES_MAX).await {
        Ok((bytes, _)) => Ok(Some(bytes.to_vec())),
        Err(e) if e.kind == Kind::Missing => Ok(None),
        Err(e) => Err(e),
    }
}

/// The logs with this name that were not deleted, or all. Several may have the same name.
fn select(found: Vec<FoundLog>, name: Option<&LogName>) -> Result<Vec<Manifest>, Error> {
    let mut selected: Vec<Manifest> = Vec::new();
    for log in found {
        let manifest = match (log.manifest, name) {
            (Ok(manifest), _) => manifest,
            // A damaged manifest has no name. It matters if all logs are wanted.
            (Err(_), Some(_)) => continue,
            (Err(e), None) => return Err(e),
        };
        let is_wanted = name.is_none_or(|name| *name == manifest.name);
        if is_wanted && manifest.deleted_us.is_none() {
            selected.push(manifest);
        }
    }
    Ok(selected)
}
