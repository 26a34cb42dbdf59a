//! Records that are only in the archive, over every protocol.

use std::time::Duration;

use styx_client::blocking::Client;
use styx_client::consumer::{Polled, Start};
use styx_tests::api::read_lines;
use styx_tests::styx0::{Message, Styx0Stream};
use styx_tests::{Request, TestServer};

use crate::support::{Archive, EVICT, await_archived, await_evicted, evicted, payload};

const COUNT: u64 = 1000;

fn over_styx1(server: &TestServer) -> Vec<Vec<u8>> {
    let client = Client::builder(&format!("styx://{}", server.address())).build();
    let client = client.expect("a client");
    let mut consumer = client.consumer("a").start(Start::Start).open().expect("a consumer");
    let mut records = Vec::new();
    while (records.len() as u64) < COUNT + 10 {
        match consumer.poll(Duration::from_secs(60)).expect("no error") {
            Polled::Batch(batch) => records.extend(batch.iter().map(|r| r.payload().to_vec())),
            other => panic!("{other:?}"),
        }
    }
    records
}

fn over_styx0(server: &TestServer, count: usize) -> Vec<Vec<u8>> {
    let mut stream = Styx0Stream::consume(server, "a", "");
    let mut records = Vec::new();
    while records.len() < count {
        match stream.message().expect("a message") {
            Message::Record(payload) => records.push(payload),
            Message::Heartbeat => {}
            other => panic!("{other:?}"),
        }
    }
    records
}

#[test]
fn evicted_records_are_read_over_every_protocol_across_the_border() {
    let archive = Archive::start();
    let (mut server, records) = evicted(&archive, COUNT);
    assert!(server.read_all("a") == records, "over HTTP");
    // Each protocol starts without anything in memory.
    server.kill();
    server.restart();
    assert!(over_styx1(&server) == records, "over styx/1");
    server.kill();
    server.restart();
    assert!(over_styx0(&server, records.len()) == records, "over styx/0");
    server.kill();
    server.restart();
    let mut socket = server.websocket_read("a", "");
    for (number, record) in records.iter().enumerate() {
        assert!(socket.record() == *record, "record {number} over a WebSocket");
    }
}

#[test]
fn one_record_of_the_archive_costs_one_request() {
    let archive = Archive::start();
    let (server, records) = evicted(&archive, COUNT);
    let _ = archive.proxy.take_seen();
    let answer = server.ask(&Request::get("/logs/a/records?position=300"));
    assert_eq!((answer.status(), &answer.body), (200, &records[300]), "{}", answer.shown());
    let seen = archive.proxy.take_seen();
    let gets: Vec<_> = seen.iter().filter(|seen| seen.method == "GET").collect();
    assert_eq!(gets.len(), 1, "{seen:?}");
    assert!(gets[0].range.is_some(), "{seen:?}");
    // The same segment again, from the cache.
    let answer = server.ask(&Request::get("/logs/a/records?position=301"));
    assert_eq!(answer.body, records[301]);
    assert_eq!(archive.proxy.take_seen(), []);
    assert!(server.count("styx_archive_cache_hits_total") >= 1);
}

#[test]
fn answers_say_up_to_where_the_log_is_archived() {
    let archive = Archive::start();
    let (server, _) = evicted(&archive, COUNT);
    let answer = server.ask(&read_lines("a", "position=3&count=2"));
    let archived: u64 =
        answer.header("X-Styx-Archived-Position").expect("a header").parse().expect("a number");
    assert!((COUNT..=COUNT + 10).contains(&archived), "{archived}");

    let without = TestServer::start();
    without.create("a");
    let answer = without.ask(&read_lines("a", ""));
    assert_eq!(answer.header("X-Styx-Archived-Position"), None);
    let details = without.ask(&Request::get("/logs/a?details=true"));
    assert!(!String::from_utf8_lossy(&details.body).contains("archived"), "{}", details.shown());
}

#[test]
fn retention_and_backup_include_the_archived_part() {
    let archive = Archive::start();
    let (server, records) = evicted(&archive, COUNT);
    let copy = server.backup("a");
    assert_eq!(server.restore("b", copy).status(), 200);
    assert!(server.read_all("b") == records, "the backup has every record");

    let _ = server.ask(&Request::post("/logs/a/trim?position=500")).expect(200);
    let start = crate::support::detail(&server, "a", "start_position").expect("a start");
    assert!(start > 0 && start <= 500, "{start}");
    let _ =
        server.ask(&Request::get("/logs/a/records?position=0")).expect_error(416, "out_of_range");
    assert_eq!(server.read_from("a", start)[0], payload(start));
}

/// A block of one record is as large as the record, and has to be in the cache as a whole.
#[test]
fn record_that_is_larger_than_the_cache_is_read_from_the_archive() {
    let archive = Archive::start();
    let small = format!("{EVICT}\nread_cache_size = 33554432\nread_memory = 16777216");
    let mut server = archive.settings(&small).start();
    server.create_with("a", "max_record_size=67108864&segment_max_count=2");
    let large: Vec<u8> = (0..48_u32 << 20).map(|at| (at / 3 % 251) as u8).collect();
    let records = [b"first".to_vec(), large, b"third".to_vec(), b"last".to_vec(), b"end".to_vec()];
    for record in &records {
        server.append("a", record.clone());
    }
    await_archived(&server, "a");
    await_evicted(&server, "a", 2);
    server.kill();
    server.restart();
    for (number, record) in records.iter().enumerate() {
        let answer = server.ask(&Request::get(&format!("/logs/a/records?position={number}")));
        assert!(answer.body == *record, "record {number}: {}", answer.status());
    }
    assert!(server.read_all("a") == records);
}
