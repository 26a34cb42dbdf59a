//! `styx verify` only reads: on a read-only directory, beside other readers, and never
//! beside a server.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use styx_tests::cli::{Done, run, styx};
use styx_tests::damage::entries;
use styx_tests::{TestServer, binary, faults};

/// The user and group that root uses instead of itself, because root may write everywhere.
const NOBODY: u32 = 65534;

/// A server whose log `a` has two records. It is stopped.
fn stopped() -> TestServer {
    let mut server = TestServer::with_log("a");
    server.append("a", "0");
    server.append("a", "1");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    server
}

fn verify(server: &TestServer, arguments: &[&str]) -> Done {
    let data = server.data().display().to_string();
    run(styx(&[&["verify", &data], arguments].concat()), b"")
}

/// Every file and directory in a directory and the directory itself, with the time of its
/// last change.
fn changes(directory: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let modified = |path: &Path| fs::metadata(path).and_then(|of| of.modified()).expect("a time");
    let mut found = BTreeMap::from([(directory.to_owned(), modified(directory))]);
    for path in entries(directory) {
        if path.is_dir() {
            found.extend(changes(&path));
        } else {
            let time = modified(&path);
            found.insert(path, time);
        }
    }
    found
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the mode can be set");
}

/// Whether every user can reach a file or directory.
fn everyone_reaches(path: &Path) -> bool {
    path.ancestors().all(|above| fs::metadata(above).is_ok_and(|of| of.mode() & 0o001 != 0))
}

#[test]
fn a_directory_that_cannot_be_written_is_verified_and_not_changed() {
    let server = stopped();
    let is_root = rustix::process::geteuid().is_root();
    if is_root && !(everyone_reaches(&server.data()) && everyone_reaches(binary::styx())) {
        return faults::skip("other users cannot reach the binary or the test's directory");
    }
    let before = changes(&server.data());
    for path in before.keys() {
        set_mode(path, if path.is_dir() { 0o555 } else { 0o444 });
    }
    let mut command = styx(&["verify", &server.data().display().to_string()]);
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let done = run(command, b"");
    let after = changes(&server.data());
    for path in before.keys().filter(|path| path.is_dir()) {
        set_mode(path, 0o755);
    }
    let text = done.expect_text();
    assert!(text.starts_with("a: ok, 2 records in "), "{text}");
    assert!(!text.contains("note:"), "the lock file can be locked: {text}");
    assert_eq!(after, before);
}

#[test]
fn a_directory_without_a_lock_file_is_verified_with_a_note() {
    let server = stopped();
    let lock = server.data().join(".lock");
    fs::remove_file(&lock).expect("the server left its lock file");
    let before = changes(&server.data());
    let text = verify(&server, &[]).expect_text();
    assert!(text.starts_with("a: ok, 2 records in "), "{text}");
    assert!(text.contains("\nnote: ") && text.contains("cannot be locked"), "{text}");
    let json = verify(&server, &["-f", "json"]).expect_ok();
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["good"], true);
    assert_eq!(json["notes"].as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(changes(&server.data()), before);
}

#[test]
fn a_directory_in_use_is_refused() {
    let server = TestServer::with_log("a");
    let done = verify(&server, &[]);
    assert_eq!((done.code, done.stdout.len()), (1, 0), "{}", done.stderr);
    let holder = format!("in use by process {}:", server.process());
    assert!(done.stderr.contains(&holder), "{}", done.stderr);
}
