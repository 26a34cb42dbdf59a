//! Commands that bring logs back, take them over, or copy them.

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use styx_tests::{Request, Scratch, TestServer, cli, wait};

use crate::support::{Archive, PATIENCE, append, await_archived, detail, fill};

fn json(done: &str) -> Value {
    serde_json::from_str(done).expect("JSON")
}

/// The deleted logs as `styx archive status --deleted` shows them.
fn deleted(archive: &Archive) -> Vec<Value> {
    let shown = archive.styx(&["archive", "status", "--deleted", "-f", "json"]).expect_text();
    json(&shown)["logs"].as_array().expect("a list").clone()
}

fn path(directory: &std::path::Path) -> &str {
    directory.to_str().expect("a path")
}

#[test]
fn a_deleted_log_is_undeleted_and_restored_to_its_server() {
    let archive = Archive::start();
    let mut server = archive.settings("").start();
    let records = fill(&server, "a", 300);
    await_archived(&server, "a");
    let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    wait::until_true("the archive knows that it is deleted", PATIENCE, || {
        deleted(&archive).len() == 1
    });
    let shown = deleted(&archive).remove(0);
    let [at, until] = ["deleted_at", "undelete_until"].map(|key| shown[key].as_u64());
    assert_eq!(until, at.map(|at| at + 7 * 86_400 * 1_000_000), "{shown}");
    let text = archive.styx(&["archive", "status", "--deleted"]).expect_text();
    assert!(
        text.contains("UNDELETE UNTIL") && text.contains(shown["log_id"].as_str().expect("an id"))
    );

    let refused = archive.styx(&["archive", "undelete", "b"]);
    assert!(refused.code == 1 && refused.stderr.contains("no deleted log b"), "{}", refused.stderr);
    let done = archive.styx(&["archive", "undelete", "a"]).expect_text();
    assert!(done.contains("styx restore"), "{done}");
    assert_eq!(deleted(&archive), Vec::<Value>::new());

    server.stop();
    let data = server.data();
    let restore = ["restore", "--log", "a", "--data-directory", path(&data)];
    let _ = archive.styx(&restore).expect_ok();
    server.restart();
    assert!(server.read_all("a") == records);
}

#[test]
fn a_short_grace_needs_a_confirmation_and_a_dry_run_none() {
    let archive = Archive::start();
    let server = archive.settings("").start();
    fill(&server, "a", 100);
    await_archived(&server, "a");
    let before = archive.store.objects();
    let refused = archive.styx(&["archive", "collect", "--grace", "1s"]);
    assert!(refused.code == 2 && refused.stderr.contains("--yes"), "{}", refused.stderr);
    let dry = archive.styx(&["archive", "collect", "--grace", "1s", "--dry-run", "-f", "json"]);
    let dry = json(&dry.expect_text());
    assert_eq!(
        (&dry["dry_run"], &dry["objects"], &dry["orphans"]["objects"]),
        (&true.into(), &0.into(), &0.into())
    );
    let text = archive.styx(&["archive", "collect", "--log", "a"]).expect_text();
    assert!(text.contains("removed 0 objects"), "{text}");
    assert_eq!(archive.store.objects(), before);
}

/// Archives a log, and copies the data directory while the server is stopped.
fn cloned(archive: &Archive) -> (TestServer, Arc<Scratch>) {
    let mut server = archive.settings("").start();
    fill(&server, "a", 300);
    await_archived(&server, "a");
    server.kill();
    let scratch = Arc::new(Scratch::new("server"));
    let copied = Command::new("cp").arg("-r").arg(server.data()).arg(scratch.join("data")).status();
    assert!(copied.expect("cp is installed").success());
    (server, scratch)
}

#[test]
fn a_fenced_server_archives_again_after_adopt() {
    let archive = Archive::start();
    let (mut server, scratch) = cloned(&archive);
    // The copy owns the archive, although the original should.
    let mut copy = archive.settings("").start_in(scratch).expect("it starts");
    append(&copy, "b", 0, 0);
    copy.kill();
    copy.restart();
    copy.kill();
    server.restart();
    append(&server, "a", 300, 100);
    await_archived(&server, "a");
    server.stop();
    let data = server.data();
    let adopt = ["archive", "adopt", "--all", "--data-directory", path(&data)];
    let would = archive.styx(&adopt).expect_text();
    assert!(would.contains("would be adopted") && would.contains("--yes"), "{would}");
    let done = archive.styx(&[&adopt[..], &["--yes", "-f", "json"]].concat()).expect_text();
    assert_eq!(json(&done)["logs"][0]["outcome"], "adopted", "{done}");
    server.restart();
    append(&server, "a", 400, 100);
    await_archived(&server, "a");
    assert_eq!(server.count("styx_archive_fenced_logs"), 0);

    copy.restart();
    copy.restart();
    append(&copy, "a", 300, 100);
    wait::until_true("the copy is fenced", PATIENCE, || {
        copy.count("styx_archive_fenced_logs") == 1
    });
    archive.verify();
}

#[test]
fn an_archive_is_copied_and_restored_from_the_copy() {
    let archive = Archive::start();
    let mut server = archive.settings("").start();
    let records = fill(&server, "a", 300);
    await_archived(&server, "a");
    server.kill();
    let scratch = Arc::new(Scratch::new("copy"));
    std::fs::create_dir_all(scratch.join("archive")).expect("created");
    let url = format!("file://{}", scratch.join("archive").display());
    let copy = ["archive", "copy", "--to", &url, "-f", "json"];
    let copied = json(&archive.styx(&copy).expect_text());
    assert_eq!((&copied["logs"], &copied["skipped"]), (&1.into(), &0.into()), "{copied}");
    let again = json(&archive.styx(&copy).expect_text());
    assert_eq!((&again["objects"], &again["skipped"]), (&0.into(), &copied["objects"]), "{again}");

    let (data, verify) = (scratch.join("data"), ["archive", "verify", "--read", "--url", &url]);
    let _ = cli::run(cli::styx(&verify), b"").expect_ok();
    let restore = ["restore", "--from", &url, "--data-directory", path(&data)];
    let _ = cli::run(cli::styx(&restore), b"").expect_ok();
    let settings = styx_tests::Settings::default().table(&format!("[archive]\nurl = \"{url}\"\n"));
    let restored = settings.start_in(scratch).expect("it starts");
    assert!(restored.read_all("a") == records);
    let same = archive.styx(&["archive", "copy", "--to", &archive.store.url()]);
    assert!(same.code == 2 && same.stderr.contains("--to"), "{}", same.stderr);
}

#[test]
fn the_list_of_logs_has_the_archived_positions() {
    let archive = Archive::start();
    let server = archive.settings("").start();
    fill(&server, "a", 300);
    await_archived(&server, "a");
    let list = |format: &str| {
        let arguments = ["logs", "list", "--host", &server.url(""), "-f", format];
        cli::run(cli::styx(&arguments), b"").expect_text()
    };
    let archived = detail(&server, "a", "archived_position").expect("a position");
    assert_eq!(json(&list("json"))[0]["archived_position"], archived);
    let text = list("text");
    assert!(text.lines().next().is_some_and(|line| line.ends_with("ARCHIVED POSITION")), "{text}");
    assert!(text.trim_end().ends_with(&archived.to_string()), "{text}");
    let plain = TestServer::start();
    plain.create("b");
    let text = cli::run(cli::styx(&["logs", "list", "--host", &plain.url("")]), b"").expect_text();
    assert!(!text.contains("ARCHIVED"), "{text}");
}
