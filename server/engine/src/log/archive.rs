//! The archiver's part of a log: it takes sealed segments, records that they are archived, and
//! has them evicted.
//!
//! ```text
//! unarchived ─▶ (upload) ─▶ record_archived: list appended, synced ─▶ published: both ─▶ evict
//!                                                                     remote published ─▶ unlink
//! ```
//!
//! Invariant: a segment is published as archived only after its entry is durable in the list, and
//! evicted only after it is published as archived.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use styx_protocol::{LogStatus, Position};

use super::inner::LogInner;
use super::{Log, micros};
use crate::Error;
use crate::archive::list::{self, ArchiveList, Entries};
use crate::archive::{Entry, Evicted, Lineage, LocalLimits, SealedSegment};
use crate::manifest::{ARCHIVED_VERSION, Manifest};
use crate::recovery::read_manifest;
use crate::retention;
use crate::sabotage::{self, Mistake};
use crate::segment::{Now, Place, Segment, name};
use crate::storage::{if_there, replace_file};
use crate::sync::lock;
use crate::tail::View;
use crate::watermark::Mark;

impl Log {
    /// How often the log was opened for appends: +1 each time. It is a part of the keys of the
    /// log's objects. 0 for a log that accepts no appends. Never waits for the disk.
    #[must_use]
    pub fn open_epoch(&self) -> u32 {
        lock(&self.0.watermark).as_ref().map_or(0, |watermark| watermark.mark().open_epoch)
    }

    /// Raises the open epoch of the log to at least this number, durably, so that the next open has a
    /// higher one. Blocks. For a log that appends nothing until then.
    ///
    /// # Errors
    /// The log accepts no appends, and so has no epoch; the watermark cannot be written.
    pub fn raise_open_epoch(&self, at_least: u32) -> Result<(), Error> {
        self.0.raise_open_epoch(at_least)
    }

    /// The position up to which the whole log is archived, without a gap from its start; the start
    /// if nothing is. `None` if the catalog has no depot and no segment is archived. Never waits.
    #[must_use]
    pub fn archived_position(&self) -> Option<Position> {
        let view = self.0.tail.view();
        // Nothing that is archived ever becomes unarchived, so the walk continues where it ended.
        let known = Position(self.0.archived_until.load(Ordering::Relaxed));
        let walked = match view.segment_of(known) {
            Some((index, segment)) if segment.base == known => index,
            _ => 0,
        };
        let rest = view.segments.iter().skip(walked);
        let archived = rest.take_while(|segment| segment.place() != Place::Local);
        let end = archived.filter_map(|segment| segment.summary()).last().map(|sealed| sealed.end);
        if let Some(end) = end {
            self.0.archived_until.fetch_max(end.0, Ordering::Relaxed);
        }
        match end.or_else(|| (walked > 0).then_some(known)) {
            Some(end) => Some(end),
            None => self.0.services.store.is_configured.then(|| view.start()),
        }
    }

    /// The logs from which this log was restored.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.0.lineage
    }

    /// Whether the archive still needs a manifest of this log, because the log reads objects of the
    /// log that it was restored from, and nothing in the archive says so yet. Never waits.
    #[must_use]
    pub fn needs_archive_manifest(&self) -> bool {
        let oldest = || self.0.tail.view().segments.first().and_then(|segment| segment.entry());
        !self.0.has_archive_manifest.load(Ordering::Relaxed)
            && oldest().is_some_and(|entry| entry.home != self.0.id)
    }

    /// Records durably that the archive has a manifest of this log. Has no effect if that is
    /// recorded already. Blocks.
    ///
    /// # Errors
    /// The log was removed, or its directory was; I/O.
    pub fn record_archive_manifest(&self) -> Result<(), Error> {
        self.0.record_archive_manifest()
    }

    /// The entries of the archived segments that the log still has, ascending. Never waits.
    #[must_use]
    pub fn archived_entries(&self) -> Vec<Entry> {
        entries_of(&self.0.tail.view()).into_values().collect()
    }

    /// The sealed segments that are not archived, ascending. None of a log that is corrupt, because
    /// it has no open epoch. Never waits.
    #[must_use]
    pub fn unarchived(&self) -> Vec<SealedSegment> {
        if self.open_epoch() == 0 {
            return Vec::new();
        }
        let view = self.0.tail.view();
        let local = sealed(&view).filter(|segment| segment.place() == Place::Local);
        local.filter_map(|segment| self.0.sealed_segment(segment)).collect()
    }

    /// The sealed segment with this base, if its file is on the disk. Never waits.
    #[must_use]
    pub fn sealed_segment(&self, base: Position) -> Option<SealedSegment> {
        let view = self.0.tail.view();
        let segment = sealed_at(&view, base)?;
        self.0.sealed_segment(segment).filter(|_| segment.place() != Place::Remote)
    }

    /// The index of the sealed segment with this base and the producers at its end, as far as they are
    /// intact and on the disk. Also of a segment whose file was evicted. Blocks.
    #[must_use]
    pub fn beside_segment(&self, base: Position) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let view = self.0.tail.view();
        let segment = sealed_at(&view, base).and_then(|segment| self.0.sealed_segment(segment));
        match segment {
            Some(segment) => (segment.index().ok(), segment.producers().ok().flatten()),
            None => (None, None),
        }
    }

    /// Records that segments are archived: appends their entries to the log's list, syncs it, and
    /// then publishes them as archived. Entries of segments that the log no longer has are ignored.
    /// A second entry of a segment replaces the first. Blocks.
    ///
    /// The first call for a log raises the version in its `log.toml`, so that an older version of
    /// Styx refuses the log instead of missing the evicted files.
    ///
    /// # Errors
    /// An entry differs from its segment, and nothing was recorded; the log was removed, or its
    /// directory was; I/O. After an I/O error the entries may be recorded after the next start.
    pub fn record_archived(&self, entries: &[Entry]) -> Result<(), Error> {
        self.0.record_archived(entries)
    }

    /// Removes files of archived segments from the disk, the oldest first, until the log is within
    /// the limits or nothing more can be evicted. Readers are not disturbed. Blocks.
    ///
    /// The newest segment stays, and so does the newest sealed one, from which recovery continues. A
    /// corrupt log keeps all of its files.
    ///
    /// # Errors
    /// The log was removed, or its directory was; a file cannot be removed.
    pub fn evict(&self, limits: &LocalLimits) -> Result<Evicted, Error> {
        self.0.evict(limits)
    }

    /// Ends the newest segment if its first record is older than `age`, so that it can be archived.
    /// Returns whether it did. Blocks.
    ///
    /// # Errors
    /// The roll fails; see [`Log::append`].
    pub fn end_segment_older_than(&self, age: Duration) -> Result<bool, Error> {
        self.0.end_segment_older_than(age)
    }
}

/// The sealed segments of a view.
fn sealed(view: &View) -> impl Iterator<Item = &Arc<Segment>> {
    let newest = view.segments.len().saturating_sub(1);
    view.segments.iter().take(newest).filter(|segment| segment.summary().is_some())
}

/// The sealed segment with this base.
pub(super) fn sealed_at(view: &View, base: Position) -> Option<&Arc<Segment>> {
    let (index, segment) = view.segment_of(base)?;
    let is_newest = index + 1 == view.segments.len();
    (!is_newest && segment.base == base && segment.summary().is_some()).then_some(segment)
}

fn entries_of(view: &View) -> Entries {
    let entries = view.segments.iter().filter_map(|segment| segment.entry());
    entries.map(|entry| (entry.base, entry)).collect()
}

impl LogInner {
    fn sealed_segment(&self, segment: &Arc<Segment>) -> Option<SealedSegment> {
        SealedSegment::new(segment, &self.segment_directory)
    }

    fn record_archived(&self, entries: &[Entry]) -> Result<(), Error> {
        let mut list = lock(&self.archive);
        let view = self.tail.live_view()?;
        let mut known = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(segment) = sealed_at(&view, entry.base) else { continue };
            if !segment.summary().is_some_and(|sealed| entry.is_of(segment.base, sealed)) {
                let path = segment.path.clone();
                let cause =
                    io::Error::new(io::ErrorKind::InvalidInput, "the entry differs from it");
                return Err(Error::io("cannot record as archived", path)(cause));
            }
            known.push((segment, *entry));
        }
        self.check_not_displaced()?;
        if !sabotage::makes(Mistake::EvictBeforeManifest) {
            let path = list::path(&self.segment_directory.path);
            self.change_manifest(|_| ())?;
            let list = list.get_or_insert_with(|| {
                Box::new(ArchiveList::absent(&self.segment_directory.storage, path.clone()))
            });
            let new: Vec<Entry> = known.iter().map(|(_, entry)| *entry).collect();
            let all = || entries_of(&view);
            list.append(&new, all).map_err(Error::io("cannot write", path))?;
        }
        for (segment, entry) in known {
            segment.set_archived(entry, &self.services.store);
        }
        Ok(())
    }

    fn record_archive_manifest(&self) -> Result<(), Error> {
        let _list = lock(&self.archive);
        self.tail.live_view()?;
        self.check_not_displaced()?;
        self.change_manifest(|manifest| manifest.has_archive_manifest = true)?;
        self.has_archive_manifest.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn check_not_displaced(&self) -> Result<(), Error> {
        match self.is_displaced() {
            true => Err(Error::io("cannot write to", &self.directory)(io::Error::other(
                self.displaced(),
            ))),
            false => Ok(()),
        }
    }

    /// Changes `log.toml`, and makes sure that it has the version of a log with archived segments.
    /// Writes nothing if there is nothing to change. The lock of the list protects it from a
    /// truncate.
    fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), Error> {
        let storage = &*self.segment_directory.storage;
        let old = read_manifest(storage, &self.directory)?;
        let mut new = Manifest { version: old.version.max(ARCHIVED_VERSION), ..old.clone() };
        change(&mut new);
        if new == old {
            return Ok(());
        }
        let path: PathBuf = self.directory.join(name::MANIFEST);
        replace_file(storage, &path, new.encode().as_bytes())
            .map_err(Error::io("cannot write", path))
    }

    fn raise_open_epoch(&self, at_least: u32) -> Result<(), Error> {
        let mut watermark = lock(&self.watermark);
        let Some(watermark) = watermark.as_mut() else { return Err(self.not_available()) };
        let mark = watermark.mark();
        let raised = Mark { open_epoch: mark.open_epoch.max(at_least), ..mark };
        watermark.write(raised).map_err(Error::io("cannot write", &self.directory))
    }

    fn evict(&self, limits: &LocalLimits) -> Result<Evicted, Error> {
        // A deletion takes this lock, so the paths are those of this log.
        let _list = lock(&self.archive);
        let view = self.tail.live_view()?;
        let now = Now::read(&self.services.time, &self.services.stamps);
        let mut evicted = Evicted::default();
        let chosen = retention::evictable(&view, limits, &now);
        if chosen.is_empty() || lock(&self.health).0 == LogStatus::Corrupt {
            return Ok(evicted);
        }
        if self.is_displaced() {
            self.taint(&self.displaced());
            return Err(self.not_available());
        }
        for segment in chosen {
            if !segment.become_remote() {
                continue;
            }
            // A crash can bring the file back, which is harmless: the segment is then both.
            if let Err(error) = if_there(self.segment_directory.storage.remove_file(&segment.path))
            {
                segment.stay_local();
                return Err(Error::io("cannot remove", &segment.path)(error));
            }
            evicted.segments += 1;
            evicted.bytes += segment.summary().map_or(0, |sealed| sealed.bytes);
        }
        tracing::debug!(log = %self.name, segments = evicted.segments, bytes = evicted.bytes, "evicted archived segments");
        Ok(evicted)
    }

    fn end_segment_older_than(&self, age: Duration) -> Result<bool, Error> {
        let age_us = micros(age);
        let is_due = |records: u64| {
            records > 0 && lock(&self.health).0 == LogStatus::Ok && self.newest_age_us() > age_us
        };
        // Most logs are idle, so this looks without the lock of the end.
        if !is_due(self.tail.view().durable.record_bytes) {
            return Ok(false);
        }
        let mut end_guard = self.lock_end();
        match end_guard.as_mut() {
            Some(end) if end.sealed.is_none() && is_due(end.cursor.records) => {
                self.roll(end).map_err(|failure| self.record_failure(failure))?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Removes the entries of removed segments from the list, if they are most of it. A failure is
    /// harmless.
    pub(crate) fn compact_archive(&self) {
        let mut list = lock(&self.archive);
        // The list of a deleted log may be that of the next log with its name.
        let (Some(list), Ok(view)) = (list.as_mut(), self.tail.live_view()) else { return };
        if let Err(error) = list.compact(&entries_of(&view)) {
            tracing::warn!(log = %self.name, %error, "the list of archived segments could not be made shorter");
        }
    }

    /// Tells the archiver that there may be work.
    pub(crate) fn notice_archiver(&self) {
        self.services.store.depot.notice(&self.name, self.id);
    }
}
