//! Logs that were deleted: how long they are kept, and that they come back whole or not at all.

use std::path::Path;
use std::time::Duration;

use styx_archive::collect::{CollectOptions, collect};
use styx_archive::restore::restore;
use styx_archive::status::status;
use styx_archive::undelete::{Failure, undelete};
use styx_archive::which::Which;
use styx_protocol::LogId;

use crate::archiving::{
    Server, append, check_records, manifest, name, wait_for_archived, wait_until,
};
use crate::restoring::options;
use crate::s3::S3;

fn named(log: &str) -> Which {
    Which::Name(name(log))
}

/// Fills a log, deletes it, and returns its id.
fn delete(s3: &S3, server: &Server, log: &str) -> LogId {
    let filled = server.create(log);
    append(&filled, 25);
    wait_for_archived(&filled, 20);
    server.catalog.delete(&name(log)).expect("deleted");
    wait_until("the manifest is marked", || manifest(&s3.store(), &filled).deleted_us.is_some());
    filled.id()
}

/// Runs the collector as if this time had passed since the deletion.
fn collect_after(s3: &S3, grace: Duration) {
    let options = CollectOptions { grace, ..CollectOptions::default() };
    for _ in 0..2 {
        collect(&s3.store(), &options, &mut |_| {}).expect("collected");
    }
}

fn open(directory: &Path, s3: &S3) -> Server {
    Server::on_s3(directory, s3)
}

#[test]
fn undeleted_log_is_restored_whole_and_no_longer_collected() {
    let [directory, other] = [0, 1].map(|_| tempfile::tempdir().expect("temporary directory"));
    let s3 = S3::start();
    let server = open(directory.path(), &s3);
    let id = delete(&s3, &server, "log");
    collect_after(&s3, Duration::from_secs(3600));
    let store = s3.store();
    let shown = status(&store, &mut |_| {}).expect("status").logs.remove(0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_micros() as u64;
    let deleted = shown.deleted_us.expect("it is deleted");
    assert!((now - 60_000_000..=now).contains(&deleted), "{deleted} {now}");

    let undeleted = undelete(&store, &named("log"), &mut |_| {}).expect("undeleted");
    assert_eq!((undeleted.id, undeleted.segments, undeleted.end.0), (id, 2, 20));
    assert_eq!(undeleted.deleted_us, None);
    collect_after(&s3, Duration::ZERO);
    restore(&store, &options(other.path()), &mut |_| {}).expect("restored");
    let copy = open(other.path(), &s3);
    check_records(&copy.log("log"), 0, 20);
    copy.stop();
    server.stop();
}

#[test]
fn one_of_several_deleted_logs_with_a_name_is_chosen_by_its_id() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = open(directory.path(), &s3);
    let ids = [0, 1].map(|_| delete(&s3, &server, "log"));
    let store = s3.store();
    let Err(Failure::Several(logs)) = undelete(&store, &named("log"), &mut |_| {}) else {
        panic!("both have the name");
    };
    let mut found: Vec<LogId> = logs.iter().map(|log| log.id).collect();
    found.sort_by_key(|id| ids.iter().position(|known| known == id));
    assert_eq!(found, ids);
    let undeleted = undelete(&store, &Which::Id(ids[1]), &mut |_| {}).expect("undeleted");
    assert_eq!(undeleted.id, ids[1]);
    let undeleted = undelete(&store, &named("log"), &mut |_| {}).expect("one is left");
    assert_eq!(undeleted.id, ids[0]);
    server.stop();
}

#[test]
fn log_whose_objects_are_gone_stays_deleted() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = open(directory.path(), &s3);
    let id = delete(&s3, &server, "log");
    let store = s3.store();
    let refusal = |which: &Which| {
        undelete(&store, which, &mut |_| {}).expect_err("it cannot be undeleted").to_string()
    };
    assert!(
        refusal(&named("other")).contains("no deleted log other"),
        "{}",
        refusal(&named("other"))
    );
    let segment = format!("logs/{id}/{:020}-{:010}.seg", 10, 1);
    s3.remove(&segment);
    let gone = refusal(&Which::Id(id));
    assert!(gone.contains("1 of 2 segments") && gone.contains(&segment), "{gone}");
    let shown = status(&store, &mut |_| {}).expect("status").logs.remove(0);
    assert!(shown.deleted_us.is_some());
    server.stop();
}

/// Otherwise the collector could remove objects after undelete has looked at them.
#[test]
fn log_that_the_collector_removes_is_not_undeleted() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = open(directory.path(), &s3);
    let id = delete(&s3, &server, "log");
    let store = s3.store();
    collect_after(&s3, Duration::from_secs(3600));
    // The collector is interrupted after its first removal.
    s3.order_later(http::Method::DELETE, "logs/", 1, 1000, crate::s3::Fault::Refuse(403));
    let options = CollectOptions::default();
    collect(&store, &options, &mut |_| {}).expect_err("interrupted");
    for which in [named("log"), Which::Id(id)] {
        let refusal = undelete(&store, &which, &mut |_| {}).expect_err("it is being removed");
        assert!(refusal.to_string().contains("has begun to remove"), "{refusal}");
    }
    let shown = status(&store, &mut |_| {}).expect("status").logs.remove(0);
    assert!(shown.is_being_removed);
    server.stop();
}
