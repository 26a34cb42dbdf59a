//! Concurrent requests: every writer gets the positions of its own records.

use std::collections::HashSet;

use styx_tests::api::{self, read_binary, unbinary, write_binary, write_one};
use styx_tests::{Connection, Request, Settings, TestServer};

/// Appends batches of `size` from `writers` connections at once, and reads every
/// record back at the position in its response.
#[track_caller]
fn check(server: &TestServer, log: &str, writers: usize, batches: usize, size: usize) {
    let record = |writer: usize, batch: usize, index: usize| {
        format!("writer {writer}, batch {batch}, record {index}").into_bytes()
    };
    let start = server.info(log)["end_position"].as_u64().expect("a position");
    let ends: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let write = |writer: usize| {
            let mut connection = server.connect();
            let batch = |batch: usize| {
                let records: Vec<_> = (0..size).map(|i| record(writer, batch, i)).collect();
                let request = match records.as_slice() {
                    [one] => write_one(log, one.clone()),
                    _ => write_binary(log, &records),
                };
                let answer = connection.exchange(&request).expect("an answer").expect(200);
                let written = api::written(&answer).expect("a position");
                assert_eq!(written.count, size as u64);
                written.position
            };
            (0..batches).map(batch).collect()
        };
        let threads: Vec<_> = (0..writers).map(|w| scope.spawn(move || write(w))).collect();
        threads.into_iter().map(|t| t.join().expect("a writer")).collect()
    });

    let records = server.read_from(log, start);
    assert_eq!(records.len(), writers * batches * size, "every record is stored once");
    let mut positions = HashSet::new();
    for (writer, ends) in ends.iter().enumerate() {
        assert!(ends.is_sorted(), "a writer's records are in order: {ends:?}");
        for (batch, end) in ends.iter().enumerate() {
            for index in 0..size {
                let position = end - (size - index) as u64;
                assert!(positions.insert(position), "position {position} was returned twice");
                let got = &records[usize::try_from(position - start).expect("a small number")];
                assert_eq!(*got, record(writer, batch, index), "at {position}");
            }
        }
    }
}

#[test]
fn concurrent_single_records_get_distinct_positions() {
    let server = TestServer::start();
    server.create("a");
    check(&server, "a", 32, 50, 1);
}

#[test]
fn concurrent_batches_get_distinct_positions_and_stay_contiguous() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=97");
    check(&server, "a", 16, 30, 13);
    check(&server, "a", 4, 5, 1000);
}

#[test]
fn single_records_and_batches_can_share_a_log() {
    let server = TestServer::start();
    server.create("a");
    let (singles, batches) = (4usize, 4usize);
    std::thread::scope(|scope| {
        for writer in 0..singles + batches {
            let server = &server;
            scope.spawn(move || {
                let mut connection = server.connect();
                for round in 0..40 {
                    let count = if writer < singles { 1 } else { 7 };
                    let records: Vec<_> =
                        (0..count).map(|i| format!("{writer} {round} {i}")).collect();
                    let request = write_binary("a", &records);
                    let answer = connection.exchange(&request).expect("an answer").expect(200);
                    let end = api::written(&answer).expect("a position").position;
                    let query = format!("position={}&count={count}", end - count as u64);
                    let read = connection.exchange(&read_binary("a", &query)).expect("an answer");
                    assert_eq!(unbinary(&read.expect(200).body), as_bytes(&records));
                }
            });
        }
    });
    let total = (singles + 7 * batches) * 40;
    assert_eq!(server.info("a")["end_position"], total);
}

fn as_bytes(records: &[String]) -> Vec<Vec<u8>> {
    records.iter().map(|r| r.clone().into_bytes()).collect()
}

#[test]
fn a_read_sees_every_record_acked_before_it() {
    let server = TestServer::start();
    server.create("a");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..40 {
                    let payload = format!("{writer}/{round}");
                    let end = server.append("a", payload.clone());
                    let one = Request::get(&format!("/logs/a/records?position={}", end - 1));
                    assert_eq!(server.ask(&one).expect(200).text(), payload);
                }
            });
        }
    });
}

#[test]
fn logs_can_be_created_written_and_deleted_concurrently() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..8 {
                    let log = format!("log-{writer}");
                    server.create(&log);
                    assert_eq!(server.append(&log, format!("{round}")), 1);
                    assert_eq!(server.read_all(&log), [format!("{round}").into_bytes()]);
                    let _ = server.ask(&Request::delete(&format!("/logs/{log}"))).expect(200);
                }
            });
        }
    });
    assert_eq!(server.ask(&Request::get("/logs")).text(), "[]\n");
}

#[test]
fn one_of_many_concurrent_creates_of_a_log_succeeds() {
    let server = TestServer::start();
    let create = Request::post("/logs").form("name=a");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..12).map(|_| scope.spawn(|| server.ask(&create).status())).collect();
        threads.into_iter().map(|t| t.join().expect("an answer")).collect()
    });
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!((count(200), count(409)), (1, 11), "{statuses:?}");
}

#[test]
fn hundreds_of_connections_are_served() {
    let server = Settings::default().start();
    server.create("a");
    let mut connections: Vec<Connection> = (0..300).map(|_| server.connect()).collect();
    for connection in &mut connections {
        connection.send(&write_one("a", "x").bytes()).expect("the request can be sent");
    }
    let mut ends: Vec<u64> = connections
        .iter_mut()
        .map(|c| {
            let answer = c.response("POST").expect("an answer").expect(200);
            api::written(&answer).expect("a position").position
        })
        .collect();
    ends.sort_unstable();
    assert_eq!(ends, (1..=300).collect::<Vec<u64>>());
}
