//! A store that is away, slow, wrong, or refuses: appends are acked, and only reads that need the
//! store fail.

use std::sync::Arc;
use std::time::Duration;

use styx_tests::api::write_one;
use styx_tests::store_proxy::{StoreFault, StoreRule};
use styx_tests::{Request, Scratch, wait};

use crate::support::{
    Archive, EVICT, PATIENCE, append, await_archived, await_evicted, evicted, fill, segments,
};

#[test]
fn appends_are_acked_while_the_store_is_away_and_archived_when_it_is_back() {
    let mut archive = Archive::start();
    let mut server = archive.settings(EVICT).start();
    let mut records = fill(&server, "a", 500);
    await_archived(&server, "a");

    archive.store.stop();
    records.extend(append(&server, "a", 500, 500));
    wait::until_true("the metric says that the store is away", PATIENCE, || {
        server.metric("styx_archive_available") == Some(0.0)
    });
    assert!(server.count("styx_archive_lag_bytes") > 0);
    // A start without the store works too.
    server.kill();
    server.restart();
    records.extend(append(&server, "a", 1000, 100));

    archive.store.start_again();
    await_archived(&server, "a");
    assert!(server.read_all("a") == records);
    archive.verify();
}

#[test]
fn wrong_credentials_stop_neither_the_server_nor_appends() {
    let archive = Archive::start();
    let settings = archive.settings("").variable("AWS_SECRET_ACCESS_KEY", "wrong");
    let server = settings.start();
    let records = fill(&server, "a", 300);
    assert!(server.read_all("a") == records);
    server.expect_log("check the credentials");
    assert_eq!(archive.store.objects(), []);
}

#[test]
fn a_store_with_unreliable_conditions_is_refused() {
    let archive = Archive::start();
    archive.proxy.inject(&[StoreRule::all(StoreFault::AcceptConditions).methods(&["PUT"])]);
    let scratch = Arc::new(Scratch::new("server"));
    let refusal = archive.settings("").start_in(scratch).expect_err("the store lies");
    assert!(refusal.output.contains("conditional writes are not reliable"), "{refusal}");
}

#[test]
fn a_store_that_hangs_costs_only_its_readers() {
    let archive = Archive::start();
    let (server, records) = evicted(&archive, 600);
    let newest = records.len() as u64 - 1;
    archive.proxy.inject(&[StoreRule::all(StoreFault::Hang)]);
    let read =
        |position: u64| server.ask(&Request::get(&format!("/logs/a/records?position={position}")));
    std::thread::scope(|scope| {
        let hanging = [0; 8].map(|_| {
            scope.spawn(|| {
                let mut connection = server.connect();
                connection.set_patience(Duration::from_secs(90));
                connection.exchange(&Request::get("/logs/a/records?position=5")).expect("an answer")
            })
        });
        wait::until_true("the store is asked", PATIENCE, || archive.proxy.faults() > 0);
        // Nobody else waits.
        for number in 0..50 {
            assert_eq!(read(newest).body, records[newest as usize]);
            server.append("a", format!("while it hangs {number}"));
        }
        for hanging in hanging {
            let answer = hanging.join().expect("no panic");
            let _ = answer.expect_error(503, "store_unavailable");
        }
    });
    archive.proxy.inject(&[]);
    wait::until_true("the store is used again", PATIENCE, || read(5).status() == 200);
    assert_eq!(read(5).body, records[5]);
}

#[test]
fn lost_answers_and_refusals_leave_a_complete_archive() {
    let archive = Archive::start();
    let server = archive.settings(EVICT).start();
    server.create_with("a", "segment_max_size=65536");
    let mut records = Vec::new();
    for (round, fault) in [
        StoreFault::AnswerAfterSuccess(503),
        StoreFault::CutAnswer(0),
        StoreFault::CutAnswer(40),
        StoreFault::Refuse(503),
        StoreFault::Delay(Duration::from_millis(50)),
        StoreFault::SlowAnswer(64),
    ]
    .into_iter()
    .enumerate()
    {
        archive.proxy.inject(&[StoreRule::all(fault).one_in(3)]);
        records.extend(append(&server, "a", round as u64 * 200, 200));
        await_archived(&server, "a");
    }
    assert!(archive.proxy.faults() > 10, "{}", archive.proxy.faults());
    archive.proxy.inject(&[]);
    assert!(server.read_all("a") == records);
    archive.verify();
}

#[test]
fn a_short_disk_evicts_what_is_archived() {
    let archive = Archive::start();
    let mut server = archive.settings("").start();
    let records = fill(&server, "a", 500);
    await_archived(&server, "a");
    // No limit evicted anything.
    assert!(segments(&server, "a") > 3);
    // A reserve that is larger than any disk.
    server.restart_with(archive.settings("").set("min_free_disk = 1125899906842624"));
    let refused = server.ask(&write_one("a", vec![b'x'; 100_000]));
    let _ = refused.expect_error(507, "storage_full");
    await_evicted(&server, "a", 2);
    assert!(server.read_all("a") == records, "the archive has what the disk has not");
}
