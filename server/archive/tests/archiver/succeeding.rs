//! `styx restore --adopt`: restored logs that take the place of their originals.

use std::time::Duration;

use styx_archive::LogStatus;
use styx_archive::collect::{CollectOptions, collect};
use styx_archive::restore::{RestoreOptions, restore};
use styx_archive::store::Store;
use styx_archive::verify::{Depth, verify};
use styx_protocol::Position;

use crate::archiving::{
    Server, append, check_records, manifest, name, wait_for_archived, wait_until,
};
use crate::restoring::{archive, options};

/// Two runs: the first one dates what it finds.
fn collect_all(store: &Store) {
    for _ in 0..2 {
        let options = CollectOptions { grace: Duration::ZERO, ..CollectOptions::default() };
        let collected = collect(store, &options, &mut |_| {}).expect("collected");
        assert_eq!(collected.problems, Vec::<String>::new());
    }
}

fn problems(store: &Store) -> Vec<String> {
    verify(store, Depth::Bodies, &mut |_| {}).expect("verified").problems
}

#[test]
fn adopted_restore_fences_the_old_server_and_owns_its_objects() {
    let (s3, lost) = archive();
    let store = s3.store();
    let directory = tempfile::tempdir().expect("temporary directory");
    let options = RestoreOptions { adopts: true, ..options(directory.path()) };
    let outcome = restore(&store, &options, &mut |_| {}).expect("restored");
    let log = outcome.restored.iter().find(|log| log.log.as_str() == "log").expect("restored");
    let (original, successor) = (format!("logs/{}/", log.from), format!("logs/{}/", log.id));
    assert!(s3.object(&format!("{successor}manifest")).is_some(), "before any server starts");
    // Once more, as after an interruption.
    let again = restore(&store, &options, &mut |_| {}).expect("restored");
    assert!(again.restored.iter().all(|log| log.existed));

    // The old server comes back.
    let old = Server::on_s3(lost.path(), &s3);
    let zombie = old.log("log");
    assert_eq!(manifest(&store, &zombie).deleted_us, Some(0));
    append(&zombie, 25);
    wait_until("the old server is fenced", || {
        matches!(old.archiver.log_status(&name("log")), LogStatus::Fenced { .. })
    });
    check_records(&zombie, 20, 80);
    drop(zombie);
    old.stop();

    let server = Server::on_s3(directory.path(), &s3);
    let log = server.log("log");
    append(&log, 25);
    wait_for_archived(&log, 70);
    collect_all(&store);
    assert_eq!(problems(&store), Vec::<String>::new());
    check_records(&log, 20, 75);
    let segments = || s3.keys().iter().filter(|key| key.starts_with(&original)).count();
    // The manifest, and two objects for each of three segments, whose producers nobody needs.
    assert!(segments() > 6, "{:?}", s3.keys());

    log.trim(Position(60)).expect("trimmed");
    wait_until("the manifest has the new start", || manifest(&store, &log).start >= Position(60));
    collect_all(&store);
    assert_eq!(segments(), 0, "{:?}", s3.keys());
    assert_eq!(problems(&store), Vec::<String>::new());
    check_records(&log, 60, 75);
    drop(log);
    server.stop();
}

#[test]
fn log_that_was_archived_further_after_its_restore_is_not_adopted() {
    let (s3, lost) = archive();
    let store = s3.store();
    let directory = tempfile::tempdir().expect("temporary directory");
    let _ = restore(&store, &options(directory.path()), &mut |_| {}).expect("restored");
    let old = Server::on_s3(lost.path(), &s3);
    let log = old.log("other");
    append(&log, 10);
    wait_for_archived(&log, 20);

    let options = RestoreOptions {
        adopts: true,
        logs: styx_archive::selection::Wanted::Id(log.id()),
        ..options(directory.path())
    };
    let outcome = restore(&store, &options, &mut |_| {}).expect("read");
    assert_eq!((outcome.restored.len(), outcome.left_out.len()), (0, 1), "{outcome:?}");
    assert_eq!(manifest(&store, &log).deleted_us, None);
    append(&log, 10);
    wait_for_archived(&log, 30);
    drop(log);
    old.stop();
}
