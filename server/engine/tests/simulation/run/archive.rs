//! The archiver of a run: uploads segments, records them, evicts them, and collects what the log no
//! longer has. The store keeps what was put into it, whatever happens to the server.
//!
//! An upload can be lost, late or doubled: what the engine sees of that is that an entry is recorded
//! late or not at all, or a second one with a later epoch. Reads can fail because the store is away,
//! and stored bytes can rot.

use styx_engine::archive::{Entry, LocalLimits};
use styx_engine::{Catalog, Error, Found, Options};
use styx_protocol::{LogStatus, Position};

use super::{Run, name, newest_segment, options, watermark};
use crate::support::depot::{Answer, MemoryDepot, read_through};
use crate::world::read_all;

/// What a run knows of its store.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) depot: MemoryDepot,
    /// Every entry that is in the manifest. The engine may not know the last ones.
    manifest: Vec<Entry>,
}

impl Run {
    /// One operation of the archiver.
    pub(super) fn archive(&mut self) -> Result<(), String> {
        if self.store.is_none() {
            return self.step();
        }
        match self.random.below(100) {
            0..45 => self.upload(),
            45..65 => self.evict(),
            65..75 => self.end_segment(),
            75..85 => self.collect_garbage(),
            85..93 => self.store_away(),
            _ => self.rot_archive(),
        }
    }

    /// Uploads some segments, and records them unless the upload comes late.
    fn upload(&mut self) -> Result<(), String> {
        let log = self.log().clone();
        let mut segments = log.unarchived();
        segments.truncate(1 + self.random.below(3));
        if self.random.chance(10) {
            // Uploaded again, with the same positions and another epoch.
            let archived = log.archived_entries();
            let again = archived.get(self.random.below(archived.len()));
            segments.extend(again.and_then(|entry| log.sealed_segment(entry.base)));
        }
        let is_late = self.random.chance(20);
        let Some(store) = &mut self.store else { return Ok(()) };
        let mut entries = Vec::new();
        for segment in &segments {
            match store.depot.upload(&log, segment) {
                Ok(entry) => entries.push(entry),
                Err(_) if self.disk.is_off() => return Ok(()),
                Err(error) => return Err(format!("a segment cannot be uploaded: {error}")),
            }
        }
        store.manifest.extend(&entries);
        if is_late {
            return Ok(());
        }
        // Entries of the manifest that the engine does not know, because of a crash.
        if self.random.chance(50) {
            let unarchived = log.unarchived();
            let missed = store.manifest.iter().filter(|entry| {
                entry.home == log.id() && unarchived.iter().any(|s| s.base() == entry.base)
            });
            entries.extend(missed);
        }
        match log.record_archived(&entries) {
            Ok(()) => {
                self.totals.archived += entries.len() as u64;
                Ok(())
            }
            Err(_) if self.disk.is_off() => Ok(()),
            Err(error) => Err(format!("archived segments cannot be recorded: {error}")),
        }
    }

    fn evict(&mut self) -> Result<(), String> {
        let bytes_max = *self.random.pick(&[0, 0, 20_000, 50_000]);
        let limits = LocalLimits { bytes_max: Some(bytes_max), age_max: None };
        match self.log().evict(&limits) {
            Ok(evicted) => {
                self.totals.evicted += evicted.segments;
                Ok(())
            }
            Err(_) if self.disk.is_off() => Ok(()),
            Err(error) => Err(format!("the eviction failed: {error}")),
        }
    }

    fn end_segment(&mut self) -> Result<(), String> {
        match self.log().end_segment_older_than(std::time::Duration::from_millis(50)) {
            Ok(_) => Ok(()),
            Err(_) if self.disk.is_off() => Ok(()),
            Err(error) => Err(format!("an old segment cannot be ended: {error}")),
        }
    }

    /// Removes the objects of segments that the log no longer has, and those that were replaced.
    fn collect_garbage(&mut self) -> Result<(), String> {
        let log = self.log().clone();
        let (start, id, known) = (log.start_position(), log.id(), log.archived_entries());
        let Some(store) = &mut self.store else { return Ok(()) };
        let garbage = |entry: &Entry| {
            entry.home == id
                && (entry.end <= start
                    || known.iter().any(|k| k.base == entry.base && k.epoch > entry.epoch))
        };
        for entry in store.manifest.extract_if(.., |entry| garbage(entry)) {
            store.depot.remove(&entry);
            self.totals.collected += 1;
        }
        Ok(())
    }

    /// While the store is away, appends and reads of local records go on.
    fn store_away(&mut self) -> Result<(), String> {
        let Some(depot) = self.store.as_ref().map(|store| store.depot.clone()) else {
            return Ok(());
        };
        depot.answer(Answer::Error);
        let done = self.append().and_then(|()| self.step());
        let log = self.log().clone();
        let first = log.segments().iter().find(|s| s.disk_bytes > 0).map(|s| s.start);
        let read = match first {
            Some(first) if first < log.end_position() => log.record(first).map(Some),
            _ => Ok(None),
        };
        let remote = log.record(log.start_position());
        depot.answer(Answer::Ok);
        done?;
        match (read, remote) {
            _ if self.disk.is_off() => Ok(()),
            (Err(error), _) => Err(format!("a local record needs the store: {error}")),
            (Ok(Some(Found::NeedsStore(_))), _) => Err("a local record is fetched".to_owned()),
            (_, Err(error)) => Err(format!("a read fails before it needs the store: {error}")),
            _ => Ok(()),
        }
    }

    /// Damages the list of archived segments, or an object, on copies of the disk and the store.
    fn rot_archive(&mut self) -> Result<(), String> {
        let Some(depot) = self.store.as_ref().map(|store| store.depot.deep_copy()) else {
            return Ok(());
        };
        if self.disk.is_off() {
            return Ok(());
        }
        let disk = self.disk.copy();
        let Some((segment, _)) = newest_segment(&disk) else { return Ok(()) };
        let Some(durable) = watermark(&disk, &segment) else { return Ok(()) };
        let list = segment.with_file_name("archive");
        let at = self.random.below(disk.bytes(&list).map_or(0, |bytes| bytes.len()));
        let is_list = self.random.chance(60);
        let (kind, bit) = (self.random.below(3), self.random.below(8));
        if is_list {
            let damaged = disk.damage(&list, |bytes| match kind {
                _ if bytes.is_empty() => {}
                0 => bytes[at] ^= 1 << bit,
                1 => bytes.truncate(at),
                _ => {
                    let to = (at + 512).min(bytes.len());
                    bytes[at..to].fill(0);
                }
            });
            if damaged.is_none() {
                return Ok(());
            }
        } else if !depot.rot_any(self.random.next()) {
            return Ok(());
        }
        self.totals.archive_rot += 1;
        let options =
            Options { depot: Some(std::sync::Arc::new(depot)), ..options(&disk, &self.clock) };
        let catalog = Catalog::open(options).map_err(|error| format!("rot: {error}"))?;
        let log = match catalog.log(&name()) {
            Ok(log) => log,
            Err(Error::NotAvailable { .. }) => return Ok(()),
            Err(error) => return Err(format!("the damaged log failed to open: {error}")),
        };
        if is_list && log.status() == LogStatus::Ok {
            // The entries that were lost are not needed.
            let held = read_all(&log)?;
            let start = log.start_position().0;
            for (position, payload) in self.world.known.range(start..durable) {
                let index = usize::try_from(position - start).expect("it fits");
                if held.get(index) != Some(payload) {
                    return Err(format!("record {position} is lost with the list, unreported"));
                }
            }
            return Ok(());
        }
        if log.status() == LogStatus::Corrupt {
            return match is_list {
                true => Ok(()),
                false => Err("damage in the store makes the log corrupt".to_owned()),
            };
        }
        let (start, end) = (log.start_position().0, log.end_position().0);
        for (position, payload) in self.world.known.range(start..end) {
            let mut reader =
                log.reader(Position(*position)).map_err(|error| format!("rot: {error}"))?;
            match read_through(&mut reader, |reader| reader.record()) {
                Ok(Found::Some(record)) if record.payload == payload[..] => {}
                Ok(found) => return Err(format!("rot: {found:?} at {position}")),
                Err(Error::CorruptRecord { next: Some(next), .. }) if next.0 > *position => {}
                Err(error) => return Err(format!("rot: {error}")),
            }
        }
        Ok(())
    }
}
