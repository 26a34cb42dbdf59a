//! A disk that is really full: archived segments leave it, and only unarchived ones fill it.

use std::sync::Arc;

use styx_tests::api::write_one;
use styx_tests::{Scratch, TestServer, faults, wait};

use crate::support::{Archive, PATIENCE, await_archived};

const RECORD_BYTES: usize = 500_000;

fn payload(number: usize) -> Vec<u8> {
    let mut bytes = format!("record {number} ").into_bytes();
    bytes.extend((bytes.len()..RECORD_BYTES).map(|at| (at * 31 + number * 7) as u8));
    bytes
}

/// Appends a record. While uploads are behind, an append may be refused for a moment.
fn append(server: &TestServer, number: usize) {
    wait::until_true("an append", PATIENCE, || {
        let answer = server.ask(&write_one("a", payload(number)));
        match answer.status() {
            200 => true,
            _ => {
                let _ = answer.expect_error(507, "storage_full");
                false
            }
        }
    });
}

#[test]
fn more_than_the_disk_is_appended_and_only_an_absent_store_lets_it_fill() {
    /// 75 MB on a disk of 48 MiB.
    const RECORDS: usize = 150;
    let mut archive = Archive::start();
    let scratch = Arc::new(Scratch::new("full"));
    // No limit evicts anything: only the full disk does.
    let settings =
        archive.settings("read_cache_size = 16777216").script(&faults::small_disk(&scratch, 48));
    let server = settings.start_in(scratch).expect("it can be started");
    server.create_with("a", "segment_max_size=2000000");
    for number in 0..RECORDS {
        append(&server, number);
    }
    await_archived(&server, "a");
    let read = server.read_all("a");
    assert_eq!(read.len(), RECORDS);
    assert!(read.iter().enumerate().all(|(number, record)| *record == payload(number)));

    archive.store.stop();
    let mut acked = RECORDS;
    let refused = loop {
        let answer = server.ask(&write_one("a", payload(acked)));
        if answer.status() != 200 {
            break answer;
        }
        acked += 1;
        assert!(acked < 3 * RECORDS, "the disk has no end");
    };
    let _ = refused.expect_error(507, "storage_full");
    archive.store.start_again();
    append(&server, acked);
    await_archived(&server, "a");
    assert_eq!(server.read_all("a").len(), acked + 1);
    archive.verify();
}
