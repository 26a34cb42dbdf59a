//! Tests of logs of other servers in a read-only catalog: attached, extended, trimmed, replaced,
//! removed, and recovered after a crash at any step.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use styx_engine::archive::Entry;
use styx_engine::verify::verify;
use styx_engine::{
    AppendError, Attached, Catalog, CursorCondition, Error, Extended, Fetch, Found, Log, Options,
    Reader,
};
use styx_protocol::{Code, LogConfig, LogId, LogStatus, Position, Records};

use crate::support::depot::{MemoryDepot, read_through};
use crate::support::{WakeCount, close, name, read_all};

/// A primary whose log `log` has 10 records in each segment, and a replica of it.
struct Scene {
    depot: MemoryDepot,
    primary: Log,
    catalog: Catalog,
    replica: Catalog,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new(records: u64) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let depot = MemoryDepot::default();
        let catalog = open(&directory.path().join("primary"), &depot, false);
        let config = LogConfig { segment_max_count: 10, ..LogConfig::default() };
        let primary = catalog.create(&name("log"), config).expect("created");
        let replica = open(&directory.path().join("replica"), &depot, true);
        let scene = Scene { depot, primary, catalog, replica, directory };
        scene.append(records);
        scene.attach();
        scene
    }

    /// Appends to the primary, and archives what is finished.
    fn append(&self, records: u64) {
        let begin = self.primary.end_position().0;
        for position in begin..begin + records {
            self.primary.append_durably(Records::one(&payload(position))).expect("appended");
        }
        self.depot.archive(&self.primary);
    }

    fn attached(&self) -> Attached {
        Attached {
            config: self.primary.config(),
            start: self.primary.start_position(),
            open_epoch: 1,
            entries: self.primary.archived_entries(),
            ..Attached::default()
        }
    }

    fn attach(&self) -> Log {
        let (id, attached) = (self.primary.id(), self.attached());
        self.replica.attach_replica(&name("log"), id, "first", &attached).expect("attached")
    }

    fn extend(&self) -> Extended {
        let entries = self.primary.archived_entries();
        self.log().extend(&entries, self.primary.start_position()).expect("extended")
    }

    fn log(&self) -> Log {
        self.replica.log(&name("log")).expect("open")
    }

    fn replica_directory(&self) -> PathBuf {
        self.directory.path().join("replica")
    }

    /// Closes the replica, calls `change` with its directory, and opens it again.
    fn reopen_after(mut self, change: impl FnOnce(&Path)) -> Scene {
        close(self.replica.clone());
        change(&self.replica_directory());
        self.replica = open(&self.replica_directory(), &self.depot, true);
        self
    }

    /// Compares the replica with the primary.
    #[track_caller]
    fn check(&self, records: std::ops::Range<u64>) {
        let log = self.log();
        assert_eq!((log.status(), log.id()), (LogStatus::Ok, self.primary.id()));
        assert_eq!((log.start_position().0, log.end_position().0), (records.start, records.end));
        assert_eq!(log.archived_position(), Some(Position(records.end)));
        assert!(read_all(&log) == records.map(payload).collect::<Vec<_>>(), "all records");
    }
}

fn open(directory: &Path, depot: &MemoryDepot, read_only: bool) -> Catalog {
    let options = Options {
        depot: Some(Arc::new(depot.clone())),
        store_wait: Duration::from_millis(100),
        tail_bytes_max: 0,
        scrub_bytes_per_second: 0,
        read_only,
        ..Options::new(directory)
    };
    let catalog = Catalog::open(options).expect("opened");
    catalog.wait_until_open();
    catalog
}

fn payload(position: u64) -> Vec<u8> {
    format!("record {position} {}", "x".repeat(200)).into_bytes()
}

#[test]
fn replica_follows_the_archive_of_its_primary() {
    let scene = Scene::new(25);
    scene.check(0..20);
    assert_eq!(scene.extend(), Extended::Unchanged);
    scene.append(20);
    assert_eq!(scene.extend(), Extended::Changed);
    scene.check(0..40);
    let scene = scene.reopen_after(|_| {});
    scene.check(0..40);
    scene.append(10);
    assert_eq!(scene.extend(), Extended::Changed);
    scene.check(0..50);
}

#[test]
fn log_without_archived_records_begins_where_the_primary_will_continue() {
    let scene = Scene::new(5);
    scene.check(0..0);
    scene.append(10);
    assert_eq!(scene.extend(), Extended::Changed);
    scene.check(0..10);
}

#[test]
fn reader_goes_on_across_an_extension_and_one_at_the_end_is_woken() {
    let scene = Scene::new(15);
    let log = scene.log();
    let mut reader = log.reader(Position(8)).expect("a reader");
    let mut next = || match read_through(&mut reader, Reader::record).expect("read") {
        Found::Some(record) => Some(record.position.0),
        _ => None,
    };
    assert_eq!([next(), next(), next()], [Some(8), Some(9), None]);
    let wakes = Arc::new(WakeCount::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut wait = log.reader(Position(10)).expect("a reader").wait();
    let mut poll = || Pin::new(&mut wait).poll(&mut Context::from_waker(&waker));
    assert_eq!(poll(), Poll::Pending);
    assert!(log.activity().has_followers);
    scene.append(20);
    scene.extend();
    assert_eq!((poll(), wakes.get()), (Poll::Ready(()), 1));
    assert!(!log.activity().has_followers);
    assert_eq!([next(), next()], [Some(10), Some(11)]);
}

#[test]
fn start_moves_with_the_primary_and_never_back() {
    let scene = Scene::new(45);
    let log = scene.log();
    let mut reader = log.reader(Position(5)).expect("a reader");
    let before = scene.primary.archived_entries();
    scene.primary.trim(Position(20)).expect("trimmed");
    assert_eq!(scene.extend(), Extended::Changed);
    scene.check(20..40);
    assert!(matches!(reader.read(1), Err(Error::OutOfRange { start: Position(20), .. })));
    assert_eq!(log.extend(&before, Position(0)).expect("extended"), Extended::Unchanged);
    scene.check(20..40);
    let folder = scene.replica_directory().join("log/0");
    assert!(!folder.join(format!("{:020}.idx", 0)).exists(), "indexes are removed too");
    let scene = scene.reopen_after(|_| {});
    scene.check(20..40);
    // Everything expires, and records that were never archived too.
    scene.append(3);
    let end = scene.primary.end_position();
    assert_eq!(scene.log().extend(&[], end).expect("extended"), Extended::Changed);
    let log = scene.log();
    assert_eq!((log.start_position(), log.end_position()), (end, end));
    let scene = scene.reopen_after(|_| {});
    assert_eq!(scene.log().start_position(), end);
}

/// What a read needs after it has found that the store has no index.
fn segment_fetch(reader: &mut Reader) -> Fetch {
    let mut next = || match reader.read(1) {
        Ok(Found::NeedsStore(fetch)) => fetch,
        other => panic!("{other:?}"),
    };
    let index = next().wait().expect("the read goes on without an index");
    let fetch = next();
    reader.keep(index);
    fetch
}

#[test]
fn missing_object_of_an_expired_segment_is_out_of_range() {
    let scene = Scene::new(25);
    let log = scene.log();
    let mut reader = log.reader(Position(5)).expect("a reader");
    let fetch = segment_fetch(&mut reader);
    let [first, second] = scene.primary.archived_entries()[..] else { panic!("two segments") };
    scene.depot.remove(&first);
    scene.primary.trim(Position(10)).expect("trimmed");
    scene.extend();
    assert!(matches!(fetch.wait(), Err(Error::OutOfRange { start: Position(10), .. })));
    // An object that the manifest still names is damage, and the log stays usable.
    scene.depot.remove(&second);
    let mut reader = log.reader(Position(12)).expect("a reader");
    let fetch = segment_fetch(&mut reader);
    assert!(matches!(fetch.wait(), Err(Error::CorruptRecord { .. })));
    assert_eq!(log.status(), LogStatus::Ok);
}

#[test]
fn segment_that_was_uploaded_again_is_read_from_its_new_object() {
    let scene = Scene::new(15);
    let [old] = scene.primary.archived_entries()[..] else { panic!("one segment") };
    let new = Entry { epoch: 7, ..old };
    scene.depot.copy(&old, &new);
    scene.depot.remove(&old);
    let log = scene.log();
    assert_eq!(log.extend(&[new], Position(0)).expect("extended"), Extended::Changed);
    assert!(log.has_entry(&new) && !log.has_entry(&old));
    scene.check(0..10);
    scene.reopen_after(|_| {}).check(0..10);
}

#[test]
fn other_history_is_reported_and_changes_nothing() {
    let scene = Scene::new(35);
    let log = scene.log();
    let entries = scene.primary.archived_entries();
    let other = Entry { seal_crc: 1, ..entries[1] };
    let gap = Entry { base: Position(40), end: Position(50), ..entries[2] };
    for (entries, start, differs) in [
        (vec![entries[0], other, entries[2]], 0, 10),
        (vec![entries[0], entries[1]], 0, 20),
        (vec![entries[0], entries[2]], 0, 20),
        (vec![gap], 0, 30),
        (vec![], 0, 0),
        (vec![], 20, 20),
    ] {
        let extended = log.extend(&entries, Position(start)).expect("compared");
        assert_eq!(extended, Extended::Differs(Position(differs)), "{entries:?}");
    }
    scene.check(0..30);
    // A gap before the new start is none.
    assert_eq!(log.extend(&[gap], Position(40)).expect("extended"), Extended::Changed);
    assert_eq!((log.start_position().0, log.end_position().0), (40, 50));
}

#[test]
fn everything_that_would_change_a_log_is_refused_and_names_the_owner() {
    let scene = Scene::new(15);
    let (catalog, log) = (&scene.replica, scene.log());
    let (log_name, cursor) = (name("log"), "c".parse().expect("a name"));
    let append = match log.append(Records::one(b"x")) {
        Err(AppendError::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    let refused = [
        append,
        log.check_appendable().expect_err("append"),
        log.begin_producer(1, None).map(drop).expect_err("producer"),
        log.forget_producer(1).expect_err("producer"),
        log.trim(Position(10)).expect_err("trim"),
        log.set_cursor(&cursor, Position(0), CursorCondition::None).map(drop).expect_err("cursor"),
        log.delete_cursor(&cursor, CursorCondition::None).expect_err("cursor"),
        catalog.delete(&log_name).expect_err("delete"),
        catalog.truncate(&log_name).map(drop).expect_err("truncate"),
        catalog.adopt(&log_name).map(drop).expect_err("adopt"),
    ];
    for error in refused {
        assert_eq!(error.code(), Code::ReadOnly);
        assert!(error.to_string().contains("the server first, which owns the log"), "{error}");
    }
    let unknown = [
        catalog.create(&name("new"), LogConfig::default()).map(drop).expect_err("create"),
        catalog.restore(&name("new"), &mut &b""[..]).map(drop).expect_err("restore"),
        catalog.attach(&name("new"), &Attached::default(), []).map(drop).expect_err("attach"),
        catalog.delete(&name("new")).expect_err("delete"),
    ];
    for error in unknown {
        assert_eq!(error.code(), Code::ReadOnly);
        assert!(error.to_string().contains("archives its logs"), "{error}");
    }
    log.set_owner("second");
    let error = log.trim(Position(10)).expect_err("trim").to_string();
    assert!(error.contains("the server second"), "{error}");
    scene.check(0..10);
}

#[test]
fn replaced_log_is_changed_for_its_readers_and_a_removed_one_is_gone() {
    let scene = Scene::new(25);
    let old = scene.log();
    let mut reader = old.reader(Position(0)).expect("a reader");
    let id = LogId(7);
    let attached = Attached { start: Position(3), ..Attached::default() };
    let new = scene.replica.attach_replica(&name("log"), id, "", &attached).expect("attached");
    assert_eq!(reader.read(1).expect_err("replaced").code(), Code::LogChanged);
    assert_eq!(old.extend(&[], Position(0)).expect_err("replaced").code(), Code::LogChanged);
    assert_eq!(old.put_index(Position(0), b"").expect_err("replaced").code(), Code::LogChanged);
    assert_eq!((new.id(), new.end_position()), (id, Position(3)));

    scene.replica.detach_replica(&name("log")).expect("removed");
    assert_eq!(new.reader(Position(3)).expect_err("removed").code(), Code::LogNotFound);
    assert_eq!(new.extend(&[], Position(9)).expect_err("removed").code(), Code::LogNotFound);
    assert!(scene.replica.list().is_empty());
    let scene = scene.reopen_after(|_| {});
    assert!(scene.replica.list().is_empty());
}

#[test]
fn local_retention_removes_nothing_from_a_replica() {
    let directory = tempfile::tempdir().expect("a directory");
    let depot = MemoryDepot::default();
    let primary = open(&directory.path().join("primary"), &depot, false);
    let config = LogConfig { segment_max_count: 10, ..LogConfig::default() };
    let log = primary.create(&name("log"), config).expect("created");
    for position in 0..25 {
        log.append_durably(Records::one(&payload(position))).expect("appended");
    }
    depot.archive(&log);
    let strict = LogConfig { log_max_count: 1, log_max_age: 1, segment_max_age: 1, ..config };
    let attached = Attached {
        config: strict,
        open_epoch: 1,
        entries: log.archived_entries(),
        ..Attached::default()
    };
    let catalog = open(&directory.path().join("replica"), &depot, true);
    let replica = catalog.attach_replica(&name("log"), log.id(), "", &attached).expect("attached");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!((replica.start_position().0, replica.end_position().0), (0, 20));
}

#[test]
fn data_directories_of_primaries_and_replicas_are_not_exchanged() {
    let scene = Scene::new(15);
    close(scene.replica.clone());
    close(scene.catalog.clone());
    let open = |directory: &str, read_only| {
        let directory = scene.directory.path().join(directory);
        Catalog::open(Options { read_only, ..Options::new(directory) }).map(drop)
    };
    let refused = open("replica", false).expect_err("a replica's").to_string();
    assert!(refused.contains("--replica-of"), "{refused}");
    let refused = open("primary", true).expect_err("a primary's").to_string();
    assert!(refused.contains("choose an empty directory"), "{refused}");
    open("replica", true).expect("its own");
    open("primary", false).expect("its own");
}

#[test]
fn verify_and_backup_work_with_a_replica() {
    let scene = Scene::new(15);
    scene.append(20);
    scene.extend();
    scene.primary.trim(Position(10)).expect("trimmed");
    scene.extend();
    let mut backup = Vec::new();
    scene.log().backup(&mut backup).expect("a backup");
    let restored = scene.catalog.restore(&name("copy"), &mut &backup[..]).expect("restored");
    assert!(read_all(&restored) == (10..30).map(payload).collect::<Vec<_>>());
    close(scene.replica.clone());
    let report = verify(&scene.replica_directory(), &mut |_| {}).expect("verified");
    assert!(report.is_good(), "{report:?}");
}

/// The files of a directory and their contents.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("entry"));
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().expect("UTF-8");
        (name, fs::read(entry.path()).expect("read"))
    };
    entries.map(file).collect()
}

#[test]
fn crash_between_any_two_steps_of_an_extension_leaves_a_log_that_opens() {
    // The files in the order in which an extension writes them.
    for written in 0..=3 {
        let scene = Scene::new(25);
        let folder = scene.replica_directory().join("log/0");
        let before = files(&folder);
        scene.append(20);
        scene.primary.trim(Position(10)).expect("trimmed");
        scene.extend();
        let after = files(&folder);
        let newest = format!("{:020}.seg", 40);
        let steps = [newest.as_str(), "archive", "watermark"];
        let scene = scene.reopen_after(|_| {
            fs::remove_dir_all(&folder).expect("removed");
            fs::create_dir(&folder).expect("created");
            for (name, bytes) in &before {
                fs::write(folder.join(name), bytes).expect("written");
            }
            for step in steps.iter().take(written) {
                fs::write(folder.join(step), &after[*step]).expect("written");
            }
        });
        let log = scene.log();
        let shown = (log.start_position().0, log.end_position().0);
        let expected = match written {
            0 | 1 => (0, 20),
            2 => (0, 40),
            _ => (10, 40),
        };
        assert_eq!(shown, expected, "after {written} steps");
        scene.extend();
        scene.check(10..40);
        let segments = files(&folder).into_keys().filter(|name| name.ends_with(".seg"));
        assert_eq!(segments.collect::<Vec<_>>(), [newest], "after {written} steps");
    }
}

#[test]
fn damaged_log_of_a_replica_is_not_opened_and_is_attached_again() {
    for (file, bytes) in [("0/archive", &b"x"[..]), ("0/watermark", b""), ("log.toml", b"")] {
        let scene = Scene::new(25).reopen_after(|directory| {
            fs::write(directory.join("log").join(file), bytes).expect("written");
        });
        assert!(scene.replica.log(&name("log")).is_err(), "{file}");
        scene.attach();
        scene.check(0..20);
    }
    // A list that lost its last entry is shorter than the watermark says.
    let scene = Scene::new(25).reopen_after(|directory| {
        let list = fs::File::options().write(true).open(directory.join("log/0/archive"));
        list.and_then(|list| list.set_len(16 + 80)).expect("cut");
    });
    assert!(scene.replica.log(&name("log")).is_err());
    scene.attach();
    scene.check(0..20);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append(u64),
    Trim(u64),
    Extend,
    ExtendLast,
    Reopen,
    Attach,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..35u64).prop_map(Step::Append),
        (0..100u64).prop_map(Step::Trim),
        Just(Step::Extend),
        Just(Step::ExtendLast),
        Just(Step::Reopen),
        Just(Step::Attach),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever happens, a replica has a prefix of the archived records and no older start, and an
    /// extension makes it equal to the archive.
    #[test]
    fn extended_replica_equals_the_archive(steps in prop::collection::vec(step(), 1..20)) {
        let mut scene = Scene::new(0);
        for step in steps {
            match step {
                Step::Append(records) => scene.append(records),
                Step::Trim(percent) => {
                    let end = scene.primary.end_position().0;
                    scene.primary.trim(Position(end * percent / 100)).expect("trimmed");
                }
                Step::Extend => drop(scene.extend()),
                Step::ExtendLast => {
                    let entries = scene.primary.archived_entries();
                    let end = scene.log().end_position();
                    let last = entries.last().map(|last| last.base);
                    let from = entries.partition_point(|entry| {
                        entry.end <= end && Some(entry.base) != last
                    });
                    let start = scene.primary.start_position();
                    let extended = scene.log().extend(&entries[from..], start).expect("extended");
                    prop_assert!(!matches!(extended, Extended::Differs(_)), "{extended:?}");
                }
                Step::Reopen => scene = scene.reopen_after(|_| {}),
                Step::Attach => drop(scene.attach()),
            }
            let log = scene.log();
            let (start, end) = (log.start_position().0, log.end_position().0);
            let expected: Vec<_> = (start..end).map(payload).collect();
            prop_assert!(read_all(&log) == expected);
        }
        scene.extend();
        let start = scene.primary.start_position();
        let archived = scene.primary.archived_entries().last().map_or(start, |last| last.end);
        scene.check(start.0..archived.max(start).0);
    }
}
