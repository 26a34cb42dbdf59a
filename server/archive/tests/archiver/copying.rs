//! `styx archive copy`: a copy stands alone, continues after an interruption, and destroys nothing.

use std::path::Path;

use http::Method;
use styx_archive::copy::{Copied, CopyOptions, copy};
use styx_archive::restore::restore;
use styx_archive::store::{Options, SINGLE_BYTES_MAX, Store};
use styx_archive::verify::{Depth, verify};
use styx_archive::which::Which;
use styx_protocol::{LogConfig, Records};

use crate::archiving::{self, Server, append, check_records, manifest, name, wait_for_archived};
use crate::restoring::options;
use crate::s3::{Fault, S3};

fn run(from: &Store, to: &Store, which: Option<Which>) -> Copied {
    copy(from, to, &CopyOptions { which, uploads: 2 }, &mut |_| {}).expect("copied")
}

fn check(store: &Store) {
    let verified = verify(store, Depth::Bodies, &mut |_| {}).expect("verified");
    assert_eq!(verified.problems, Vec::<String>::new());
}

/// A log with 40 archived records, of which 20 are from the log that it was restored from.
fn restored_log(s3: &S3, directory: &Path) {
    let lost = tempfile::tempdir().expect("temporary directory");
    let server = Server::on_s3(lost.path(), s3);
    append(&server.create("log"), 25);
    wait_for_archived(&server.log("log"), 20);
    server.stop();
    restore(&s3.store(), &options(directory), &mut |_| {}).expect("restored");
    let server = Server::on_s3(directory, s3);
    append(&server.log("log"), 25);
    wait_for_archived(&server.log("log"), 40);
    server.stop();
}

fn restores_alone(url: &str, store: &Store, settings: Options) {
    let directory = tempfile::tempdir().expect("temporary directory");
    restore(store, &options(directory.path()), &mut |_| {}).expect("restored");
    let server = Server::open(directory.path(), url, settings);
    check_records(&server.log("log"), 0, 40);
    server.stop();
}

#[test]
fn copy_of_a_restored_log_needs_nothing_of_the_original() {
    let [directory, target] = [0, 1].map(|_| tempfile::tempdir().expect("temporary directory"));
    let (from, to) = (S3::start(), S3::start());
    restored_log(&from, directory.path());
    let copied = run(&from.store(), &to.store(), None);
    // Both logs need the two segments of the original.
    assert_eq!((copied.logs, copied.objects + copied.skipped, copied.problems), (2, 18, vec![]));
    assert_eq!(from.keys(), to.keys());
    for key in from.keys() {
        let bytes = |s3: &S3| s3.object(&key).expect("it exists").bytes;
        assert_eq!(bytes(&from), bytes(&to), "{key}");
    }
    // And in a directory, which keeps no checksums.
    let url = format!("file://{}", target.path().display());
    let store = Store::open(&url, &Options::default()).expect("open");
    run(&from.store(), &store, None);
    from.set_away(true);
    check(&to.store());
    check(&store);
    restores_alone(&to.url(), &to.store(), to.options());
    restores_alone(&url, &store, Options::default());
    assert_eq!(run(&store, &to.store(), None).objects, 0, "everything is there already");
}

/// The number of objects without manifests.
fn objects(s3: &S3) -> u64 {
    s3.keys().iter().filter(|key| !key.ends_with("manifest")).count() as u64
}

#[test]
fn interrupted_copy_continues_and_a_later_one_copies_what_is_new() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (from, to) = (S3::start(), S3::start());
    let server = Server::on_s3(directory.path(), &from);
    let log = server.create("log");
    append(&log, 45);
    wait_for_archived(&log, 40);
    to.order_later(Method::PUT, "logs/", 5, 1000, Fault::Refuse(403));
    let options = CopyOptions { which: None, uploads: 1 };
    copy(&from.store(), &to.store(), &options, &mut |_| {}).expect_err("interrupted");
    assert!(to.object(&format!("logs/{}/manifest", log.id())).is_none(), "it comes last");
    let [begun, all] = [&to, &from].map(objects);
    assert!((5..all).contains(&begun), "{begun} of {all}");
    to.forget_orders();

    let copied = run(&from.store(), &to.store(), Some(Which::Name(name("log"))));
    assert_eq!((copied.objects, copied.skipped), (all - begun, begun));
    append(&log, 10);
    wait_for_archived(&log, 50);
    let copied = run(&from.store(), &to.store(), Some(Which::Id(log.id())));
    assert_eq!((copied.objects, copied.skipped, copied.logs), (objects(&from) - all, all, 1));
    assert_eq!(manifest(&to.store(), &log), manifest(&from.store(), &log));
    check(&to.store());
    drop(log);
    server.stop();
}

#[test]
fn log_that_continued_in_the_target_is_not_overwritten() {
    let [original, copied] = [0, 1].map(|_| tempfile::tempdir().expect("temporary directory"));
    let (from, to) = (S3::start(), S3::start());
    let server = Server::on_s3(original.path(), &from);
    append(&server.create("log"), 25);
    wait_for_archived(&server.log("log"), 20);
    server.stop();
    archiving::copy(original.path(), copied.path());
    run(&from.store(), &to.store(), None);
    // The same epoch writes different bytes to the same keys.
    let [first, second] = [(&original, &from), (&copied, &to)]
        .map(|(directory, s3)| Server::on_s3(directory.path(), s3));
    append(&first.log("log"), 20);
    second.log("log").append_durably(Records::one(b"another history")).expect("appended");
    append(&second.log("log"), 10);
    wait_for_archived(&first.log("log"), 40);
    wait_for_archived(&second.log("log"), 30);
    let before = to.keys();
    let refused = run(&from.store(), &to.store(), None);
    assert_eq!((refused.logs, refused.objects, refused.problems.len()), (0, 0, 1));
    assert!(refused.problems[0].contains("other records"), "{:?}", refused.problems);
    let refused = run(&to.store(), &from.store(), None);
    assert!(refused.problems[0].contains("has continued in the target"), "{:?}", refused.problems);
    assert_eq!(to.keys(), before);
    check(&to.store());
    first.stop();
    second.stop();
}

#[test]
fn log_with_a_missing_object_is_not_copied_and_the_others_are() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (from, to) = (S3::start(), S3::start());
    let server = Server::on_s3(directory.path(), &from);
    for log in ["a", "b"] {
        append(&server.create(log), 25);
        wait_for_archived(&server.log(log), 20);
    }
    let (a, b) = (server.log("a"), server.log("b"));
    from.remove(&format!("logs/{}/{:020}-{:010}.seg", a.id(), 10, a.open_epoch()));
    let copied = run(&from.store(), &to.store(), None);
    assert_eq!((copied.logs, copied.problems.len()), (1, 1));
    assert!(copied.problems[0].contains("log a"), "{:?}", copied.problems);
    assert!(to.object(&format!("logs/{}/manifest", a.id())).is_none());
    assert!(to.object(&format!("logs/{}/manifest", b.id())).is_some());
    drop((a, b));
    server.stop();
}

#[test]
fn large_segment_is_copied_in_parts() {
    /// More than an upload without parts has.
    const RECORDS: u64 = 36;
    let directory = tempfile::tempdir().expect("temporary directory");
    let (from, to) = (S3::start(), S3::start());
    let server = Server::on_s3(directory.path(), &from);
    let config = LogConfig { segment_max_count: RECORDS as i64, ..LogConfig::default() };
    let log = server.catalog.create(&name("log"), config).expect("created");
    let mut random = 1_u64;
    for _ in 0..=RECORDS {
        let bytes = (0..1_000_000).map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 56) as u8
        });
        log.append_durably(Records::one(&bytes.collect::<Vec<u8>>())).expect("appended");
    }
    wait_for_archived(&log, RECORDS);
    assert!(manifest(&from.store(), &log).entries[0].bytes > SINGLE_BYTES_MAX);
    let mut progress = Vec::new();
    let options = CopyOptions { which: None, uploads: 1 };
    copy(&from.store(), &to.store(), &options, &mut |at| progress.push((at.done, at.total)))
        .expect("copied");
    assert!(progress.iter().all(|(done, total)| done <= total), "{progress:?}");
    assert_eq!(from.keys(), to.keys());
    check(&to.store());
    assert_eq!(run(&from.store(), &to.store(), None).objects, 0);
    drop(log);
    server.stop();
}
