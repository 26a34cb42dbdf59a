//! The scrub of the store: whether the objects of all archived segments are there, and uploads of
//! those that are not.
//!
//! ```text
//! entry of a log's list ─▶ HEAD ─▶ as long as the segment, same checksum ─▶ nothing to do
//!                             └▶ missing or different ─┬▶ file on the disk ─▶ upload again
//!                                                      └▶ no file: count and report it
//! its index, its producers ─▶ HEAD ─▶ missing, but on the disk ─▶ upload again
//! ```
//!
//! Indexes stay on the disk, so a missing one can always be replaced.
//!
//! Invariant: an object is written again only with the bytes that its entry describes, and only by
//! the process that has claimed the log.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use styx_engine::Log;
use styx_engine::archive::{Entry, is_index_of, is_producers_of};

use super::Inner;
use super::manifest_writer::{ManifestWriter, Stop};
use super::segment_upload;
use crate::keys;
use crate::store::{Error, Kind, Store};

/// Requests at the same time: few, because nobody waits for the result.
const AT_ONCE: usize = 4;

/// The result of a scrub of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// The number of segments whose objects were looked at.
    pub segments: u64,
    /// Segments with an object that was missing or different, and that were uploaded again.
    pub healed: u64,
    /// Objects that are missing or different, and cannot be uploaded again: the log, the key, and
    /// the reason.
    pub problems: Vec<String>,
}

/// Looks at the objects of all logs.
pub(super) async fn run(inner: &Arc<Inner>) -> Result<Scrubbed, Error> {
    let mut scrubbed = Scrubbed::default();
    let logs = inner.catalog().map(|catalog| catalog.logs()).unwrap_or_default();
    for log in logs {
        let entries = log.archived_entries();
        scrubbed.segments += entries.len() as u64;
        let newest = entries.last().map(|entry| entry.base);
        let mut looks = stream::iter(entries)
            .map(|entry| {
                let (log, is_newest) = (log.clone(), newest == Some(entry.base));
                async move { (entry, look(&inner.store, &log, &entry, is_newest).await) }
            })
            .buffer_unordered(AT_ONCE);
        let mut broken = Vec::new();
        while let Some((entry, look)) = looks.next().await {
            match look? {
                Look::Intact => {}
                look => broken.push((entry, look)),
            }
        }
        for (entry, look) in broken {
            let healed = match look {
                Look::Beside(contents) => heal_beside(inner, &log, contents).await,
                _ => heal(inner, &log, &entry).await,
            };
            match healed {
                Ok(()) => scrubbed.healed += 1,
                Err(why) => {
                    let (name, key) = (log.name(), keys::segment(&entry));
                    tracing::error!(log = %name, "the archived segment {key} is lost: {why}");
                    scrubbed.problems.push(format!("log {name}: {key}: {why}"));
                }
            }
        }
    }
    inner.totals.healed(scrubbed.healed);
    inner.totals.set_lost(scrubbed.problems.len() as u64);
    Ok(scrubbed)
}

/// The state of the objects of a segment.
enum Look {
    Intact,
    /// The object of the segment is missing or different.
    Broken,
    /// The segment is intact, but these objects beside it are missing: their keys and bytes.
    Beside(Vec<(String, Vec<u8>)>),
}

/// Looks at the objects of a segment. The log keeps the snapshots of producers of the newest segments
/// only, and a restore needs that of the newest one.
async fn look(store: &Store, log: &Log, entry: &Entry, is_newest: bool) -> Result<Look, Error> {
    if !is_intact(store, entry).await? {
        return Ok(Look::Broken);
    }
    // The objects of another log are not uploaded from here.
    if entry.home != log.id() || exists(store, &keys::index(entry)).await? && !is_newest {
        return Ok(Look::Intact);
    }
    let (log, base) = (log.clone(), entry.base);
    let local = tokio::task::spawn_blocking(move || log.beside_segment(base)).await;
    let (index, producers) = local.unwrap_or_default();
    let index = index.filter(|index| is_index_of(index, entry));
    let producers = producers.filter(|producers| is_producers_of(producers, entry));
    let mut missing = Vec::new();
    for (key, content) in [(keys::index(entry), index), (keys::producers(entry), producers)] {
        if let Some(content) = content
            && !exists(store, &key).await?
        {
            missing.push((key, content));
        }
    }
    match missing.is_empty() {
        true => Ok(Look::Intact),
        false => Ok(Look::Beside(missing)),
    }
}

async fn exists(store: &Store, key: &str) -> Result<bool, Error> {
    match store.head(key).await {
        Ok(found) => Ok(found.bytes > 0),
        Err(e) if e.kind == Kind::Missing => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether the store has the object that an entry describes, as far as it says.
async fn is_intact(store: &Store, entry: &Entry) -> Result<bool, Error> {
    match store.head(&keys::segment(entry)).await {
        Ok(found) => {
            let same_crc = found.crc.is_none_or(|crc| crc == entry.file_crc);
            Ok(found.bytes == entry.bytes && same_crc)
        }
        Err(e) if e.kind == Kind::Missing => Ok(false),
        Err(e) => Err(e),
    }
}

/// Uploads objects beside a segment again.
async fn heal_beside(
    inner: &Inner,
    log: &Log,
    contents: Vec<(String, Vec<u8>)>,
) -> Result<(), String> {
    claim(inner, log).await?;
    for (key, content) in contents {
        let uploaded = segment_upload::upload_beside(&inner.store, &key, content).await;
        uploaded.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Makes sure that this process may write objects of the log.
async fn claim(inner: &Inner, log: &Log) -> Result<(), String> {
    if log.open_epoch() == 0 {
        return Err("the log accepts no appends, and so nothing is uploaded for it".to_owned());
    }
    let owner = inner.owner.clone();
    let writer = ManifestWriter::open(&inner.store, log, owner, inner.claim).await;
    writer.map(drop).map_err(|stop| match stop {
        Stop::Store(e) => e.to_string(),
        Stop::Fenced(by) => format!("another server ({by}) archives the log"),
        Stop::Halted(why) => why,
    })
}

/// Uploads a segment again, from its file.
async fn heal(inner: &Inner, log: &Log, entry: &Entry) -> Result<(), String> {
    if entry.home != log.id() {
        return Err("it belongs to the log from which this one was restored".to_owned());
    }
    let segment = log.sealed_segment(entry.base);
    let segment = segment.ok_or("its object is missing or different, and its file was evicted")?;
    claim(inner, log).await?;
    let checked = inner.checks.check(&segment).await;
    let crc = checked.map(|(crc, _turn)| crc).map_err(|failure| failure.to_string())?;
    if segment.entry(crc, entry.epoch, entry.home) != *entry {
        return Err("the file on the disk is not the archived segment".to_owned());
    }
    let (epoch, home) = (entry.epoch, entry.home);
    let uploaded = segment_upload::upload(inner, segment, epoch, home).await;
    uploaded.map(drop).map_err(|failure| failure.to_string())
}
