//! A consumer's stream of styx/0: which records it gets, and when it ends.

use std::time::Duration;

use styx_tests::styx0::{HEARTBEAT, Message, Styx0Stream, handshake, record};
use styx_tests::{Request, Settings, TestServer};

fn payloads(messages: Vec<Message>) -> Vec<String> {
    let payload = |message| match message {
        Message::Record(payload) => String::from_utf8(payload).expect("text"),
        other => format!("{other:?}"),
    };
    messages.into_iter().map(payload).collect()
}

#[test]
fn a_read_ends_at_the_end_of_the_log_or_after_its_count() {
    let server = TestServer::start();
    server.create("a");
    server.append_all("a", &["0", "1", "2"]);
    server.append_all("a", &["3", "", "5"]);
    for (query, expected) in [
        ("", &["0", "1", "2", "3", "", "5"][..]),
        ("position=2", &["2", "3", "", "5"]),
        ("position=6", &[]),
        ("whence=end&position=-2", &["", "5"]),
        ("whence=end", &[]),
        ("whence=start&position=1&count=3", &["1", "2", "3"]),
        ("whence=current&count=2", &["0", "1"]),
        ("count=0", &[]),
        ("count=0&follow=true", &[]),
        ("count=4&follow=true", &["0", "1", "2", "3"]),
        ("count=100", &["0", "1", "2", "3", "", "5"]),
        ("COUNT=1&Position=3&unknown=x", &["3"]),
        ("count=-1&follow=false&position=0&whence=origin", &["0", "1", "2", "3", "", "5"]),
    ] {
        let mut stream = Styx0Stream::consume(&server, "a", query);
        assert_eq!(payloads(stream.rest()), expected, "{query}");
    }
}

#[test]
fn a_follower_gets_new_records_until_its_count() {
    let server = TestServer::start();
    server.create("a");
    server.append("a", "0");
    let mut counted = Styx0Stream::consume(&server, "a", "follow=true&count=3");
    let mut endless = Styx0Stream::consume(&server, "a", "follow=true&whence=end");
    assert_eq!(counted.take(1), [b"0"]);
    assert!(endless.is_quiet_for(Duration::from_millis(200)));
    for number in 1..5 {
        server.append("a", number.to_string());
        assert_eq!(endless.take(1), [number.to_string().as_bytes()]);
    }
    assert_eq!(payloads(counted.rest()), ["1", "2"]);
}

#[test]
fn a_read_ends_where_the_log_ended_when_it_started() {
    let server = TestServer::start();
    server.create("a");
    server.append("a", "0");
    let mut stream = Styx0Stream::consume(&server, "a", "");
    // Within the 50 ms before the server sends anything.
    server.append("a", "1");
    assert_eq!(payloads(stream.rest()), ["0"]);
}

#[test]
fn records_of_every_size_are_read_unchanged() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=20000000");
    let sizes = [0, 1, 10, 100, 65_535, 65_536, 1_000_000, 1_048_568, 1_048_569, 10_000_000, 1, 0];
    let sent: Vec<Vec<u8>> = (0..).zip(sizes).map(|(n, size)| vec![n; size]).collect();
    let mut producer = Styx0Stream::produce(&server, "a");
    for payload in &sent {
        producer.send(&record(payload));
    }
    assert_eq!(producer.acked(12), 12);
    let mut consumer = Styx0Stream::consume(&server, "a", "follow=true&count=12");
    assert!(consumer.take(12) == sent, "the records differ");
    assert_eq!(consumer.rest(), []);
}

#[test]
fn a_consumer_that_sends_anything_but_heartbeats_ends_its_stream() {
    let server = TestServer::start();
    server.create("a");
    server.append("a", "x");
    for bytes in [
        record("x"),
        record(""),
        vec![0, 9],
        vec![0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let mut stream = Styx0Stream::consume(&server, "a", "follow=true");
        assert_eq!(stream.take(1), [b"x"]);
        stream.send(HEARTBEAT);
        assert!(stream.is_quiet_for(Duration::from_millis(100)));
        stream.send(&bytes);
        assert_eq!(stream.rest(), [Message::Error(0)], "{}", bytes.escape_ascii());
    }
    let mut failed = Styx0Stream::consume(&server, "a", "follow=true");
    failed.send(b"\0\x04\0\0");
    assert!(failed.rest().len() <= 1, "at most the record");
}

#[test]
fn a_half_closed_follower_gets_the_existing_records_and_no_more() {
    let server = TestServer::start();
    server.create("a");
    let many: Vec<_> = (0..50_000).map(|number| format!("{number}")).collect();
    server.append_all("a", &many);
    for query in ["follow=true", ""] {
        let mut stream = Styx0Stream::consume(&server, "a", query);
        stream.finish();
        assert!(payloads(stream.rest()) == many, "{query}");
    }
}

#[test]
fn deleting_a_log_ends_its_reader_with_an_error() {
    let server = TestServer::start();
    server.create("a");
    let records = vec![vec![b'x'; 65_000]; 16];
    for _ in 0..40 {
        server.append_all("a", &records);
    }
    let mut stream = Styx0Stream::consume(&server, "a", "");
    assert_eq!(stream.take(1).len(), 1);
    let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    let rest = stream.rest();
    assert!(rest.len() < 640, "all records arrived, so the test shows nothing");
    assert_eq!(rest.last(), Some(&Message::Error(0)));
}

#[test]
fn records_removed_by_retention_are_never_skipped_silently() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=10&log_max_count=20");
    let mut stream = Styx0Stream::consume(&server, "a", "follow=true");
    // The consumer does not read. Only what fits the socket buffers is sent.
    let record = vec![b'x'; 500_000];
    for _ in 0..100 {
        server.append("a", record.clone());
    }
    let mut messages = stream.rest();
    let last = messages.pop();
    assert_eq!(last, Some(Message::Error(0)), "after {} records", messages.len());
    assert!(messages.len() < 100);
}

#[test]
fn a_stalled_consumer_with_heartbeats_stays_connected_in_bounded_memory() {
    const MIB: u64 = 1 << 20;
    let server = Settings::default().set("tcp_timeout = 5").direct().start();
    server.create("a");
    let records = vec![vec![b'x'; 65_000]; 16];
    for _ in 0..64 {
        server.append_all("a", &records);
    }
    let before = server.memory_bytes();
    let mut stopped: Vec<_> =
        (0..20).map(|_| Styx0Stream::consume(&server, "a", "follow=true")).collect();
    // Longer than any timeout of the connection: heartbeats are enough.
    for round in 0..26 {
        std::thread::sleep(Duration::from_millis(500));
        for stream in &mut stopped {
            stream.send(HEARTBEAT);
        }
        assert_eq!(server.append("a", "others are served"), 1025 + round);
    }
    let more = server.memory_bytes().saturating_sub(before);
    println!("20 consumers that do not read hold {} KiB each", more / 20 / 1024);
    assert!(more < 120 * MIB, "20 stopped consumers hold {} MiB", more / MIB);
    let mut stream = stopped.swap_remove(7);
    // On a busy machine the test may read slowly, but not one record for `tcp_timeout`.
    for _ in 0..64 * 16 {
        assert_eq!(stream.take(1)[0].len(), 65_000);
        stream.send(HEARTBEAT);
    }
    assert_eq!(stream.take(26).len(), 26);
}

#[test]
fn a_consumer_that_neither_reads_nor_sends_is_disconnected() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let records = vec![vec![b'x'; 65_000]; 16];
    for _ in 0..64 {
        server.append_all("a", &records);
    }
    let open = || server.open_streams("styx/0");
    let stuck: Vec<_> = (0..3)
        .map(|_| {
            let request = handshake("GET", "a", "follow=true");
            Styx0Stream::open(&server, &request).unwrap_or_else(|a| panic!("{}", a.shown()))
        })
        .collect();
    assert_eq!(open(), 3);
    styx_tests::wait::until_true("them to go", Duration::from_secs(20), || open() == 0);
    drop(stuck);
}
