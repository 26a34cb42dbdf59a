//! Peers that lie, dribble, flood or do nothing: each costs one bounded
//! connection and nobody else's time.

use std::time::{Duration, Instant};

use styx_tests::random::Random;
use styx_tests::styx0::{HEARTBEAT, Message, Stream, handshake, record, records};
use styx_tests::{Request, Settings, TestServer, wait};

const MIB: u64 = 1 << 20;

#[test]
fn a_size_is_never_believed_before_its_bytes_are_there() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=1073741824");
    let before = server.memory_bytes();
    let mut streams: Vec<_> = (0..50).map(|_| Stream::produce(&server, "a")).collect();
    for stream in &mut streams {
        // A gigabyte is coming, it says.
        stream.send(b"\0\x01\x3f\xff\xff\xf0");
        stream.send(&[0; 1000]);
    }
    assert_eq!(server.append("a", "others are served"), 1);
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 20 * MIB, "50 claims of a gigabyte hold {} MiB", more / MIB);
    for mut stream in streams {
        stream.finish();
        assert_eq!(stream.rest(), [Message::Error(0)]);
    }
}

#[test]
fn garbage_is_answered_with_error_0_whatever_it_is() {
    let server = TestServer::start();
    server.create("a");
    let mut random = Random::new(5);
    for round in 0..200 {
        let method = if round % 2 == 0 { "POST" } else { "GET" };
        let length = usize::try_from(random.between(3, 300)).expect("small");
        let mut bytes = random.bytes(length);
        // Not by chance the beginning of a message.
        bytes[0] |= 0x40;
        let all = [handshake(method, "a", "follow=true").bytes(), bytes].concat();
        let mut stream = Stream::open_with(&server, &all).expect("a 101");
        assert_eq!(stream.rest(), [Message::Error(0)], "round {round}");
    }
    assert_eq!(server.info("a")["end_position"], 0);
}

#[test]
fn streams_of_messages_and_of_nonsense_keep_what_was_whole() {
    // Every cut and every kind of end, against what the bytes say.
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
        let mut stream = Stream::produce(&server, "a");
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
fn a_dribble_is_heard_and_a_stop_in_the_middle_is_silence() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut dribbling = Stream::produce(&server, "a");
    let mut stopped = Stream::produce(&server, "a");
    let bytes = record("slowly");
    stopped.send(&bytes[..5]);
    let start = Instant::now();
    for byte in bytes.chunks(1) {
        // Any byte is a sign of life.
        std::thread::sleep(Duration::from_millis(300));
        dribbling.send(byte);
    }
    assert_eq!(dribbling.acked(1), 1);
    assert!(start.elapsed() > Duration::from_secs(3));
    assert_eq!(stopped.rest(), [Message::Error(0)]);
}

#[test]
fn a_producer_that_reads_nothing_is_served_and_its_acks_are_bounded() {
    let server = TestServer::start();
    server.create("a");
    let mut stream = Stream::produce(&server, "a");
    // Each an append and an ack, were there nobody else to wait for.
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
fn a_flood_after_the_end_is_thrown_away_and_ended() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut flooding = Stream::produce(&server, "a");
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
    // It keeps its side open and says no more: let go all the same.
    let sockets = || {
        let folder = format!("/proc/{}/fd", server.process());
        std::fs::read_dir(folder).expect("a list of descriptors").count()
    };
    let open = sockets();
    wait::until_true("it to be let go", Duration::from_secs(20), || sockets() < open);
}

#[test]
fn streams_share_the_memory_that_is_for_what_comes_in() {
    let server = Settings::default().set("max_in_flight_bytes = 8388608").start();
    server.create_with("a", "max_record_size=2097152");
    let before = server.memory_bytes();
    // All at once, each more than its share.
    let large = record(vec![b'x'; 2_000_000]);
    let ends: Vec<_> = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = Stream::produce(&server, "a");
                    for _ in 0..5 {
                        stream.send(&large);
                    }
                    stream.finish();
                    stream.rest().pop()
                })
            })
            .collect();
        producers.into_iter().map(|producer| producer.join().expect("no panic")).collect()
    });
    for end in ends {
        assert!(matches!(end, Some(Message::Ack { count: 5, .. })), "{end:?}");
    }
    assert_eq!(server.info("a")["end_position"], 100);
    let more = server.memory_bytes_most().saturating_sub(before);
    println!("20 producers of 2 MB records in a budget of 8 MiB: {} MiB", more / MIB);
    assert!(more < 150 * MIB, "a budget of 8 MiB, and {} MiB are held", more / MIB);
}

#[test]
fn memory_that_others_wait_for_is_not_kept_by_a_record_that_dribbles() {
    // Three that claimed much and sent little held all memory for as long as they liked.
    let server = Settings::default().set("max_in_flight_bytes = 8388608").start();
    server.create_with("a", "max_record_size=2097152");
    let large = record(vec![b'x'; 2_000_000]);
    let mut dribbling: Vec<_> = (0..3).map(|_| Stream::produce(&server, "a")).collect();
    for stream in &mut dribbling {
        stream.send(&large[..100_000]);
    }
    std::thread::scope(|scope| {
        let honest = scope.spawn(|| {
            let mut stream = Stream::produce(&server, "a");
            stream.send(&large);
            stream.acked(1)
        });
        let start = Instant::now();
        while !honest.is_finished() {
            assert!(start.elapsed() < Duration::from_secs(25), "it is starved");
            std::thread::sleep(Duration::from_millis(50));
            for stream in &mut dribbling {
                // One that was given up may be gone.
                let _ = stream.connection().send(b"x");
            }
        }
        assert_eq!(honest.join().expect("no panic"), 1);
    });
}

#[test]
fn idle_streams_hold_next_to_nothing() {
    const STREAMS: usize = 500;
    let server = TestServer::start();
    server.create("a");
    // What is made once, is made now.
    let warm: Vec<_> = (0..50).map(|_| open_both(&server)).collect();
    drop(warm);
    let before = server.memory_bytes();
    let mut streams: Vec<_> = (0..STREAMS).map(|_| open_both(&server)).collect();
    // Each has worked, and is idle again.
    for (producer, _) in &mut streams {
        producer.send(&record(vec![b'x'; 1000]));
    }
    for (producer, follower) in &mut streams {
        assert!(producer.acked(1) > 0);
        assert_eq!(follower.take(STREAMS).len(), STREAMS);
    }
    let each = || server.memory_bytes().saturating_sub(before) / (2 * STREAMS as u64);
    println!("a stream that has just worked holds {} bytes", each());
    wait::until_true("memory to be let go", Duration::from_secs(60), || each() < 16 << 10);
    println!("an idle stream holds {} bytes", each());
}

fn open_both(server: &TestServer) -> (Stream, Stream) {
    (Stream::produce(server, "a"), Stream::consume(server, "a", "follow=true"))
}

#[test]
fn a_handshake_is_no_way_around_http() {
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
