//! A catalog with an archive: uploads, evictions, reads, faults, and fences.

use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use styx_archive::manifest::Manifest;
use styx_archive::store::{Options, Store};
use styx_archive::verify::{Depth, verify};
use styx_archive::{Archiver, LogStatus, Probe, Settings};
use styx_engine::{Catalog, Found, Log};
use styx_protocol::{LogConfig, LogName, Position, Records};

use crate::s3::{Fault, S3};
use crate::stores::run;
use crate::versitygw::Versitygw;

const SEGMENT_RECORDS: u64 = 10;

/// A server: a catalog with an archive.
pub(crate) struct Server {
    pub(crate) archiver: Archiver,
    pub(crate) catalog: Catalog,
}

impl Server {
    pub(crate) fn open(directory: &Path, url: &str, store: Options) -> Server {
        Server::open_with(directory, url, store, |_| {})
    }

    pub(crate) fn open_with(
        directory: &Path,
        url: &str,
        store: Options,
        change: impl FnOnce(&mut Settings),
    ) -> Server {
        let mut settings = Settings {
            url: url.to_owned(),
            store,
            max_lag: Duration::from_secs(3600),
            local_bytes_max: Some(0),
            local_age_max: None,
            uploads: 2,
            read_cache_bytes: 64 << 20,
            read_memory_bytes: 8 << 20,
            collect_grace: None,
            cache_directory: directory.to_owned(),
        };
        change(&mut settings);
        let archiver = Archiver::open(settings).expect("open the archive");
        let mut options = styx_engine::Options::new(directory);
        options.depot = Some(archiver.depot());
        let catalog = Catalog::open(options).expect("open the catalog");
        catalog.wait_until_open();
        archiver.start(catalog.clone());
        Server { archiver, catalog }
    }

    pub(crate) fn on_s3(directory: &Path, s3: &S3) -> Server {
        Server::open(directory, &s3.url(), s3.options())
    }

    pub(crate) fn create(&self, log: &str) -> Log {
        let config =
            LogConfig { segment_max_count: SEGMENT_RECORDS as i64, ..LogConfig::default() };
        self.catalog.create(&name(log), config).expect("created")
    }

    pub(crate) fn log(&self, log: &str) -> Log {
        self.catalog.log(&name(log)).expect("the log is open")
    }

    /// Stops it, as a crash of the archive would: nothing is finished.
    pub(crate) fn stop(self) {
        self.archiver.stop(Duration::from_secs(10));
        assert!(self.catalog.close(Duration::from_secs(10)));
    }
}

pub(crate) fn name(log: &str) -> LogName {
    log.parse().expect("a name")
}

pub(crate) fn append(log: &Log, records: u64) {
    let begin = log.end_position().0;
    for position in begin..begin + records {
        log.append_durably(Records::one(&payload(position))).expect("appended");
    }
}

fn payload(position: u64) -> Vec<u8> {
    format!("record {position} {}", "x".repeat(position as usize % 50)).into_bytes()
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "not reached: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn wait_for_archived(log: &Log, position: u64) {
    wait_until(&format!("archived up to {position}"), || {
        log.archived_position() == Some(Position(position))
    });
}

/// Reads all records and compares them.
pub(crate) fn check_records(log: &Log, from: u64, to: u64) {
    let mut reader = log.reader(Position(from)).expect("a reader");
    for position in from..to {
        let record = loop {
            match reader.record().expect("readable") {
                Found::Some(record) => break record,
                Found::NeedsStore(fetch) => reader.keep(run(fetch).expect("fetched")),
                other => panic!("at {position}: {other:?}"),
            }
        };
        assert_eq!(record.position, Position(position));
        assert_eq!(record.payload.to_vec(), payload(position), "position {position}");
    }
    assert_eq!(log.end_position(), Position(to));
}

/// The manifest of a log, read from the store.
pub(crate) fn manifest(store: &Store, log: &Log) -> Manifest {
    let key = format!("logs/{}/manifest", log.id());
    let (bytes, _) = run(store.get(&key, 16 << 20)).expect("the manifest exists");
    Manifest::decode(&bytes).expect("a manifest")
}

fn archives_evicts_and_reads(url: &str, options: Options) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let server = Server::open(directory.path(), url, options.clone());
    assert_eq!(server.archiver.probe(Duration::from_secs(30)), Ok(Probe::Reliable));
    let log = server.create("log");
    append(&log, 55);
    wait_for_archived(&log, 50);
    wait_until("evicted", || local_segments(&log) == 2);
    check_records(&log, 0, 55);
    assert_eq!(server.archiver.log_status(&name("log")), LogStatus::Archiving);

    let store = server.archiver.store().clone();
    let manifest = manifest(&store, &log);
    assert_eq!((manifest.entries.len(), manifest.end()), (5, Some(Position(50))));
    let verified = verify(&store, Depth::Bodies, &mut |_| {}).expect("verified");
    assert_eq!((verified.logs, verified.segments, verified.problems), (1, 5, vec![]));

    drop(log);
    server.stop();
    let server = Server::open(directory.path(), url, options);
    let log = server.log("log");
    check_records(&log, 0, 55);
    append(&log, 10);
    wait_for_archived(&log, 60);
    check_records(&log, 0, 65);
    drop(log);
    server.stop();
}

pub(crate) fn local_segments(log: &Log) -> usize {
    let places = log.segments();
    places.iter().filter(|segment| segment.place != styx_engine::Place::Remote).count()
}

#[test]
fn sealed_segments_are_archived_evicted_and_read_from_s3() {
    let s3 = S3::start();
    archives_evicts_and_reads(&s3.url(), s3.options());
}

#[test]
fn sealed_segments_are_archived_evicted_and_read_from_a_directory() {
    let archive = tempfile::tempdir().expect("temporary directory");
    let url = format!("file://{}", archive.path().display());
    archives_evicts_and_reads(&url, Options::default());
}

#[test]
fn sealed_segments_are_archived_evicted_and_read_from_versitygw() {
    if let Some(server) = Versitygw::start() {
        archives_evicts_and_reads("s3://bucket/prefix", server.options());
    }
}

#[test]
fn small_segment_costs_four_writes_and_an_idle_log_costs_no_request() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.create("log");
    append(&log, 15);
    wait_for_archived(&log, 10);
    let before = s3.requests(Method::PUT, "logs/");
    append(&log, 10);
    wait_for_archived(&log, 20);
    assert!(s3.requests(Method::PUT, "logs/") <= before + 4);
    drop(log);
    server.stop();

    let before = s3.all_requests();
    let server = Server::on_s3(directory.path(), &s3);
    append(&server.log("log"), 1);
    server.stop();
    assert_eq!(s3.all_requests(), before);
}

#[test]
fn every_fault_of_the_store_only_delays_archiving() {
    let s3 = S3::start();
    let faults = [
        (".seg", Fault::LieAfter(503)),
        (".seg", Fault::CutBefore),
        (".seg", Fault::Lose),
        (".idx", Fault::CutAfter),
        (".idx", Fault::Lose),
        (".producers", Fault::Refuse(500)),
        ("manifest", Fault::LieAfter(503)),
        ("manifest", Fault::CutAfter),
        ("manifest", Fault::CutBefore),
        ("manifest", Fault::LieAfter(412)),
        ("manifest", Fault::Refuse(412)),
        ("manifest", Fault::Refuse(503)),
    ];
    let directory = tempfile::tempdir().expect("temporary directory");
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.create("log");
    append(&log, 5);
    for (key, fault) in faults {
        s3.order(Method::PUT, key, 1, fault);
        append(&log, SEGMENT_RECORDS);
        wait_for_archived(&log, log.end_position().0 - 5);
    }
    let segments = faults.len() as u64;
    let archived = manifest(server.archiver.store(), &log);
    assert_eq!(archived.entries.len() as u64, segments, "each segment is there once");
    check_records(&log, 0, segments * SEGMENT_RECORDS + 5);
    let verified = verify(server.archiver.store(), Depth::Bodies, &mut |_| {}).expect("verified");
    assert_eq!(verified.problems, Vec::<String>::new());
    drop(log);
    server.stop();
}

#[test]
fn outage_is_reported_and_survived() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    s3.set_away(true);
    let server = Server::on_s3(directory.path(), &s3);
    let probed = server.archiver.probe(Duration::from_secs(30));
    assert!(matches!(probed, Ok(Probe::Unreachable(_))), "{probed:?}");
    let log = server.create("log");
    append(&log, 35);
    wait_until("the failure is known", || !server.archiver.stats().is_available);
    let stats = server.archiver.stats();
    assert!(stats.last_error.is_some_and(|error| error.contains("503")));
    assert!(stats.lag_bytes > 0);
    assert!(matches!(server.archiver.log_status(&name("log")), LogStatus::Waiting(_)));
    check_records(&log, 0, 35);
    s3.set_away(false);
    wait_for_archived(&log, 30);
    wait_until("the lag is gone", || server.archiver.stats().lag_bytes == 0);
    assert!(server.archiver.stats().is_available);
    drop(log);
    server.stop();
}

#[test]
fn entry_that_only_the_manifest_has_is_recorded_without_an_upload() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::open_with(directory.path(), &s3.url(), s3.options(), |settings| {
        settings.local_bytes_max = None;
    });
    let log = server.create("log");
    append(&log, 25);
    wait_for_archived(&log, 20);
    drop(log);
    server.stop();
    // As after a crash before the list was written.
    std::fs::remove_file(directory.path().join("log/0/archive")).expect("remove the list");
    let uploads = s3.requests(Method::PUT, ".seg");

    let server = Server::on_s3(directory.path(), &s3);
    wait_for_archived(&server.log("log"), 20);
    assert_eq!(s3.requests(Method::PUT, ".seg"), uploads);
    assert_eq!(server.archiver.stats().healed, 2);
    server.stop();
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("create");
    for entry in std::fs::read_dir(from).expect("list") {
        let entry = entry.expect("list");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), &target).expect("copy")),
        }
    }
}

/// The copy opens the log with the same epoch as the original, so the epoch alone would let both
/// write the same keys.
#[test]
fn copy_of_a_data_directory_is_fenced() {
    let [original, copied] = [0, 1].map(|_| tempfile::tempdir().expect("temporary directory"));
    let s3 = S3::start();
    let server = Server::on_s3(original.path(), &s3);
    let log = server.create("log");
    append(&log, 25);
    wait_for_archived(&log, 20);
    drop(log);
    server.stop();
    copy(original.path(), copied.path());

    let first = Server::on_s3(original.path(), &s3);
    let log = first.log("log");
    append(&log, 10);
    wait_for_archived(&log, 30);
    let second = Server::on_s3(copied.path(), &s3);
    let other = second.log("log");
    assert_eq!(other.open_epoch(), log.open_epoch());
    other.append_durably(Records::one(b"another history")).expect("appended");
    append(&other, 10);
    wait_until("the copy is fenced", || {
        matches!(second.archiver.log_status(&name("log")), LogStatus::Fenced { .. })
    });
    assert_eq!(second.archiver.stats().fenced, 1);
    append(&log, 10);
    wait_for_archived(&log, 40);
    check_records(&log, 0, 45);
    let verified = verify(first.archiver.store(), Depth::Bodies, &mut |_| {}).expect("verified");
    assert_eq!(verified.problems, Vec::<String>::new());
    drop((log, other));
    first.stop();
    second.stop();
}

/// A copy of the directory could delete a log that is idle in the original. The original takes it
/// back with its next segment.
#[test]
fn copy_of_a_data_directory_cannot_delete_the_archive_of_a_log_in_use() {
    let [original, copied] = [0, 1].map(|_| tempfile::tempdir().expect("temporary directory"));
    let s3 = S3::start();
    let server = Server::on_s3(original.path(), &s3);
    append(&server.create("log"), 25);
    wait_for_archived(&server.log("log"), 20);
    server.stop();
    copy(original.path(), copied.path());

    let first = Server::on_s3(original.path(), &s3);
    let log = first.log("log");
    append(&log, 10);
    wait_for_archived(&log, 30);
    let second = Server::on_s3(copied.path(), &s3);
    // It can be removed before the copy has looked at it for the first time.
    let before = s3.requests(Method::GET, "manifest");
    second.catalog.delete(&name("log")).expect("deleted");
    wait_until("the manifest was read", || s3.requests(Method::GET, "manifest") > before);
    second.stop();
    assert_eq!(manifest(first.archiver.store(), &log).deleted_us, None);
    drop(log);
    first.stop();

    let third = Server::on_s3(original.path(), &s3);
    let log = third.log("log");
    let mut marked = manifest(third.archiver.store(), &log);
    marked.deleted_us = Some(1);
    s3.change(&format!("logs/{}/manifest", log.id()), |object| object.bytes = marked.encode());
    append(&log, 10);
    wait_for_archived(&log, 40);
    assert_eq!(manifest(third.archiver.store(), &log).deleted_us, None);
    drop(log);
    third.stop();
}

#[test]
fn full_disk_evicts_archived_segments_early_even_while_the_store_is_away() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::open_with(directory.path(), &s3.url(), s3.options(), |settings| {
        settings.local_bytes_max = None;
    });
    let log = server.create("log");
    append(&log, 55);
    wait_for_archived(&log, 50);
    assert_eq!(local_segments(&log), 6);
    // Its files are on the same disk.
    let other = server.create("other");
    append(&other, 35);
    wait_for_archived(&other, 30);
    assert_eq!(local_segments(&other), 4);
    s3.set_away(true);
    append(&log, 10);
    wait_until("the failure is known", || !server.archiver.stats().is_available);
    server.archiver.depot().disk_is_short(log.name(), log.id());
    wait_until("evicted", || local_segments(&log) < 6 && local_segments(&other) < 4);
    s3.set_away(false);
    wait_for_archived(&log, 60);
    check_records(&log, 0, 65);
    check_records(&other, 0, 35);
    drop((log, other));
    server.stop();
}

/// A server whose uploads are limited, and a log with two segments of 1 MB.
fn limited(directory: &Path, archive: &Path, bytes_per_second: u64) -> (Server, Log) {
    let url = format!("file://{}", archive.display());
    let options = Options { upload_bytes_per_second: Some(bytes_per_second), ..Options::default() };
    let server = Server::open(directory, &url, options);
    let log = server.create("log");
    for _ in 0..2 * SEGMENT_RECORDS {
        log.append_durably(Records::one(&[7; 100_000])).expect("appended");
    }
    append(&log, 1);
    (server, log)
}

/// Segments of fast producers are read from the disk to which the producers write.
#[test]
fn limit_of_uploads_also_limits_the_reads_before_them() {
    let (directory, archive) = (tempfile::tempdir(), tempfile::tempdir());
    let (directory, archive) = (directory.expect("a directory"), archive.expect("a directory"));
    let started = Instant::now();
    let (server, log) = limited(directory.path(), archive.path(), 2_000_000);
    wait_for_archived(&log, 2 * SEGMENT_RECORDS);
    // A directory has no limit of its own, so only the reads are slow.
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    drop(log);
    server.stop();
}

#[test]
fn stop_does_not_wait_for_a_limited_read_and_the_segment_is_archived_later() {
    let (directory, archive) = (tempfile::tempdir(), tempfile::tempdir());
    let (directory, archive) = (directory.expect("a directory"), archive.expect("a directory"));
    // The read of a segment takes 15 seconds.
    let (server, log) = limited(directory.path(), archive.path(), 64 << 10);
    let end = 2 * SEGMENT_RECORDS;
    // The check has begun by then, except on a very busy machine.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(log.archived_position(), Some(Position(0)));
    drop(log);
    let started = Instant::now();
    assert!(server.archiver.stop(Duration::from_secs(60)));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(server.catalog.close(Duration::from_secs(10)));
    let url = format!("file://{}", archive.path().display());
    let server = Server::open(directory.path(), &url, Options::default());
    let log = server.log("log");
    wait_for_archived(&log, end);
    drop(log);
    server.stop();
}

#[test]
fn damaged_segment_is_never_archived() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    s3.set_away(true);
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.create("log");
    append(&log, 15);
    let file = directory.path().join("log/0").join(format!("{:020}.seg", 0));
    let mut bytes = std::fs::read(&file).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("write");
    s3.set_away(false);
    wait_until("halted", || {
        matches!(server.archiver.log_status(&name("log")), LogStatus::Halted(_))
    });
    assert_eq!(server.archiver.stats().halted, 1);
    assert_eq!(s3.requests(Method::PUT, ".seg"), 0);
    drop(log);
    server.stop();
}

/// The archiver is told of a removal, and then killed, or the store is away.
#[test]
fn removed_log_is_marked_after_a_restart() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let store = s3.store();
    let server = Server::on_s3(directory.path(), &s3);
    for log in ["deleted", "truncated", "kept"] {
        append(&server.create(log), 25);
        wait_for_archived(&server.log(log), 20);
    }
    let [deleted, truncated, kept] = ["deleted", "truncated", "kept"].map(|log| server.log(log));
    s3.set_away(true);
    server.catalog.delete(&name("deleted")).expect("deleted");
    server.catalog.truncate(&name("truncated")).expect("truncated");
    server.stop();
    let removals = directory.path().join("archive.removals");
    // The server is killed after it was told, and before the log is removed.
    let mut text = std::fs::read_to_string(&removals).expect("the removals are known");
    text.push_str(&format!("+ {:032x} 1 kept {:032x}\n", kept.id().0, 7));
    std::fs::write(&removals, text).expect("written");

    s3.set_away(false);
    let server = Server::on_s3(directory.path(), &s3);
    for log in [&deleted, &truncated] {
        wait_until("the manifest is marked", || manifest(&store, log).deleted_us.is_some());
    }
    wait_until("no removal waits", || !removals.exists());
    append(&server.log("kept"), 10);
    wait_for_archived(&server.log("kept"), 30);
    assert_eq!(manifest(&store, &kept).deleted_us, None);
    append(&server.log("truncated"), 25);
    wait_for_archived(&server.log("truncated"), 20);
    drop((deleted, truncated, kept));
    server.stop();
}

#[test]
fn old_segment_is_ended_so_that_it_is_archived() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::open_with(directory.path(), &s3.url(), s3.options(), |settings| {
        settings.max_lag = Duration::from_secs(1);
    });
    let log = server.create("log");
    append(&log, 3);
    wait_for_archived(&log, 3);
    drop(log);
    server.stop();
}

/// The clock ticks each second here, and each minute with the recommended lag.
#[test]
fn idle_server_sends_no_request() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::open_with(directory.path(), &s3.url(), s3.options(), |settings| {
        settings.max_lag = Duration::from_secs(1);
        settings.collect_grace = Some(Duration::ZERO);
    });
    for log in ["a", "b"] {
        append(&server.create(log), 15);
        wait_for_archived(&server.log(log), 15);
        wait_until("evicted", || local_segments(&server.log(log)) == 2);
    }
    let before = s3.all_requests();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(s3.all_requests(), before);
    append(&server.log("a"), 1);
    wait_for_archived(&server.log("a"), 16);
    server.stop();
}
