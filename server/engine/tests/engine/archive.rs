//! Tests of logs with segments in an object store: reads across the border, recovery with absent
//! files, retention, eviction, and work that reads whole segments.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use styx_engine::archive::{Entry, Evicted, Lineage, LocalLimits};
use styx_engine::verify::verify;
use styx_engine::{Attached, Blocks, Catalog, Error, Found, Log, Options, Place, Reader, Seek};
use styx_protocol::record::Builder;
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::support::depot::{Answer, MemoryDepot, Removal};
use crate::support::{close, name, read_all};

const EVERYTHING: LocalLimits = LocalLimits { bytes_max: Some(0), age_max: None };

/// A log with `SEGMENT_RECORDS` records in each segment.
struct Scene {
    depot: MemoryDepot,
    log: Log,
    catalog: Catalog,
    directory: tempfile::TempDir,
}

const SEGMENT_RECORDS: u64 = 10;

impl Scene {
    fn new(records: u64) -> Scene {
        Scene::with(records, LogConfig::default())
    }

    fn with(records: u64, config: LogConfig) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let depot = MemoryDepot::default();
        let catalog = open(&directory, Some(&depot));
        let config = LogConfig { segment_max_count: SEGMENT_RECORDS as i64, ..config };
        let log = catalog.create(&name("log"), config).expect("created");
        let scene = Scene { depot, log, catalog, directory };
        scene.append(records);
        scene
    }

    /// A log of 5 sealed segments, of which 4 are evicted, and with 5 records in the newest.
    fn evicted() -> Scene {
        let scene = Scene::new(55);
        assert_eq!(scene.depot.archive(&scene.log), 5);
        assert_eq!(scene.log.evict(&EVERYTHING).expect("evicted").segments, 4);
        scene
    }

    fn append(&self, records: u64) {
        let begin = self.log.end_position().0;
        for position in begin..begin + records {
            self.log.append_durably(Records::one(&payload(position))).expect("appended");
        }
    }

    /// Closes the catalog, calls `change`, and opens it again.
    fn reopen_after(self, change: impl FnOnce(&Scene)) -> Scene {
        close(self.catalog.clone());
        change(&self);
        let catalog = open(&self.directory, Some(&self.depot));
        let log = catalog.log(&name("log")).expect("open");
        Scene { log, catalog, ..self }
    }

    fn reopen(self) -> Scene {
        self.reopen_after(|_| {})
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join("log/0").join(file)
    }

    fn places(&self) -> String {
        let places = self.log.segments();
        let letter = |place| match place {
            Place::Local => 'l',
            Place::Both => 'b',
            Place::Remote => 'r',
        };
        places.iter().map(|segment| letter(segment.place)).collect()
    }

    fn entry(&self, base: u64) -> Entry {
        let entries = self.log.archived_entries();
        *entries.iter().find(|entry| entry.base.0 == base).expect("it is archived")
    }

    #[track_caller]
    fn check(&self, records: std::ops::Range<u64>) {
        assert_eq!(self.log.status(), LogStatus::Ok);
        assert_eq!(self.log.start_position().0, records.start);
        let expected: Vec<_> = records.map(payload).collect();
        assert!(read_all(&self.log) == expected, "all records are there");
    }
}

fn open(directory: &tempfile::TempDir, depot: Option<&MemoryDepot>) -> Catalog {
    let options = Options {
        depot: depot.map(|depot| Arc::new(depot.clone()) as _),
        store_wait: Duration::from_millis(100),
        tail_bytes_max: 0,
        scrub_bytes_per_second: 0,
        ..Options::new(directory.path())
    };
    let catalog = Catalog::open(options).expect("opened");
    catalog.wait_until_open();
    catalog
}

fn payload(position: u64) -> Vec<u8> {
    format!("record {position} {}", "x".repeat(200)).into_bytes()
}

fn seg(base: u64) -> String {
    format!("{base:020}.seg")
}

/// Reads as a server does: without waiting, then on a thread, then for the store.
fn read<T>(
    reader: &mut Reader,
    attempt: impl Fn(&mut Reader) -> Result<Found<T>, Error>,
    blocking: impl Fn(&mut Reader) -> Result<Found<T>, Error>,
) -> Result<Option<T>, Error> {
    loop {
        let mut found = attempt(reader)?;
        if matches!(found, Found::NeedsDisk) {
            found = blocking(reader)?;
        }
        match found {
            Found::Some(found) => return Ok(Some(found)),
            Found::AtEnd => return Ok(None),
            Found::NeedsDisk => panic!("a blocking read returned NeedsDisk"),
            Found::NeedsStore(fetch) => reader.keep(fetch.wait()?),
        }
    }
}

fn batch(reader: &mut Reader, bytes_max: usize) -> Result<Option<styx_engine::Batch>, Error> {
    read(reader, |reader| reader.try_read(bytes_max), |reader| reader.read(bytes_max))
}

#[test]
fn a_segment_is_local_then_both_then_remote_and_all_records_stay_readable() {
    let scene = Scene::new(55);
    assert_eq!(scene.places(), "llllll");
    assert_eq!(scene.log.archived_position(), Some(Position(0)));
    assert_eq!(scene.log.evict(&EVERYTHING).expect("nothing to do"), Evicted::default());
    assert_eq!(scene.depot.archive(&scene.log), 5);
    assert_eq!(scene.places(), "bbbbbl");
    assert_eq!(scene.log.archived_position(), Some(Position(50)));
    assert_eq!(scene.depot.archive(&scene.log), 0);

    let before = scene.log.stats();
    let evicted = scene.log.evict(&EVERYTHING).expect("evicted");
    assert_eq!(scene.places(), "rrrrbl", "the newest sealed segment stays");
    assert_eq!(evicted.segments, 4);
    let after = scene.log.stats();
    assert_eq!(after.disk_bytes, before.disk_bytes - evicted.bytes);
    assert_eq!(after.remote_bytes, evicted.bytes);
    assert!(!scene.path(&seg(0)).exists() && scene.path(&seg(40)).exists());
    scene.check(0..55);

    let scene = scene.reopen();
    assert_eq!(scene.places(), "rrrrbl");
    assert_eq!(scene.log.archived_position(), Some(Position(50)));
    scene.append(7);
    scene.check(0..62);
    assert_eq!(scene.depot.archive(&scene.log), 1);
    assert_eq!(scene.places(), "rrrrbbl");
}

#[test]
fn eviction_stops_at_the_limits_and_skips_what_is_not_archived() {
    let scene = Scene::new(65);
    let segments = scene.log.unarchived();
    let all: Vec<_> = [0, 2, 3].map(|i| &segments[i]).to_vec();
    let entries: Vec<_> = all
        .iter()
        .map(|segment| scene.depot.upload(&scene.log, segment).expect("intact"))
        .collect();
    scene.log.record_archived(&entries).expect("recorded");
    assert_eq!(scene.places(), "blbblll");
    assert_eq!(scene.log.archived_position(), Some(Position(10)), "the rest has a gap");
    let bytes = scene.log.stats().disk_bytes;
    let limits = |bytes_max| LocalLimits { bytes_max: Some(bytes_max), age_max: None };
    assert_eq!(scene.log.evict(&limits(bytes)).expect("nothing"), Evicted::default());
    assert_eq!(scene.log.evict(&limits(bytes - 1)).expect("one").segments, 1);
    assert_eq!(scene.places(), "rlbblll");
    assert_eq!(scene.log.evict(&EVERYTHING).expect("all").segments, 2);
    assert_eq!(scene.places(), "rlrrlll");
    scene.check(0..65);
    scene.reopen().check(0..65);
}

#[test]
fn eviction_by_age_leaves_young_segments() {
    let scene = Scene::new(55);
    scene.depot.archive(&scene.log);
    let limits = LocalLimits { bytes_max: None, age_max: Some(Duration::from_secs(3600)) };
    assert_eq!(scene.log.evict(&limits).expect("nothing"), Evicted::default());
    assert_eq!(scene.places(), "bbbbbl");
}

/// Every way to read crosses the border between remote and local segments.
#[test]
fn every_read_crosses_the_border() {
    let scene = Scene::evicted().reopen();
    for from in [0, 5, 29, 39, 40, 41, 54] {
        for bytes_max in [1, 700, 1 << 20] {
            let mut reader = scene.log.reader(Position(from)).expect("a reader");
            let mut next = from;
            while let Some(batch) = batch(&mut reader, bytes_max).expect("read") {
                for record in batch.records() {
                    assert_eq!(record.position.0, next);
                    assert_eq!(record.payload, payload(next));
                    next += 1;
                }
            }
            assert_eq!(next, 55);

            let mut reader = scene.log.reader(Position(from)).expect("a reader");
            let mut next = Position(from);
            let blocks = |reader: &mut Reader| -> Result<Option<Blocks>, Error> {
                read(
                    reader,
                    |reader| reader.try_blocks(bytes_max),
                    |reader| reader.blocks(bytes_max),
                )
            };
            while let Some(blocks) = blocks(&mut reader).expect("read") {
                assert!(blocks.first() <= next && blocks.next() > next);
                next = blocks.next();
            }
            assert_eq!(next, Position(55));
        }
        let mut reader = scene.log.reader(Position(from)).expect("a reader");
        let record = read(&mut reader, Reader::try_record, Reader::record).expect("read");
        assert_eq!(record.expect("a record").payload, payload(from));
    }
}

#[test]
fn no_span_is_made_of_a_remote_segment() {
    let scene = Scene::evicted();
    let mut reader = scene.log.reader(Position(3)).expect("a reader");
    assert!(reader.span(1 << 20).expect("no error").is_none());
    assert_eq!(scene.depot.take_fetches(), [], "nothing is fetched for it");
}

#[test]
fn one_record_needs_one_fetch_and_then_none() {
    let scene = Scene::evicted();
    let mut reader = scene.log.reader(Position(23)).expect("a reader");
    let found = read(&mut reader, Reader::try_record, Reader::record).expect("read");
    assert_eq!(found.expect("a record").payload, payload(23));
    assert_eq!(scene.depot.take_fetches().len(), 1);
}

/// Its size is only known from its beginning, and in the index.
#[test]
fn one_record_of_a_large_block_needs_one_fetch() {
    let scene = Scene::new(0);
    for _ in 0..22 {
        let mut builder = Builder::new();
        for record in 0..5 {
            assert!(builder.push(&[record; 50_000]), "the records fit in one block");
        }
        scene.log.append_durably(builder.take()).expect("appended");
    }
    scene.depot.archive(&scene.log);
    assert!(scene.log.evict(&EVERYTHING).expect("evicted").segments > 2);
    scene.depot.take_fetches();
    let mut reader = scene.log.reader(Position(13)).expect("a reader");
    let found = read(&mut reader, Reader::try_record, Reader::record).expect("read");
    assert_eq!(found.expect("a record").payload, vec![3; 50_000]);
    assert_eq!(scene.depot.take_fetches().len(), 1);
}

#[test]
fn a_time_in_a_remote_segment_is_found() {
    let scene = Scene::evicted();
    let records: Vec<_> = {
        let mut reader = scene.log.reader(Position(0)).expect("a reader");
        let mut records = Vec::new();
        while let Some(batch) = batch(&mut reader, 1 << 20).expect("read") {
            records.extend(batch.records());
        }
        records
    };
    for record in &records {
        let time = record.timestamp_us;
        let expected = records.iter().find(|record| record.timestamp_us >= time).expect("it");
        assert_eq!(scene.log.seek(Seek::Time(time)).expect("found"), expected.position);
    }
    assert!(matches!(scene.log.find(Seek::Time(0)), Ok(Found::NeedsStore(_))));
    scene.depot.answer(Answer::Error);
    let failed = scene.log.seek(Seek::Time(0)).expect_err("the store is away");
    assert!(matches!(failed, Error::StoreUnavailable { .. }), "{failed}");
    assert_eq!(scene.log.seek(Seek::End(0)).expect("local"), Position(55));
}

/// A log is readable and writable without the store, except for evicted records.
#[test]
fn the_store_away_stops_only_reads_of_remote_records() {
    let scene = Scene::evicted();
    for answer in [Answer::Error, Answer::Never] {
        scene.depot.answer(answer);
        let mut reader = scene.log.reader(Position(0)).expect("a reader");
        let failed = batch(&mut reader, 1 << 20).expect_err("the store is away");
        assert!(matches!(failed, Error::StoreUnavailable { .. }), "{failed}");
        let mut local = scene.log.reader(Position(40)).expect("a reader");
        assert!(batch(&mut local, 1 << 20).expect("read").is_some());
        scene.append(1);
        scene.depot.answer(Answer::Ok);
        assert!(batch(&mut reader, 1 << 20).expect("the same reader goes on").is_some());
    }
    let scene = scene.reopen_after(|scene| scene.depot.answer(Answer::Never));
    assert_eq!(scene.log.status(), LogStatus::Ok, "a start needs no store");
    scene.append(1);
    assert_eq!(scene.log.end_position(), Position(58));
}

#[test]
fn without_a_depot_a_remote_record_is_unavailable_and_the_rest_works() {
    let scene = Scene::evicted();
    close(scene.catalog);
    let catalog = open(&scene.directory, None);
    let log = catalog.log(&name("log")).expect("open");
    assert_eq!(log.status(), LogStatus::Ok);
    let mut reader = log.reader(Position(0)).expect("a reader");
    let failed = batch(&mut reader, 1 << 20).expect_err("there is no store");
    assert!(failed.to_string().contains("no [archive]"), "{failed}");
    log.append_durably(Records::one(b"x")).expect("appended");
}

#[test]
fn a_missing_file_without_an_entry_is_damage() {
    let scene = Scene::evicted();
    scene.append(20);
    let scene = scene.reopen_after(|scene| {
        fs::remove_file(scene.path(&seg(50))).expect("removed");
    });
    assert_eq!(scene.log.status(), LogStatus::Corrupt);
    let report = verify_stopped(scene);
    assert_eq!(report.problems.len(), 1, "{report:?}");
}

#[test]
fn a_missing_file_with_an_entry_is_remote() {
    let scene = Scene::new(55);
    scene.depot.archive(&scene.log);
    let scene = scene.reopen_after(|scene| {
        for base in [10, 40] {
            fs::remove_file(scene.path(&seg(base))).expect("removed");
        }
    });
    assert_eq!(scene.places(), "brbbrl");
    scene.check(0..55);
}

/// A crash can bring back a file that was unlinked.
#[test]
fn a_file_with_an_entry_is_both() {
    let scene = Scene::new(55);
    let held = fs::read(scene.path(&seg(10))).expect("read");
    scene.depot.archive(&scene.log);
    scene.log.evict(&EVERYTHING).expect("evicted");
    let scene = scene.reopen_after(|scene| {
        fs::write(scene.path(&seg(10)), &held).expect("written");
    });
    assert_eq!(scene.places(), "rbrrbl");
    scene.check(0..55);
}

#[test]
fn a_lost_newest_segment_is_damage_even_if_all_others_are_archived() {
    let scene = Scene::evicted();
    scene.append(20);
    scene.depot.archive(&scene.log);
    let scene = scene.reopen_after(|scene| {
        for base in [60, 70] {
            fs::remove_file(scene.path(&seg(base))).expect("removed");
        }
    });
    assert_eq!(scene.log.status(), LogStatus::Corrupt);
    let appended = scene.log.append_durably(Records::one(b"x"));
    assert!(appended.is_err(), "nothing is appended in place of archived records");
}

/// The segments of another log with the same positions do not continue an archived one.
#[test]
fn the_chain_is_checked_at_the_border() {
    let other = Scene::new(55);
    close(other.catalog);
    let scene = Scene::evicted();
    let files = |directory: &tempfile::TempDir| directory.path().join("log/0");
    let scene = scene.reopen_after(|scene| {
        for file in [seg(40), format!("{:020}.idx", 40), seg(50)] {
            fs::copy(files(&other.directory).join(&file), scene.path(&file)).expect("copied");
        }
    });
    assert_eq!(scene.log.status(), LogStatus::Corrupt);
    let report = verify_stopped(scene);
    assert!(!report.is_good(), "{report:?}");
}

fn verify_stopped(scene: Scene) -> styx_engine::verify::LogReport {
    close(scene.catalog);
    let report = verify(scene.directory.path(), &mut |_| {}).expect("verified");
    report.logs.into_iter().next().expect("a log")
}

#[test]
fn verify_reports_remote_segments_as_not_checked() {
    let report = verify_stopped(Scene::evicted());
    assert!(report.is_good(), "{report:?}");
    assert_eq!((report.start, report.end), (Position(0), Position(55)));
    assert_eq!(report.records, 15, "only what is on the disk");
    assert_eq!(report.notes.len(), 1, "{report:?}");
    assert!(report.notes[0].starts_with("4 segments"), "{report:?}");
}

#[test]
fn the_scrub_reads_only_what_is_on_the_disk() {
    let scene = Scene::evicted();
    scene.depot.take_fetches();
    assert_eq!(scene.catalog.scrub(), []);
    assert_eq!(scene.depot.take_fetches(), []);
    assert!(scene.catalog.scrub_stats().bytes > 0);
}

#[test]
fn trim_and_retention_remove_remote_segments_from_the_start() {
    let scene = Scene::evicted();
    scene.depot.take_notices();
    scene.log.trim(Position(25)).expect("trimmed");
    assert!(scene.depot.take_notices() > 0, "the archiver is told");
    assert_eq!(scene.places(), "rrbl");
    scene.check(20..55);
    assert_eq!(scene.log.archived_entries().len(), 3);
    let scene = scene.reopen();
    scene.check(20..55);
    scene.log.trim(Position(55)).expect("trimmed");
    assert_eq!(scene.places(), "l");
    scene.check(50..55);
    scene.reopen().check(50..55);
}

#[test]
fn the_size_limit_of_a_log_counts_its_remote_segments() {
    let probe = Scene::new(55);
    let bytes = probe.log.stats().disk_bytes;
    let config = LogConfig { log_max_size: bytes as i64, ..LogConfig::default() };
    let retained = |is_archived: bool| {
        let scene = Scene::with(55, config);
        if is_archived {
            scene.depot.archive(&scene.log);
            scene.log.evict(&EVERYTHING).expect("evicted");
        }
        scene.append(20);
        let begun = std::time::Instant::now();
        let bytes = || scene.log.segments().iter().map(|segment| segment.bytes).sum::<u64>();
        while bytes() > probe.log.stats().disk_bytes {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} bytes", bytes());
            std::thread::sleep(Duration::from_millis(10));
        }
        let start = scene.log.start_position();
        scene.check(start.0..75);
        start
    };
    assert_eq!(retained(true), retained(false));
}

/// Regression test of the design: a tiered log served a segment that retention had removed as
/// damage (pulsar#21737).
#[test]
fn an_object_that_retention_removed_is_out_of_range_and_not_damage() {
    let scene = Scene::evicted();
    let entry = scene.entry(0);
    let mut reader = scene.log.reader(Position(0)).expect("a reader");
    let Ok(Found::NeedsStore(fetch)) = reader.read(1 << 20) else { panic!("it is remote") };
    scene.log.trim(Position(10)).expect("trimmed");
    scene.depot.remove(&entry);
    let error = fetch.wait().expect_err("it is gone");
    assert!(matches!(error, Error::OutOfRange { start: Position(10), .. }), "{error}");
}

#[test]
fn a_missing_object_of_a_kept_segment_is_damage_up_to_the_next_segment() {
    let scene = Scene::evicted();
    scene.depot.remove(&scene.entry(10));
    let mut reader = scene.log.reader(Position(12)).expect("a reader");
    let error = batch(&mut reader, 1 << 20).expect_err("it is gone");
    assert!(matches!(error, Error::CorruptRecord { next: Some(Position(20)), .. }), "{error}");
    let mut reader = scene.log.reader(Position(20)).expect("a reader");
    assert!(batch(&mut reader, 1 << 20).expect("read").is_some());
    assert_eq!(scene.log.status(), LogStatus::Ok, "appends do not depend on the store");
    scene.append(1);
}

#[test]
fn a_damaged_object_is_reported_after_it_was_fetched_again() {
    let scene = Scene::evicted();
    scene.depot.rot(&scene.entry(10), 400);
    let mut reader = scene.log.reader(Position(10)).expect("a reader");
    let error = batch(&mut reader, 1 << 20).expect_err("it is damaged");
    assert!(matches!(error, Error::CorruptRecord { next: Some(Position(20)), .. }), "{error}");
    assert_eq!(scene.depot.take_fetches().len(), 2);
    assert_eq!(scene.log.status(), LogStatus::Ok);
}

#[test]
fn damage_in_the_cache_is_fetched_again_and_heals() {
    let scene = Scene::evicted();
    scene.depot.rot_cache(&scene.entry(10), 400);
    let mut reader = scene.log.reader(Position(10)).expect("a reader");
    let batch = batch(&mut reader, 1 << 20).expect("healed").expect("records");
    assert_eq!(batch.records().next().expect("a record").payload, payload(10));
}

#[test]
fn a_segment_that_was_uploaded_again_is_read_from_the_new_object() {
    let scene = Scene::evicted();
    let old = scene.entry(10);
    let mut reader = scene.log.reader(Position(10)).expect("a reader");
    let Ok(Found::NeedsStore(fetch)) = reader.read(1 << 20) else { panic!("it is remote") };
    let new = Entry { epoch: old.epoch + 1, ..old };
    scene.depot.copy(&old, &new);
    scene.log.record_archived(&[new]).expect("recorded");
    scene.depot.remove(&old);
    reader.keep(fetch.wait().expect("the reader tries again"));
    assert!(batch(&mut reader, 1 << 20).expect("read").is_some());
    let scene = scene.reopen();
    assert_eq!(scene.entry(10), new);
    scene.check(0..55);
}

#[test]
fn an_entry_that_differs_from_its_segment_is_refused() {
    let scene = Scene::new(55);
    let segments = scene.log.unarchived();
    let entry = scene.depot.upload(&scene.log, &segments[0]).expect("intact");
    for wrong in [
        Entry { seal_crc: !entry.seal_crc, ..entry },
        Entry { end: Position(11), ..entry },
        Entry { bytes: entry.bytes + 1, ..entry },
    ] {
        let second = scene.depot.upload(&scene.log, &segments[1]).expect("intact");
        scene.log.record_archived(&[second, wrong]).expect_err("it differs");
        assert_eq!(scene.places(), "llllll", "nothing is recorded");
    }
    let newest = Entry { base: Position(50), end: Position(55), ..entry };
    let other = Entry { base: Position(5), ..entry };
    scene.log.record_archived(&[newest, other]).expect("unknown segments are ignored");
    assert_eq!(scene.places(), "llllll");
}

#[test]
fn damage_is_never_archived() {
    let scene = Scene::new(55);
    let path = scene.path(&seg(10));
    let mut bytes = fs::read(&path).expect("read");
    bytes[400] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let segments = scene.log.unarchived();
    let error = segments[1].check(|_| Ok(())).expect_err("it is damaged");
    assert!(matches!(error, Error::CorruptRecord { .. }), "{error}");
    segments[2].check(|_| Ok(())).expect("intact");
}

#[test]
fn a_segment_with_old_records_ends_and_an_empty_one_does_not() {
    let scene = Scene::new(5);
    assert!(!scene.log.end_segment_older_than(Duration::from_secs(3600)).expect("not due"));
    assert!(scene.log.end_segment_older_than(Duration::ZERO).expect("rolled"));
    assert_eq!(scene.places(), "ll");
    assert!(!scene.log.end_segment_older_than(Duration::ZERO).expect("it is empty"));
    scene.check(0..5);
}

#[test]
fn truncate_and_delete_tell_the_archiver_and_leave_nothing() {
    let scene = Scene::evicted();
    let told = |log: &Log| {
        let begun = Removal::Begun { open_epoch: log.open_epoch() };
        [(log.id(), begun), (log.id(), Removal::Done)]
    };
    let first = told(&scene.log);
    let log = scene.catalog.truncate(&name("log")).expect("truncated");
    assert_eq!(scene.depot.removals(), first);
    assert_eq!((log.start_position(), log.end_position()), (Position(0), Position(0)));
    assert!(scene.log.record_archived(&[]).is_err(), "the handle is closed");
    assert!(scene.log.evict(&EVERYTHING).is_err(), "the handle is closed");
    log.append_durably(Records::one(b"new")).expect("appended");
    let second = told(&log);
    scene.catalog.delete(&name("log")).expect("deleted");
    assert_eq!(scene.depot.removals(), [first, second].concat());
    assert!(!scene.directory.path().join("log").exists());
}

#[test]
fn archiver_is_told_that_a_log_which_could_not_be_removed_is_kept() {
    let scene = Scene::evicted();
    // A file in the way of the directory of the truncated log.
    fs::write(scene.directory.path().join("log/1"), b"").expect("written");
    assert!(scene.catalog.truncate(&name("log")).is_err(), "the directory cannot be created");
    let begun = Removal::Begun { open_epoch: scene.log.open_epoch() };
    let id = scene.log.id();
    assert_eq!(scene.depot.removals(), [(id, begun), (id, Removal::Kept)]);
    scene.check(0..55);
}

#[test]
fn a_backup_contains_the_remote_segments() {
    let scene = Scene::evicted();
    let mut bytes = Vec::new();
    scene.log.backup(&mut bytes).expect("written");
    let restored = scene.catalog.restore(&name("restored"), &mut &bytes[..]).expect("restored");
    let expected: Vec<_> = (0..55).map(payload).collect();
    assert!(read_all(&restored) == expected);
    scene.depot.answer(Answer::Never);
    scene.log.backup(&mut Vec::new()).expect_err("the store is away");
}

#[test]
fn an_older_version_refuses_a_log_with_archived_segments() {
    let scene = Scene::new(55);
    let manifest = scene.directory.path().join("log/log.toml");
    let text = || fs::read_to_string(&manifest).expect("text");
    assert!(text().contains("version = 1"), "{}", text());
    scene.depot.archive(&scene.log);
    assert!(text().contains("version = 2"), "{}", text());
    let log = scene.catalog.truncate(&name("log")).expect("truncated");
    assert!(text().contains("version = 1"), "{}", text());
    drop(log);
}

#[test]
fn an_append_to_a_full_disk_asks_for_an_eviction() {
    let scene = Scene::evicted();
    close(scene.catalog);
    let options = Options {
        depot: Some(Arc::new(scene.depot.clone())),
        free_bytes_min: u64::MAX / 2,
        ..Options::new(scene.directory.path())
    };
    let catalog = Catalog::open(options).expect("opened");
    catalog.wait_until_open();
    let log = catalog.log(&name("log")).expect("open");
    let refused = log.append_durably(Records::one(b"x")).expect_err("too little is free");
    assert!(matches!(refused, Error::DiskReserve { .. }), "{refused}");
    assert_eq!(scene.depot.short(), 1);
}

/// A reader of an evicted segment keeps the file that it has open.
#[test]
fn eviction_does_not_disturb_a_reader() {
    let scene = Scene::new(55);
    scene.depot.archive(&scene.log);
    let mut reader = scene.log.reader(Position(0)).expect("a reader");
    assert!(batch(&mut reader, 1).expect("read").is_some());
    scene.log.evict(&EVERYTHING).expect("evicted");
    scene.depot.answer(Answer::Error);
    while reader.position() < Position(10) {
        assert!(batch(&mut reader, 1).expect("from the open file").is_some());
    }
    batch(&mut reader, 1).expect_err("the next segment is remote");
}

/// A restore creates a log from the entries alone.
#[test]
fn an_attached_log_has_all_records_and_accepts_appends() {
    let scene = Scene::new(55);
    scene.log.end_segment_older_than(Duration::ZERO).expect("rolled");
    scene.depot.archive(&scene.log);
    let segments: Vec<_> =
        (0..6).filter_map(|i| scene.log.sealed_segment(Position(i * 10))).collect();
    let attached = Attached {
        config: LogConfig { segment_max_count: 10, ..LogConfig::default() },
        entries: scene.log.archived_entries(),
        start: Position(0),
        open_epoch: 7,
        producers: segments[5].producers().expect("read"),
        lineage: Lineage::default().restored(scene.log.id(), Position(55)),
    };
    let indexes = || segments.iter().map(|s| Ok((s.base(), s.index().expect("an index"))));
    assert!(attached.producers.is_some());
    scene.depot.take_fetches();
    let log = scene.catalog.attach(&name("restored"), &attached, indexes()).expect("attached");
    assert_eq!(scene.depot.take_fetches(), [], "nothing is read");
    assert!(log.id() != scene.log.id() && log.open_epoch() > 7);
    assert_eq!(log.status(), LogStatus::Ok);
    log.append_durably(Records::one(&payload(55))).expect("appended");
    let expected: Vec<_> = (0..56).map(payload).collect();
    assert!(read_all(&log) == expected);
    close(scene.catalog.clone());
    let catalog = open(&scene.directory, Some(&scene.depot));
    let log = catalog.log(&name("restored")).expect("open");
    assert_eq!((log.status(), log.archived_position()), (LogStatus::Ok, Some(Position(55))));
    assert!(read_all(&log) == expected);
    assert_eq!(catalog.scrub(), [], "the chain continues across the border");

    let refused = |change: &dyn Fn(&mut Attached)| {
        let mut wrong = attached.clone();
        change(&mut wrong);
        let error = catalog.attach(&name("wrong"), &wrong, indexes()).expect_err("refused");
        assert!(matches!(error, Error::BadArchive { .. }), "{error}");
        assert!(!scene.directory.path().join("wrong").exists());
    };
    refused(&|wrong| {
        wrong.entries.remove(2);
    });
    refused(&|wrong| wrong.start = Position(11));
    refused(&|wrong| {
        wrong.entries.pop();
    });

    let away = || Err(Error::BadArchive { message: "the store is away".to_owned() });
    let cut = indexes().take(3).chain(std::iter::once_with(away));
    let error = catalog.attach(&name("wrong"), &attached, cut).expect_err("an index is missing");
    assert!(error.to_string().contains("the store is away"), "{error}");
    assert!(!scene.directory.path().join("wrong").exists());

    let without = Attached { producers: None, ..attached.clone() };
    let log = catalog.attach(&name("slow"), &without, []).expect("attached");
    let mut reader = log.reader(Position(0)).expect("a reader");
    let mut next = 0;
    while let Some(batch) = batch(&mut reader, 700).expect("read") {
        for record in batch.records() {
            assert_eq!(record.payload, payload(next));
            next += 1;
        }
    }
    assert_eq!(next, 55);
    let record = batch(&mut log.reader(Position(17)).expect("a reader"), 1).expect("read");
    let record = record.expect("records").records().next().expect("a record");
    assert_eq!(record.payload, payload(17));
    let found = log.seek(Seek::Time(record.timestamp_us)).expect("found");
    // Records of the same microsecond cannot be told apart.
    assert!((1..=17).contains(&found.0), "{found}");
}

/// Flips a bit of a local segment.
fn damage(path: &std::path::Path) -> Vec<u8> {
    let intact = fs::read(path).expect("read");
    let mut bytes = intact.clone();
    bytes[400] ^= 1;
    fs::write(path, &bytes).expect("written");
    intact
}

#[test]
fn the_scrub_replaces_a_damaged_file_by_its_archived_copy() {
    let scene = Scene::new(55);
    scene.depot.archive(&scene.log);
    let path = scene.path(&seg(10));
    let intact = damage(&path);
    scene.depot.answer(Answer::Error);
    let held = scene.log.reader(Position(10)).expect("a reader");
    scene.depot.answer(Answer::Ok);
    assert_eq!(scene.catalog.scrub(), []);
    assert!(fs::read(&path).expect("read") == intact, "the file is the archived one");
    let stats = scene.catalog.scrub_stats();
    assert_eq!((stats.healed, stats.problems), (1, 0));
    assert_eq!(scene.places(), "bbbbbl");
    drop(held);
    scene.check(0..55);
    assert_eq!(scene.catalog.scrub(), []);
    scene.reopen().check(0..55);
}

#[test]
fn damage_without_an_intact_archived_copy_makes_the_log_corrupt() {
    for (is_archived, answer) in
        [(false, Answer::Ok), (true, Answer::Error), (true, Answer::Never), (true, Answer::Ok)]
    {
        let scene = Scene::new(55);
        let path = scene.path(&seg(10));
        if is_archived {
            scene.depot.archive(&scene.log);
            scene.depot.rot(&scene.entry(10), 500);
        }
        damage(&path);
        let damaged = fs::read(&path).expect("read");
        scene.depot.answer(answer);
        assert_eq!(scene.catalog.scrub().len(), 1, "{is_archived} {answer:?}");
        assert_eq!(scene.log.status(), LogStatus::Corrupt);
        assert!(fs::read(&path).expect("read") == damaged, "nothing is changed");
        assert!(!scene.path(&format!("{}.tmp", seg(10))).exists(), "nothing is left behind");
        assert_eq!(scene.log.evict(&EVERYTHING).expect("nothing"), Evicted::default());
    }
}

#[test]
fn an_evicted_segment_is_fetched_to_the_disk() {
    let scene = Scene::new(55);
    let intact = fs::read(scene.path(&seg(10))).expect("read");
    scene.depot.archive(&scene.log);
    scene.log.evict(&EVERYTHING).expect("evicted");
    let mut reader = scene.log.reader(Position(10)).expect("a reader");
    assert!(matches!(reader.read(1 << 20), Ok(Found::NeedsStore(_))));
    assert!(scene.log.download(Position(10)).expect("fetched"));
    assert!(fs::read(scene.path(&seg(10))).expect("read") == intact);
    assert_eq!(scene.places(), "rbrrbl");
    scene.depot.answer(Answer::Error);
    assert!(batch(&mut reader, 1 << 20).expect("from the disk").is_some());
    let failed = scene.log.download(Position(20)).expect_err("the store is away");
    assert!(matches!(failed, Error::StoreUnavailable { .. }), "{failed}");
    assert!(!scene.log.download(Position(50)).expect("no archived segment"));
    scene.depot.answer(Answer::Ok);
    assert_eq!(scene.log.evict(&EVERYTHING).expect("evicted").segments, 1);
    scene.reopen().check(0..55);
}

/// A restored log keeps its ancestors, and what is known of its manifest in the archive, until it is
/// truncated: then its positions refer to other records.
#[test]
fn a_restored_log_keeps_its_lineage_until_it_is_truncated() {
    let scene = Scene::new(35);
    scene.depot.archive(&scene.log);
    let attached = Attached {
        entries: scene.log.archived_entries(),
        lineage: Lineage::default().restored(scene.log.id(), Position(30)),
        ..Attached::default()
    };
    assert!(!scene.log.needs_archive_manifest(), "its objects are its own");
    let log = scene.catalog.attach(&name("restored"), &attached, []).expect("attached");
    assert!(log.needs_archive_manifest());
    close(scene.catalog.clone());

    let catalog = open(&scene.directory, Some(&scene.depot));
    let log = catalog.log(&name("restored")).expect("open");
    assert_eq!(*log.lineage(), attached.lineage);
    assert!(log.needs_archive_manifest());
    log.record_archive_manifest().expect("recorded");
    assert!(!log.needs_archive_manifest());
    // A later change of the same file keeps both.
    log.append_durably(Records::one(&payload(30))).expect("appended");
    log.end_segment_older_than(Duration::ZERO).expect("rolled");
    scene.depot.archive(&log);
    close(catalog);

    let catalog = open(&scene.directory, Some(&scene.depot));
    let log = catalog.log(&name("restored")).expect("open");
    assert_eq!(*log.lineage(), attached.lineage);
    assert!(!log.needs_archive_manifest());
    let log = catalog.truncate(log.name()).expect("truncated");
    assert_eq!(*log.lineage(), Lineage::default());
    assert!(!log.needs_archive_manifest());
}

/// Removes the indexes of a log whose segments are evicted, and returns those of the evicted ones.
fn without_indexes(scene: &Scene) -> HashMap<Position, Vec<u8>> {
    let folder = scene.directory.path().join(scene.log.name().as_str()).join("0");
    let bases = scene.log.segments().into_iter().filter(|segment| segment.place == Place::Remote);
    let indexes = bases.map(|segment| {
        let path = folder.join(format!("{:020}.idx", segment.start.0));
        let bytes = fs::read(&path).expect("an index");
        fs::remove_file(&path).expect("removed");
        (segment.start, bytes)
    });
    indexes.collect()
}

fn one(log: &Log, position: u64) -> Result<Vec<u8>, Error> {
    let mut reader = log.reader(Position(position)).expect("a reader");
    let found = read(&mut reader, Reader::try_record, Reader::record)?;
    Ok(found.expect("a record").payload.to_vec())
}

#[test]
fn a_missing_index_of_a_remote_segment_is_fetched_when_a_read_needs_it() {
    let scene = Scene::evicted();
    let indexes = without_indexes(&scene);
    scene.depot.put_indexes(&scene.log, indexes.clone());
    // Reads from the start of a segment need no index.
    assert_eq!(one(&scene.log, 20).expect("read"), payload(20));
    assert_eq!(scene.depot.take_index_fetches(), []);
    assert_eq!(one(&scene.log, 23).expect("read"), payload(23));
    assert_eq!(one(&scene.log, 27).expect("read"), payload(27));
    assert_eq!(scene.depot.take_index_fetches(), [Position(20)]);
    let path = scene
        .directory
        .path()
        .join(scene.log.name().as_str())
        .join("0")
        .join(format!("{:020}.idx", 20));
    assert_eq!(fs::read(path).expect("an index"), indexes[&Position(20)]);
    // A search by time needs one too.
    let time = scene.log.segments()[1].last_timestamp_us;
    scene.log.seek(Seek::Time(time)).expect("found");
    assert_eq!(scene.depot.take_index_fetches(), [Position(10)]);
}

#[test]
fn without_an_index_in_the_store_reads_work_and_it_is_rebuilt() {
    let scene = Scene::evicted();
    let indexes = without_indexes(&scene);
    // The index of another segment, a cut one and a changed one are refused.
    let whole = &indexes[&Position(20)];
    let mut changed = whole.clone();
    *changed.last_mut().expect("bytes") ^= 1;
    for wrong in [&indexes[&Position(10)], &whole[..whole.len() - 1].to_vec(), &changed] {
        assert!(!scene.log.restore_index(Position(20), wrong).expect("checked"));
    }
    assert!(!scene.log.restore_index(Position(21), whole).expect("no such segment"));
    // The store does not answer, and later it has none.
    scene.depot.answer(Answer::Error);
    let failed = one(&scene.log, 23).expect_err("the store is away");
    assert!(matches!(failed, Error::StoreUnavailable { .. }), "{failed}");
    scene.depot.answer(Answer::Ok);
    for position in [23, 27] {
        assert_eq!(one(&scene.log, position).expect("read"), payload(position));
    }
    assert_eq!(scene.depot.take_index_fetches(), [Position(20), Position(20)]);
    assert!(scene.log.rebuild_index(Position(20)).expect("rebuilt"));
    let path = scene
        .directory
        .path()
        .join(scene.log.name().as_str())
        .join("0")
        .join(format!("{:020}.idx", 20));
    assert_eq!(fs::read(path).expect("an index"), *whole);
    assert!(!scene.log.rebuild_index(Position(21)).expect("no such segment"));
}
