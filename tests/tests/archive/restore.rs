//! `styx restore`: logs from the archive alone; and the commands of `styx archive`.

use std::sync::Arc;

use serde_json::Value;
use styx_tests::api::now_us;
use styx_tests::{Request, Scratch, TestServer};

use crate::support::{Archive, EVICT, append, await_archived, detail, fill};

/// Restores into a new directory, and serves it with the same archive.
fn restored(archive: &Archive, flags: &[&str]) -> TestServer {
    let scratch = Arc::new(Scratch::new("server"));
    let data = scratch.join("data");
    let directory = data.to_str().expect("a path");
    let _ =
        archive.styx(&[&["restore", "--data-directory", directory], flags].concat()).expect_ok();
    archive.settings(EVICT).start_in(scratch).expect("it starts")
}

#[test]
fn a_restored_log_has_every_record_up_to_the_archived_position() {
    let archive = Archive::start();
    let mut server = archive.settings("").start();
    let records = fill(&server, "a", 800);
    await_archived(&server, "a");
    let archived = detail(&server, "a", "archived_position").expect("a position");
    append(&server, "a", 800, 5);
    let id = server.log_id("a");
    server.kill();

    let copy = restored(&archive, &[]);
    let end = detail(&copy, "a", "end_position").expect("an end");
    assert!(end >= archived, "{end} of {archived}");
    let read = copy.read_all("a");
    assert!(read[..archived as usize] == records[..], "the restored log differs");
    assert_ne!(copy.log_id("a"), id);

    // It is a log like any other, and its own records are archived too.
    let more = append(&copy, "a", 2000, 300);
    await_archived(&copy, "a");
    assert!(copy.read_from("a", end) == more);
    archive.verify();
    // The original is as it was.
    server.restart();
    assert!(server.read_all("a").len() >= 805);
}

#[test]
fn restore_takes_one_log_or_a_time() {
    let archive = Archive::start();
    let mut server = archive.settings("").start();
    let first = fill(&server, "a", 200);
    await_archived(&server, "a");
    let between = now_us();
    append(&server, "a", 200, 200);
    await_archived(&server, "a");
    fill(&server, "b", 100);
    await_archived(&server, "b");
    server.kill();

    let one = restored(&archive, &["--log", "b"]);
    assert_eq!(one.read_all("b").len(), 100);
    assert_eq!(one.ask(&Request::get("/logs/a")).status(), 404);

    let at = format!("@{}.{:06}", between / 1_000_000, between % 1_000_000);
    let mut date = std::process::Command::new("date");
    let date = date.args(["--utc", "--date", &at, "+%Y-%m-%dT%H:%M:%S.%6NZ"]).output();
    let time = String::from_utf8(date.expect("date is installed").stdout).expect("text");
    let earlier = restored(&archive, &["--log", "a", "--until", time.trim()]);
    assert!(earlier.read_all("a") == first, "the records of before that time");
}

#[test]
fn hundreds_of_logs_are_restored_lazily() {
    const LOGS: u64 = 200;
    let archive = Archive::start();
    let mut server = archive.settings("uploads = 8").start();
    let names: Vec<String> = (0..LOGS).map(|number| format!("log-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        server.create(name);
        server.append(name, format!("first of {number}"));
    }
    for name in &names {
        await_archived(&server, name);
    }
    server.kill();
    let copy = restored(&archive, &[]);
    // No segment was downloaded.
    for (number, name) in names.iter().enumerate() {
        assert_eq!(copy.read_all(name), [format!("first of {number}").into_bytes()], "{name}");
    }
}

#[test]
fn commands_report_what_the_archive_has_and_what_is_missing() {
    let archive = Archive::start();
    let mut server = archive.settings("").start();
    fill(&server, "a", 300);
    await_archived(&server, "a");
    server.kill();
    let status = archive.styx(&["archive", "status", "-f", "json"]).expect_text();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let log = &status["logs"][0];
    assert_eq!((&log["name"], &log["end_position"]), (&"a".into(), &300.into()), "{status}");
    assert_eq!(status["problems"], Value::Array(Vec::new()));
    let check = archive.styx(&["archive", "check"]).expect_text();
    assert!(check.contains("conditional writes are reliable"), "{check}");

    // Nothing is superfluous.
    let before = archive.store.objects();
    let _ = archive.styx(&["archive", "collect", "--grace", "1s", "--yes"]).expect_ok();
    assert_eq!(archive.store.objects(), before);

    let segment = before.iter().find(|(key, _)| key.ends_with(".seg")).expect("a segment");
    std::fs::remove_file(archive.store.file(&segment.0)).expect("it is there");
    let done = archive.styx(&["archive", "verify"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("the object is missing"), "{}", done.stderr);

    let done = styx_tests::cli::run(styx_tests::cli::styx(&["archive", "status"]), b"");
    assert!(done.code == 2 && done.stderr.contains("--url"), "{}", done.stderr);
}

#[test]
fn a_downloaded_log_is_read_without_the_store() {
    let mut archive = Archive::start();
    let mut server = archive.settings("").start();
    let records = fill(&server, "a", 500);
    await_archived(&server, "a");
    server.kill();
    let scratch = Arc::new(Scratch::new("server"));
    let data = scratch.join("data");
    let directory = data.to_str().expect("a path");
    let _ = archive.styx(&["restore", "--data-directory", directory, "--download"]).expect_ok();
    archive.store.stop();
    let copy = archive.settings("").start_in(scratch).expect("it starts");
    assert!(copy.read_all("a") == records);
}

#[test]
fn restore_names_the_logs_that_it_leaves_out_and_takes_one_by_its_id() {
    let archive = Archive::start();
    let mut ids = Vec::new();
    for count in [300, 400] {
        let mut server = archive.settings("").start();
        fill(&server, "a", count);
        fill(&server, &format!("only-{count}"), 100);
        await_archived(&server, "a");
        await_archived(&server, &format!("only-{count}"));
        ids.push((server.log_id("a"), count));
        server.kill();
    }
    let damaged = archive.store.file("logs/0000000000000000000000000000000a/manifest");
    std::fs::create_dir_all(damaged.parent().expect("a folder")).expect("created");
    std::fs::write(&damaged, "damaged").expect("written");

    let scratch = Scratch::new("restored");
    let directory = scratch.path().to_str().expect("a path");
    let done = archive.styx(&["restore", "--data-directory", directory]);
    assert_eq!(done.code, 1, "{}", done.stderr);
    for name in ["only-300", "only-400"] {
        assert!(String::from_utf8_lossy(&done.stdout).contains(name), "{name}");
    }
    for (id, count) in &ids {
        let expected = format!("{id} ends at position {count}, newest record 20");
        assert!(done.stderr.contains(&expected), "{}", done.stderr);
    }
    for text in ["choose one with --id ID", "000000000a/manifest: the object is damaged"] {
        assert!(done.stderr.contains(text), "{text}: {}", done.stderr);
    }
    let status = archive.styx(&["archive", "status"]);
    let (id, count) = &ids[1];
    assert!(String::from_utf8_lossy(&status.stdout).contains(id), "the status shows the id");
    let chosen = ["restore", "--data-directory", directory, "--id", id, "-f", "json"];
    let json: Value = serde_json::from_str(&archive.styx(&chosen).expect_text()).expect("JSON");
    let log = &json["logs"][0];
    assert_eq!((&log["restored_from"], &log["end_position"]), (&id[..].into(), &(*count).into()));
}
