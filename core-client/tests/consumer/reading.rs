//! Reads without faults: where they begin and end, and their requests.

use styx_client::consumer::{Polled, Start};
use styx_client::{Checkpoint, Codec, Codecs, Kind, LogId, Position};
use styx_protocol::{Whence, header};

use crate::log::Log;
use crate::peer::Peer;
use crate::{client, seen, take, wait};

fn peer(log: &Log) -> Peer {
    let log = log.clone();
    Peer::start(move |connection| connection.serve(&log, usize::MAX))
}

#[test]
fn read_begins_at_the_start_and_ends_at_the_end() {
    let mut log = Log::new(7, 40);
    log.append(Codec::None, &[b"a".to_vec(), b"b".to_vec()]);
    log.append(Codec::Zstd, &[vec![1; 50_000], vec![2; 50_000]]);
    log.append(Codec::Lz4, &[vec![3; 500]]);
    let peer = peer(&log);
    let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
    assert_eq!((consumer.position(), consumer.lag(), consumer.caught_up()), (40, 5, false));
    assert_eq!(take(&mut consumer, 100), log.records(40, 45));
    assert_eq!((consumer.position(), consumer.lag(), consumer.caught_up()), (45, 0, true));
    let checkpoint = Checkpoint { log_id: LogId(7), next: Position(45) };
    assert_eq!(consumer.checkpoint(), checkpoint);
    for _ in 0..2 {
        assert!(wait(consumer.next_batch()).expect("no error").is_none(), "the end stays");
        assert!(matches!(consumer.try_next_batch(), Ok(Polled::End)));
    }
    let request = &peer.requests()[0];
    assert_eq!(request.params.whence, Whence::Start);
    assert_eq!((request.params.count, request.params.follow), (None, false));
    assert_eq!(request.header(header::FEATURES), Some("lz4, zstd"));
    assert_eq!(request.header(header::TIMEOUT), Some("2"));
    assert_eq!(request.header(header::LOG_ID), None);
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn requests_have_the_given_start_and_count() {
    let log = Log::of(30, 7);
    let peer = peer(&log);
    let client = client(&peer);
    let checkpoint = Checkpoint { log_id: LogId(7), next: Position(9) };
    let last = Start::Relative { whence: Whence::End, position: -3 };
    let cases = [
        (Start::Position(12), Some(5), (Whence::Origin, 12), 12..17),
        (Start::Position(13), Some(0), (Whence::Origin, 13), 13..13),
        (Start::Position(28), Some(100), (Whence::Origin, 28), 28..30),
        (Start::Checkpoint(checkpoint), Some(1), (Whence::Origin, 9), 9..10),
        (Start::End, None, (Whence::End, 0), 30..30),
        (last, None, (Whence::End, -3), 27..30),
        (Start::Time(0), Some(2), (Whence::Time, 0), 0..2),
    ];
    for (number, (start, count, asked, expected)) in cases.into_iter().enumerate() {
        let mut builder = client.consumer("orders").start(start).codecs(Codecs::PLAIN);
        if let Some(count) = count {
            builder = builder.count(count);
        }
        let mut consumer = wait(builder.open()).expect("opens");
        assert_eq!(consumer.position(), expected.start, "{start:?}");
        assert_eq!(take(&mut consumer, 100), log.records(expected.start, expected.end));
        let request = &peer.requests()[number];
        assert_eq!((request.params.whence, request.params.position), asked, "{start:?}");
        assert_eq!(request.params.count, count);
        assert_eq!(request.header(header::FEATURES), None);
        let is_known = matches!(start, Start::Checkpoint(_));
        let id = LogId(7).to_string();
        assert_eq!(request.header(header::LOG_ID), is_known.then_some(id.as_str()));
        assert_eq!(request.header(header::KNOWN_END), is_known.then_some("9"));
    }
}

#[test]
fn next_record_returns_every_record() {
    let log = Log::of(10, 4);
    let peer = peer(&log);
    let mut consumer = wait(client(&peer).consumer("orders").start(1).open()).expect("opens");
    for position in 1..4 {
        let record = wait(consumer.next_record()).expect("no error").expect("a record");
        let text = position.to_string();
        assert_eq!((record.position(), record.payload()), (position, text.as_bytes()));
        assert_eq!(record.checkpoint().next.0, position + 1);
        assert_eq!(consumer.position(), position + 1);
    }
    let rest = wait(consumer.next_batch()).expect("no error").expect("the rest");
    let mut records = seen(&rest);
    records.extend(take(&mut consumer, 100));
    assert_eq!(records, log.records(4, 10));
    assert!(wait(consumer.next_record()).expect("no error").is_none());
}

#[test]
fn given_back_records_are_returned_again() {
    let log = Log::of(10, 10);
    let peer = peer(&log);
    let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
    let batch = wait(consumer.next_batch()).expect("no error").expect("a batch");
    assert!(consumer.give_back(batch.slice(2..9)).is_err(), "not the last ones");
    consumer.give_back(batch.slice(3..10)).expect("the last ones");
    assert_eq!(consumer.position(), 3);
    assert_eq!(take(&mut consumer, 7), log.records(3, 10));
    consumer.give_back(batch.slice(9..10)).expect("the last one");
    let last = wait(consumer.next_record()).expect("no error").expect("again").position();
    assert_eq!((last, consumer.position()), (9, 10));
}

#[test]
fn single_record_may_exceed_the_frame_limit() {
    let mut log = Log::new(7, 0);
    let long: Vec<u8> = (0..20 << 20).map(|i: u32| (i % 251) as u8).collect();
    log.append(Codec::None, &[b"before".to_vec()]);
    log.append(Codec::None, std::slice::from_ref(&long));
    log.append(Codec::Lz4, &[long]);
    log.append(Codec::None, &[b"after".to_vec()]);
    let peer = peer(&log);
    let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
    assert!(take(&mut consumer, 100) == log.records(0, 4));
}

/// The first run of the conformance suite found that a seek opened a closed consumer again.
#[test]
fn seek_of_a_closed_consumer_fails() {
    let log = Log::of(10, 7);
    let peer = peer(&log);
    for close_by_handle in [false, true] {
        let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
        match close_by_handle {
            true => consumer.handle().close(),
            false => wait(consumer.close()),
        }
        let error = wait(consumer.seek(3)).expect_err("closed");
        assert_eq!(error.kind(), Kind::Closed);
        let error = wait(consumer.next_batch()).expect_err("closed");
        assert_eq!(error.kind(), Kind::Closed);
    }
}

#[test]
fn seek_continues_at_another_position_of_the_same_log() {
    let log = Log::of(30, 7);
    let peer = peer(&log);
    let builder = client(&peer).consumer("orders").start(20).follow(true).count(5);
    let mut consumer = wait(builder.open()).expect("opens");
    assert_eq!(take(&mut consumer, 1).first().map(|r| r.0), Some(20));
    wait(consumer.seek(3)).expect("seeks");
    assert_eq!(consumer.position(), 3);
    assert_eq!(take(&mut consumer, 100), log.records(3, 8), "the count begins anew");
    wait(consumer.seek(Start::End)).expect("seeks");
    assert_eq!((consumer.position(), consumer.caught_up()), (30, true));
    let request = &peer.requests()[1];
    assert_eq!(request.header(header::LOG_ID), Some(LogId(7).to_string().as_str()));
    assert_eq!(request.header(header::KNOWN_END), Some("30"));
}
