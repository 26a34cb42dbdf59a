//! `styx archive copy`: logs of an archive in another one, byte for byte.
//!
//! ```text
//! manifest ─▶ pages, segments, indexes, producers ─▶ HEAD there: same length and CRC? ─▶ skip
//!                                                                              └─ no ──▶ GET, PUT, HEAD
//!          └▶ last: the manifest ─▶ HEAD of every segment
//! ```
//!
//! Objects of the logs from which a log was restored are copied too, under their own keys, so the copy
//! needs nothing of the original. A copy can be interrupted and run again. Invariant: no object of the
//! target that another history needs is replaced, and its manifest is replaced only by a later state
//! of the same history.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use styx_engine::archive::Entry;
use styx_protocol::{LogId, Position};
use tokio::sync::Semaphore;

use crate::archiver::register;
use crate::keys;
use crate::manifest::Manifest;
use crate::offline::{self, AT_ONCE, Progress, Tell};
use crate::register::{Current, Replaced};
use crate::store::{Error, Kind, SINGLE_BYTES_MAX, Store};
use crate::verify::{Depth, body_crc, segment_problem};
use crate::which::{Which, find};

/// The logs to copy, and how.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The logs. `None` for all that were not deleted.
    pub which: Option<Which>,
    /// Objects that are copied at the same time, from 1 to 64. Each one takes up to 64 MiB of memory.
    /// Recommended: 4.
    pub uploads: usize,
}

/// The result of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Logs whose manifest in the target is now that of the source.
    pub logs: u64,
    /// Objects that were copied, without manifests.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that the target had already.
    pub skipped: u64,
    /// Logs that were not copied, with the reason.
    pub problems: Vec<String>,
}

/// Logs that are copied at the same time, so that the requests of small ones overlap.
const LOGS_AT_ONCE: usize = 8;

/// The most objects at the same time.
const UPLOADS_MAX: usize = 64;

/// How often the progress is told.
const TELL_PERIOD: Duration = Duration::from_millis(200);

/// Copies logs. Blocks. Servers may use both archives meanwhile. The progress is in bytes.
///
/// # Errors
/// A store failed, or the source has no such log. Objects that were copied stay in the target, and
/// the next copy skips them.
pub fn copy(
    from: &Store,
    to: &Store,
    options: &CopyOptions,
    tell: Tell<'_>,
) -> Result<Copied, Error> {
    offline::run(async {
        let manifests = choose(from, options.which.as_ref(), tell).await?;
        let total = manifests.iter().map(|manifest| manifest.size().1).sum();
        let work = Arc::new(Work {
            from: from.clone(),
            to: to.clone(),
            uploads: Semaphore::new(options.uploads.clamp(1, UPLOADS_MAX)),
            done_bytes: Arc::default(),
            objects: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
        });
        let mut logs = stream::iter(manifests)
            .map(|manifest| work.log(manifest))
            .buffer_unordered(LOGS_AT_ONCE);
        let mut copied = Copied::default();
        let mut clock = tokio::time::interval(TELL_PERIOD);
        loop {
            tokio::select! {
                log = logs.next() => match log {
                    None => break,
                    Some(Ok(())) => copied.logs += 1,
                    Some(Err(Failure::Problem(why))) => copied.problems.push(why),
                    Some(Err(Failure::Store(error))) => return Err(error),
                },
                _ = clock.tick() => {
                    let done = work.done_bytes.load(Ordering::Relaxed).min(total);
                    tell(Progress { what: "copying", done, total });
                }
            }
        }
        copied.objects = work.objects.load(Ordering::Relaxed);
        copied.bytes = work.bytes.load(Ordering::Relaxed);
        copied.skipped = work.skipped.load(Ordering::Relaxed);
        Ok(copied)
    })
}

async fn choose(
    from: &Store,
    which: Option<&Which>,
    tell: Tell<'_>,
) -> Result<Vec<Manifest>, Error> {
    let Some(which) = which else {
        let mut manifests = Vec::new();
        for log in offline::manifests(from, tell).await? {
            manifests.push(log.manifest?);
        }
        manifests.retain(|manifest| manifest.deleted_us.is_none());
        return Ok(manifests);
    };
    let mut manifests = find(from, which, tell).await?;
    manifests.retain(|manifest| manifest.deleted_us.is_none());
    if manifests.is_empty() {
        let why = format!(
            "the archive has no {which}, or it is deleted: run styx archive status, and for a \
             deleted log styx archive undelete"
        );
        return Err(Error::new(Kind::Missing, from.location().to_string(), why));
    }
    Ok(manifests)
}

/// Why a log was not copied.
enum Failure {
    Store(Error),
    /// Something is wrong with this log. The others are copied.
    Problem(String),
}

/// The state that the copies of all logs share.
struct Work {
    from: Store,
    to: Store,
    uploads: Semaphore,
    /// Bytes of objects that are in the target, or on their way.
    done_bytes: Arc<AtomicU64>,
    objects: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
}

/// An object to copy: its key, its length and its CRC-32C.
struct Object {
    key: String,
    bytes: u64,
    crc: u32,
}

impl Work {
    async fn log(&self, manifest: Manifest) -> Result<(), Failure> {
        let name = manifest.name.clone();
        let failed = |error: Error| match error.kind {
            Kind::Missing | Kind::Damaged | Kind::Condition => {
                Failure::Problem(format!("log {name}: {error}"))
            }
            _ => Failure::Store(error),
        };
        self.try_log(manifest).await.map_err(failed)
    }

    async fn try_log(&self, manifest: Manifest) -> Result<(), Error> {
        let entries = offline::entries(&self.from, &manifest).await?;
        self.check_target(&manifest, &entries).await?;
        for page in &manifest.pages {
            let file = keys::File::Page { base: page.base, epoch: page.epoch };
            let key = file.key(manifest.id);
            let bytes = self.from.head(&key).await?.bytes;
            self.object(Object { key, bytes, crc: page.crc }).await?;
        }
        let entries: Vec<Entry> =
            entries.into_iter().filter(|entry| entry.end > manifest.start).collect();
        let mut copies =
            stream::iter(&entries).map(|entry| self.segment(entry)).buffer_unordered(UPLOADS_MAX);
        while let Some(copied) = copies.next().await {
            copied?;
        }
        drop(copies);
        self.manifest(&manifest).await?;
        // A collector of the target could have removed objects that no manifest named so far.
        let mut looks = stream::iter(&entries)
            .map(|entry| async move {
                (entry, segment_problem(&self.to, entry, Depth::Descriptions).await)
            })
            .buffer_unordered(AT_ONCE / LOGS_AT_ONCE);
        while let Some((entry, problem)) = looks.next().await {
            if let Some(problem) = problem? {
                let why = format!("{problem} in the target: run the copy again");
                return Err(Error::new(Kind::Missing, keys::segment(entry), why));
            }
        }
        Ok(())
    }

    /// Whether the target has nothing that the copy would destroy.
    async fn check_target(&self, manifest: &Manifest, entries: &[Entry]) -> Result<(), Error> {
        if let Some(existing) = offline::manifest(&self.to, manifest.id).await? {
            is_later(manifest, &existing)?;
        }
        let homes: HashSet<LogId> =
            entries.iter().map(|entry| entry.home).chain([manifest.id]).collect();
        for home in homes {
            let Some(existing) = offline::manifest(&self.to, home).await? else { continue };
            let known: HashMap<(Position, u32, LogId), Entry> =
                offline::entries(&self.to, &existing)
                    .await?
                    .into_iter()
                    .map(|entry| ((entry.base, entry.epoch, entry.home), entry))
                    .collect();
            for entry in entries.iter().filter(|entry| entry.home == home) {
                let same_key = known.get(&(entry.base, entry.epoch, home));
                if same_key.is_some_and(|other| other != entry) {
                    return Err(refused(&existing, "has other records in the target"));
                }
            }
        }
        Ok(())
    }

    async fn segment(&self, entry: &Entry) -> Result<(), Error> {
        let key = keys::segment(entry);
        self.object(Object { key, bytes: entry.bytes, crc: entry.file_crc }).await?;
        for key in [keys::index(entry), keys::producers(entry)] {
            // Not every segment has them.
            let described = match self.from.head(&key).await {
                Ok(described) => described,
                Err(e) if e.kind == Kind::Missing => continue,
                Err(e) => return Err(e),
            };
            let crc = match described.crc {
                Some(crc) => crc,
                None => body_crc(&self.from, &key, described.bytes).await?,
            };
            self.object(Object { key, bytes: described.bytes, crc }).await?;
        }
        Ok(())
    }

    /// Copies an object unless the target has it.
    async fn object(&self, object: Object) -> Result<(), Error> {
        let Ok(_permit) = self.uploads.acquire().await else { return Ok(()) };
        if self.target_has(&object).await? {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            self.done_bytes.fetch_add(object.bytes, Ordering::Relaxed);
            return Ok(());
        }
        let Object { key, bytes, crc } = &object;
        if *bytes > SINGLE_BYTES_MAX {
            self.to.put_in_parts(key, *bytes, *crc, self.reader(key.clone())).await?;
        } else {
            let (body, _) = self.from.get(key, SINGLE_BYTES_MAX).await?;
            if body.len() as u64 != *bytes || crc32c::crc32c(&body) != *crc {
                let why = "its bytes are not those that were archived: run styx archive verify";
                return Err(Error::new(Kind::Damaged, format!("get {key}"), why));
            }
            self.to.put(key, body).await?;
            self.done_bytes.fetch_add(*bytes, Ordering::Relaxed);
        }
        if !self.target_has(&object).await? {
            let why = "the target has other bytes than were sent";
            return Err(Error::new(Kind::Unavailable, format!("head {key}"), why));
        }
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(*bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Reads ranges of an object of the source on a thread that may block, and counts their bytes.
    fn reader(
        &self,
        key: String,
    ) -> impl Fn(Range<u64>) -> Result<bytes::Bytes, String> + Send + Sync + 'static {
        let (from, handle) = (self.from.clone(), tokio::runtime::Handle::current());
        let done = self.done_bytes.clone();
        move |range| {
            done.fetch_add(range.end - range.start, Ordering::Relaxed);
            handle.block_on(from.get_range(&key, range)).map_err(|e| e.to_string())
        }
    }

    /// Whether the target has an object with this length and checksum. A target that keeps no
    /// checksums, such as a directory, is read.
    async fn target_has(&self, object: &Object) -> Result<bool, Error> {
        let Object { key, bytes, crc } = object;
        let found = match self.to.head(key).await {
            Ok(found) if found.bytes == *bytes => found,
            Ok(_) => return Ok(false),
            Err(e) if e.kind == Kind::Missing => return Ok(false),
            Err(e) => return Err(e),
        };
        match found.crc {
            Some(found) => Ok(found == *crc),
            None => Ok(body_crc(&self.to, key, *bytes).await? == *crc),
        }
    }

    /// Writes the manifest to the target, with the bytes that it has in the source.
    async fn manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let (target, bytes) = (register(&self.to, manifest.id), manifest.encode());
        loop {
            let current: Option<Current> = target.read().await?;
            if let Some(current) = &current {
                if current.bytes == bytes {
                    return Ok(());
                }
                is_later(manifest, &crate::archiver::decode(&target, &current.bytes)?)?;
            }
            let expected = current.as_ref().map(|current| &current.version);
            if let Replaced::Written(_) = target.replace(expected, &bytes).await? {
                return Ok(());
            }
        }
    }
}

/// Whether a manifest may replace that of the target: it is the same one, later.
fn is_later(manifest: &Manifest, existing: &Manifest) -> Result<(), Error> {
    if existing.is_being_removed {
        return Err(refused(existing, "is being removed from the target by styx archive collect"));
    }
    let ahead = existing.epoch > manifest.epoch || existing.end() > manifest.end();
    match ahead || existing.start > manifest.start {
        true => {
            Err(refused(existing, "has continued in the target, so the copy would lose records"))
        }
        false => Ok(()),
    }
}

fn refused(existing: &Manifest, why: &str) -> Error {
    let what = format!("the log {} with the id {}", existing.name, existing.id);
    Error::new(Kind::Condition, what, format!("{why}: choose another target"))
}
