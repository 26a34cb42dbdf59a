//! A producer's stream of styx/1, byte by byte.

use bytes::Bytes;
use styx_protocol::block::{self, Codec, Header, Origin};
use styx_protocol::frame::{Outcome, Route};
use styx_protocol::{Code, Position};
use styx_tests::styx1::{block, consume, framed, open, produce, produce_request, records, run};
use styx_tests::{Settings, TestServer};

#[test]
fn blocks_are_acked_and_read_back() {
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    producer.send_blocks(&[block(&["one", "two"]), block(&[""])]);
    assert_eq!(producer.acked(3), [run(0, 3)]);
    producer.send_blocks(&[block(&["four"])]);
    assert_eq!(producer.acked(4), [run(3, 1)]);
    producer.end(false);
    producer.is_closed();
    assert_eq!(server.read_all("a"), [&b"one"[..], b"two", b"", b"four"]);
    let mut consumer = consume(&server, "a", "");
    assert_eq!(consumer.records(0, 4), [&b"one"[..], b"two", b"", b"four"]);
    consumer.ends();
}

#[test]
fn a_frame_can_arrive_byte_by_byte_or_with_the_handshake() {
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    for byte in framed(&[block(&["slow"])]) {
        producer.send(&[byte]);
    }
    assert_eq!(producer.acked(1), [run(0, 1)]);
    let handshake = styx_tests::styx1::produce_request("a", "").bytes();
    let mut connection = server.connect();
    let all = [&handshake[..], &framed(&[block(&["fast"])])].concat();
    connection.send(&all).expect("it can be sent");
    let _ = connection.response("POST").expect("a 101");
    // Header, count, one run.
    let ack = connection.raw(28).expect("an ack");
    assert_eq!(ack[..16], [2, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn a_half_close_ends_the_stream() {
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    producer.send_blocks(&[block(&["one"]), block(&["two"])]);
    producer.connection.finish_sending().expect("it can be closed");
    assert_eq!(producer.acked(2), [run(0, 2)]);
    producer.is_closed();
    // A half close inside a frame is an error. The complete blocks are appended.
    let mut producer = produce(&server, "a", "");
    let frame = framed(&[block(&["three"]), block(&["four"])]);
    producer.send(&frame[..frame.len() - 1]);
    producer.connection.finish_sending().expect("it can be closed");
    assert_eq!(producer.acked(1), [run(2, 1)]);
    let _ = producer.fails_with(Code::MalformedRecords);
    assert_eq!(server.read_all("a"), [&b"one"[..], b"two", b"three"]);
}

#[test]
fn heartbeats_can_follow_an_end() {
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    producer.send_blocks(&[block(&["one"])]);
    producer.end(false);
    producer.beat();
    assert_eq!(producer.acked(1), [run(0, 1)]);
    producer.is_closed();
}

/// The block with a changed header and a matching checksum.
fn changed(block: &Bytes, change: impl FnOnce(&mut Header)) -> Bytes {
    let (mut header, _) = Header::decode(block).expect("a header");
    change(&mut header);
    [&header.encode().0[..], &block[96..]].concat().into()
}

/// The block with these header bytes and a matching checksum.
fn patched(block: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut patched = block.to_vec();
    patched[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32fast::hash(&patched[8..96]);
    patched[4..8].copy_from_slice(&crc.to_be_bytes());
    patched.into()
}

#[test]
fn blocks_before_an_invalid_one_are_acked_and_none_after_it() {
    let server = TestServer::start();
    server.create("a");
    let good = block(&["good"]);
    let flipped = |at: usize| {
        let mut bytes = good.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let mut record = good.to_vec();
    // The record's checksum is wrong, and the body's is right.
    record[96] ^= 1;
    let body_crc = crc32fast::hash(&record[96..]);
    let record = changed(&record.into(), |header| header.body_crc = body_crc);
    let cases = [
        ("header_crc", flipped(5)),
        ("magic", flipped(0)),
        ("body", flipped(100)),
        ("record", record),
        ("version", patched(&good, 8, &[2])),
        ("codec", patched(&good, 9, &[3])),
        ("codec of other bytes", patched(&good, 9, &[1])),
        ("flag", patched(&good, 10, &[0, 8])),
        ("filler", patched(&good, 10, &[0, 2])),
        ("seal", patched(&good, 10, &[0, 4])),
        ("count", changed(&good, |header| header.count = 2)),
        ("no records", changed(&good, |header| header.count = 0)),
        ("raw_size", changed(&good, |header| header.raw_size += 1)),
        ("base_position", changed(&good, |header| header.base_position = 1)),
        ("timestamp_us", changed(&good, |header| header.timestamp_us = 1)),
        ("segment_salt", changed(&good, |header| header.segment_salt = 1)),
        ("open_epoch", changed(&good, |header| header.open_epoch = 1)),
        ("prev_crc", changed(&good, |header| header.prev_crc = 1)),
        ("durable_position", changed(&good, |header| header.durable_position = 1)),
    ];
    let mut end = 0;
    for (what, wrong) in cases {
        let mut producer = produce(&server, "a", "");
        producer.send_blocks(&[good.clone(), wrong, good.clone()]);
        assert_eq!(producer.acked(1), [run(end, 1)], "{what}");
        end += 1;
        let fault = producer.fails_with(Code::MalformedRecords);
        assert_eq!(fault.outcome, Outcome::NotAppended, "{what}");
        assert_eq!(server.info("a")["end_position"], end, "{what}");
    }
}

#[test]
fn frames_that_a_producer_must_not_send_are_rejected() {
    let server = TestServer::start();
    server.create("a");
    let heartbeat_with_body = [&[3, 0, 0, 0, 0, 0, 0, 16][..], &[0; 16]].concat();
    for (what, bytes) in [
        ("type", vec![6, 0, 0, 0, 0, 0, 0, 0]),
        ("type 0", vec![0, 0, 0, 0, 0, 0, 0, 0]),
        ("flags", vec![3, 1, 0, 0, 0, 0, 0, 0]),
        ("flags of an end", vec![5, 2, 0, 0, 0, 0, 0, 0]),
        ("reserved", vec![3, 0, 0, 1, 0, 0, 0, 0]),
        ("an ack", [&[2, 0, 0, 0, 0, 0, 0, 20][..], &[0; 20]].concat()),
        ("an error", [&[4, 0, 0, 0, 0, 0, 0, 24][..], &[0; 24]].concat()),
        ("a consumer's heartbeat", heartbeat_with_body),
        ("no block", vec![1, 0, 0, 0, 0, 0, 0, 0]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ] {
        let mut producer = produce(&server, "a", "");
        producer.send(&bytes);
        let fault = producer.fails_with(Code::MalformedRecords);
        assert!(!fault.message.is_empty(), "{what}");
    }
    assert_eq!(server.info("a")["end_position"], 0);
}

#[test]
fn a_record_over_the_logs_limit_is_rejected() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=100");
    let mut producer = produce(&server, "a", "");
    producer.send_blocks(&[block(&["x".repeat(92)]), block(&["short", &"x".repeat(93)])]);
    assert_eq!(producer.acked(1), [run(0, 1)]);
    let _ = producer.fails_with(Code::RecordTooLarge);
    // Only a single record may be larger than a block.
    server.create_with("b", "max_record_size=3000000");
    let mut producer = produce(&server, "b", "");
    producer.send_blocks(&[block(&["x".repeat(2_999_992)])]);
    assert_eq!(producer.acked(1), [run(0, 1)]);
    let two = block(&["x".repeat(500_000), "y".repeat(500_000)]);
    producer.send_blocks(&[changed(&two, |header| {
        header.raw_size = 2 << 20;
        header.body_size = 2 << 20;
    })]);
    let _ = producer.fails_with(Code::MalformedRecords);
}

fn expecting(position: u64, payload: &str) -> Bytes {
    let origin = Origin { expected: Some(Position(position)), ..Origin::default() };
    block::build(&records(&[payload]), origin)
}

#[test]
fn a_block_can_expect_a_position() {
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    let plain = block(&["plain"]);
    producer.send_blocks(&[expecting(0, "zero"), plain.clone(), expecting(2, "two")]);
    assert_eq!(producer.acked(3), [run(0, 3)]);
    producer.send_blocks(&[expecting(3, "three"), expecting(3, "wrong"), plain]);
    assert_eq!(producer.acked(4), [run(3, 1)]);
    let fault = producer.fails_with(Code::PositionMismatch);
    assert_eq!((fault.end_position(), fault.outcome), (Some(Position(4)), Outcome::NotAppended));
    assert_eq!(server.read_all("a"), [&b"zero"[..], b"plain", b"two", b"three"]);
}

#[test]
fn blocks_beyond_the_in_flight_budget_wait_in_the_socket() {
    // The budget of all connections is far smaller than what is sent here.
    let server = Settings::default().set("max_in_flight_bytes = 4194304").start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    let payload = |i: u32| [&i.to_be_bytes()[..], &[7; 65_000]].concat();
    let sender = producer.connection.socket().try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || {
        for i in 0..500 {
            let frame = framed(&[block(&[payload(i)])]);
            std::io::Write::write_all(&mut &sender, &frame).expect("it can be sent");
        }
    });
    let runs = producer.acked(500);
    sending.join().expect("the thread does not panic");
    assert_eq!(runs.iter().map(|run| run.count).sum::<u32>(), 500);
    let mut consumer = consume(&server, "a", "");
    let read = consumer.records(0, 500);
    assert!((0..500).zip(&read).all(|(i, record)| payload(i) == *record));
}

#[test]
fn compressed_blocks_are_stored_unchanged() {
    let mut server = TestServer::start();
    server.create("a");
    let payloads: Vec<_> = (0..1000).map(|i| format!("record {i}")).collect();
    let request = produce_request("a", "").header("X-Styx-Features", "lz4, zstd");
    let mut producer = open(&server, &request, Route::ServerToProducer);
    for codec in [Codec::Lz4, Codec::Zstd] {
        let packed = block::build_with(codec, None, &records(&payloads), Origin::default());
        producer.send_blocks(&[packed]);
    }
    assert_eq!(producer.acked(2000).len(), 1);
    // A producer must not use a codec that it did not ask for.
    let mut plain = produce(&server, "a", "");
    let packed = block::build_with(Codec::Lz4, None, &records(&payloads), Origin::default());
    plain.send_blocks(&[packed]);
    let _ = plain.fails_with(Code::MalformedRecords);
    server.kill();
    server.restart();
    let read = server.read_all("a");
    assert!(read.iter().eq(payloads.iter().chain(&payloads).map(String::as_bytes)));
}
