//! `styx archive status`: the archived logs, from the manifests alone.

use styx_protocol::{LogId, LogName, Position};

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
    /// Whether the log was deleted or truncated. Its objects stay for the time of grace.
    pub is_deleted: bool,
    /// The number of expired segments and pages that wait for the collector.
    pub garbage: u64,
}

/// What an archive contains.
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
                Ok(manifest) => status.logs.push(archived(&manifest)),
                Err(e) => status.problems.push(e.to_string()),
            }
        }
        status.logs.sort_by(|a, b| (a.name.as_str(), a.id.0).cmp(&(b.name.as_str(), b.id.0)));
        Ok(status)
    })
}

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
        is_deleted: manifest.deleted_us.is_some(),
        garbage: manifest.garbage.len() as u64,
    }
}
