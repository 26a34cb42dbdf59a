//! `styx archive verify`: whether every object that the manifests name exists.
//!
//! Lengths and stored checksums are compared by HEAD. With bodies, every segment is read and its
//! CRC-32C compared with the entry.

use std::ops::Range;

use futures_util::{StreamExt, stream};
use styx_engine::archive::Entry;

use crate::keys;
use crate::manifest::Manifest;
use crate::offline::{self, AT_ONCE, Progress, Tell};
use crate::store::{Error, Kind, PART_BYTES, Store};

/// What is read of each segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its length and the checksum that was stored with it.
    Descriptions,
    /// All of its bytes.
    Bodies,
}

/// What a verification has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The number of logs.
    pub logs: u64,
    /// The number of segments.
    pub segments: u64,
    /// The bytes of their files.
    pub bytes: u64,
    /// Missing and wrong objects: the key, and what is wrong.
    pub problems: Vec<String>,
}

/// Verifies all logs that were not deleted. Blocks.
///
/// # Errors
/// The store failed.
pub fn verify(store: &Store, depth: Depth, tell: Tell<'_>) -> Result<Verified, Error> {
    offline::run(async {
        let mut verified = Verified::default();
        for found in offline::manifests(store, tell).await? {
            match found.manifest {
                Ok(manifest) if manifest.deleted_us.is_some() => {}
                Ok(manifest) => verify_log(store, &manifest, depth, &mut verified, tell).await?,
                Err(e) => verified.problems.push(e.to_string()),
            }
        }
        Ok(verified)
    })
}

async fn verify_log(
    store: &Store,
    manifest: &Manifest,
    depth: Depth,
    verified: &mut Verified,
    tell: Tell<'_>,
) -> Result<(), Error> {
    verified.logs += 1;
    let entries = match offline::entries(store, manifest).await {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind, Kind::Missing | Kind::Damaged) => {
            verified.problems.push(format!("log {}: {e}", manifest.name));
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    let entries: Vec<Entry> =
        entries.into_iter().filter(|entry| entry.end > manifest.start).collect();
    let total = entries.len() as u64;
    let at_once = match depth {
        Depth::Descriptions => AT_ONCE,
        Depth::Bodies => 4,
    };
    let mut checks = stream::iter(entries)
        .map(|entry| async move { (entry, look_at(store, &entry, depth).await) })
        .buffered(at_once);
    let mut done = 0;
    while let Some((entry, checked)) = checks.next().await {
        done += 1;
        tell(Progress { what: "verifying segments", done, total });
        verified.segments += 1;
        verified.bytes = verified.bytes.saturating_add(entry.bytes);
        if let Some(problem) = checked? {
            let (name, key) = (&manifest.name, keys::segment(&entry));
            verified.problems.push(format!("log {name}: {key}: {problem}"));
        }
    }
    Ok(())
}

/// What is wrong with an object, if anything.
async fn look_at(store: &Store, entry: &Entry, depth: Depth) -> Result<Option<String>, Error> {
    let key = keys::segment(entry);
    let described = match store.head(&key).await {
        Ok(described) => described,
        Err(e) if e.kind == Kind::Missing => return Ok(Some("the object is missing".to_owned())),
        Err(e) => return Err(e),
    };
    if described.bytes != entry.bytes {
        let (found, expected) = (described.bytes, entry.bytes);
        return Ok(Some(format!("the object has {found} bytes instead of {expected}")));
    }
    if described.crc.is_some_and(|crc| crc != entry.file_crc) {
        return Ok(Some("the object was stored with another checksum".to_owned()));
    }
    match depth {
        Depth::Descriptions => Ok(None),
        Depth::Bodies => {
            let crc = body_crc(store, &key, entry.bytes).await?;
            Ok((crc != entry.file_crc).then(|| "the bytes are damaged".to_owned()))
        }
    }
}

/// The CRC-32C of an object, read in parts.
async fn body_crc(store: &Store, key: &str, bytes: u64) -> Result<u32, Error> {
    let mut crc = 0;
    let mut at = 0;
    while at < bytes {
        let range: Range<u64> = at..bytes.min(at + PART_BYTES);
        at = range.end;
        crc = crc32c::crc32c_append(crc, &store.get_range(key, range).await?);
    }
    Ok(crc)
}
