//! kill -9 at random moments, while segments are archived, evicted and read: no acked record is
//! lost, and the archive stays complete. And while logs are restored: another run finishes it.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use styx_tests::random::Random;
use styx_tests::store_proxy::{StoreFault, StoreRule};

use styx_tests::{Scratch, TestServer};

use crate::support::{Archive, EVICT, append, await_archived, fill, payload};

const CYCLES: u64 = 12;

#[test]
fn no_acked_record_is_lost_by_kill_9_while_segments_are_archived_and_evicted() {
    let archive = Archive::start();
    archive.proxy.inject(&[StoreRule::all(StoreFault::AnswerAfterSuccess(503)).one_in(7)]);
    let mut server = archive.settings(EVICT).start();
    server.create_with("a", "segment_max_size=16384");
    let mut random = Random::new(Random::fresh_seed());
    let mut end = 0;
    for _ in 0..CYCLES {
        append(&server, "a", end, 150);
        end += 150;
        // At any moment of the uploads and evictions that follow.
        std::thread::sleep(Duration::from_millis(random.between(0, 400)));
        let is_reading = AtomicBool::new(false);
        let position = random.between(0, end);
        std::thread::scope(|scope| {
            let (address, is_reading) = (server.address(), &is_reading);
            scope.spawn(move || {
                is_reading.store(true, Ordering::Relaxed);
                let request = styx_tests::api::read_binary("a", &format!("position={position}"));
                let _ = styx_tests::Connection::try_open(address)
                    .and_then(|mut connection| connection.exchange(&request));
            });
            while !is_reading.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            server.kill();
        });
        server.restart();
        let read = server.read_all("a");
        assert_eq!(read.len() as u64, end);
        for (number, record) in (0..).zip(&read) {
            assert!(*record == payload(number), "record {number}");
        }
    }
    archive.proxy.inject(&[]);
    await_archived(&server, "a");
    archive.verify();
}

/// The logs of an archive whose server is gone, and their records.
fn archived_logs(archive: &Archive) -> Vec<(String, Vec<Vec<u8>>)> {
    let mut server = archive.settings("uploads = 8").start();
    let logs = (0..12).map(|number| {
        let name = format!("log-{number}");
        let records = fill(&server, &name, 200 + 10 * number);
        (name, records)
    });
    let logs: Vec<_> = logs.collect();
    for (name, _) in &logs {
        await_archived(&server, name);
    }
    server.kill();
    logs
}

/// Kills restores into one directory at random moments, and lets the last one finish. Returns a
/// server on the directory.
fn restored_with_kills(archive: &Archive, flags: &[&str], random: &mut Random) -> TestServer {
    let contents = || {
        let objects = archive.store.objects().into_iter();
        let read = |(key, _): (String, u64)| {
            let bytes = std::fs::read(archive.store.file(&key)).expect("an object");
            (key, bytes)
        };
        objects.map(read).collect::<Vec<_>>()
    };
    let before = contents();
    let scratch = Arc::new(Scratch::new("server"));
    let data = scratch.join("data");
    let directory = data.to_str().expect("a path");
    let arguments = [&["restore", "--data-directory", directory], flags].concat();
    // How long a whole restore takes, in another directory.
    let other = Scratch::new("other");
    let whole = Instant::now();
    let copy = [&["restore", "--data-directory", other.path().to_str().expect("a path")], flags];
    let _ = archive.styx(&copy.concat()).expect_ok();
    let millis = whole.elapsed().as_millis() as u64;
    for _ in 0..8 {
        let mut command = archive.command(&arguments);
        let mut restore =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("styx");
        std::thread::sleep(Duration::from_millis(random.between(millis / 8, millis)));
        restore.kill().expect("killed, or ended already");
        restore.wait().expect("ended");
    }
    let _ = archive.styx(&arguments).expect_ok();
    assert!(contents() == before, "a restore has changed the store");
    // The interrupted runs have left nothing.
    let names = std::fs::read_dir(&data)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let rest: Vec<_> =
        names.filter(|name| name.contains("restoring") || name.contains("download")).collect();
    assert_eq!(rest, [] as [String; 0]);
    archive.settings("").start_in(scratch).expect("it starts")
}

#[test]
fn another_run_finishes_a_restore_that_was_killed_and_the_store_is_unchanged() {
    let archive = Archive::start();
    let logs = archived_logs(&archive);
    let mut random = Random::new(Random::fresh_seed());
    let server = restored_with_kills(&archive, &[], &mut random);
    for (name, records) in &logs {
        assert!(server.read_all(name) == *records, "{name}");
        append(&server, name, 1000, 1);
        await_archived(&server, name);
    }
    archive.verify();
}

#[test]
fn another_run_finishes_a_download_that_was_killed() {
    let mut archive = Archive::start();
    let logs = archived_logs(&archive);
    let mut random = Random::new(Random::fresh_seed());
    let mut server = restored_with_kills(&archive, &["--download"], &mut random);
    server.kill();
    archive.store.stop();
    server.restart();
    for (name, records) in &logs {
        assert!(server.read_all(name) == *records, "{name}");
    }
}
