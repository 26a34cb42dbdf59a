//! The work for one log: uploads sealed segments, in order, and keeps the manifest up to date.
//!
//! ```text
//! entries that the manifest has and the list lacks ─▶ record_archived           (after a crash)
//! restored log, the first start ─▶ manifest, so that the collector knows whose objects it reads
//! sealed segments ─▶ upload (several at once) ─▶ manifest += entries ─▶ record_archived ─▶ evict
//! start moved ─▶ manifest: new start, expired entries become garbage
//! removed ─▶ manifest: deleted
//! ```
//!
//! A crash after each step is harmless: an object that no manifest names is uploaded again or
//! collected, and an entry that only the manifest has is taken from there. Invariant: the log's list
//! gets an entry only after the manifest has it.

use std::collections::VecDeque;
use std::sync::Arc;

use styx_engine::Log;
use styx_engine::archive::{Entry, LocalLimits, SealedSegment};
use styx_protocol::Position;
use tokio::task::JoinHandle;

use super::Inner;
use super::manifest_writer::{ManifestWriter, Stop, mark_deleted};
use super::segment_upload::{self, Failure, blocking};
use super::state::{Lag, LogKey, LogStatus, Pending};
use crate::back_off::BackOff;
use crate::probe::probe;
use crate::store::Kind;

/// Works until the log has no news.
pub(super) async fn run(inner: Arc<Inner>, key: LogKey) {
    let mut back_off = BackOff::default();
    let mut writer = None;
    while let Some(mut pending) = inner.logs.take(&key) {
        loop {
            let stop = match work(&inner, &key, pending, &mut writer).await {
                Ok(()) => break,
                Err(_) if inner.checks.have_ended() => return,
                Err(stop) => stop,
            };
            // The manifest that was read may be an old one now.
            writer = None;
            let name = &key.name;
            match stop {
                Stop::Store(error) if error.kind != Kind::Invalid => {
                    tracing::warn!(log = %name, "archiving waits for the store: {error}");
                    inner.totals.failed(&error.to_string());
                    inner.logs.set_status(name, LogStatus::Waiting(error.to_string()));
                    back_off.wait().await;
                    inner.logs.take_more(&key, &mut pending);
                }
                Stop::Store(error) => {
                    tracing::error!(log = %name, "archiving has stopped: {error}");
                    inner.totals.failed(&error.to_string());
                    inner.logs.set_status(name, LogStatus::Halted(error.to_string()));
                    break;
                }
                Stop::Fenced(by) => {
                    tracing::error!(
                        log = %name,
                        "archiving has stopped: another server ({by}) archives this log to {}. \
                         Stop one of them, or give one another archive.url",
                        inner.store.location()
                    );
                    inner.logs.set_status(name, LogStatus::Fenced { by });
                    break;
                }
                Stop::Halted(why) => {
                    tracing::error!(log = %name, "archiving has stopped: {why}");
                    inner.logs.set_status(name, LogStatus::Halted(why));
                    break;
                }
            }
        }
    }
    // News may have arrived after the last look.
    inner.logs.wake.notify_one();
}

async fn work(
    inner: &Arc<Inner>,
    key: &LogKey,
    pending: Pending,
    writer: &mut Option<ManifestWriter>,
) -> Result<(), Stop> {
    if pending.removed {
        inner.logs.forget(key);
        mark_removed(inner, key).await?;
    }
    let Some(log) = find(inner, key).await else { return Ok(()) };
    // A log that accepts no appends has no epoch, and so no keys.
    if log.open_epoch() == 0 {
        return Ok(());
    }
    let unarchived = log.unarchived();
    show_lag(inner, &log, &unarchived);
    let start = log.start_position();
    let is_trimmed = inner.logs.start(key).is_some_and(|known| known < start);
    let needs_manifest = log.needs_archive_manifest();
    // An idle log costs no request.
    if unarchived.is_empty() && !is_trimmed && !needs_manifest {
        return Ok(());
    }
    inner.probed.get_or_try_init(|| probe(&inner.store)).await.map_err(Stop::Store)?;
    if writer.is_none() {
        let _permit = inner.manifests.acquire().await;
        *writer =
            Some(ManifestWriter::open(&inner.store, &log, inner.owner.clone(), inner.claim).await?);
    }
    let Some(writer) = writer else { return Ok(()) };
    if needs_manifest {
        let log = log.clone();
        change(inner, move || log.record_archive_manifest()).await?;
    }
    let unarchived =
        record_known(inner, &log, writer.manifest().entries.clone(), unarchived).await?;
    expire(writer, start, !unarchived.is_empty()).await?;
    upload_all(inner, &log, writer, unarchived).await?;
    inner.logs.set_start(key, writer.manifest().start);
    inner.logs.set_status(&key.name, LogStatus::Archiving);
    Ok(())
}

/// Marks the manifest of a log that was removed, unless another server archives the log.
async fn mark_removed(inner: &Inner, key: &LogKey) -> Result<(), Stop> {
    // Without a removal, the log accepted no appends, and so had no epoch.
    let Some(removal) = inner.removals.get(key) else { return Ok(()) };
    match mark_deleted(&inner.store, key.id, &inner.owner, removal).await {
        Ok(()) => {}
        Err(Stop::Fenced(by)) => tracing::warn!(
            log = %key.name,
            "the log was removed here, but not from the archive, because another server ({by}) \
             archives it"
        ),
        Err(stop) => return Err(stop),
    }
    inner.removals.end(key, removal);
    Ok(())
}

/// The log, unless another one has its name by now.
pub(super) async fn find(inner: &Arc<Inner>, key: &LogKey) -> Option<Log> {
    let _permit = inner.changes.acquire().await;
    let (inner, key) = (inner.clone(), key.clone());
    let found = tokio::task::spawn_blocking(move || {
        let log = inner.catalog()?.log(&key.name).ok()?;
        (log.id() == key.id).then_some(log)
    });
    found.await.ok().flatten()
}

/// Takes entries that the manifest has from there: a crash came before they were in the list.
/// Returns the segments that remain to be uploaded.
async fn record_known(
    inner: &Inner,
    log: &Log,
    entries: Vec<Entry>,
    unarchived: Vec<SealedSegment>,
) -> Result<Vec<SealedSegment>, Stop> {
    let (mut known, mut rest) = (Vec::new(), Vec::new());
    for segment in unarchived {
        match entries.iter().find(|entry| entry.base == segment.base()) {
            Some(entry) => {
                let same = segment.entry(entry.file_crc, entry.epoch, entry.home);
                if same != *entry {
                    return Err(Stop::Halted(format!(
                        "the archive has another segment at position {}: the history of this log \
                         differs from the archived one",
                        segment.base().0
                    )));
                }
                known.push(*entry);
            }
            None => rest.push(segment),
        }
    }
    if !known.is_empty() {
        inner.totals.healed(known.len() as u64);
        record(inner, log, known).await?;
    }
    Ok(rest)
}

/// Raises the start of the manifest. If segments follow, the next write does it.
async fn expire(
    writer: &mut ManifestWriter,
    start: Position,
    segments_follow: bool,
) -> Result<(), Stop> {
    loop {
        let page = writer.manifest().pages.first().copied().filter(|page| page.end <= start);
        let Some(page) = page else { break };
        let entries = writer.read_page(&page).await?;
        let mut is_done = false;
        writer
            .change(|manifest| {
                is_done = manifest.expire_page(page, &entries);
                Ok(())
            })
            .await?;
        if !is_done {
            break;
        }
    }
    if segments_follow || writer.manifest().start >= start {
        return Ok(());
    }
    writer
        .change(|manifest| {
            manifest.raise_start(start);
            Ok(())
        })
        .await
}

/// An upload that was begun.
type Upload = JoinHandle<Result<Entry, Failure>>;

/// Uploads segments in order, several at once, and archives each as soon as those before it are.
async fn upload_all(
    inner: &Arc<Inner>,
    log: &Log,
    writer: &mut ManifestWriter,
    segments: Vec<SealedSegment>,
) -> Result<(), Stop> {
    let mut waiting = VecDeque::from(segments);
    let mut uploads: VecDeque<Upload> = VecDeque::new();
    let result = async {
        loop {
            begin_more(inner, log, &mut waiting, &mut uploads);
            let Some(first) = uploads.pop_front() else { return Ok(()) };
            let mut entries = vec![finished(first).await?];
            // The manifest is written once for all that are finished by now.
            while uploads.front().is_some_and(JoinHandle::is_finished)
                && let Some(next) = uploads.pop_front()
            {
                entries.push(finished(next).await?);
            }
            // The next uploads go on while the manifest is written.
            begin_more(inner, log, &mut waiting, &mut uploads);
            archive(inner, log, writer, entries).await?;
            show_lag(inner, log, &log.unarchived());
        }
    }
    .await;
    for upload in uploads {
        upload.abort();
    }
    result
}

/// Begins as many uploads as run at a time, and one more, which is checked meanwhile.
fn begin_more(
    inner: &Arc<Inner>,
    log: &Log,
    waiting: &mut VecDeque<SealedSegment>,
    uploads: &mut VecDeque<Upload>,
) {
    let handle = &inner.handle;
    while uploads.len() <= inner.settings.uploads_at_once()
        && let Some(segment) = waiting.pop_front()
    {
        let (inner, epoch, home) = (inner.clone(), log.open_epoch(), log.id());
        let upload = async move { segment_upload::upload(&inner, segment, epoch, home).await };
        uploads.push_back(handle.spawn(upload));
    }
}

async fn finished(upload: Upload) -> Result<Entry, Stop> {
    match upload.await {
        Ok(Ok(entry)) => Ok(entry),
        Ok(Err(Failure::Store(error))) => Err(Stop::Store(error)),
        Ok(Err(Failure::Local(why))) => Err(Stop::Store(local(why))),
        Ok(Err(Failure::Damaged(why))) => Err(Stop::Halted(format!(
            "a segment is damaged and is never archived: {why}. Run styx repair"
        ))),
        Err(e) => Err(Stop::Store(local(e.to_string()))),
    }
}

/// Writes entries to the manifest, then to the log's list, and evicts.
async fn archive(
    inner: &Inner,
    log: &Log,
    writer: &mut ManifestWriter,
    entries: Vec<Entry>,
) -> Result<(), Stop> {
    let (config, start) = (log.config(), log.start_position());
    writer
        .change(|manifest| {
            manifest.config = config;
            manifest.raise_start(start);
            for entry in &entries {
                if manifest.entries.contains(entry) {
                    continue;
                }
                if manifest.is_next(entry) {
                    manifest.add(*entry);
                } else if entry.end > start {
                    return Err(Stop::Halted(format!(
                        "the archive does not end at position {}: the history of this log differs \
                         from the archived one",
                        entry.base.0
                    )));
                }
            }
            Ok(())
        })
        .await?;
    let segments = entries.len() as u64;
    record(inner, log, entries).await?;
    inner.totals.archived(segments);
    evict(inner, log).await;
    Ok(())
}

/// Records entries in the log's list.
async fn record(inner: &Inner, log: &Log, entries: Vec<Entry>) -> Result<(), Stop> {
    let log = log.clone();
    change(inner, move || log.record_archived(&entries)).await
}

/// Runs a call of a log that blocks.
async fn change(
    inner: &Inner,
    call: impl FnOnce() -> Result<(), styx_engine::Error> + Send + 'static,
) -> Result<(), Stop> {
    let _permit = inner.changes.acquire().await;
    match blocking(move || call().map_err(|e| Failure::Local(e.to_string()))).await {
        Ok(()) => Ok(()),
        Err(Failure::Store(error)) => Err(Stop::Store(error)),
        Err(Failure::Local(why) | Failure::Damaged(why)) => Err(Stop::Store(local(why))),
    }
}

/// A failure of the local disk. It is tried again, as one of the store.
fn local(why: String) -> crate::store::Error {
    crate::store::Error::new(Kind::Unavailable, "the log's directory", why)
}

async fn evict(inner: &Inner, log: &Log) {
    let limits = inner.local_limits();
    if limits == LocalLimits::default() {
        return;
    }
    let _permit = inner.changes.acquire().await;
    let (log, name) = (log.clone(), log.name().clone());
    let evicted = blocking(move || log.evict(&limits).map_err(|e| Failure::Local(e.to_string())));
    if let Err(failure) = evicted.await {
        tracing::warn!(log = %name, "cannot evict archived segments: {failure:?}");
    }
}

fn show_lag(inner: &Inner, log: &Log, unarchived: &[SealedSegment]) {
    let bytes = unarchived.iter().map(SealedSegment::bytes).sum();
    let oldest = unarchived.first();
    let oldest_us = oldest.map_or(0, |segment| segment.entry(0, 0, log.id()).first_timestamp_us);
    inner.logs.set_lag(log.name(), Lag { bytes, oldest_us });
}
