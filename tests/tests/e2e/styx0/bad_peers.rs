//! Peers of styx/0 that lie, trickle, flood or do nothing: each uses bounded memory and
//! does not delay others.

use std::time::{Duration, Instant};

use styx_tests::random::Random;
use styx_tests::styx0::{HEARTBEAT, Message, Styx0Stream, handshake, record, records};
use styx_tests::{Request, Settings, TestServer, wait};

const MIB: u64 = 1 << 20;

#[test]
fn a_claimed_size_allocates_nothing_before_its_bytes_arrive() {
    let settings = Settings::default().set("max_in_flight_bytes = 4294967296");
    let server = settings.set("max_log_record_size = 1073741824").start();
    server.create_with("a", "max_record_size=1073741824");
    let before = server.memory_bytes();
    let mut streams: Vec<_> = (0..50).map(|_| Styx0Stream::produce(&server, "a")).collect();
    for stream in &mut streams {
        // The header claims a gigabyte.
        stream.send(b"\0\x01\x3f\xff\xff\xf0");
        stream.send(&[0; 1000]);
    }
    assert_eq!(server.append("a", "others are served"), 1);
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 20 * MIB, "50 headers that claim a gigabyte use {} MiB", more / MIB);
    for mut stream in streams {
        stream.finish();
        assert_eq!(stream.rest(), [Message::Error(0)]);
    }
}

#[test]
fn any_garbage_is_answered_with_error_0() {
    let server = TestServer::start();
    server.create("a");
    let mut random = Random::new(5);
    for round in 0..200 {
        let method = if round % 2 == 0 { "POST" } else { "GET" };
        let length = usize::try_from(random.between(3, 300)).expect("small");
        let mut bytes = random.bytes(length);
        // So that it is never a valid message type.
        bytes[0] |= 0x40;
        let all = [handshake(method, "a", "follow=true").bytes(), bytes].concat();
        let mut stream = Styx0Stream::open_with(&server, &all).expect("a 101");
        assert_eq!(stream.rest(), [Message::Error(0)], "round {round}");
    }
    assert_eq!(server.info("a")["end_position"], 0);
}

#[test]
fn complete_records_are_kept_however_the_bytes_are_split_or_cut() {
    // Random messages, random splits, and complete or cut ends.
    let server = TestServer::start();
    server.create("a");
    let mut random = Random::new(9);
    let mut end = 0;
    for round in 0..200 {
        let (mut bytes, mut count) = (Vec::new(), 0);
        for _ in 0..random.between(0, 20) {
            if random.between(0, 4) == 0 {
                bytes.extend_from_slice(HEARTBEAT);
            } else {
                let length = usize::try_from(random.between(0, 2000)).expect("small");
                bytes.extend(record(random.bytes(length)));
                count += 1;
            }
        }
        let is_whole = random.between(0, 2) == 0;
        if !is_whole {
            bytes.extend_from_slice(
                &record("cut off")[..usize::try_from(random.between(1, 12)).expect("small")],
            );
        }
        let mut stream = Styx0Stream::produce(&server, "a");
        while !bytes.is_empty() {
            let at = random.between(1, bytes.len() as u64 + 1);
            let rest = bytes.split_off(usize::try_from(at).expect("small"));
            stream.send(&bytes);
            bytes = rest;
        }
        stream.finish();
        end += count;
        let mut messages = stream.rest();
        if !is_whole {
            assert_eq!(messages.pop(), Some(Message::Error(0)), "round {round}");
        }
        let expected = (count > 0).then_some(Message::Ack { position: end, count });
        assert_eq!(messages.pop(), expected, "round {round}");
    }
    assert_eq!(server.info("a")["end_position"], end);
}

#[test]
fn single_bytes_count_as_activity_and_a_stalled_record_times_out() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut dribbling = Styx0Stream::produce(&server, "a");
    let mut stopped = Styx0Stream::produce(&server, "a");
    let bytes = record("slowly");
    stopped.send(&bytes[..5]);
    let start = Instant::now();
    for byte in bytes.chunks(1) {
        // Every byte counts as activity.
        std::thread::sleep(Duration::from_millis(300));
        dribbling.send(byte);
    }
    assert_eq!(dribbling.acked(1), 1);
    assert!(start.elapsed() > Duration::from_secs(3));
    assert_eq!(stopped.rest(), [Message::Error(0)]);
}

#[test]
fn a_producer_that_reads_no_acks_is_served_to_the_end() {
    let server = TestServer::start();
    server.create("a");
    let mut stream = Styx0Stream::produce(&server, "a");
    // Each send could become a separate append with a separate ack.
    let bytes = records(&vec!["x"; 100]);
    for _ in 0..20_000 {
        stream.send(&bytes);
    }
    stream.finish();
    let mut last = 0;
    for message in stream.rest() {
        match message {
            Message::Ack { count, .. } => last = count,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(last, 2_000_000);
}

#[test]
fn a_flood_after_an_error_is_discarded_and_disconnected() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut flooding = Styx0Stream::produce(&server, "a");
    flooding.send(b"\0\x07");
    let before = server.memory_bytes();
    flooding
        .connection()
        .socket()
        .set_write_timeout(Some(Duration::from_secs(5)))
        .expect("a limit");
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..200 {
        flooding.send(&chunk);
    }
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 10 * MIB, "a flood holds {} MiB", more / MIB);
    assert_eq!(flooding.rest(), [Message::Error(0)]);
    // The peer keeps its side open and sends nothing more. It is disconnected.
    let sockets = || {
        let folder = format!("/proc/{}/fd", server.process());
        std::fs::read_dir(folder).expect("a list of descriptors").count()
    };
    let open = sockets();
    wait::until_true("the peer to be disconnected", Duration::from_secs(20), || sockets() < open);
}

#[test]
fn streams_share_the_in_flight_budget() {
    let server = Settings::default().set("max_in_flight_bytes = 8388608").start();
    server.create_with("a", "max_record_size=2097152");
    let before = server.memory_bytes();
    // All at once, each with more than its share.
    let large = record(vec![b'x'; 2_000_000]);
    let ends: Vec<_> = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = Styx0Stream::produce(&server, "a");
                    for _ in 0..5 {
                        stream.send(&large);
                    }
                    stream.finish();
                    stream.rest().pop()
                })
            })
            .collect();
        producers
            .into_iter()
            .map(|producer| producer.join().expect("the thread does not panic"))
            .collect()
    });
    for end in ends {
        assert!(matches!(end, Some(Message::Ack { count: 5, .. })), "{end:?}");
    }
    assert_eq!(server.info("a")["end_position"], 100);
    let more = server.memory_bytes_most().saturating_sub(before);
    println!("20 producers of 2 MB records in a budget of 8 MiB: {} MiB", more / MIB);
    assert!(more < 150 * MIB, "the budget is 8 MiB, but {} MiB are used", more / MIB);
}

#[test]
fn a_trickling_record_releases_memory_that_others_wait_for() {
    // Three producers that claimed much and sent little used to keep all memory.
    let server = Settings::default().set("max_in_flight_bytes = 8388608").start();
    server.create_with("a", "max_record_size=2097152");
    let large = record(vec![b'x'; 2_000_000]);
    let mut dribbling: Vec<_> = (0..3).map(|_| Styx0Stream::produce(&server, "a")).collect();
    for stream in &mut dribbling {
        stream.send(&large[..100_000]);
    }
    std::thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let mut stream = Styx0Stream::produce(&server, "a");
            stream.send(&large);
            stream.acked(1)
        });
        let start = Instant::now();
        while !honest.is_finished() {
            assert!(start.elapsed() < Duration::from_secs(25), "the other producer was starved");
            std::thread::sleep(Duration::from_millis(50));
            for stream in &mut dribbling {
                // The server may have disconnected it.
                let _ = stream.connection().send(b"x");
            }
        }
        assert_eq!(honest.join().expect("the thread does not panic"), 1);
    });
}

#[test]
fn a_handshake_does_not_bypass_http_checks() {
    let server = TestServer::start();
    server.create("a");
    let answer = |request: &Request| server.ask(request);
    let with_body = handshake("POST", "a", "").body("x");
    let _ = answer(&with_body).expect_error(400, "invalid_params");
    let chunked = handshake("POST", "a", "").header("Transfer-Encoding", "chunked");
    let _ = answer(&chunked).expect_error(400, "invalid_params");
    for method in ["PUT", "DELETE", "HEAD"] {
        assert_eq!(answer(&handshake(method, "a", "")).status(), 405, "{method}");
    }
    let elsewhere = Request::new("POST", "/logs/a/truncate")
        .header("Connection", "Upgrade")
        .header("Upgrade", "styx/0")
        .body("");
    assert_eq!(answer(&elsewhere).status(), 200);
}
