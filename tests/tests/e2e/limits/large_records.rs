//! Records that are larger than a block: they are the same over every protocol, and count
//! against the memory of requests and responses.

use std::sync::Arc;
use std::time::Duration;

use styx_protocol::block::{self, Codec, Origin};
use styx_protocol::frame::Route;
use styx_protocol::{Code, Position};
use styx_tests::api::{LINES, binary, read_binary, read_lines, write_binary, write_one};
use styx_tests::random::Random;
use styx_tests::styx0::{self, Message, Styx0Stream};
use styx_tests::styx1::{self, consume, open, produce, produce_request};
use styx_tests::websocket::{BINARY as WS_BINARY, TEXT as WS_TEXT, frame};
use styx_tests::{Connection, Request, Settings, TestServer, wait};

const MIB: usize = 1 << 20;
const NDJSON: &str = "application/x-ndjson";

/// A record without line endings that differs from others and hardly compresses.
fn letters(seed: u64, bytes: usize) -> Vec<u8> {
    let mut letters = Random::new(seed).bytes(bytes);
    letters.iter_mut().for_each(|byte| *byte = b'a' + *byte % 26);
    letters
}

/// Sends a body in chunks, without a length, and expects success.
fn append_chunked(server: &TestServer, log: &str, record: &[u8], chunk_bytes: usize) {
    let mut connection = server.connect();
    let head = Request::post(&format!("/logs/{log}/records"));
    let head = head.header("Transfer-Encoding", "chunked");
    connection.send(&head.bytes()).expect("the head can be sent");
    for chunk in record.chunks(chunk_bytes) {
        connection.send_chunk(chunk).expect("a chunk can be sent");
    }
    connection.send_chunk(b"").expect("the last chunk can be sent");
    let _ = connection.response("POST").expect("an answer").expect(200);
}

/// Appends every record over another protocol, each followed by a small one.
fn append_over_every_protocol(server: &TestServer, sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for (round, size) in sizes.iter().enumerate() {
        let seed = 100 * round as u64;
        let large: Vec<_> = (0..9).map(|n| letters(seed + n, *size)).collect();
        let [single, chunked, items, lines, json, message, text, old, block] =
            <[_; 9]>::try_from(large.clone()).expect("nine");
        let append = |request: Request| drop(server.ask(&request).expect(200));
        append(write_one("a", single));
        append_chunked(server, "a", &chunked, 10_000);
        append(write_binary("a", &[&b"before"[..], &items, b"after"]));
        let path = "/logs/a/records";
        let body = [b"before\n", &lines[..], b"\nafter"].concat();
        append(Request::post(path).typed(LINES, body));
        let json = [b"\"", &json[1..size - 1], b"\""].concat();
        append(Request::post(path).typed(NDJSON, [b"1\n", &json[..], b"\n2\n"].concat()));
        let mut socket = server.websocket_write("a", "&acks=true");
        let (half, rest) = text.split_at(size / 2);
        let frames = [
            frame(WS_BINARY, b"before"),
            frame(WS_BINARY, &message),
            frame(WS_TEXT & 0x0f, half),
            frame(0x80, rest),
            frame(WS_BINARY, b"after"),
        ];
        socket.send_bytes(&frames.concat()).expect("it can be sent");
        let _ = socket.acks(4);
        let mut stream = Styx0Stream::produce(server, "a");
        stream.send(&styx0::records(&[&b"before"[..], &old, b"after"]));
        let _ = stream.acked(3);
        let request = produce_request("a", "").header("X-Styx-Features", "lz4, zstd");
        let mut producer = open(server, &request, Route::ServerToProducer);
        let one = styx1::records(&[&block]);
        let packed = |codec| block::build_with(codec, None, &one, Origin::default());
        producer.send_blocks(&[packed(Codec::None), packed(Codec::Lz4), packed(Codec::Zstd)]);
        let _ = producer.acked(3);
        let small = |text: &str| text.as_bytes().to_vec();
        records.extend([large[0].clone(), large[1].clone()]);
        records.extend([small("before"), large[2].clone(), small("after")]);
        records.extend([small("before"), large[3].clone(), small("after")]);
        records.extend([small("1"), json, small("2")]);
        records.extend([small("before"), large[5].clone(), large[6].clone(), small("after")]);
        records.extend([small("before"), large[7].clone(), small("after")]);
        records.extend([block.clone(), block.clone(), block]);
    }
    records
}

#[track_caller]
fn check_reads(server: &TestServer, records: &[Vec<u8>]) {
    assert!(server.read_all("a") == records, "binary");
    let lines = server.ask(&read_lines("a", "")).expect(200).body;
    assert!(lines == [records.join(&b'\n'), b"\n".to_vec()].concat(), "lines");
    for (position, record) in records.iter().enumerate() {
        let one = Request::get(&format!("/logs/a/records?position={position}"));
        assert!(server.ask(&one).expect(200).body == *record, "record {position}");
        let query = format!("position={position}&follow=true&count=1");
        let polled = server.ask(&read_binary("a", &query)).expect(200);
        assert_eq!(polled.header("X-Styx-Next-Position"), Some(&*(position + 1).to_string()));
        assert!(polled.body == binary(&[record]), "binary long poll {position}");
        let polled = server.ask(&read_lines("a", &query)).expect(200).body;
        assert!(polled == [&record[..], b"\n"].concat(), "long poll {position}");
    }
    let events = Request::get("/logs/a/records?follow=false").header("Accept", "text/event-stream");
    let events = server.ask(&events).expect(200).body;
    let expected: Vec<u8> = (1..)
        .zip(records)
        .flat_map(|(id, record)| {
            [format!("id: {id}\ndata: ").as_bytes(), &record[..], b"\n\n"].concat()
        })
        .collect();
    assert!(events == expected, "events");
    let mut socket = server.websocket_read("a", "");
    assert!(records.iter().all(|record| socket.record() == *record), "WebSocket");
    let mut stream = Styx0Stream::consume(server, "a", "");
    assert!(stream.take(records.len()) == records, "styx/0");
    let mut consumer = consume(server, "a", "");
    assert!(consumer.records(0, records.len()) == records, "styx/1");
}

#[test]
fn large_records_are_the_same_over_every_protocol_and_after_a_crash() {
    // The release binary, because this takes a minute without optimisation.
    let mut server = Settings::released().start();
    server.create_with("a", "max_record_size=16777216&segment_max_size=30000000");
    let records = append_over_every_protocol(&server, &[300_000, 5 * MIB + 1]);
    check_reads(&server, &records);
    server.kill();
    server.restart_with(Settings::released());
    check_reads(&server, &records);
    let read = server.cli(&["logs", "read", "a", "-b"], b"").expect_ok();
    assert!(read == binary(&records), "the command line");
}

#[test]
fn a_large_record_honors_its_conditions() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=16777216");
    let record = letters(1, 5 * MIB);
    let expecting =
        |position: u64| write_one("a", record.clone()).header("X-Styx-Expected-Position", position);
    let _ = server.ask(&expecting(0)).expect(200);
    let _ = server.ask(&expecting(0)).expect_error(409, "position_mismatch");
    let sequence = |sequence: u64| {
        let request = write_one("a", record.clone()).header("X-Styx-Producer", 7);
        request.header("X-Styx-Epoch", 0).header("X-Styx-Sequence", sequence)
    };
    assert_eq!(server.ask(&sequence(0)).expect(200).json()["count"], 1);
    assert_eq!(server.ask(&sequence(0)).expect(200).json()["count"], 0, "it is repeated");
    assert_eq!(server.ask(&sequence(1)).expect(200).json()["count"], 1);
    let _ = server.ask(&sequence(3)).expect_error(409, "sequence_gap");
    let mut producer = produce(&server, "a", "");
    let origin = |position| Origin { expected: Some(Position(position)), ..Origin::default() };
    let block = |position| block::build(&styx1::records(&[&record]), origin(position));
    producer.send_blocks(&[block(3), block(3)]);
    assert_eq!(producer.acked(1), [styx1::run(3, 1)]);
    let _ = producer.fails_with(Code::PositionMismatch);
    assert!(server.read_all("a") == [&record[..]; 4]);
}

/// A server whose requests may take 4 MiB, the least that can be set.
fn scarce() -> TestServer {
    let server = Settings::default().set("max_in_flight_bytes = 4194304").start();
    server.create_with("a", "max_record_size=67108864");
    server
}

#[test]
fn a_record_that_can_never_fit_in_memory_is_refused_over_every_protocol() {
    let server = scarce();
    let record = letters(2, 5 * MIB);
    let refused = |request: &Request| {
        let answer = server.ask(request).expect_error(413, "record_too_large");
        assert!(answer.text().contains("max_in_flight_bytes"), "{}", answer.shown());
        answer.text().to_owned()
    };
    let _ = refused(&write_one("a", record.clone()));
    let _ = refused(&write_binary("a", &[&record]));
    let path = "/logs/a/records";
    let line = [b"1\n", &record[..]].concat();
    let answer = refused(&Request::post(path).typed(LINES, line));
    assert!(answer.contains("line 2, at byte 2: the record needs"), "{answer}");
    // A line of JSON is in memory several times.
    let json = [b"\"", &record[..2 * MIB], b"\""].concat();
    refused(&Request::post(path).typed(NDJSON, json));
    let mut socket = server.websocket_write("a", "");
    let _ = socket.send_bytes(&frame(WS_BINARY, &record));
    assert!(socket.expect_close(4010).contains("max_in_flight_bytes"));
    let mut stream = Styx0Stream::produce(&server, "a");
    stream.send(&styx0::record(&record)[..100_000]);
    assert_eq!(stream.rest(), [Message::Error(0)]);
    let block = styx1::block(&[&record]);
    let mut producer = produce(&server, "a", "");
    producer.send(&styx1::framed(&[block])[..1000]);
    let fault = producer.fails_with(Code::RecordTooLarge);
    assert!(fault.message.contains("max_in_flight_bytes"), "{}", fault.message);
    // It compresses well, but not in memory.
    let request = produce_request("a", "").header("X-Styx-Features", "zstd");
    let mut producer = open(&server, &request, Route::ServerToProducer);
    let zeros = styx1::records(&[&vec![0; 5 * MIB]]);
    producer.send_blocks(&[block::build_with(Codec::Zstd, None, &zeros, Origin::default())]);
    let _ = producer.fails_with(Code::RecordTooLarge);
    assert_eq!(server.info("a")["end_position"], 0);
    assert_eq!(server.count("styx_in_flight_bytes"), 0, "no memory is reserved");
    // One that fits is appended.
    assert_eq!(server.append("a", &record[..3 * MIB]), 1);
}

/// A connection that has sent the head of an append and a part of its record.
fn begin(server: &TestServer, record: &[u8], bytes: usize) -> Connection {
    let mut connection = server.connect();
    connection.send(&write_one("a", record).head_bytes()).expect("the head can be sent");
    connection.send(&record[..bytes]).expect("a part can be sent");
    connection
}

#[test]
fn a_record_that_does_not_fit_now_is_refused_with_a_time_to_retry() {
    let server = scarce();
    let record = letters(3, 3 * MIB);
    let mut first = begin(&server, &record, 3 * MIB - 1000);
    styx_tests::wait::until_true("its memory", std::time::Duration::from_secs(10), || {
        server.count("styx_in_flight_bytes") > 2 * MIB as u64
    });
    let refused = server.ask(&write_one("a", record.clone()));
    assert!(refused.header("Retry-After").is_some(), "{}", refused.shown());
    let _ = refused.expect_error(503, "overloaded");
    first.send(&record[3 * MIB - 1000..]).expect("the rest can be sent");
    let _ = first.response("POST").expect("an answer").expect(200);
    assert_eq!(server.append("a", record.clone()), 2, "there is memory again");
    assert!(server.read_all("a") == [&record[..]; 2]);
}

/// A server with two records of 12 MiB, whose responses may take this much memory.
fn reading(answer_bytes: usize) -> (TestServer, Vec<u8>) {
    let server = Settings::default().start();
    server.create_with("a", "max_record_size=67108864");
    let record = letters(4, 12 * MIB);
    for _ in 0..2 {
        server.append("a", record.clone());
    }
    let scratch = Arc::clone(server.scratch());
    drop(server);
    let settings = Settings::default().set(&format!("max_answer_bytes = {answer_bytes}"));
    (settings.start_in(scratch).unwrap_or_else(|refusal| panic!("{refusal}")), record)
}

#[test]
fn a_stored_record_can_be_read_even_if_it_is_larger_than_the_budget() {
    let (server, record) = reading(8 * MIB);
    let first = server.ask(&Request::get("/logs/a/records?position=0")).expect(200);
    assert!(first.body == record);
    assert!(server.read_all("a") == [&record[..]; 2]);
    let mut styx0 = Styx0Stream::consume(&server, "a", "");
    assert!(styx0.take(2) == [&record[..]; 2]);
    drop(styx0);
    wait::until_true("memory to be free", Duration::from_secs(10), || {
        server.count("styx_answer_bytes") == 0
    });
}

#[test]
fn a_large_record_waits_for_other_readers_and_is_then_refused() {
    let (server, record) = reading(16 * MIB);
    let one = Request::get("/logs/a/records?position=1");
    let mut stuck = server.connect();
    stuck.send(&one.bytes()).expect("the request can be sent");
    stuck.head("GET").expect("the answer begins");
    let refused = server.ask(&one);
    assert!(refused.header("Retry-After").is_some(), "{}", refused.shown());
    let _ = refused.expect_error(503, "overloaded");
    drop(stuck);
    styx_tests::wait::until_true("free memory", std::time::Duration::from_secs(10), || {
        server.count("styx_answer_bytes") == 0
    });
    assert!(server.ask(&one).expect(200).body == record);
    // One response with two of them waits for its own peer only.
    assert!(server.read_all("a") == [&record[..]; 2]);
}
