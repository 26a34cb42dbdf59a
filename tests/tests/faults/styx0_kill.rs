//! kill -9 under producers and a follower of styx/0: acked records are there, each
//! stream's records are in order and without gaps, and records that the follower read
//! never change.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use styx_tests::random::Random;
use styx_tests::styx0::{Message, Styx0Stream, record};
use styx_tests::{Settings, TestServer, wait};

const ROUNDS: u64 = 10;
const PRODUCERS: u64 = 3;

/// A payload with the number of its stream and its number in the stream.
fn payload(stream: u64, number: u64) -> Vec<u8> {
    [&stream.to_be_bytes()[..], &number.to_be_bytes(), b"and some more"].concat()
}

fn parse(payload: &[u8]) -> (u64, u64) {
    assert_eq!(&payload[16..], b"and some more");
    let number = |at: usize| payload[at..at + 8].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    (number(0), number(8))
}

/// Sends until the connection breaks.
fn send(mut socket: &TcpStream, stream: u64, batch: u64) {
    for first in (0..).step_by(usize::try_from(batch).expect("small")) {
        let bytes: Vec<u8> =
            (first..first + batch).flat_map(|number| record(payload(stream, number))).collect();
        if socket.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// What the clients of one round received.
#[derive(Default)]
struct Received {
    /// Each stream's acked records, and the position after them.
    acked: Mutex<Vec<(u64, u64, u64)>>,
    followed: Mutex<Vec<Vec<u8>>>,
}

/// Runs producers and a follower, and kills the server meanwhile.
fn round(server: &mut TestServer, log: &str, random: &mut Random, received: &Received) {
    let acks = AtomicU64::new(0);
    let moment = Duration::from_millis(random.between(0, 200));
    let mut follower = Styx0Stream::consume(server, log, "follow=true");
    let producers: Vec<_> = (0..PRODUCERS).map(|_| Styx0Stream::produce(server, log)).collect();
    std::thread::scope(|scope| {
        for (index, mut producer) in (0..).zip(producers) {
            let (stream, acks) = (index, &acks);
            scope.spawn(move || {
                let socket = producer.connection().socket().try_clone().expect("a socket");
                std::thread::scope(|scope| {
                    scope.spawn(|| send(&socket, stream, [1, 10, 1000][index as usize]));
                    while let Ok(Some(message)) = producer.any() {
                        if let Message::Ack { position, count } = message {
                            acks.fetch_add(1, Ordering::Relaxed);
                            let mut all = received.acked.lock().expect("the thread does not panic");
                            all.retain(|(other, ..)| *other != stream);
                            all.push((stream, count, position));
                        }
                    }
                });
            });
        }
        scope.spawn(move || {
            while let Ok(Some(message)) = follower.any() {
                if let Message::Record(payload) = message {
                    received.followed.lock().expect("the thread does not panic").push(payload);
                }
            }
        });
        wait::until_true("acks", Duration::from_secs(20), || acks.load(Ordering::Relaxed) > 10);
        // The fault comes at a random moment.
        std::thread::sleep(moment);
        server.kill();
    });
}

#[test]
fn acked_styx0_records_survive_kill_9() {
    let mut server = Settings::default().start();
    let mut random = Random::new(11);
    let mut acked = 0;
    for number in 0..ROUNDS {
        let log = format!("round-{number}");
        server.create_with(&log, "segment_max_size=1048576");
        let received = Received::default();
        round(&mut server, &log, &mut random, &received);
        server.restart();
        let all = server.read_all(&log);
        let mut next = std::collections::HashMap::new();
        for (position, payload) in (1..).zip(&all) {
            let (stream, record) = parse(payload);
            let (expected, end) = next.entry(stream).or_insert((0, 0));
            assert_eq!(record, *expected, "stream {stream} at {}", position - 1);
            (*expected, *end) = (record + 1, position);
        }
        for (stream, count, position) in
            received.acked.lock().expect("the thread does not panic").iter()
        {
            let (stored, end) = next.get(stream).copied().unwrap_or_default();
            assert!(
                stored >= *count,
                "{count} records of stream {stream} were acked, {stored} are stored"
            );
            assert!(end >= *position, "stream {stream} was acked up to {position}, not {end}");
            let last = usize::try_from(position - 1).expect("small");
            assert_eq!(parse(&all[last]), (*stream, count - 1), "the position of an ack");
        }
        let followed = received.followed.into_inner().expect("the thread does not panic");
        assert!(followed == all[..followed.len()], "the follower read other records");
        let counts = received.acked.into_inner().expect("the thread does not panic");
        acked += counts.iter().map(|(_, count, _)| count).sum::<u64>();
    }
    println!("{acked} records were acked over styx/0, and every one was there");
    assert!(acked > ROUNDS * 100, "only {acked}, too few to test anything");
    // A new stream works.
    let mut stream = Styx0Stream::produce(&server, "round-0");
    stream.send(&record("after"));
    assert!(stream.acked(1) > 0);
    let mut rest = Vec::new();
    stream.finish();
    stream.connection().socket().read_to_end(&mut rest).expect("a clean end");
}
