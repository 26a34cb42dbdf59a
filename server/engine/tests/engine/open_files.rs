//! Tests of many logs with few descriptors: the files of idle logs are closed and opened again, and
//! no record is lost by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_engine::{Catalog, Error, Found, Log, Options};
use styx_protocol::{Code, LogConfig, LogStatus, Position};
use tempfile::TempDir;

use crate::open_segments::watched_storage::{Call, WatchedStorage};
use crate::support::{close, name, read_all, records};

/// The number of the system for "too many open files".
const EMFILE: i32 = 24;
/// The number of the system for "no space left".
const ENOSPC: i32 = 28;
/// The number of the system for an I/O error.
const EIO: i32 = 5;

/// The newest segment of a log that never rolled.
const FIRST: &str = "00000000000000000000.seg";

fn options(directory: &Path, open_files: usize) -> Options {
    Options { open_files, scrub_bytes_per_second: 0, ..Options::new(directory) }
}

fn open(options: Options) -> Catalog {
    let catalog = Catalog::open(options).expect("opened");
    catalog.wait_until_open();
    catalog
}

fn create(catalog: &Catalog, log: &str) -> Log {
    catalog.create(&name(log), LogConfig::default()).expect("created")
}

fn append(log: &Log, payload: &str) {
    log.append_durably(records([payload])).expect("durable");
}

/// The files in this directory that this process has open.
fn open_files(directory: &Path) -> Vec<PathBuf> {
    let descriptors = fs::read_dir("/proc/self/fd").expect("listed");
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(directory)).collect()
}

/// Returns when the newest segment of this log is closed. A log whose commit is not over yet, after
/// its ack, keeps its file until the next file is opened.
fn until_closed(catalog: &Catalog, directory: &Path, log: &str) {
    let directory = directory.join(log);
    let logs = catalog.logs().len();
    for n in logs..logs + 100 {
        if open_files(&directory).iter().all(|path| path.ends_with("watermark")) {
            return;
        }
        create(catalog, &format!("another-{n}"));
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{log} is still open");
}

/// Two logs with one record each, and descriptors for one newest segment: that of `a` is closed.
struct Pair {
    directory: TempDir,
    watched: WatchedStorage,
    catalog: Catalog,
    a: Log,
    b: Log,
}

impl Pair {
    fn new(config: LogConfig) -> Pair {
        let directory = tempfile::tempdir().expect("a directory");
        let watched = WatchedStorage::default();
        let options =
            Options { storage: Arc::new(watched.clone()), ..options(directory.path(), 3) };
        let catalog = open(options);
        let [a, b] = ["a", "b"].map(|log| catalog.create(&name(log), config).expect("created"));
        append(&a, "a0");
        until_closed(&catalog, directory.path(), "a");
        append(&b, "b0");
        Pair { directory, watched, catalog, a, b }
    }

    /// Checks the records of `a`, also after a restart.
    fn check_a(self, expected: &[&[u8]]) {
        assert_eq!(self.a.status(), LogStatus::Ok);
        assert_eq!(read_all(&self.a), expected);
        close(self.catalog);
        let catalog = open(options(self.directory.path(), 3));
        assert_eq!(read_all(&catalog.log(&name("a")).expect("open")), expected);
    }
}

#[test]
fn two_hundred_logs_work_with_sixteen_descriptors() {
    let directory = tempfile::tempdir().expect("a directory");
    // Besides the limit: the lock of the data directory, a watermark that is being written, and
    // files that a read or a roll has just opened.
    let check = |doing: &str| {
        let open = open_files(directory.path());
        assert!(open.len() <= 16 + 6, "{doing}: {} are open: {open:?}", open.len());
    };
    let names: Vec<String> = (0..200).map(|n| format!("log-{n}")).collect();
    let get = |catalog: &Catalog, log: &str| catalog.log(&name(log)).expect("open");
    let config = LogConfig { segment_max_count: 2, ..LogConfig::default() };

    let catalog = open(options(directory.path(), 16));
    for log in &names {
        catalog.create(&name(log), config).expect("created");
        check("create");
    }
    for round in 0..3 {
        for log in &names {
            append(&get(&catalog, log), &format!("{log} {round}"));
            check("append");
        }
    }
    let handles: Vec<Log> = names.iter().map(|log| get(&catalog, log)).collect();
    close(catalog);
    let open_now = open_files(directory.path());
    assert!(open_now.is_empty(), "{} are still open: {open_now:?}", open_now.len());
    drop(handles);

    let catalog = open(options(directory.path(), 16));
    check("restart");
    let expected = |log: &str, rounds: usize| -> Vec<Vec<u8>> {
        (0..rounds).map(|round| format!("{log} {round}").into_bytes()).collect()
    };
    for log in &names {
        assert_eq!(read_all(&get(&catalog, log)), expected(log, 3));
        check("read");
    }
    for (n, log) in names.iter().enumerate() {
        match n % 4 {
            0 => catalog.delete(&name(log)).expect("deleted"),
            1 => append(&catalog.truncate(&name(log)).expect("truncated"), &format!("{log} 0")),
            2 => get(&catalog, log).backup(&mut Vec::new()).expect("backed up"),
            _ => get(&catalog, log).trim(Position(2)).expect("trimmed"),
        }
        check("change");
    }
    let check_records = |catalog: &Catalog| {
        for (n, log) in names.iter().enumerate() {
            match n % 4 {
                0 => assert!(catalog.log(&name(log)).is_err(), "{log}"),
                1 => assert_eq!(read_all(&get(catalog, log)), expected(log, 1)),
                2 => assert_eq!(read_all(&get(catalog, log)), expected(log, 3)),
                _ => assert_eq!(read_all(&get(catalog, log)), expected(log, 3)[2..]),
            }
        }
    };
    check_records(&catalog);
    close(catalog);
    check_records(&open(options(directory.path(), 16)));
}

#[test]
fn concurrent_appends_to_more_logs_than_open_files_keep_every_record() {
    let directory = tempfile::tempdir().expect("a directory");
    let names: Vec<String> = (0..8).map(|n| format!("log-{n}")).collect();
    let catalog = open(options(directory.path(), 6));
    let config = LogConfig { segment_max_count: 7, ..LogConfig::default() };
    for log in &names {
        catalog.create(&name(log), config).expect("created");
    }
    std::thread::scope(|scope| {
        for log in names.iter().chain(&names) {
            let log = catalog.log(&name(log)).expect("open");
            scope.spawn(move || {
                for _ in 0..40 {
                    let end = log.append_durably(records(["x"])).expect("durable").end;
                    assert!(read_all(&log).len() as u64 >= end.0, "an acked record can be read");
                }
            });
        }
    });
    let check = |catalog: &Catalog| {
        for log in &names {
            let log = catalog.log(&name(log)).expect("open");
            assert_eq!(log.status(), LogStatus::Ok);
            assert_eq!(read_all(&log).len(), 80);
        }
    };
    check(&catalog);
    close(catalog);
    check(&open(options(directory.path(), 6)));
}

#[test]
fn a_reader_that_waits_at_the_end_keeps_no_file_open() {
    let directory = tempfile::tempdir().expect("a directory");
    // Nothing is read from memory.
    let catalog = open(Options { tail_bytes_max: 0, ..options(directory.path(), 3) });
    let config = LogConfig { segment_max_count: 1, ..LogConfig::default() };
    let [a, b] = ["a", "b"].map(|log| catalog.create(&name(log), config).expect("created"));
    append(&a, "a0");
    until_closed(&catalog, directory.path(), "a");
    append(&b, "b0");
    append(&b, "b1");
    let mut reader = a.reader(Position(0)).expect("a reader");
    assert!(matches!(reader.read(1 << 16), Ok(Found::Some(_))));
    assert!(matches!(reader.read(1 << 16), Ok(Found::AtEnd)));
    assert_eq!(read_all(&b).len(), 2, "its first segment is the one that stays open");
    let open = open_files(&directory.path().join("a"));
    assert!(open.iter().all(|path| path.ends_with("watermark")), "{open:?}");
    append(&a, "a1");
    assert!(matches!(reader.read(1 << 16), Ok(Found::Some(_))));
}

#[test]
fn a_replaced_removed_or_shortened_file_of_an_idle_log_is_noticed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("replaced", |path| {
            let copy = path.with_extension("copy");
            fs::copy(path, &copy).expect("copied");
            fs::rename(copy, path).expect("replaced");
        }),
        ("removed", |path| fs::remove_file(path).expect("removed")),
        ("shortened", |path| {
            fs::File::options().write(true).open(path).expect("opened").set_len(70).expect("cut");
        }),
    ];
    for (what, change) in changes {
        let directory = tempfile::tempdir().expect("a directory");
        let catalog = open(options(directory.path(), 3));
        let [a, b] = ["a", "b"].map(|log| create(&catalog, log));
        append(&a, "a0");
        until_closed(&catalog, directory.path(), "a");
        append(&b, "b0");
        let path = directory.path().join("a/0").join(FIRST);
        change(&path);
        let before = fs::read(&path).ok();
        let error = a.append_durably(records(["a1"])).expect_err(what);
        assert_eq!(error.code(), Code::OutcomeUnknown, "{what}: {error}");
        assert_eq!(a.status(), LogStatus::Tainted, "{what}");
        assert_eq!(fs::read(&path).ok(), before, "{what}: the file is not changed");
        append(&b, "b1");
    }
}

#[test]
fn an_append_without_a_descriptor_is_refused_and_the_log_continues() {
    let pair = Pair::new(LogConfig::default());
    pair.watched.fail(Call::Open, ".seg", EMFILE);
    for _ in 0..2 {
        let error = pair.a.append_durably(records(["lost"])).expect_err("no descriptor");
        assert_eq!(error.code(), Code::Overloaded, "{error}");
    }
    append(&pair.b, "b1");
    pair.watched.succeed();
    append(&pair.a, "a1");
    pair.check_a(&[b"a0", b"a1"]);
}

#[test]
fn a_roll_without_a_descriptor_is_refused_and_the_log_continues() {
    let config = LogConfig { segment_max_count: 1, ..LogConfig::default() };
    // The old segment, the snapshot of the producers, the new segment, and the directory.
    for end in ["00.seg", "", "01.seg.tmp", "a/0"] {
        let pair = Pair::new(config);
        pair.watched.fail(Call::Open, end, EMFILE);
        let failures = pair.watched.failures();
        for _ in 0..2 {
            let error = pair.a.append_durably(records(["lost"]));
            if pair.watched.failures() == failures {
                continue;
            }
            let error = error.expect_err("no descriptor");
            assert_eq!(error.code(), Code::Overloaded, "{end}: {error}");
        }
        assert!(pair.watched.failures() > failures, "{end}: nothing failed");
        assert_eq!(pair.a.status(), LogStatus::Ok, "{end}");
        pair.watched.succeed();
        append(&pair.a, "a1");
        append(&pair.a, "a2");
        pair.check_a(&[b"a0", b"a1", b"a2"]);
    }
}

#[test]
fn a_watermark_without_a_descriptor_is_written_later() {
    let pair = Pair::new(LogConfig::default());
    pair.watched.fail(Call::Open, "watermark", EMFILE);
    let failures = pair.watched.failures();
    append(&pair.a, "a1");
    wait_until("two attempts", || pair.watched.failures() >= failures + 2);
    let opens = pair.watched.opens("watermark");
    pair.watched.succeed();
    wait_until("the watermark is written", || pair.watched.opens("watermark") > opens);
    pair.check_a(&[b"a0", b"a1"]);
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within 60 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A write that found the disk full leaves zeros or reserved space that are not synced.
#[test]
fn a_file_that_is_not_synced_is_synced_before_it_is_closed() {
    let pair = Pair::new(LogConfig::default());
    let full = |log: &Log| log.append_durably(records(vec![vec![7; 100 << 10]]));
    let path = "a/0/00000000000000000000.seg";
    pair.watched.fail(Call::Write, path, ENOSPC);
    let error = full(&pair.a).expect_err("the disk is full");
    assert!(matches!(error, Error::StorageFull { .. }), "{error}");
    pair.watched.succeed();

    let syncs = pair.watched.syncs(path);
    until_closed(&pair.catalog, pair.directory.path(), "a");
    assert_eq!(pair.watched.syncs(path), syncs + 1);
    append(&pair.a, "a1");
    pair.check_a(&[b"a0", b"a1"]);
}

#[test]
fn a_failed_sync_before_a_file_is_closed_stops_the_appends_of_its_log() {
    let pair = Pair::new(LogConfig::default());
    let path = "a/0/00000000000000000000.seg";
    pair.watched.fail(Call::Write, path, ENOSPC);
    let _ = pair.a.append_durably(records(vec![vec![7; 100 << 10]])).expect_err("full");
    pair.watched.succeed();
    pair.watched.fail(Call::Sync, path, EIO);
    until_closed(&pair.catalog, pair.directory.path(), "a");
    pair.watched.succeed();
    assert_eq!(pair.a.status(), LogStatus::Tainted);
    let _ = pair.a.append_durably(records(["a1"])).expect_err("appends have stopped");
    assert_eq!(read_all(&pair.a), [b"a0"]);
    append(&pair.b, "b2");
}
