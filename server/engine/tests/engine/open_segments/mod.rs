//! Tests of the cache of open segments. The files of a sealed segment stay open after a read. The
//! tests check how often files are opened, how many are open, and when they are closed.

pub(crate) mod watched_storage;

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use styx_engine::{Catalog, Error, Found, Log, Options, Seek};
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use watched_storage::WatchedStorage;

use crate::support::name;

/// The number of sealed segments that stay open.
const OPEN_SEGMENTS_MAX: u64 = 32;

/// A log with one record in each segment, and no record in memory.
struct Scene {
    watched: WatchedStorage,
    log: Log,
    catalog: Catalog,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new(records: u64) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let watched = WatchedStorage::default();
        let options = Options {
            storage: Arc::new(watched.clone()),
            tail_bytes_max: 0,
            // A sixth of them are data files of sealed segments, and a sixth are indexes.
            open_files: 6 * OPEN_SEGMENTS_MAX as usize,
            // The background scrub opens files too, so it is off. One test scrubs explicitly.
            scrub_bytes_per_second: 0,
            ..Options::new(directory.path())
        };
        let catalog = Catalog::open(options).expect("opened");
        let config = LogConfig { segment_max_count: 1, ..LogConfig::default() };
        let log = catalog.create(&name("log"), config).expect("created");
        for position in 0..records {
            log.append_durably(Records::one(&payload(position))).expect("appended");
        }
        assert!(log.stats().segments >= records, "{:?}", log.stats());
        watched.forget_opens();
        Scene { watched, log, catalog, directory }
    }

    fn check_read(&self, position: u64) {
        match self.log.record(Position(position)).expect("read") {
            Found::Some(record) => assert_eq!(record.payload, payload(position)),
            nothing => panic!("{position}: {nothing:?}"),
        }
    }

    /// Returns the number of open handles of a sealed segment's file and of its index.
    fn open_now(&self, base: u64) -> [usize; 2] {
        [seg(base), idx(base)].map(|name| self.watched.open_now(&name))
    }

    /// Returns how often a sealed segment's file and its index were opened.
    fn opens(&self, base: u64) -> [usize; 2] {
        [seg(base), idx(base)].map(|name| self.watched.opens(&name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("log/0").join(name)
    }
}

fn payload(position: u64) -> Vec<u8> {
    format!("record {position}").into_bytes()
}

fn seg(base: u64) -> String {
    format!("{base:020}.seg")
}

fn idx(base: u64) -> String {
    format!("{base:020}.idx")
}

#[test]
fn a_sealed_segment_that_is_read_repeatedly_is_opened_once() {
    let scene = Scene::new(4);
    let nothing = scene.log.try_record(Position(1));
    assert!(matches!(nothing, Ok(Found::NeedsDisk)), "an open may wait for the disk: {nothing:?}");
    assert_eq!(scene.opens(1), [0, 0]);
    for _ in 0..3 {
        scene.check_read(1);
        scene.log.seek(Seek::Time(0)).expect("the first record");
    }
    let waits = scene.watched.waits();
    let found = scene.log.try_record(Position(1));
    assert!(matches!(found, Ok(Found::Some(_))), "the read does not wait for the disk: {found:?}");
    assert_eq!(scene.watched.waits(), waits);
    assert_eq!((scene.opens(0), scene.opens(1)), ([1, 1], [1, 1]));
    assert_eq!((scene.open_now(0), scene.open_now(1)), ([1, 1], [1, 1]));
    assert_eq!(scene.open_now(2), [0, 0], "segment 2 was not read");
}

/// Regression test. A reader held the file of a segment that was no longer in the cache. Other
/// reads used this file without adding the segment to the cache again. So each of them would have
/// had to open the index.
#[test]
fn a_displaced_segment_is_kept_open_again_by_the_next_read() {
    let scene = Scene::new(OPEN_SEGMENTS_MAX + 2);
    let mut held = scene.log.reader(Position(0)).expect("a reader");
    assert!(matches!(held.read(1), Ok(Found::Some(_))));
    for position in 1..=OPEN_SEGMENTS_MAX {
        scene.check_read(position);
    }
    assert_eq!(scene.open_now(0), [1, 0]);
    assert!(matches!(scene.log.try_record(Position(0)), Ok(Found::NeedsDisk)));
    scene.check_read(0);
    assert!(matches!(scene.log.try_record(Position(0)), Ok(Found::Some(_))));
    drop(held);
    assert_eq!((scene.open_now(0), scene.opens(0)), ([1, 1], [1, 2]));
}

#[test]
fn a_non_blocking_read_waits_for_neither_data_nor_index() {
    let scene = Scene::new(3);
    scene.check_read(0);
    for cold in [".seg", ".idx"] {
        scene.watched.evict_from_cache(Some(cold));
        let waits = scene.watched.waits();
        let found = scene.log.try_record(Position(0));
        assert!(matches!(found, Ok(Found::NeedsDisk)), "{cold}: {found:?}");
        assert_eq!(scene.watched.waits(), waits, "{cold}");
        scene.check_read(0);
    }
    scene.watched.evict_from_cache(None);
    assert!(matches!(scene.log.try_record(Position(0)), Ok(Found::Some(_))));
}

#[test]
fn a_limited_number_of_segments_stays_open_and_the_oldest_are_closed() {
    let scene = Scene::new(OPEN_SEGMENTS_MAX + 20);
    let mut held = scene.log.reader(Position(0)).expect("a reader");
    assert!(matches!(held.read(1), Ok(Found::Some(_))));
    for position in 0..OPEN_SEGMENTS_MAX + 10 {
        scene.check_read(position);
    }
    let count = |end| scene.watched.open_in_all(end) as u64;
    assert_eq!(count(".idx"), OPEN_SEGMENTS_MAX);
    assert_eq!(scene.open_now(0), [1, 0], "a reader holds the file open");
    drop(held);
    for position in 0..OPEN_SEGMENTS_MAX + 10 {
        let expected = usize::from(position >= 10);
        assert_eq!(scene.open_now(position), [expected; 2], "{position}");
        assert_eq!(scene.opens(position), [1, 1], "{position}");
    }
    scene.check_read(0);
    assert_eq!(scene.opens(0), [2, 2]);
    assert_eq!(
        (scene.open_now(0), scene.open_now(10)),
        ([1, 1], [0, 0]),
        "the oldest segment was closed"
    );
    assert_eq!(count(".idx"), OPEN_SEGMENTS_MAX);
}

#[test]
fn a_removed_segment_is_held_open_only_by_its_readers() {
    let scene = Scene::new(5);
    let mut held = scene.log.reader(Position(1)).expect("a reader");
    assert!(matches!(held.read(1), Ok(Found::Some(_))));
    for position in 0..4 {
        scene.check_read(position);
    }
    scene.log.trim(Position(3)).expect("trimmed");
    assert!(!scene.path(&seg(1)).exists());
    let open = [0, 1, 2, 3].map(|base| scene.open_now(base));
    assert_eq!(open, [[0, 0], [1, 0], [0, 0], [1, 1]]);
    drop(held);
    assert_eq!(scene.open_now(1), [0, 0]);
    let gone = scene.log.record(Position(1));
    assert!(matches!(gone, Err(Error::OutOfRange { .. })), "{gone:?}");
}

#[test]
fn a_deleted_truncated_or_closed_log_is_held_open_only_by_its_readers() {
    type End = fn(&Scene);
    let ends: [(&str, End); 3] = [
        ("deleted", |scene| scene.catalog.delete(&name("log")).expect("deleted")),
        ("truncated", |scene| drop(scene.catalog.truncate(&name("log")).expect("truncated"))),
        ("closed", |scene| assert!(scene.catalog.close(Duration::from_secs(30)))),
    ];
    for (what, end) in ends {
        let scene = Scene::new(5);
        let mut held = scene.log.reader(Position(1)).expect("a reader");
        assert!(matches!(held.read(1), Ok(Found::Some(_))));
        for position in 0..4 {
            scene.check_read(position);
        }
        end(&scene);
        // The handle of the log still exists. Segment 0 is not checked, because a truncated log
        // begins with a file of the same name.
        let open = [1, 2, 3].map(|base| scene.open_now(base));
        assert_eq!(open, [[1, 0], [0, 0], [0, 0]], "{what}");
        drop(held);
        assert_eq!(scene.open_now(1), [0, 0], "{what}");
    }
}

#[test]
fn a_scrub_and_a_backup_keep_no_further_segments_open() {
    let scene = Scene::new(OPEN_SEGMENTS_MAX + 10);
    scene.check_read(0);
    assert!(scene.catalog.scrub().is_empty());
    scene.log.backup(&mut Vec::new()).expect("backed up");
    assert_eq!((scene.open_now(0), scene.opens(0)), ([1, 1], [1, 1]));
    assert_eq!(scene.watched.open_in_all(".idx"), 1);
    for position in 1..OPEN_SEGMENTS_MAX + 9 {
        assert_eq!(scene.open_now(position), [0, 0], "{position}");
    }
}

#[test]
fn a_failed_open_is_an_error_until_the_file_can_be_opened() {
    let scene = Scene::new(3);
    for end in [".seg", ".idx"] {
        scene.watched.fail_opens(Some(end));
        for _ in 0..2 {
            let failed = scene.log.record(Position(0));
            assert!(matches!(failed, Err(Error::Io { .. })), "{end}: {failed:?}");
        }
    }
    scene.watched.fail_opens(None);
    scene.check_read(0);
    scene.watched.fail_opens(Some(""));
    scene.check_read(0);
    assert_eq!(scene.log.status(), LogStatus::Ok);
}

#[test]
fn a_missing_or_wrong_index_only_slows_down_reads() {
    let scene = Scene::new(4);
    std::fs::remove_file(scene.path(&idx(0))).expect("removed");
    std::fs::write(scene.path(&idx(1)), vec![7; 1000]).expect("written");
    std::fs::write(scene.path(&idx(2)), b"short").expect("written");
    for _ in 0..2 {
        for position in 0..3 {
            scene.check_read(position);
        }
    }
    assert_eq!(scene.log.status(), LogStatus::Ok);
}

#[test]
fn damage_to_an_open_segment_is_detected() {
    let scene = Scene::new(3);
    scene.check_read(0);
    let bytes = std::fs::read(scene.path(&seg(0))).expect("read");
    let payload = payload(0);
    let at = bytes
        .windows(payload.len())
        .position(|window| window == payload)
        .expect("the record is not compressed");
    let file = std::fs::File::options().write(true).open(scene.path(&seg(0))).expect("opened");
    file.write_all_at(b"R", at as u64).expect("written");
    let damage = scene.log.record(Position(0));
    let Err(Error::CorruptRecord { position: Position(0), .. }) = damage else {
        panic!("{damage:?}")
    };
    assert_eq!(scene.log.status(), LogStatus::Corrupt);
    scene.check_read(1);
}

#[test]
fn concurrent_readers_get_the_right_records_while_segments_come_and_go() {
    let scene = Scene::new(OPEN_SEGMENTS_MAX + 100);
    std::thread::scope(|scope| {
        for reader in 0..4u64 {
            let log = scene.log.clone();
            scope.spawn(move || {
                for step in 0..3000u64 {
                    let position = (step * 7919 + reader * 31) % (OPEN_SEGMENTS_MAX + 100);
                    let tried = log.try_record(Position(position));
                    let found = match tried {
                        Ok(Found::NeedsDisk) => log.record(Position(position)),
                        tried => tried,
                    };
                    match found {
                        Ok(Found::Some(record)) => assert_eq!(record.payload, payload(position)),
                        Err(Error::OutOfRange { .. }) => {}
                        other => panic!("{position}: {other:?}"),
                    }
                }
            });
        }
        for n in 0..50 {
            scene
                .log
                .append_durably(Records::one(&payload(OPEN_SEGMENTS_MAX + 100 + n)))
                .expect("appended");
            scene.log.trim(Position(n)).expect("trimmed");
        }
    });
    for end in [".seg", ".idx"] {
        // The newest segment is open for appends, and the one before it may be open too.
        let open = scene.watched.open_in_all(end) as u64;
        assert!(open <= OPEN_SEGMENTS_MAX + 2, "{open} of {end}");
    }
    for removed in 0..49 {
        assert_eq!(scene.open_now(removed), [0, 0], "{removed}");
    }
}
