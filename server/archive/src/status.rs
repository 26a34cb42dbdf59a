//! `styx archive status`: the archived logs, from their manifests.

use styx_protocol::{LogId, LogName, Position};

use crate::keys;
use crate::manifest::Manifest;
use crate::offline::{self, Tell};
use crate::store::{Error, Store};

/// An archived log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedLog {
    /// Its name.
    pub name: LogName,
    /// Its id.
    pub id: LogId,
    /// The position of the first record that a restore has.
    pub start: Position,
    /// The position after the last archived record.
    pub end: Position,
    /// The number of archived segments.
    pub segments: u64,
    /// The bytes of their files.
    pub bytes: u64,
    /// The timestamp of the newest archived record, in µs; 0 if it is not known.
    pub newest_us: u64,
    /// The open epoch at the last write.
    pub epoch: u32,
    /// The name of the server's machine.
    pub owner: String,
    /// If the log was deleted or truncated: when, by the clock of the store, in µs. Its objects stay
    /// for the time of grace.
    pub deleted_us: Option<u64>,
    /// Whether the collector has begun to remove a deleted log.
    pub is_being_removed: bool,
    /// The number of expired segments and pages that wait for the collector.
    pub garbage: u64,
}

/// The logs of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The logs, by name.
    pub logs: Vec<ArchivedLog>,
    /// Manifests that cannot be used, with the reason.
    pub problems: Vec<String>,
}

/// Reads all manifests. Blocks.
///
/// # Errors
/// The store failed.
pub fn status(store: &Store, tell: Tell<'_>) -> Result<Status, Error> {
    offline::run(async {
        let mut status = Status::default();
        for found in offline::manifests(store, tell).await? {
            match found.manifest {
                Ok(manifest) => status.logs.push(describe(store, &manifest).await?),
                Err(e) => status.problems.push(e.to_string()),
            }
        }
        status.logs.sort_by(|a, b| (a.name.as_str(), a.id.0).cmp(&(b.name.as_str(), b.id.0)));
        Ok(status)
    })
}

/// As [`archived`], and for a deletion that the collector has not dated the time of the manifest, which
/// nothing has written since.
pub(crate) async fn describe(store: &Store, manifest: &Manifest) -> Result<ArchivedLog, Error> {
    let mut log = archived(manifest);
    if log.deleted_us == Some(0) {
        log.deleted_us = Some(store.head(&keys::manifest(manifest.id)).await?.modified_us);
    }
    Ok(log)
}

/// Describes an archived log.
pub(crate) fn archived(manifest: &Manifest) -> ArchivedLog {
    let (segments, bytes) = manifest.size();
    ArchivedLog {
        name: manifest.name.clone(),
        id: manifest.id,
        start: manifest.start,
        end: manifest.end().unwrap_or(manifest.start),
        segments,
        bytes,
        newest_us: manifest.entries.last().map_or(0, |entry| entry.last_timestamp_us),
        epoch: manifest.epoch,
        owner: manifest.owner.name.clone(),
        deleted_us: manifest.deleted_us,
        is_being_removed: manifest.is_being_removed,
        garbage: manifest.garbage.len() as u64,
    }
}
