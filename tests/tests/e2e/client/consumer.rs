//! The client core's consumer against a real server: it reads every record once and
//! in order, or returns an error with the reason. It does so whichever client wrote
//! the log and whatever happens to the log.

use std::ops::Range;
use std::time::Duration;

use styx_client::blocking::{Client, Consumer};
use styx_client::consumer::{Polled, Start};
use styx_client::{Checkpoint, Code, Codec, Codecs, Error, Kind, Position};
use styx_protocol::Whence;
use styx_tests::proxy::Proxy;
use styx_tests::random::Random;
use styx_tests::{Request, Settings, TestServer, damage, wait};

/// A deadline that is far longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);

fn client(server: &TestServer) -> Client {
    client_of(&format!("styx://{}", server.address()))
}

fn client_of(address: &str) -> Client {
    Client::builder(address).silence_timeout(Duration::from_secs(2)).build().expect("a client")
}

/// A record's position, timestamp and payload.
type Record = (u64, u64, Vec<u8>);

/// The next `count` records, or fewer if the read ends.
fn take(consumer: &mut Consumer, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        match consumer.poll(PATIENCE).expect("no error") {
            Polled::Batch(batch) => {
                let seen = batch.iter();
                records.extend(seen.map(|r| (r.position(), r.timestamp(), r.payload().to_vec())));
            }
            Polled::Nothing => panic!("no record for {PATIENCE:?}"),
            Polled::End => break,
        }
    }
    records
}

/// Reads until an error, and returns it with the number of records before it.
fn end_of(consumer: &mut Consumer) -> (usize, Error) {
    let mut seen = 0;
    loop {
        match consumer.poll(PATIENCE) {
            Ok(Polled::Batch(batch)) => seen += batch.len(),
            Ok(other) => panic!("{other:?} instead of an error"),
            Err(error) => return (seen, error),
        }
    }
}

fn payload(number: u64) -> Vec<u8> {
    format!("record {number} {}", "x".repeat(number as usize % 50)).into_bytes()
}

/// Appends the records of these numbers, each in a separate request.
fn append(server: &TestServer, numbers: Range<u64>) {
    for number in numbers {
        server.append("a", payload(number));
    }
}

/// Fills a log of many small segments with every kind of append: HTTP requests of one
/// record and of many, and producers with every codec.
fn mixed(server: &TestServer, client: &Client) -> u64 {
    server.create_with("a", "segment_max_size=60000");
    let mut random = Random::new(5);
    let mut next = 0;
    let mut payloads = |count: u64| {
        let range = next..next + count;
        next += count;
        range.map(payload).collect::<Vec<_>>()
    };
    for round in 0..40 {
        let count = random.between(1, 400);
        match round % 5 {
            0 => {
                server.append("a", payloads(1).remove(0));
            }
            1 => {
                server.append_all("a", &payloads(count));
            }
            kind => {
                let codec = Codec::ALL[kind as usize - 2];
                let producer =
                    client.producer("a").compression(codec).open().expect("it can be opened");
                for payload in payloads(count) {
                    producer.append(&payload).expect("accepted");
                }
                producer.append_many(payloads(count)).expect("accepted");
                producer.close().expect("durable");
            }
        }
    }
    next
}

#[test]
fn every_record_is_read_from_every_start_whatever_wrote_it() {
    let server = TestServer::start();
    let client = client(&server);
    let end = mixed(&server, &client);
    let all = take(&mut client.consumer("a").open().expect("it can be opened"), usize::MAX);
    assert_eq!(all.len() as u64, end);
    for (number, (position, _, found)) in (0..).zip(&all) {
        assert_eq!((*position, found), (number, &payload(number)));
    }
    assert!(all.windows(2).all(|pair| pair[0].1 <= pair[1].1), "timestamps never decrease");
    let mut random = Random::new(6);
    let codecs = [Codecs::PLAIN, Codecs::from(Codec::Lz4), Codecs::from(Codec::Zstd), Codecs::ALL];
    for _ in 0..60 {
        let start = random.between(0, end + 1);
        let count = random.between(0, 700);
        let codecs = codecs[random.between(0, 4) as usize];
        let builder = client.consumer("a").start(start).count(count).codecs(codecs);
        let mut consumer = builder.open().expect("it can be opened");
        assert_eq!(consumer.position(), start);
        let until = (start + count).min(end);
        let expected = &all[start as usize..until as usize];
        assert_eq!(take(&mut consumer, usize::MAX), expected, "{start} {count} {codecs}");
        assert_eq!(consumer.position(), until);
    }
}

#[test]
fn a_read_can_start_at_a_time_at_the_end_or_relative_to_the_end() {
    let server = TestServer::start();
    let client = client(&server);
    let end = mixed(&server, &client);
    let all = take(&mut client.consumer("a").open().expect("it can be opened"), usize::MAX);
    let open = |start: Start| client.consumer("a").start(start).open().expect("it can be opened");
    let times: Vec<u64> = all.iter().map(|record| record.1).collect();
    let mut random = Random::new(7);
    for _ in 0..20 {
        let time = times[random.between(0, end) as usize];
        for time in [time - 1, time, time + 1] {
            let first = times.partition_point(|other| *other < time) as u64;
            assert_eq!(open(Start::Time(time)).position(), first, "at {time}");
        }
    }
    assert_eq!(open(Start::Time(times[end as usize - 1] + 1)).position(), end);
    assert!(take(&mut open(Start::End), 1).is_empty());
    let last = Start::Relative { whence: Whence::End, position: -3 };
    assert_eq!(take(&mut open(last), usize::MAX), all[all.len() - 3..]);

    let mut follower =
        client.consumer("a").start(Start::End).follow(true).open().expect("it can be opened");
    server.append("a", "new");
    let new = take(&mut follower, 1);
    assert_eq!((new[0].0, &new[0].2[..]), (end, &b"new"[..]));
    assert_eq!(follower.position(), end + 1);
}

#[test]
fn a_start_outside_the_log_is_out_of_range() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=10");
    append(&server, 0..40);
    let trim = Request::post("/logs/a/trim?position=20");
    let _ = server.ask(&trim).expect(200);
    let client = client(&server);
    for position in [0, 19, 41, u64::from(u32::MAX)] {
        let error = client.consumer("a").start(position).open().expect_err("outside");
        assert_eq!(error.kind(), Kind::Code(Code::OutOfRange), "{position}");
        let facts = error.facts();
        assert_eq!((facts.start_position, facts.end_position), (Some(20), Some(40)));
    }
    let mut consumer = client.consumer("a").open().expect("it can be opened");
    assert_eq!(take(&mut consumer, usize::MAX).first().map(|record| record.0), Some(20));
    assert_eq!(client.consumer("a").start(40).open().expect("it can be opened").position(), 40);
    let error = consumer.seek(5).expect_err("outside");
    assert_eq!(error.facts().start_position, Some(20));
    consumer.seek(33).expect("inside");
    assert_eq!(take(&mut consumer, usize::MAX).len(), 7);
    let error = client.consumer("nowhere").open().expect_err("no such log");
    assert_eq!(error.kind(), Kind::Code(Code::LogNotFound));
}

/// The server is stopped and killed in turns while others append. The follower reads
/// every record once.
#[test]
fn a_follower_continues_after_server_restarts() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=25");
    let proxy = Proxy::start(server.address(), 1);
    let client = client_of(&format!("styx://{}", proxy.address()));
    let mut consumer = client.consumer("a").follow(true).open().expect("it can be opened");
    let mut next = 0;
    for round in 0..6 {
        for _ in 0..30 {
            server.append("a", payload(next));
            next += 1;
        }
        if round % 2 == 0 {
            server.kill();
        } else {
            assert!(server.stop().status.success());
        }
        server.restart();
        proxy.forward_to(server.address());
        server.append("a", payload(next));
        next += 1;
        let seen = take(&mut consumer, 31);
        let positions: Vec<u64> = seen.iter().map(|record| record.0).collect();
        assert_eq!(positions, (next - 31..next).collect::<Vec<_>>(), "round {round}");
        assert!(seen.iter().all(|(position, _, found)| *found == payload(*position)));
    }
}

/// Each change to a log under an open consumer, and the errors that it may return. It
/// must never silently return records of another log.
#[test]
fn a_consumer_never_reads_on_from_a_replaced_log() {
    let truncate = |server: &TestServer| {
        let _ = server.ask(&Request::post("/logs/a/truncate")).expect(200);
    };
    let delete = |server: &TestServer| {
        let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    };
    let create = |server: &TestServer| {
        server.create("a");
        append(server, 1000..1040);
    };
    let restart = |server: &mut TestServer, proxy: &Proxy| {
        server.kill();
        server.restart();
        proxy.forward_to(server.address());
    };
    type Change<'a> = &'a dyn Fn(&mut TestServer, &Proxy);
    let changes: [(&str, Change, &[Code]); 5] = [
        ("truncated", &|s, _| truncate(s), &[Code::LogChanged]),
        ("deleted", &|s, _| delete(s), &[Code::LogChanged, Code::LogNotFound]),
        (
            "deleted and created",
            &|s, _| {
                delete(s);
                create(s);
            },
            // It learns of the deletion, or asks again after the creation.
            &[Code::LogNotFound, Code::LogChanged],
        ),
        (
            "truncated while away",
            &|s, p| {
                p.forward_to(([127, 0, 0, 1], 1).into());
                s.kill();
                s.restart();
                truncate(s);
                append(s, 1000..1040);
                restart(s, p);
            },
            &[Code::LogChanged],
        ),
        (
            "created anew while away",
            &|s, p| {
                p.forward_to(([127, 0, 0, 1], 1).into());
                s.kill();
                s.restart();
                delete(s);
                create(s);
                restart(s, p);
            },
            &[Code::LogChanged],
        ),
    ];
    for (what, change, codes) in changes {
        let mut server = TestServer::start();
        server.create("a");
        append(&server, 0..20);
        let proxy = Proxy::start(server.address(), 1);
        let client = client_of(&format!("styx://{}", proxy.address()));
        let mut consumer = client.consumer("a").follow(true).open().expect("it can be opened");
        assert_eq!(take(&mut consumer, 20).len(), 20);
        let checkpoint = consumer.checkpoint();
        change(&mut server, &proxy);
        let (seen, error) = end_of(&mut consumer);
        assert_eq!(seen, 0, "{what}");
        let Kind::Code(code) = error.kind() else { panic!("{what}: {error:?}") };
        assert!(codes.contains(&code), "{what}: {error:?}");
        assert_eq!(consumer.checkpoint(), checkpoint, "{what}");
        // The checkpoint does not open the new log either.
        if what != "deleted" {
            let error = client.consumer("a").start(checkpoint).open().expect_err("another log");
            assert_eq!(error.kind(), Kind::Code(Code::LogChanged), "{what}");
            assert!(
                consumer.seek(0).is_err_and(|e| e.kind() == Kind::Code(Code::LogChanged)),
                "{what}"
            );
        }
    }
}

#[test]
fn a_checkpoint_past_the_end_of_the_log_is_reported() {
    let server = TestServer::start();
    server.create("a");
    append(&server, 0..20);
    let client = client(&server);
    let checkpoint = client.consumer("a").start(15).open().expect("it can be opened").checkpoint();
    assert_eq!(checkpoint.next, Position(15));
    let text = checkpoint.to_string();
    let again: Checkpoint = text.parse().expect("a valid checkpoint");
    let mut consumer = client.consumer("a").start(again).open().expect("it can be opened");
    assert_eq!(take(&mut consumer, usize::MAX).first().map(|record| record.0), Some(15));
    let beyond = Checkpoint { next: Position(21), ..checkpoint };
    let error = client.consumer("a").start(beyond).open().expect_err("the log has lost a record");
    assert_eq!(error.kind(), Kind::Code(Code::LogEndRegressed));
}

/// Retention removes records while a consumer is disconnected. The error names the
/// first record that is kept, and nothing is skipped silently.
#[test]
fn retention_that_overtakes_a_consumer_is_reported() {
    let mut server = Settings::default().start();
    server.create_with("a", "segment_max_count=10");
    append(&server, 0..20);
    let proxy = Proxy::start(server.address(), 1);
    let client = client_of(&format!("styx://{}", proxy.address()));
    let mut consumer = client.consumer("a").follow(true).open().expect("it can be opened");
    assert_eq!(take(&mut consumer, 20).len(), 20);
    proxy.forward_to(([127, 0, 0, 1], 1).into());
    server.kill();
    server.restart();
    append(&server, 20..60);
    let _ = server.ask(&Request::post("/logs/a/trim?position=45")).expect(200);
    let start = server.info("a")["start_position"].as_u64().expect("a position");
    assert!((21..=45).contains(&start), "{start}");
    proxy.forward_to(server.address());
    let (seen, error) = end_of(&mut consumer);
    assert_eq!((seen, error.kind()), (0, Kind::Code(Code::OutOfRange)));
    assert_eq!(error.facts().start_position, Some(start));
    assert_eq!(consumer.position(), 20, "the position is unchanged");
    consumer.seek(start).expect("the caller can continue there");
    assert_eq!(take(&mut consumer, 60 - start as usize)[0].0, start);
}

#[test]
fn a_follower_knows_when_it_has_caught_up() {
    let server = TestServer::start();
    server.create("a");
    append(&server, 0..100);
    let client = client(&server);
    let mut consumer = client.consumer("a").follow(true).open().expect("it can be opened");
    assert_eq!((consumer.lag(), consumer.caught_up()), (100, false));
    take(&mut consumer, 100);
    assert_eq!((consumer.lag(), consumer.caught_up()), (0, true));
    // The lag grows while this consumer takes no records.
    append(&server, 100..110);
    wait::until_true("the lag", PATIENCE, || consumer.lag() == 10);
    assert!(!consumer.caught_up());
    take(&mut consumer, 10);
    assert!(consumer.caught_up());
}

/// The log is far larger than all buffers. The consumer pauses for longer than
/// `tcp_timeout`, and the server does not disconnect it.
#[test]
fn a_slow_consumer_is_not_disconnected() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create_with("a", "max_record_size=4194304");
    let large = vec![7u8; 1 << 20];
    for _ in 0..32 {
        server.append("a", large.clone());
    }
    let client = client(&server);
    let mut consumer = client.consumer("a").buffer_bytes(1 << 20).open().expect("it can be opened");
    let first = take(&mut consumer, 1).len();
    // The consumer pauses: passing time is what this test is about.
    std::thread::sleep(Duration::from_secs(5));
    let rest = take(&mut consumer, usize::MAX);
    assert_eq!(first + rest.len(), 32);
    assert!(rest.iter().all(|(_, _, payload)| *payload == large));
}

/// The consumer returns the records before the damage, then an error with its
/// position. The records after it can be read.
#[test]
fn a_damaged_record_is_reported_at_its_position() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=10");
    for number in 0..40 {
        server.append("a", format!("this is record {number}."));
    }
    assert!(server.stop().status.success());
    damage::flip_bit(&server.data().join("a"), b"this is record 14.");
    server.restart();
    let client = client(&server);
    let mut consumer = client.consumer("a").open().expect("it can be opened");
    let (seen, error) = end_of(&mut consumer);
    assert_eq!((seen, error.kind()), (14, Kind::Code(Code::CorruptRecord)), "{error:?}");
    assert_eq!((error.facts().position, consumer.position()), (Some(14), 14));
    consumer.seek(15).expect("intact");
    assert_eq!(take(&mut consumer, usize::MAX).len(), 25);
}
