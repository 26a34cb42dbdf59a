//! Storage that cannot keep what an ack promises: the server warns at startup and in
//! the metrics, and `styx serve --check-storage` explains. The speed of this machine's
//! disk does not matter.

use std::sync::Arc;

use styx_tests::cli::{Done, run, styx};
use styx_tests::{Scratch, Settings, TestServer, faults};

const REASONS: [&str; 3] = ["memory", "mount_option", "fast_sync"];

fn is_weak(server: &TestServer, reason: &str) -> bool {
    let sample = format!("styx_storage_weak{{reason=\"{reason}\"}}");
    server.metric(&sample).unwrap_or_else(|| panic!("no {sample}")) == 1.0
}

/// A directory on a tmpfs, if there is one.
fn in_memory() -> Option<Scratch> {
    let scratch = Scratch::elsewhere("memory");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("a list of mounts");
    let is_tmpfs = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some("/dev/shm") && fields.next() == Some("tmpfs")
    };
    (scratch.path().starts_with("/dev/shm") && mounts.lines().any(is_tmpfs)).then_some(scratch)
}

fn check_storage(data: &str) -> Done {
    run(styx(&["serve", "--check-storage", "--data-directory", data]), b"")
}

#[test]
fn a_data_directory_in_memory_is_warned_about() {
    let Some(scratch) = in_memory() else { return faults::skip("/dev/shm is no tmpfs here") };
    let server = Settings::default().start_in(Arc::new(scratch)).expect("the server starts anyway");
    let log = server.log();
    let warning = log.lines().find(|line| line.contains("WARN") && line.contains("weak storage"));
    let warning = warning.unwrap_or_else(|| panic!("no warning: {log}"));
    for part in ["tmpfs", "in memory", "use a directory on a disk", "--check-storage"] {
        assert!(warning.contains(part), "no {part}: {warning}");
    }
    assert!(is_weak(&server, "memory"));
    assert!(!is_weak(&server, "mount_option"));
    assert!(server.metric("styx_storage_sync_seconds").is_some_and(|seconds| seconds > 0.0));
    server.create("a");
    assert_eq!(server.append("a", "it is only a warning"), 1);
}

#[test]
fn a_data_directory_on_a_disk_is_not_warned_about() {
    let server = TestServer::start();
    let checked = check_storage(&server.data().display().to_string());
    let text = String::from_utf8_lossy(&checked.stdout);
    if !["file system       ext4 ", "file system       xfs "].iter().any(|fs| text.contains(fs)) {
        return faults::skip("the test's directory is neither on ext4 nor on XFS");
    }
    assert!(!is_weak(&server, "memory"), "{text}");
    let seconds = server.metric("styx_storage_sync_seconds").expect("a measured value");
    assert!(seconds > 0.0);
    // A sync that is impossibly fast is weak storage, and only then is there a warning.
    assert_eq!(is_weak(&server, "fast_sync"), seconds < 10e-6, "{seconds} s, {text}");
    let weak = REASONS.iter().any(|reason| is_weak(&server, reason));
    assert_eq!(server.log().contains("weak storage"), weak, "{}", server.log());
}

#[test]
fn the_storage_check_at_startup_leaves_no_files() {
    let server = TestServer::start();
    let left = std::fs::read_dir(server.data()).expect("the data directory");
    let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, [".lock"]);
}

#[test]
fn the_next_start_removes_files_of_a_killed_storage_check() {
    let mut server = TestServer::start();
    server.kill();
    let left = server.data().join(".probe-1-2");
    std::fs::write(&left, [0; 4096]).expect("it can be written");
    server.restart();
    assert!(!left.exists());
}

#[test]
fn check_storage_explains_its_measurements_and_leaves_no_files() {
    let scratch = Scratch::new("check");
    let done = check_storage(&scratch.path().display().to_string());
    let text = String::from_utf8(done.stdout.clone()).expect("text");
    let lines = ["data directory", "file system", "mount options", "write and sync", "verdict"];
    for name in lines {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name}:\n{text}");
    }
    for part in ["median ", "p99 ", "µs", "MB/s"] {
        assert!(text.contains(part), "no {part}:\n{text}");
    }
    match done.code {
        0 => assert!(text.contains("verdict           fine: "), "{text}"),
        1 => assert!(text.contains("verdict           weak: "), "{text}\n{}", done.stderr),
        code => panic!("{code}: {text}\n{}", done.stderr),
    }
    assert_eq!(std::fs::read_dir(scratch.path()).expect("a directory").count(), 0);

    let missing = scratch.join("not/yet/there");
    let done = check_storage(&missing.display().to_string());
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.contains(&format!("measured in {}", scratch.path().display())), "{text}");
    assert_eq!(std::fs::read_dir(scratch.path()).expect("a directory").count(), 0);
}

#[test]
fn check_storage_fails_on_weak_storage() {
    let Some(scratch) = in_memory() else { return faults::skip("/dev/shm is no tmpfs here") };
    let done = check_storage(&scratch.path().display().to_string());
    let text = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.code, 1, "{text}");
    assert!(text.contains("weak: the data directory is in memory (tmpfs)"), "{text}");
    assert!(done.stderr.starts_with("Error: "), "{}", done.stderr);
}

#[test]
fn check_storage_works_while_a_server_runs() {
    let server = TestServer::start();
    server.create("a");
    let done = check_storage(&server.data().display().to_string());
    assert!(done.code == 0 || done.code == 1, "{}", done.stderr);
    assert_eq!(server.append("a", "on it goes"), 1);
}
