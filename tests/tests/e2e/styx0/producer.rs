//! A producer's stream of styx/0, message by message: appends, acks, and how it ends.

use std::time::{Duration, Instant};

use styx_tests::styx0::{HEARTBEAT, Message, Styx0Stream, handshake, record, records};
use styx_tests::{Request, Settings, TestServer, wait};

const ACK: &[u8] = b"\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn ack(position: u64, count: u64) -> Message {
    Message::Ack { position, count }
}

#[test]
fn acks_carry_the_next_position_and_the_streams_record_count() {
    let server = TestServer::start();
    server.create("a");
    server.append_all("a", &["before", "these"]);
    let (mut one, mut two) =
        (Styx0Stream::produce(&server, "a"), Styx0Stream::produce(&server, "a"));
    one.send(&record("1"));
    assert_eq!(one.message(), Some(ack(3, 1)));
    two.send(&records(&["2", "3"]));
    assert_eq!(two.message(), Some(ack(5, 2)));
    one.send(&record("4"));
    assert_eq!(one.message(), Some(ack(6, 2)));
    one.send(HEARTBEAT);
    one.send(&record(""));
    assert_eq!(one.message(), Some(ack(7, 3)));
    for mut stream in [one, two] {
        stream.finish();
        assert_eq!(stream.rest(), []);
    }
    let expected: [&[u8]; 7] = [b"before", b"these", b"1", b"2", b"3", b"4", b""];
    assert_eq!(server.read_all("a"), expected);
}

#[test]
fn a_half_close_ends_the_stream_with_everything_acked() {
    let server = TestServer::start();
    server.create("a");
    let mut empty = Styx0Stream::produce(&server, "a");
    empty.finish();
    assert_eq!(empty.rest(), []);
    let mut stream = Styx0Stream::produce(&server, "a");
    let payloads: Vec<_> = (0..100_000).map(|number| format!("record {number}")).collect();
    let bytes = records(&payloads);
    std::thread::scope(|scope| {
        let mut socket = stream.connection().socket().try_clone().expect("a socket");
        scope.spawn(move || {
            std::io::Write::write_all(&mut socket, &bytes).expect("it can be sent");
            socket.shutdown(std::net::Shutdown::Write).expect("it can be closed");
        });
        assert_eq!(stream.acked(100_000), 100_000);
    });
    assert_eq!(stream.rest(), []);
    assert_eq!(server.read_all("a").len(), 100_000);
    assert_eq!(server.read_from("a", 99_999), [b"record 99999"]);
}

#[test]
fn records_can_be_split_into_packets_anywhere() {
    let server = TestServer::start();
    server.create("a");
    let bytes = [record("one"), HEARTBEAT.to_vec(), record(""), record("three")].concat();
    let mut count = 0;
    for at in 0..=bytes.len() {
        let mut stream = Styx0Stream::produce(&server, "a");
        stream.send(&bytes[..at]);
        if at % 4 == 0 {
            // The first part alone: its records are acked before the rest is sent.
            let whole = [9, 17, 28].into_iter().filter(|end| *end <= at).count();
            if whole > 0 {
                assert_eq!(stream.acked(whole as u64), count + whole as u64);
            }
        }
        stream.send(&bytes[at..]);
        stream.finish();
        count += 3;
        let last = stream.rest().pop();
        assert!(last.is_none_or(|last| last == ack(count, 3)), "cut at {at}");
        assert_eq!(server.info("a")["end_position"], count);
    }
    let mut dribble = Styx0Stream::produce(&server, "a");
    for byte in bytes.chunks(1) {
        dribble.send(byte);
    }
    dribble.finish();
    assert_eq!(dribble.rest().pop(), Some(ack(count + 3, 3)));
    for three in server.read_all("a").chunks(3) {
        assert_eq!(three, [&b"one"[..], b"", b"three"]);
    }
}

#[test]
fn an_invalid_message_ends_the_stream_after_the_records_before_it_are_acked() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=1008");
    let too_large = vec![b'x'; 1001];
    let ends: [(&str, Vec<u8>); 12] = [
        ("type 0", b"\0\0".to_vec()),
        ("type 5", b"\0\x05".to_vec()),
        ("type -1", b"\xff\xff".to_vec()),
        ("type 256", b"\x01\0\0\0\0\x01x".to_vec()),
        ("garbage", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("an ack", ACK.to_vec()),
        ("a negative size", b"\0\x01\xff\xff\xff\xffxyz".to_vec()),
        ("the most negative size", b"\0\x01\x80\0\0\0".to_vec()),
        ("the largest size", b"\0\x01\x7f\xff\xff\xff".to_vec()),
        ("too large a record, its head alone", record(&too_large)[..6].to_vec()),
        ("too large a record, whole", record(&too_large)),
        ("too large a record, and others", [record(&too_large), record("after")].concat()),
    ];
    let mut end = 0;
    for (what, bytes) in ends {
        for before in [0, 2] {
            let mut stream = Styx0Stream::produce(&server, "a");
            stream.send(&[records(&vec!["good"; before]), bytes.clone()].concat());
            let mut expected = vec![Message::Error(0)];
            if before > 0 {
                end += 2;
                expected.insert(0, ack(end, 2));
            }
            assert_eq!(stream.rest(), expected, "{what} after {before}");
        }
    }
    // A record of the maximum size.
    let mut stream = Styx0Stream::produce(&server, "a");
    stream.send(&record(&too_large[..1000]));
    assert_eq!(stream.acked(1), end + 1);
    assert_eq!(server.read_all("a").len(), usize::try_from(end).expect("small") + 1);
}

#[test]
fn a_record_cut_by_a_half_close_is_an_error_after_the_complete_ones_are_acked() {
    let server = TestServer::start();
    server.create("a");
    let cut = record("never");
    for (end, at) in (1..).zip(1..cut.len()) {
        let mut stream = Styx0Stream::produce(&server, "a");
        stream.send(&[record("whole"), cut[..at].to_vec()].concat());
        stream.finish();
        assert_eq!(stream.rest(), [ack(end, 1), Message::Error(0)], "cut at {at}");
    }
    assert!(server.read_all("a").iter().all(|record| record == b"whole"));
}

#[test]
fn an_error_from_the_producer_ends_its_stream() {
    let server = TestServer::start();
    server.create("a");
    let mut stream = Styx0Stream::produce(&server, "a");
    stream.send(&[record("x"), b"\0\x04\0\0".to_vec(), record("never")].concat());
    assert_eq!(stream.rest(), [ack(1, 1)]);
    assert_eq!(server.info("a")["end_position"], 1);
}

#[test]
fn records_sent_before_a_disconnect_are_appended() {
    let server = TestServer::start();
    server.create("a");
    for expected in 1..=20 {
        let mut stream = Styx0Stream::produce(&server, "a");
        stream.send(&record("x"));
        drop(stream);
        wait::until_true("the record", Duration::from_secs(10), || {
            server.info("a")["end_position"] == expected
        });
    }
}

#[test]
fn a_producer_that_reads_late_still_gets_its_acks_and_its_error() {
    // A socket closed with unread bytes is reset, and the peer loses what was sent.
    let server = TestServer::start();
    server.create("a");
    let mut stream = Styx0Stream::produce(&server, "a");
    stream.send(&[record("x"), b"\0\x09".to_vec()].concat());
    let more = vec![b'x'; 1 << 20];
    for _ in 0..16 {
        stream.send(&more);
    }
    assert_eq!(stream.rest(), [ack(1, 1), Message::Error(0)]);
}

#[test]
fn heartbeats_are_sent_at_half_the_peers_timeout() {
    let server = TestServer::start();
    server.create("a");
    let timed = |method: &str, query: &str| {
        let request = handshake(method, "a", query).header("X-Styx-Timeout", 2);
        Styx0Stream::open(&server, &request).unwrap_or_else(|a| panic!("{}", a.shown()))
    };
    let start = Instant::now();
    let streams = [timed("POST", ""), timed("GET", "whence=end&follow=true")];
    for mut stream in streams {
        for _ in 0..3 {
            assert_eq!(stream.any().expect("in time"), Some(Message::Heartbeat));
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(2800), "three heartbeats after {took:?}");
        assert!(took < Duration::from_secs(6), "three heartbeats after {took:?}");
    }
}

#[test]
fn a_silent_peer_is_disconnected_and_one_with_heartbeats_is_not() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let open =
        || [Styx0Stream::produce(&server, "a"), Styx0Stream::consume(&server, "a", "follow=true")];
    let start = Instant::now();
    let (mut alive, silent) = (open(), open());
    // Heartbeats in time: passing time is what this test is about.
    for _ in 0..7 {
        std::thread::sleep(Duration::from_millis(500));
        for stream in &mut alive {
            stream.send(HEARTBEAT);
        }
    }
    for mut stream in silent {
        assert_eq!(stream.rest(), [Message::Error(0)]);
    }
    assert!(start.elapsed() >= Duration::from_secs(2));
    let [mut producer, mut consumer] = alive;
    producer.send(&record("still here"));
    assert_eq!(producer.acked(1), 1);
    assert_eq!(consumer.take(1), [b"still here"]);
}

#[test]
fn time_when_the_server_does_not_read_does_not_count_as_silence() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut producer = Styx0Stream::produce(&server, "a");
    let mut consumer = Styx0Stream::consume(&server, "a", "follow=true");
    producer.send(&record("before"));
    assert_eq!(producer.acked(1), 1);
    assert_eq!(consumer.take(1), [b"before"]);
    server.pause();
    // Longer than the server's timeout. The peers send heartbeats all the time.
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        producer.send(HEARTBEAT);
        consumer.send(HEARTBEAT);
    }
    server.resume();
    producer.send(&record("after"));
    assert_eq!(producer.acked(2), 2);
    assert_eq!(consumer.take(1), [b"after"]);
}

#[test]
fn deleting_or_truncating_a_log_ends_all_its_streams() {
    let server = TestServer::start();
    for end in [Request::delete("/logs/a"), Request::post("/logs/a/truncate")] {
        server.create("a");
        let mut busy = Styx0Stream::produce(&server, "a");
        busy.send(&record("x"));
        assert_eq!(busy.acked(1), 1);
        let streams = [
            busy,
            Styx0Stream::produce(&server, "a"),
            Styx0Stream::consume(&server, "a", "whence=end&follow=1"),
        ];
        let _ = server.ask(&end).expect(200);
        for mut stream in streams {
            assert_eq!(stream.rest(), [Message::Error(0)]);
        }
    }
    assert_eq!(server.info("a")["end_position"], 0);
}

#[test]
fn a_stopping_server_acks_queued_records_and_sends_an_error() {
    let mut server = Settings::default().set("shutdown_timeout = 20").start();
    server.create("a");
    let mut producers: Vec<_> = (0..4).map(|_| Styx0Stream::produce(&server, "a")).collect();
    let mut idle = Styx0Stream::produce(&server, "a");
    let mut follower = Styx0Stream::consume(&server, "a", "follow=true");
    for producer in &mut producers {
        producer.send(&records(&["x"; 1000]));
    }
    assert_eq!(follower.take(1), [b"x"]);
    server.ask_to_stop();
    let mut acked = 0;
    for producer in &mut producers {
        let mut messages = producer.rest();
        assert_eq!(messages.pop(), Some(Message::Error(0)));
        if let Some(Message::Ack { count, .. }) = messages.pop() {
            acked += count;
        }
    }
    assert_eq!(idle.rest(), [Message::Error(0)]);
    assert_eq!(follower.rest().pop(), Some(Message::Error(0)));
    drop((producers, idle, follower));
    let stopped = server.wait_for_exit();
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(stopped.took < Duration::from_secs(10), "{stopped:?}");
    server.restart();
    let stored = server.info("a")["end_position"].as_u64().expect("a position");
    assert!(stored >= acked, "{acked} records were acked, {stored} are stored");
}
