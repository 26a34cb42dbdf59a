//! `styx archive adopt`: a data directory becomes the owner of its logs in the archive again.

use std::path::Path;

use styx_archive::LogStatus;
use styx_archive::adopt::{AdoptOptions, Adopted, Outcome, adopt};
use styx_archive::verify::{Depth, verify};
use styx_protocol::Records;

use crate::archiving::{
    Server, append, check_records, copy, manifest, name, wait_for_archived, wait_until,
};
use crate::s3::S3;

fn run(s3: &S3, directory: &Path, logs: &[&str], is_dry_run: bool) -> Vec<Adopted> {
    let options = AdoptOptions {
        data_directory: directory.to_owned(),
        logs: logs.iter().map(|log| name(log)).collect(),
        is_dry_run,
    };
    adopt(&s3.store(), &options, &mut |_| {}).expect("adopted")
}

fn outcomes(adopted: &[Adopted]) -> Vec<(&str, &Outcome)> {
    adopted.iter().map(|log| (log.log.as_str(), &log.outcome)).collect()
}

fn is_fenced(server: &Server, log: &str) -> bool {
    matches!(server.archiver.log_status(&name(log)), LogStatus::Fenced { .. })
}

/// A data directory with 20 archived and 5 further records, and a copy of it.
fn cloned(s3: &S3) -> [tempfile::TempDir; 2] {
    let directories = [0, 1].map(|_| tempfile::tempdir().expect("temporary directory"));
    let server = Server::on_s3(directories[0].path(), s3);
    append(&server.create("log"), 25);
    wait_for_archived(&server.log("log"), 20);
    server.stop();
    copy(directories[0].path(), directories[1].path());
    directories
}

/// Opens and closes a data directory: the log has a higher epoch then.
fn restart(directory: &Path, s3: &S3) {
    Server::on_s3(directory, s3).stop();
}

#[test]
fn adopted_logs_are_archived_again_and_fence_the_copy_for_ever() {
    let s3 = S3::start();
    let [original, copied] = cloned(&s3);
    // The original has restarted more often, and owns the log.
    for _ in 0..8 {
        restart(original.path(), &s3);
    }
    let first = Server::on_s3(original.path(), &s3);
    let log = first.log("log");
    let mut claimed = manifest(&s3.store(), &log);
    claimed.epoch = log.open_epoch();
    s3.change(&format!("logs/{}/manifest", log.id()), |object| object.bytes = claimed.encode());
    drop(log);
    first.stop();
    let second = Server::on_s3(copied.path(), &s3);
    append(&second.log("log"), 10);
    wait_until("the copy is fenced", || is_fenced(&second, "log"));
    second.stop();

    let before = s3.keys();
    let would = run(&s3, copied.path(), &[], true);
    assert_eq!(outcomes(&would), [("log", &Outcome::Adopted)]);
    assert_eq!(s3.keys(), before);
    // By name, the copy cannot be told from the original.
    let one = run(&s3, copied.path(), &["log"], false);
    assert!(matches!(&one[0].outcome, Outcome::Refused(why) if why.contains("--all")), "{one:?}");
    assert_eq!(outcomes(&run(&s3, copied.path(), &[], false)), [("log", &Outcome::Adopted)]);

    // It was fenced with a finished segment, which it archives without another record.
    let second = Server::on_s3(copied.path(), &s3);
    wait_for_archived(&second.log("log"), 30);
    check_records(&second.log("log"), 0, 35);
    second.stop();
    for _ in 0..10 {
        restart(original.path(), &s3);
    }
    let first = Server::on_s3(original.path(), &s3);
    append(&first.log("log"), 10);
    wait_until("the original is fenced", || is_fenced(&first, "log"));
    first.stop();
    let verified = verify(&s3.store(), Depth::Bodies, &mut |_| {}).expect("verified");
    assert_eq!((verified.segments, verified.problems), (3, vec![]));
}

#[test]
fn one_log_of_another_owner_is_adopted_and_the_others_are_left() {
    let s3 = S3::start();
    let [original, moved] = [0, 1].map(|_| tempfile::tempdir().expect("temporary directory"));
    let server = Server::on_s3(original.path(), &s3);
    for log in ["a", "b"] {
        append(&server.create(log), 25);
        wait_for_archived(&server.log(log), 20);
    }
    server.stop();
    // The folders of the logs were moved to another server.
    for log in ["a", "b"] {
        copy(&original.path().join(log), &moved.path().join(log));
    }
    let server = Server::on_s3(moved.path(), &s3);
    append(&server.create("new"), 5);
    append(&server.log("a"), 10);
    wait_until("it is fenced", || is_fenced(&server, "a"));
    server.stop();

    let adopted = run(&s3, moved.path(), &["a", "new"], false);
    assert_eq!(outcomes(&adopted), [("a", &Outcome::Adopted), ("new", &Outcome::Unchanged)]);
    assert!(adopted[0].owner.is_some());
    let again = run(&s3, moved.path(), &["a"], false);
    assert_eq!(outcomes(&again), [("a", &Outcome::Unchanged)]);
    let server = Server::on_s3(moved.path(), &s3);
    wait_for_archived(&server.log("a"), 30);
    append(&server.log("b"), 10);
    wait_until("the other log is fenced", || is_fenced(&server, "b"));
    server.stop();
}

#[test]
fn log_with_another_history_is_not_adopted() {
    let s3 = S3::start();
    let [original, copied] = cloned(&s3);
    let behind = tempfile::tempdir().expect("temporary directory");
    copy(copied.path(), behind.path());
    let first = Server::on_s3(original.path(), &s3);
    append(&first.log("log"), 10);
    wait_for_archived(&first.log("log"), 30);
    let second = Server::on_s3(copied.path(), &s3);
    second.log("log").append_durably(Records::one(b"another history")).expect("appended");
    append(&second.log("log"), 20);
    second.stop();
    let before = manifest(&s3.store(), &first.log("log"));

    for (directory, expected) in [(&copied, "differs"), (&behind, "only up to 25")] {
        let refused = run(&s3, directory.path(), &[], false);
        let Outcome::Refused(why) = &refused[0].outcome else { panic!("{refused:?}") };
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!(manifest(&s3.store(), &first.log("log")), before);
    append(&first.log("log"), 10);
    wait_for_archived(&first.log("log"), 40);
    first.stop();
}

#[test]
fn data_directory_in_use_is_not_adopted() {
    let s3 = S3::start();
    let [original, _] = cloned(&s3);
    let server = Server::on_s3(original.path(), &s3);
    let options = AdoptOptions {
        data_directory: original.path().to_owned(),
        logs: Vec::new(),
        is_dry_run: false,
    };
    adopt(&s3.store(), &options, &mut |_| {}).expect_err("the server runs");
    server.stop();
}
