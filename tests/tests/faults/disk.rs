//! Disk errors under a running server: syncs that fail or are slow, and full disks.
//!
//! `strace` makes a system call of the release binary fail. `unshare` gives the server
//! a small tmpfs, and a loop device a small ext4 or XFS. `cargo xtask test` says when
//! one of them is missing.

use std::sync::Arc;
use std::time::Duration;

use styx_tests::api::write_one;
use styx_tests::power::{Filesystem, LoopDisk};
use styx_tests::{
    Request, Scratch, Settings, Table, TestServer, binary, error, faults, gives, strace, wait,
};

/// A server of the release binary under `strace`, which injects this fault.
fn injected(fault: &str, settings: Settings, prepare: impl FnOnce(&TestServer)) -> TestServer {
    strace::injected(binary::released(), fault, settings, prepare)
}

/// Appends until an append fails. Returns the number of acks and the failed response.
fn append_until_it_fails(server: &TestServer) -> (u64, styx_tests::Response) {
    let mut acked = 0;
    loop {
        let answer = server.ask(&write_one("a", format!("{acked}")));
        if answer.status() != 200 {
            return (acked, answer);
        }
        acked += 1;
        assert!(acked < 2000, "the injected fault did not occur");
    }
}

#[test]
fn a_failed_sync_stops_the_log_and_is_never_acked() {
    let fault = "fdatasync:error=EIO:when=30";
    let mut server = injected(fault, Settings::released(), |server| server.create("a"));
    let (acked, answer) = append_until_it_fails(&server);
    let _ = answer.expect_error(500, "outcome_unknown");
    let again = server.ask(&write_one("a", "again"));
    assert_eq!((again.status(), again.code().as_str()), (503, "log_not_available"));
    assert_eq!(again.json()["status"], "tainted", "{}", again.shown());
    assert_eq!(server.info("a")["status"], "tainted");
    let acked = usize::try_from(acked).expect("a small number");
    assert_eq!(server.read_all("a").len(), acked, "the acked records can be read");

    server.restart_with(Settings::released());
    check_recovered(&server, acked);
}

/// After a restart on a good disk: the acked records are there, at most one more, and
/// the log takes appends.
fn check_recovered(server: &TestServer, acked: usize) {
    assert_eq!(server.info("a")["status"], "ok", "a restart recovers the log");
    let records = server.read_all("a");
    assert!(records.len() == acked || records.len() == acked + 1, "{} of {acked}", records.len());
    for (number, record) in records.iter().enumerate() {
        assert_eq!(*record, format!("{number}").into_bytes());
    }
    server.append("a", "on it goes");
}

#[test]
fn no_acked_record_is_lost_whichever_sync_fails() {
    // strace counts calls per thread. The first thread that reaches the n-th sync fails:
    // commits, rolls, snapshots and watermarks.
    for nth in 60..110 {
        let fault = format!("fdatasync:error=EIO:when={nth}");
        let create = |server: &TestServer| server.create_with("a", "segment_max_count=7");
        let mut server = injected(&fault, Settings::released(), create);
        let (acked, answer) = append_until_it_fails(&server);
        assert!([500, 503].contains(&answer.status()), "{nth}: {}", answer.shown());
        assert_eq!(server.info("a")["status"], "tainted", "{nth}");
        let acked = usize::try_from(acked).expect("a small number");
        assert_eq!(server.read_all("a").len(), acked, "{nth}: the acked records can be read");
        server.restart_with(Settings::released());
        check_recovered(&server, acked);
    }
}

#[test]
fn a_full_disk_rejects_appends_until_space_is_freed() {
    let scratch = Arc::new(Scratch::new("full"));
    let settings = Settings::default().script(&faults::small_disk(&scratch, 48));
    let server = settings.start_in(scratch).expect("it can be started");
    fill_and_relieve(&server);
}

/// The reserve of the tests below.
const RESERVE: u64 = 16 << 20;
/// How much of the reserve concurrent commits and small files may use.
const SLACK: u64 = 2 << 20;

#[test]
fn appends_leave_the_disk_reserve_and_resume_when_space_is_freed() {
    let scratch = Arc::new(Scratch::new("reserve"));
    let settings = Settings::default()
        .set(&format!("min_free_disk = {RESERVE}"))
        .script(&faults::small_disk(&scratch, 64));
    let server = settings.start_in(scratch).expect("it can be started");
    let before = fill_and_relieve(&server);
    drop(before);
    fill_up(&server);
    assert!(free_bytes(&server) + SLACK >= RESERVE, "{} bytes are free", free_bytes(&server));
    let refused =
        server.ask(&write_one("a", vec![b'x'; 500_000])).expect_error(507, "storage_full");
    for part in ["min_free_disk", "free some space"] {
        assert!(refused.text().contains(part), "{}", refused.shown());
    }
    assert_eq!(server.count("styx_disk_reserve_reached"), 1);
    assert!(server.count("styx_disk_reserve_refusals_total") > 0);
    let lines = server.log().matches("appends are refused because less than min_free_disk").count();
    assert!((1..=2).contains(&lines), "{lines} lines: once a minute is enough");
    let _ = server.ask(&Request::post("/logs/a/truncate")).expect(200);
    resumes(&server, &mut Vec::new(), "a truncation");
    assert_eq!(server.count("styx_disk_reserve_reached"), 0);
    server.expect_log("enough disk space is free again");
}

/// Appends to `a` until an append is refused.
fn fill_up(server: &TestServer) {
    let large = vec![b'x'; 500_000];
    while server.ask(&write_one("a", large.clone())).status() == 200 {}
}

/// The bytes that are free on the server's disk, which only its processes can see.
fn free_bytes(server: &TestServer) -> u64 {
    let data = format!("/proc/{}/root{}", server.process(), server.data().display());
    let found = rustix::fs::statvfs(data).expect("a file system");
    found.f_bavail * found.f_frsize
}

#[test]
fn a_full_ext4_rejects_appends_until_space_is_freed() {
    on_a_full(Filesystem::Ext4, 64 << 20);
}

#[test]
fn a_full_xfs_rejects_appends_until_space_is_freed() {
    // The smallest XFS.
    on_a_full(Filesystem::Xfs, 320 << 20);
}

/// The same on a real filesystem, which survives a restart of the server.
fn on_a_full(filesystem: Filesystem, bytes: u64) {
    let scratch = Arc::new(Scratch::new("full"));
    let _disk = match LoopDisk::make_of(filesystem, bytes, &scratch) {
        Ok(disk) => disk,
        Err(why) => return faults::skip(&format!("{filesystem:?}: {why}")),
    };
    let mut server = Settings::released().start_in(scratch).expect("it can be started");
    let before = fill_and_relieve(&server);
    server.kill();
    server.restart();
    assert!(
        server.read_all("a") == before,
        "after a restart the log has exactly the acked records"
    );
    for log in ["a", "counted"] {
        assert_eq!(server.info(log)["status"], "ok", "{log}");
    }
}

/// Fills the disk, and frees space in every possible way. Returns the records of the
/// log `a`.
fn fill_and_relieve(server: &TestServer) -> Vec<Vec<u8>> {
    let config = "segment_max_size=1048576";
    server.create_with("ballast", config);
    server.create_with("counted", &format!("{config}&log_max_count=100"));
    server.create_with("a", config);
    let large = vec![b'x'; 500_000];
    for _ in 0..16 {
        server.append("ballast", large.clone());
    }
    for _ in 0..12 {
        server.append("counted", large.clone());
    }
    let mut acked = Vec::new();
    let fill = |acked: &mut Vec<Vec<u8>>| loop {
        let answer = server.ask(&write_one("a", large.clone()));
        if answer.status() != 200 {
            let _ = answer.expect_error(507, "storage_full");
            return;
        }
        acked.push(large.clone());
        assert!(acked.len() < 2000, "the disk never became full");
    };
    let check = |acked: &[Vec<u8>]| {
        let info = server.info("a");
        assert_eq!(info["status"], "ok", "a full disk taints no log");
        assert_eq!(
            info["end_position"],
            acked.len() as u64,
            "no record of a refused append is kept"
        );
        assert!(server.read_all("a") == acked, "reads still work");
    };
    fill(&mut acked);
    // A rejected append leaves nothing, and does not free space for a second.
    fill(&mut acked);
    check(&acked);

    // Retention: small records still fit, and retention removes large ones.
    let start = |log: &str| server.info(log)["start_position"].as_u64().expect("a position");
    assert_eq!(start("counted"), 0);
    server.append_all("counted", &[b"small"; 100]);
    resumes(server, &mut acked, "retention");
    assert!(start("counted") >= 10, "retention freed the space; start {}", start("counted"));
    fill(&mut acked);
    check(&acked);

    // A trim.
    let _ = server.ask(&Request::post("/logs/ballast/trim?position=8")).expect(200);
    resumes(server, &mut acked, "a trim");
    fill(&mut acked);
    check(&acked);

    // A deletion.
    let _ = server.ask(&Request::delete("/logs/ballast")).expect(200);
    resumes(server, &mut acked, "a deletion");
    check(&acked);
    acked
}

/// Waits until a large record can be appended without any other action.
fn resumes(server: &TestServer, acked: &mut Vec<Vec<u8>>, why: &str) {
    let large = vec![b'x'; 500_000];
    wait::until_true(&format!("appends after {why}"), Duration::from_secs(10), || {
        server.ask(&write_one("a", large.clone())).status() == 200
    });
    acked.push(large);
}

#[test]
fn a_log_that_is_being_opened_answers_scanning() {
    // Every sync takes a second, so opening a log is slow.
    let prepare = |server: &TestServer| {
        server.create("a");
        server.append("a", "x");
    };
    let slow = "fdatasync:delay_enter=1000000";
    let server = injected(slow, Settings::released().while_scanning(), prepare);
    let mut table = Table::of(&server);
    let ready = table.row("ready", &Request::get("/health/ready"), &gives(503));
    assert!(ready.header("Retry-After").is_some(), "{}", ready.shown());
    table.row("live", &Request::get("/health/live"), &gives(200));
    let scanning =
        error(503, "log_not_available").field("status", "\"scanning\"").with("Retry-After", "*");
    table.row("a read", &Request::get("/logs/a/records"), &scanning);
    table.row("a backup", &Request::get("/logs/a/backup"), &scanning);
    table.row("a truncation", &Request::post("/logs/a/truncate"), &scanning);
    let write = server.ask(&write_one("a", "y")).expect_error(503, "log_not_available");
    assert_eq!(write.json()["status"], "scanning");
    let info = server.info("a");
    assert_eq!((&info["status"], &info["end_position"]), (&"scanning".into(), &0.into()));
    table.check();
    wait::until_true("the log to be open", Duration::from_secs(30), || {
        server.ask(&Request::get("/health/ready")).status() == 200
    });
    assert_eq!(server.read_all("a"), [b"x"]);
}
