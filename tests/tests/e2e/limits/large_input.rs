//! Large input: a million records over HTTP and over the command line, and records of
//! extreme sizes.

use styx_tests::api::{BINARY, LINES, read_binary, unbinary};
use styx_tests::random::Random;
use styx_tests::{Request, TestServer};

const MILLION: usize = 1_000_000;

/// A million lines of 10 digits and a line feed.
fn lines() -> Vec<u8> {
    let mut random = Random::new(10);
    let mut lines = Vec::with_capacity(11 * MILLION);
    for _ in 0..MILLION {
        lines.extend_from_slice(format!("{:010}\n", random.between(0, 10_000_000_000)).as_bytes());
    }
    lines
}

#[test]
fn a_million_records_round_trip_over_http_and_the_command_line() {
    let server = TestServer::start();
    let sent = lines();

    server.create("http");
    let write = Request::post("/logs/http/records").typed(LINES, sent.clone());
    let answer = server.ask(&write).expect(200).json();
    assert_eq!((&answer["position"], &answer["count"]), (&MILLION.into(), &MILLION.into()));
    let read = Request::get("/logs/http/records").header("Accept", LINES);
    assert!(server.ask(&read).expect(200).body == sent, "the lines read over HTTP");
    let info = server.info("http");
    assert_eq!(info["file_size"], MILLION * 18);

    server.create("cli");
    let _ = server.cli(&["logs", "write", "cli"], &sent).expect_ok();
    assert_eq!(server.info("cli")["end_position"], MILLION);
    let read = server.cli(&["logs", "read", "cli"], b"").expect_ok();
    assert!(read == sent, "the lines read with the command line");

    let binary = server.cli(&["logs", "read", "http", "-b"], b"").expect_ok();
    server.create("binary");
    let _ = server.cli(&["logs", "write", "binary", "-b"], &binary).expect_ok();
    let same = server.ask(&read_binary("binary", "")).expect(200).body;
    assert!(same == binary, "the binary records written with the command line");
    let records = unbinary(&binary);
    assert_eq!(records.len(), MILLION);
    assert!(records.iter().zip(sent.chunks(11)).all(|(r, line)| *r == line[..10]));
}

#[test]
fn a_hundred_thousand_empty_records_round_trip() {
    let server = TestServer::start();
    server.create("a");
    let body = vec![0; 4 * 100_000];
    let write = Request::post("/logs/a/records").typed(BINARY, body.clone());
    assert_eq!(server.ask(&write).expect(200).json()["count"], 100_000);
    assert!(server.ask(&read_binary("a", "")).expect(200).body == body);
    assert_eq!(server.info("a")["file_size"], 800_000);
    let lines = server.cli(&["logs", "read", "a"], b"").expect_ok();
    assert!(lines == vec![b'\n'; 100_000]);
}

#[test]
fn a_record_of_the_maximum_size_round_trips() {
    let mut server = TestServer::start();
    server.create("a");
    let record = Random::new(77).bytes(1_048_568);
    assert_eq!(server.append("a", record.clone()), 1);
    assert_eq!(server.append_all("a", &[record.clone(), record.clone()]), 3);
    let one = server.ask(&Request::get("/logs/a/records?position=0")).expect(200);
    assert!(one.body == record);
    server.kill();
    server.restart();
    assert!(server.read_all("a") == [record.clone(), record.clone(), record]);
}

#[test]
fn a_million_records_can_be_read_after_a_crash() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=100000");
    let sent = lines();
    let write = Request::post("/logs/a/records").typed(LINES, sent.clone());
    let _ = server.ask(&write).expect(200);
    server.kill();
    server.restart();
    let read = Request::get("/logs/a/records").header("Accept", LINES);
    assert!(server.ask(&read).expect(200).body == sent);
    for position in [0, 99_999, 100_000, 654_321, 999_999] {
        let one = server.ask(&Request::get(&format!("/logs/a/records?position={position}")));
        assert_eq!(one.expect(200).body, sent[position * 11..position * 11 + 10]);
    }
}
