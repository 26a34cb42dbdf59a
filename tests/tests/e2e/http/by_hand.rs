//! Directories that an operator adds, links, replaces or removes in the data directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;
use styx_tests::api::write_one;
use styx_tests::cli::{run, styx};
use styx_tests::{Request, Response, Table, TestServer, error, gives};

fn create(server: &TestServer, log: &str) -> Response {
    server.ask(&Request::post("/logs").form(&format!("name={log}")))
}

fn adopt(log: &str) -> Request {
    Request::post(&format!("/logs/{log}/adopt"))
}

/// Unpacks a backup of the log into a new directory.
fn unpack(server: &TestServer, log: &str, directory: &Path) {
    let archive = server.scratch().write("backup.tar.gz", server.backup(log));
    fs::create_dir(directory).expect("created");
    let mut tar = std::process::Command::new("tar");
    let tar = tar.arg("-xzf").arg(archive).arg("-C").arg(directory);
    assert!(tar.status().expect("tar runs").success());
}

fn health(server: &TestServer) -> Value {
    server.ask(&Request::get("/health/ready")).expect(200).json()
}

#[test]
fn an_unpacked_backup_is_never_overwritten_and_can_be_adopted() {
    let server = TestServer::with_log("a");
    server.append("a", "0");
    server.append("a", "1");
    let copy = server.data().join("copy");
    unpack(&server, "a", &copy);
    symlink("nothing", server.data().join("dangling")).expect("linked");
    let mut table = Table::of(&server);
    let taken = error(409, "log_exist").says("`styx logs adopt copy`");
    table.row("create", &Request::post("/logs").form("name=copy"), &taken);
    let archive = server.backup("a");
    let restore = |log: &str| {
        let target = format!("/logs/restore?name={log}");
        Request::post(&target).typed("application/gzip", archive.clone())
    };
    table.row("restore", &restore("copy"), &taken);
    let dangling = error(409, "log_exist").says("a symbolic link to nothing");
    table.row("restore over a link", &restore("dangling"), &dangling);
    let reported = error(404, "log_not_found").says("`styx logs adopt copy`");
    table.row("get", &Request::get("/logs/copy"), &reported);
    table.row("adopt nothing", &adopt("none"), &error(404, "log_not_found"));
    table.row("adopt no name", &adopt("a.b"), &error(404, "log_not_found"));
    let no_log = error(404, "log_not_found").says("a symbolic link to nothing");
    table.row("adopt a link", &adopt("dangling"), &no_log);
    table.row("adopt", &adopt("copy"), &gives(200).with("X-Styx-Log-Id", "*"));
    table.row("adopt again", &adopt("copy"), &gives(200).with("X-Styx-Log-Id", "*"));
    table.check();
    assert_eq!(server.read_all("copy"), [b"0", b"1"]);
    assert_ne!(server.log_id("copy"), server.log_id("a"));
    assert_eq!(server.append("copy", "2"), 3);

    unpack(&server, "a", &server.data().join("other"));
    let adopted = server.cli(&["logs", "adopt", "other"], b"").expect_text();
    assert!(adopted.contains("other"), "{adopted}");
    assert_eq!(server.read_all("other"), [b"0", b"1"]);
}

#[test]
fn a_log_that_was_moved_to_another_disk_and_linked_is_served() {
    let mut server = TestServer::with_log("a");
    server.append("a", "0");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    let (link, disk) = (server.data().join("a"), server.scratch().join("disk"));
    fs::rename(&link, &disk).expect("moved");
    symlink(&disk, &link).expect("linked");
    let data = server.data().display().to_string();
    let verified = run(styx(&["verify", &data]), b"").expect_text();
    assert!(verified.starts_with("a: ok, 1 records in "), "{verified}");
    server.restart();
    assert_eq!(server.append("a", "1"), 2);
    assert_eq!(create(&server, "a").status(), 409);
    assert_eq!(server.read_all("a"), [b"0", b"1"]);

    fs::write(disk.join("notes"), "x").expect("written");
    let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    assert!(!link.is_symlink());
    let left: Vec<_> =
        fs::read_dir(&disk).expect("kept").map(|of| of.expect("one").path()).collect();
    assert_eq!(left, [disk.join("notes")]);
}

#[test]
fn an_append_after_the_directory_was_removed_is_not_acked() {
    let server = TestServer::with_log("a");
    server.append("a", "0");
    fs::remove_dir_all(server.data().join("a")).expect("removed");
    let lost = server.ask(&write_one("a", "1"));
    // Maintenance may have noticed it before the append did.
    let code = lost.json()["code"].as_str().expect("a code").to_owned();
    assert!(["outcome_unknown", "log_not_available"].contains(&code.as_str()), "{}", lost.text());
    assert!(lost.text().contains("was removed or replaced"), "{}", lost.text());
    assert_eq!(server.info("a")["status"], "tainted");
    assert_eq!(health(&server)["logs"][0]["name"], "a");
    let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    let _ = create(&server, "a").expect(200);
    assert_eq!(server.append("a", "2"), 1);

    // It is also created again without a delete.
    fs::remove_dir_all(server.data().join("a")).expect("removed");
    let _ = create(&server, "a").expect(200);
    assert_eq!(server.append("a", "3"), 1);
    assert_eq!(server.read_all("a"), [b"3"]);
}

#[test]
fn one_directory_that_cannot_be_opened_costs_one_log() {
    let mut server = TestServer::with_log("good");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    let data = server.data();
    symlink("loop", data.join("loop")).expect("linked");
    fs::create_dir(data.join("empty")).expect("created");
    fs::create_dir(data.join("foreign")).expect("created");
    fs::write(data.join("foreign/notes"), "x").expect("written");
    fs::write(data.join("file"), "x").expect("written");
    server.restart();
    assert_eq!(server.append("good", "0"), 1);
    assert_eq!(server.info("loop")["status"], "unknown");
    let refused = server.ask(&write_one("loop", "0"));
    assert_eq!(refused.json()["code"], "log_not_available", "{}", refused.text());
    // musl and glibc write it differently.
    assert!(refused.text().to_lowercase().contains("symbolic link"), "{}", refused.text());
    for other in ["empty", "foreign", "file"] {
        let warning = format!("data/{other} is ");
        server.expect_log(&warning);
        for request in [Request::delete(&format!("/logs/{other}")), adopt(other)] {
            assert_eq!(server.ask(&request).status(), 404, "{other}");
        }
    }
    assert!(data.join("empty").is_dir() && data.join("foreign/notes").is_file());
}

#[test]
fn deleting_a_log_keeps_the_files_of_others_and_says_so() {
    let server = TestServer::with_log("a");
    let notes = server.data().join("a/notes");
    fs::write(&notes, "x").expect("written");
    let kept = server.ask(&Request::delete("/logs/a"));
    assert_eq!((kept.status(), &kept.json()["code"]), (409, &"log_exist".into()));
    assert!(kept.text().contains("was deleted, but") && kept.text().contains("a/notes"));
    assert_eq!(server.ask(&Request::get("/logs/a")).status(), 404);
    assert!(notes.is_file());
    assert_eq!(create(&server, "a").status(), 409);
}
