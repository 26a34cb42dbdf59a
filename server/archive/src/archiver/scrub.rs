//! The scrub of the store: whether the objects of all archived segments are there, and uploads of
//! those that are not.
//!
//! ```text
//! entry of a log's list ─▶ HEAD ─▶ as long as the segment, same checksum ─▶ nothing to do
//!                             └▶ missing or different ─┬▶ file on the disk ─▶ upload again
//!                                                      └▶ no file: count and report it
//! ```
//!
//! Invariant: an object is written again only with the bytes that its entry describes, and only by
//! the process that has claimed the log.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use styx_engine::Log;
use styx_engine::archive::Entry;

use super::Inner;
use super::manifest_writer::{ManifestWriter, Stop};
use super::segment_upload;
use crate::keys;
use crate::store::{Error, Kind, Store};

/// Requests at the same time: few, because nobody waits for the result.
const AT_ONCE: usize = 4;

/// What a scrub of the store has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// The number of segments whose objects were looked at.
    pub segments: u64,
    /// Segments whose object was missing or different, and that were uploaded again.
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
        let mut looks = stream::iter(entries)
            .map(|entry| async move { (entry, is_intact(&inner.store, &entry).await) })
            .buffer_unordered(AT_ONCE);
        let mut broken = Vec::new();
        while let Some((entry, is_intact)) = looks.next().await {
            if !is_intact? {
                broken.push(entry);
            }
        }
        for entry in broken {
            match heal(inner, &log, &entry).await {
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

/// Uploads a segment again, from its file.
async fn heal(inner: &Inner, log: &Log, entry: &Entry) -> Result<(), String> {
    if entry.home != log.id() {
        return Err("it belongs to the log from which this one was restored".to_owned());
    }
    let segment = log.sealed_segment(entry.base);
    let segment = segment.ok_or("its object is missing or different, and its file was evicted")?;
    let epoch = log.open_epoch();
    if epoch == 0 {
        return Err("the log accepts no appends, and so nothing is uploaded for it".to_owned());
    }
    // Claims the log, or fails.
    let owner = inner.owner.clone();
    ManifestWriter::open(&inner.store, log, owner, inner.claim).await.map_err(
        |stop| match stop {
            Stop::Store(e) => e.to_string(),
            Stop::Fenced(by) => format!("another server ({by}) archives the log"),
            Stop::Halted(why) => why,
        },
    )?;
    let checked = segment.clone();
    let crc = tokio::task::spawn_blocking(move || checked.check());
    let crc = crc.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    if segment.entry(crc, entry.epoch, entry.home) != *entry {
        return Err("the file on the disk is not the archived segment".to_owned());
    }
    let uploaded = segment_upload::upload(&inner.store, segment, entry.epoch, entry.home).await;
    uploaded.map(drop).map_err(|failure| format!("{failure:?}"))
}
