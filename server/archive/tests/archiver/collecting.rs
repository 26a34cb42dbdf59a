//! The collector: it removes superfluous objects, and nothing else.

use std::time::Duration;

use http::Method;
use styx_archive::collect::{CollectOptions, Collected, collect};
use styx_archive::store::Store;
use styx_archive::verify::{Depth, verify};
use styx_protocol::Position;

use crate::archiving::{
    Server, append, check_records, manifest, name, wait_for_archived, wait_until,
};
use crate::s3::S3;

const YEAR: Duration = Duration::from_secs(365 * 86400);

fn run(store: &Store, options: &CollectOptions) -> Collected {
    collect(store, options, &mut |_| {}).expect("collected")
}

fn collected(store: &Store, grace: Duration) -> Collected {
    run(store, &CollectOptions { grace, ..CollectOptions::default() })
}

#[test]
fn collector_leaves_exactly_what_manifests_name() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.create("log");
    append(&log, 55);
    wait_for_archived(&log, 50);
    log.trim(Position(30)).expect("trimmed");
    wait_until("the manifest has the start", || {
        manifest(server.archiver.store(), &log).start >= Position(30)
    });
    assert_eq!(manifest(server.archiver.store(), &log).garbage.len(), 3);
    let store = s3.store();
    let grace = Duration::ZERO;
    // The first run notes since when it is garbage, and the second one removes it.
    assert_eq!(collected(&store, Duration::from_secs(3600)).total().objects, 0);
    let long = collected(&store, Duration::from_secs(3600));
    assert_eq!((long.total().objects, long.waiting), (0, 3));
    assert!(collected(&store, grace).garbage.objects >= 6);
    let kept = manifest(&store, &log);
    assert_eq!((kept.garbage.len(), kept.entries.len()), (0, 2));
    let segments = s3.keys().into_iter().filter(|key| key.ends_with(".seg")).count();
    assert_eq!(segments, 2);
    check_records(&log, 30, 55);
    let verified = verify(&store, Depth::Bodies, &mut |_| {}).expect("verified");
    assert_eq!(verified.problems, Vec::<String>::new());
    drop(log);
    server.stop();
}

/// An object of the current epoch that no manifest names yet may be an upload on its way.
#[test]
fn collector_leaves_unnamed_objects_of_the_current_epoch() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.create("log");
    append(&log, 15);
    wait_for_archived(&log, 10);
    let epoch = log.open_epoch();
    let id = log.id();
    drop(log);
    server.stop();
    let key = |epoch: u32| format!("logs/{id}/{:020}-{epoch:010}.seg", 777);
    let year = Duration::from_secs(365 * 86400);
    s3.put(&key(epoch), b"on its way", year);
    s3.put(&key(epoch - 1), b"left by a crash", year);
    s3.put(&format!("logs/{id}/notes.txt"), b"not ours", year);

    let done = collected(&s3.store(), Duration::from_secs(60));
    assert_eq!((done.total().objects, done.orphans.objects), (1, 1));
    assert!(s3.object(&key(epoch)).is_some());
    assert!(s3.object(&key(epoch - 1)).is_none());
    assert!(s3.object(&format!("logs/{id}/notes.txt")).is_some());
}

#[test]
fn deleted_log_is_removed_after_the_time_of_grace() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.create("log");
    append(&log, 25);
    wait_for_archived(&log, 20);
    let store = s3.store();
    drop(log.clone());
    server.catalog.delete(&name("log")).expect("deleted");
    wait_until("the manifest is marked", || manifest(&store, &log).deleted_us.is_some());
    let hour = Duration::from_secs(3600);
    assert_eq!(collected(&store, hour).total().objects, 0);
    assert_eq!(collected(&store, hour).total().objects, 0);
    let done = collected(&store, Duration::ZERO);
    assert_eq!((done.logs, done.total()), (1, done.deleted));
    assert_eq!(s3.keys(), Vec::<String>::new());
    drop(log);
    server.stop();
}

/// A log with an orphan, and one that was deleted; nothing has a time of grace left.
fn superfluous(s3: &S3, server: &Server) {
    for log in ["log", "deleted"] {
        append(&server.create(log), 25);
        wait_for_archived(&server.log(log), 20);
    }
    let [log, deleted] = ["log", "deleted"].map(|log| server.log(log));
    let orphan = format!("logs/{}/{:020}-{:010}.seg", log.id(), 777, log.open_epoch() - 1);
    s3.put(&orphan, b"left by a crash", YEAR);
    server.catalog.delete(&name("deleted")).expect("deleted");
    wait_until("the manifest is marked", || manifest(&s3.store(), &deleted).deleted_us.is_some());
    assert_eq!(collected(&s3.store(), YEAR * 2).total().objects, 0, "it dates the deletion");
}

#[test]
fn dry_run_reports_what_a_collection_removes_and_changes_nothing() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    superfluous(&s3, &server);
    let (keys, writes) = (s3.keys(), [Method::PUT, Method::DELETE, Method::POST]);
    let before = writes.clone().map(|method| s3.requests(method, ""));
    let dry = CollectOptions { is_dry_run: true, ..CollectOptions::default() };
    let would = run(&s3.store(), &dry);
    assert_eq!((s3.keys(), writes.map(|method| s3.requests(method, ""))), (keys, before));
    assert_eq!((would.orphans.objects, would.logs), (1, 1));
    assert_eq!(run(&s3.store(), &CollectOptions::default()), would);
    server.stop();
}

#[test]
fn collection_of_one_log_leaves_the_others() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    superfluous(&s3, &server);
    let only = |log: &str| CollectOptions { log: Some(name(log)), ..CollectOptions::default() };
    let done = run(&s3.store(), &only("log"));
    assert_eq!((done.orphans.objects, done.logs, done.total().objects), (1, 0, 1));
    let done = run(&s3.store(), &only("deleted"));
    assert_eq!((done.orphans.objects, done.logs), (0, 1));
    server.stop();
}

#[test]
fn server_collects_its_own_logs_and_counts_them() {
    let [directory, other] = [0, 1].map(|_| tempfile::tempdir().expect("temporary directory"));
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    superfluous(&s3, &server);
    assert_eq!(server.archiver.collect().expect("done").total().objects, 0, "it is off");
    server.stop();

    let open = |directory: &std::path::Path| {
        Server::open_with(directory, &s3.url(), s3.options(), |settings| {
            settings.collect_grace = Some(Duration::ZERO);
        })
    };
    let neighbour = open(other.path());
    assert_eq!(neighbour.archiver.collect().expect("done").total().objects, 0);
    neighbour.stop();
    let server = open(directory.path());
    let done = server.archiver.collect().expect("done");
    assert_eq!((done.orphans.objects, done.logs), (1, 1));
    let stats = server.archiver.stats().collected;
    assert_eq!(stats, [("garbage", 0), ("orphan", 1), ("deleted", done.deleted.objects)]);
    check_records(&server.log("log"), 0, 25);
    server.stop();
}

/// Its entries may be in the objects of any log.
#[test]
fn unreadable_manifest_keeps_the_objects_of_all_logs() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    superfluous(&s3, &server);
    s3.put("logs/00000000000000000000000000000001/manifest", b"of a newer version", YEAR);
    let done = collected(&s3.store(), Duration::ZERO);
    assert_eq!((done.total().objects, done.problems.len()), (0, 1));
    server.stop();
}
