//! Restores: from the archive to a new data directory.

use std::path::Path;
use std::time::Duration;

use http::Method;
use styx_archive::Settings;
use styx_archive::collect::{CollectOptions, collect};
use styx_archive::download::download;
use styx_archive::manifest::Manifest;
use styx_archive::restore::{Outcome, RestoreOptions, Restored, restore};
use styx_archive::selection::{LeftOut, Wanted};
use styx_archive::status::status;
use styx_archive::store::Kind;
use styx_engine::Place;
use styx_engine::archive::Lineage;
use styx_protocol::{LogId, Position};

use crate::archiving::{
    Server, append, check_records, manifest, name, wait_for_archived, wait_until,
};
use crate::s3::{Fault, S3};

pub(crate) fn options(directory: &Path) -> RestoreOptions {
    RestoreOptions { data_directory: directory.to_owned(), logs: Wanted::All, until_us: None }
}

/// An archive with a log of 50 archived records, trimmed to 20, and one of 10.
fn archive() -> (S3, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    let [log, other] = ["log", "other"].map(|log| server.create(log));
    append(&log, 25);
    log.trim(Position(20)).expect("trimmed");
    append(&log, 30);
    append(&other, 15);
    wait_for_archived(&log, 50);
    wait_for_archived(&other, 10);
    drop((log, other));
    server.stop();
    (s3, directory)
}

fn restored(s3: &S3, directory: &Path) -> Vec<Restored> {
    let outcome = restore(&s3.store(), &options(directory), &mut |_| {}).expect("restored");
    assert_eq!(outcome.left_out, []);
    outcome.restored
}

#[test]
fn restored_logs_have_every_archived_record_and_continue() {
    let (s3, _lost) = archive();
    let directory = tempfile::tempdir().expect("temporary directory");
    let before = s3.requests(Method::GET, ".seg");
    let logs = restored(&s3, directory.path());
    assert_eq!(s3.requests(Method::GET, ".seg"), before, "no segment is read");
    let shown: Vec<_> =
        logs.iter().map(|log| (log.log.as_str(), log.start.0, log.end.0, log.segments)).collect();
    assert_eq!(shown, [("log", 20, 50, 3), ("other", 0, 10, 1)]);
    assert!(logs.iter().all(|log| log.id != log.from));

    let server = Server::on_s3(directory.path(), &s3);
    let log = server.log("log");
    check_records(&log, 20, 50);
    append(&log, 25);
    wait_for_archived(&log, 70);
    check_records(&log, 20, 75);
    let continued = manifest(server.archiver.store(), &log);
    assert_eq!(continued.entries.len(), 5);
    assert_eq!(continued.lineage, Lineage::default().restored(logs[0].from, Position(50)));
    drop(log);
    server.stop();
}

#[test]
fn downloaded_logs_need_no_store() {
    let (s3, _lost) = archive();
    let directory = tempfile::tempdir().expect("temporary directory");
    let logs = restored(&s3, directory.path());
    let mut shown = Vec::new();
    let bytes = download(&s3.store(), directory.path(), &logs, &mut |progress| {
        shown.push((progress.done, progress.total));
    });
    let total = logs.iter().map(|log| log.bytes).sum();
    assert_eq!(bytes, Ok(total));
    assert_eq!(shown.last(), Some(&(total, total)));

    s3.set_away(true);
    let keep = |settings: &mut Settings| settings.local_bytes_max = None;
    let server = Server::open_with(directory.path(), &s3.url(), s3.options(), keep);
    check_records(&server.log("log"), 20, 50);
    check_records(&server.log("other"), 0, 10);
    let places = server.log("log").segments();
    assert!(places.iter().all(|segment| segment.place != Place::Remote));
    server.stop();
}

#[test]
fn damaged_object_is_not_downloaded() {
    let (s3, _lost) = archive();
    let directory = tempfile::tempdir().expect("temporary directory");
    let logs = restored(&s3, directory.path());
    let wanted = format!("logs/{}/{:020}-", logs[0].from, 20);
    let is_wanted = |key: &String| key.starts_with(&wanted) && key.ends_with(".seg");
    let key = s3.keys().into_iter().find(is_wanted).expect("a segment");
    s3.change(&key, |object| {
        let mut bytes = object.bytes.to_vec();
        bytes[100] ^= 1;
        object.bytes = bytes.into();
    });
    let error = download(&s3.store(), directory.path(), &logs, &mut |_| {}).expect_err("damaged");
    assert_eq!(error.kind, Kind::Damaged);
    assert!(error.to_string().contains(&key), "{error}");
}

#[test]
fn second_restore_takes_the_restored_log_and_not_its_ancestor() {
    let (s3, _lost) = archive();
    let first = tempfile::tempdir().expect("temporary directory");
    restored(&s3, first.path());
    let server = Server::on_s3(first.path(), &s3);
    let log = server.log("log");
    append(&log, 15);
    wait_for_archived(&log, 60);
    let id = log.id();
    drop(log);
    server.stop();

    let second = tempfile::tempdir().expect("temporary directory");
    let logs = restored(&s3, second.path());
    assert_eq!((logs[0].from, logs[0].end), (id, Position(60)));
    let server = Server::on_s3(second.path(), &s3);
    check_records(&server.log("log"), 20, 60);
    server.stop();
}

#[test]
fn one_log_is_restored_up_to_a_time() {
    let (s3, lost) = archive();
    let store = s3.store();
    let server = Server::on_s3(lost.path(), &s3);
    let entries = manifest(&store, &server.log("log")).entries;
    server.stop();
    let directory = tempfile::tempdir().expect("temporary directory");
    let chosen = RestoreOptions {
        logs: Wanted::Name(name("log")),
        until_us: Some(entries[1].last_timestamp_us),
        ..options(directory.path())
    };
    let logs = restore(&store, &chosen, &mut |_| {}).expect("restored").restored;
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].end, entries[1].end);
    let server = Server::on_s3(directory.path(), &s3);
    check_records(&server.log("log"), 20, entries[1].end.0);
    server.stop();
}

#[test]
fn restore_changes_nothing_in_the_store_and_no_existing_log() {
    let (s3, lost) = archive();
    let (keys, writes) = (s3.keys(), s3.requests(Method::PUT, ""));
    let directory = tempfile::tempdir().expect("temporary directory");
    restored(&s3, directory.path());
    assert_eq!((s3.keys(), s3.requests(Method::PUT, "")), (keys, writes));

    let outcome = restore(&s3.store(), &options(lost.path()), &mut |_| {}).expect("left out");
    assert_eq!(outcome.restored, []);
    assert_eq!(outcome.left_out.len(), 2);
    for left_out in outcome.left_out {
        let LeftOut::Unusable { why, .. } = left_out else { panic!("{left_out:?}") };
        assert!(why.contains("another log with this name"), "{why}");
    }
    let absent = RestoreOptions { logs: Wanted::Name(name("absent")), ..options(directory.path()) };
    let error = restore(&s3.store(), &absent, &mut |_| {}).expect_err("absent");
    assert_eq!(error.kind, Kind::Missing);
}

/// Every answer of the store takes 20 ms. `STYX_RESTORED_LOGS` has the number of logs.
#[test]
fn many_logs_are_restored_at_the_same_time() {
    let logs: usize =
        std::env::var("STYX_RESTORED_LOGS").map_or(100, |logs| logs.parse().expect("a number"));
    let (s3, _lost) = archive();
    let id = status(&s3.store(), &mut |_| {}).expect("read").logs[0].id;
    let key = format!("logs/{id}/manifest");
    let bytes = s3.object(&key).expect("it exists").bytes;
    let original = Manifest::decode(&bytes).expect("a manifest");
    for log in 0..logs {
        let mut copied = original.clone();
        copied.id = LogId(log as u128);
        copied.name = name(&format!("copy-{log}"));
        s3.put(&format!("logs/{}/manifest", copied.id), &copied.encode(), Duration::ZERO);
    }
    s3.order(Method::GET, "", usize::MAX, Fault::Delay(20));
    let directory = tempfile::tempdir().expect("temporary directory");
    let started = std::time::Instant::now();
    let restored = restored(&s3, directory.path());
    println!("{} logs in {:.1} s", restored.len(), started.elapsed().as_secs_f64());
    assert_eq!(restored.len(), logs + 2);
    let server = Server::on_s3(directory.path(), &s3);
    check_records(&server.log(&format!("copy-{}", logs - 1)), 20, 50);
    server.stop();
}

#[test]
fn status_shows_what_is_archived() {
    let (s3, _lost) = archive();
    s3.put("logs/0000000000000000000000000000000a/manifest", b"damaged", Default::default());
    let found = status(&s3.store(), &mut |_| {}).expect("read");
    let shown: Vec<_> = found
        .logs
        .iter()
        .map(|log| (log.name.as_str(), log.start.0, log.end.0, log.deleted_us.is_some()))
        .collect();
    assert_eq!(shown, [("log", 20, 50, false), ("other", 0, 10, false)]);
    assert!(found.logs.iter().all(|log| log.bytes > 0 && log.newest_us > 0));
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
}

/// The logs that a restore leaves out: their names and ids, or the reason.
fn left_out(outcome: &Outcome) -> Vec<String> {
    let text = |left_out: &LeftOut| match left_out {
        LeftOut::Diverged { name, logs } => {
            let logs: Vec<_> = logs.iter().map(|log| format!("{} {}", log.id, log.end)).collect();
            format!("{name}: {}", logs.join(", "))
        }
        LeftOut::Unusable { why, .. } => why.clone(),
    };
    outcome.left_out.iter().map(text).collect()
}

#[test]
fn logs_with_one_name_and_different_records_are_left_out_and_restored_by_id() {
    let (s3, lost) = archive();
    let copy = tempfile::tempdir().expect("temporary directory");
    let original = restored(&s3, copy.path())[0].from;
    // Both continue under the same name.
    let server = Server::on_s3(copy.path(), &s3);
    append(&server.log("log"), 15);
    wait_for_archived(&server.log("log"), 60);
    let second = server.log("log").id();
    server.stop();
    let server = Server::on_s3(lost.path(), &s3);
    append(&server.log("log"), 10);
    wait_for_archived(&server.log("log"), 60);
    server.stop();
    s3.put("logs/0000000000000000000000000000000a/manifest", b"damaged", Duration::ZERO);

    let directory = tempfile::tempdir().expect("temporary directory");
    let outcome = restore(&s3.store(), &options(directory.path()), &mut |_| {}).expect("restored");
    let names: Vec<_> = outcome.restored.iter().map(|log| log.log.as_str()).collect();
    assert_eq!(names, ["other"]);
    let mut ids = [original, second];
    ids.sort_by_key(|id| id.0);
    let left_out = left_out(&outcome);
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    assert!(left_out[0].starts_with("logs/0000000000000000000000000000000a/manifest: "));
    assert_eq!(left_out[1], format!("log: {} 60, {} 60", ids[0], ids[1]));

    for id in ids {
        let directory = tempfile::tempdir().expect("temporary directory");
        let chosen = RestoreOptions { logs: Wanted::Id(id), ..options(directory.path()) };
        let outcome = restore(&s3.store(), &chosen, &mut |_| {}).expect("restored");
        let from: Vec<_> = outcome.restored.iter().map(|log| (log.from, log.end.0)).collect();
        assert_eq!((from, outcome.left_out), (vec![(id, 60)], vec![]));
    }
    let absent = RestoreOptions { logs: Wanted::Id(LogId(9)), ..options(directory.path()) };
    let error = restore(&s3.store(), &absent, &mut |_| {}).expect_err("absent");
    assert_eq!(error.kind, Kind::Missing);
}

#[test]
fn deleted_log_is_not_restored_by_its_id() {
    let (s3, lost) = archive();
    let server = Server::on_s3(lost.path(), &s3);
    let id = server.log("log").id();
    append(&server.log("log"), 10);
    wait_for_archived(&server.log("log"), 60);
    server.catalog.delete(&name("log")).expect("deleted");
    wait_until("the log is marked", || {
        status(&s3.store(), &mut |_| {})
            .expect("read")
            .logs
            .iter()
            .any(|log| log.deleted_us.is_some())
    });
    server.stop();
    let directory = tempfile::tempdir().expect("temporary directory");
    let chosen = RestoreOptions { logs: Wanted::Id(id), ..options(directory.path()) };
    let error = restore(&s3.store(), &chosen, &mut |_| {}).expect_err("deleted");
    assert!(error.to_string().contains("run styx archive undelete first"), "{error}");
    assert_eq!(restored(&s3, directory.path()).len(), 1);
}

#[test]
fn second_run_continues_a_restore_and_leaves_what_exists() {
    let (s3, _lost) = archive();
    let directory = tempfile::tempdir().expect("temporary directory");
    let one = |log| RestoreOptions { logs: Wanted::Name(name(log)), ..options(directory.path()) };
    let first = restore(&s3.store(), &one("other"), &mut |_| {}).expect("restored").restored;
    // An index of the other log cannot be fetched.
    s3.order_later(Method::GET, ".idx", 1, 1, Fault::Refuse(403));
    let error = restore(&s3.store(), &one("log"), &mut |_| {}).expect_err("denied");
    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(!directory.path().join("log").exists());

    let logs = restored(&s3, directory.path());
    let shown: Vec<_> = logs.iter().map(|log| (log.log.as_str(), log.existed)).collect();
    assert_eq!(shown, [("log", false), ("other", true)]);
    assert_eq!(logs[1].id, first[0].id);
    // With another end, it would be another log.
    let earlier = RestoreOptions { until_us: Some(u64::MAX), ..options(directory.path()) };
    let outcome = restore(&s3.store(), &earlier, &mut |_| {}).expect("nothing to do");
    assert!(outcome.restored.iter().all(|log| log.existed));
}

#[test]
fn first_start_of_a_restored_log_writes_its_manifest_and_later_ones_cost_no_request() {
    let (s3, lost) = archive();
    let directory = tempfile::tempdir().expect("temporary directory");
    let logs = restored(&s3, directory.path());
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.log("log");
    wait_until("the manifests are written", || {
        ["log", "other"].iter().all(|log| !server.log(log).needs_archive_manifest())
    });
    let written = manifest(server.archiver.store(), &log);
    assert_eq!(written.lineage, Lineage::default().restored(logs[0].from, Position(50)));
    assert_eq!((written.entries.len(), written.start), (3, Position(20)));
    drop(log);
    server.stop();

    let before = s3.all_requests();
    let server = Server::on_s3(directory.path(), &s3);
    append(&server.log("log"), 1);
    server.stop();
    assert_eq!(s3.all_requests(), before);

    // The original is deleted, and the restored log still reads its objects.
    let server = Server::on_s3(lost.path(), &s3);
    append(&server.log("log"), 10);
    wait_for_archived(&server.log("log"), 60);
    server.catalog.delete(&name("log")).expect("deleted");
    wait_until("the log is marked", || {
        status(&s3.store(), &mut |_| {})
            .expect("read")
            .logs
            .iter()
            .any(|log| log.deleted_us.is_some())
    });
    server.stop();
    for _ in 0..2 {
        collect(&s3.store(), &CollectOptions::default(), &mut |_| {}).expect("collected");
    }
    let server = Server::on_s3(directory.path(), &s3);
    check_records(&server.log("log"), 20, 51);
    server.stop();
}

/// A log that is restored from a restored one knows both.
#[test]
fn lineage_of_a_lineage_ends_where_the_last_restore_ended() {
    let (s3, _lost) = archive();
    let first = tempfile::tempdir().expect("temporary directory");
    let original = restored(&s3, first.path())[0].from;
    let server = Server::on_s3(first.path(), &s3);
    let log = server.log("log");
    append(&log, 35);
    wait_for_archived(&log, 80);
    let entries = manifest(server.archiver.store(), &log).entries;
    let id = log.id();
    drop(log);
    server.stop();

    let whole = Lineage::default().restored(original, Position(50)).restored(id, Position(80));
    // The fourth segment from the start ends at 60, the second at 40.
    let earlier = |end| Lineage::default().restored(original, end).restored(id, end);
    for (newest, lineage) in [(5, whole), (1, earlier(Position(40)))] {
        let directory = tempfile::tempdir().expect("temporary directory");
        let until_us = Some(entries[newest].last_timestamp_us);
        let until = RestoreOptions { until_us, ..options(directory.path()) };
        restore(&s3.store(), &until, &mut |_| {}).expect("restored");
        let server = Server::on_s3(directory.path(), &s3);
        assert_eq!(*server.log("log").lineage(), lineage);
        server.stop();
    }
}

#[test]
fn log_whose_objects_or_name_cannot_be_used_is_left_out() {
    let (s3, _lost) = archive();
    let id = status(&s3.store(), &mut |_| {}).expect("read").logs[0].id;
    let directory = tempfile::tempdir().expect("temporary directory");
    std::fs::write(directory.path().join("other"), "something else").expect("written");
    let is_wanted = |key: &String| key.contains(&id.to_string()) && key.ends_with(".producers");
    for key in s3.keys().into_iter().filter(is_wanted) {
        s3.put(&key, b"damaged", Duration::ZERO);
    }
    let outcome = restore(&s3.store(), &options(directory.path()), &mut |_| {}).expect("left out");
    assert_eq!(outcome.restored, []);
    let mut left_out = left_out(&outcome);
    left_out.sort();
    assert!(left_out.iter().any(|why| why.contains("snapshot of the producers")), "{left_out:?}");
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    assert!(!directory.path().join("log").exists());
}
