//! `styx archive verify`: whether every object that the manifests name exists.
//!
//! Lengths and stored checksums are compared by HEAD. With bodies, every segment is read and its
//! CRC-32C compared with the entry, and every index and snapshot of producers is decoded.

use std::ops::Range;

use futures_util::{StreamExt, stream};
use styx_engine::archive::{Entry, is_index_of, is_producers_of};

use crate::keys;
use crate::manifest::Manifest;
use crate::offline::{self, AT_ONCE, Progress, Tell};
use crate::store::{Error, Kind, PART_BYTES, Store};

/// How much of each object is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Its length and the checksum that was stored with it.
    Descriptions,
    /// All of its bytes.
    Bodies,
}

/// The result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The number of logs.
    pub logs: u64,
    /// The number of segments.
    pub segments: u64,
    /// The bytes of their files.
    pub bytes: u64,
    /// Missing and wrong objects: the key, and the problem.
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
    let newest = entries.last().map(|entry| entry.base);
    let at_once = match depth {
        Depth::Descriptions => AT_ONCE / 2,
        Depth::Bodies => 4,
    };
    let mut checks = stream::iter(entries)
        .map(|entry| async move {
            let is_newest = newest == Some(entry.base);
            (entry, look_at(store, &entry, depth, is_newest).await)
        })
        .buffered(at_once);
    let mut done = 0;
    while let Some((entry, checked)) = checks.next().await {
        done += 1;
        tell(Progress { what: "verifying segments", done, total });
        verified.segments += 1;
        verified.bytes = verified.bytes.saturating_add(entry.bytes);
        for (key, problem) in checked? {
            verified.problems.push(format!("log {}: {key}: {problem}", manifest.name));
        }
    }
    Ok(())
}

/// A key, and the problem with its object.
type Problem = (String, String);

/// The problems with the objects of a segment.
async fn look_at(
    store: &Store,
    entry: &Entry,
    depth: Depth,
    is_newest: bool,
) -> Result<Vec<Problem>, Error> {
    let segment = async {
        let problem = segment_problem(store, entry, depth).await?;
        Ok(problem.map(|problem| (keys::segment(entry), problem)))
    };
    let index = async {
        let (key, check) = (keys::index(entry), |bytes: &[u8]| is_index_of(bytes, entry));
        let problem = beside_problem(store, &key, depth, check).await?;
        Ok(problem.map(|problem| (key, format!("{problem}; reads of this segment are slower"))))
    };
    let producers = async {
        let (key, check) = (keys::producers(entry), |bytes: &[u8]| is_producers_of(bytes, entry));
        let problem = beside_problem(store, &key, depth, check).await?;
        // The server keeps only the newest snapshots, so older segments need not have one.
        let problem = problem.filter(|problem| is_newest || *problem != MISSING);
        let lost = "a restored log does not know its idempotent producers";
        Ok(problem.map(|problem| (key, format!("{problem}; {lost}"))))
    };
    let (segment, index, producers) = tokio::try_join!(segment, index, producers)?;
    Ok([segment, index, producers].into_iter().flatten().collect())
}

const MISSING: &str = "the object is missing";
const DAMAGED: &str = "the bytes are damaged";
const OTHER_CHECKSUM: &str = "the object was stored with another checksum";

/// The problem with the segment file of an entry, if there is one.
pub(crate) async fn segment_problem(
    store: &Store,
    entry: &Entry,
    depth: Depth,
) -> Result<Option<String>, Error> {
    let key = keys::segment(entry);
    let described = match store.head(&key).await {
        Ok(described) => described,
        Err(e) if e.kind == Kind::Missing => return Ok(Some(MISSING.to_owned())),
        Err(e) => return Err(e),
    };
    if described.bytes != entry.bytes {
        let (found, expected) = (described.bytes, entry.bytes);
        return Ok(Some(format!("the object has {found} bytes instead of {expected}")));
    }
    if described.crc.is_some_and(|crc| crc != entry.file_crc) {
        return Ok(Some(OTHER_CHECKSUM.to_owned()));
    }
    match depth {
        Depth::Descriptions => Ok(None),
        Depth::Bodies => {
            let crc = body_crc(store, &key, entry.bytes).await?;
            Ok((crc != entry.file_crc).then(|| DAMAGED.to_owned()))
        }
    }
}

/// The problem with an index or a snapshot of producers. The manifest has neither its length nor
/// its checksum, so only its bytes show more than that it exists.
async fn beside_problem(
    store: &Store,
    key: &str,
    depth: Depth,
    is_intact: impl Fn(&[u8]) -> bool,
) -> Result<Option<&'static str>, Error> {
    let described = match store.head(key).await {
        Ok(described) => described,
        Err(e) if e.kind == Kind::Missing => return Ok(Some(MISSING)),
        Err(e) => return Err(e),
    };
    match depth {
        Depth::Descriptions if described.bytes == 0 => Ok(Some("the object is empty")),
        Depth::Descriptions => Ok(None),
        Depth::Bodies if described.bytes > BESIDE_BYTES_MAX => Ok(Some("the object is too large")),
        Depth::Bodies => {
            let (bytes, _) = store.get(key, BESIDE_BYTES_MAX).await?;
            if described.crc.is_some_and(|crc| crc != crc32c::crc32c(&bytes)) {
                return Ok(Some(OTHER_CHECKSUM));
            }
            Ok((!is_intact(&bytes)).then_some(DAMAGED))
        }
    }
}

/// The most bytes of an index or a snapshot of producers that are read: 64 MiB.
const BESIDE_BYTES_MAX: u64 = 64 << 20;

/// The CRC-32C of an object, read in parts.
pub(crate) async fn body_crc(store: &Store, key: &str, bytes: u64) -> Result<u32, Error> {
    let mut crc = 0;
    let mut at = 0;
    while at < bytes {
        let range: Range<u64> = at..bytes.min(at + PART_BYTES);
        at = range.end;
        crc = crc32c::crc32c_append(crc, &store.get_range(key, range).await?);
    }
    Ok(crc)
}
