//! A producer's stream of styx/1, byte by byte.

use styx_tests::TestServer;
use styx_tests::styx1::{block, consume, framed, produce, run};

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
fn a_frame_may_come_a_byte_at_a_time_and_with_the_handshake() {
    let server = TestServer::start();
    server.create("a");
    let mut producer = produce(&server, "a", "");
    for byte in framed(&[block(&["slow"])]) {
        producer.send(&[byte]);
    }
    assert_eq!(producer.acked(1), [run(0, 1)]);
}

#[test]
fn a_follower_gets_what_is_appended_and_is_told_when_it_has_caught_up() {
    let server = TestServer::start();
    server.create("a");
    let mut consumer = consume(&server, "a", "follow=true");
    consumer.caught_up(0, 0);
    for end in 1..=3 {
        server.append("a", format!("record {end}"));
        assert_eq!(consumer.records(end - 1, 1), [format!("record {end}").as_bytes()]);
        consumer.caught_up(0, end);
    }
}
