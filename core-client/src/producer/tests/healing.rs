//! Broken connections, unreachable and busy servers: what the producer sends again.

use std::collections::HashMap;
use std::time::Duration;

use styx_protocol::block::Block;
use styx_protocol::frame::{Event, Fault};
use styx_protocol::{Code, Codec};

use super::*;
use crate::error::Kind;
use crate::producer::tests::peer::{LOG_ID, texts};

#[test]
fn reconnect_sends_the_same_bytes_and_continues_acks() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.compression(Codec::Lz4));
    let acks: Vec<_> = ["a", "b", "c"].map(|text| append(&producer, text)).into();
    let mut sent = Vec::new();
    let mut records = 0;
    while records < 3 {
        sent.push(connection.block_bytes());
        records = 0;
        for bytes in &sent {
            let (block, _) = Block::parse(bytes.clone(), 0).expect("good");
            records += block.header().count;
        }
    }
    connection.cut();

    let mut connection = peer.accept();
    assert_eq!(connection.asked("epoch").as_deref(), Some("1"), "the epoch it was given");
    assert_eq!(connection.asked("x-styx-log-id").as_deref(), Some(LOG_ID));
    assert_eq!(connection.asked("x-styx-known-end").as_deref(), Some("0"), "nothing was acked");
    connection.welcome(&[("x-styx-next-sequence", "3")]);
    let again: Vec<_> = sent.iter().map(|_| connection.block_bytes()).collect();
    assert_eq!(again, sent);
    connection.ack(7, 3);
    for (ack, position) in acks.iter().zip(7..) {
        assert_eq!(wait(ack.position()).ok(), Some(position));
    }
    let next = append(&producer, "d");
    assert_eq!(connection.block().header().sequence, 3);
    connection.cut();

    let mut connection = peer.accept();
    assert_eq!(connection.asked("x-styx-known-end").as_deref(), Some("10"));
    connection.welcome(&[("x-styx-next-sequence", "3")]);
    connection.block();
    connection.ack(10, 1);
    assert_eq!(wait(next.position()).ok(), Some(10));
}

/// A block that was written partially cannot be in the log. It is sent again with the same
/// bytes.
#[test]
fn many_disconnects_lose_and_change_nothing() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.block_bytes(64));
    let acks: Vec<_> = (0..500).map(|i| append(&producer, &format!("record {i}"))).collect();
    let mut stored: Vec<String> = Vec::new();
    let mut first_bytes = HashMap::new();
    let (mut round, mut acked) = (0, 0);
    while acked < 500 {
        // Some blocks are appended, fewer are acknowledged, then the connection breaks.
        let mut end = acked;
        for step in 0..=round % 5 {
            if end == 500 {
                break;
            }
            let bytes = connection.block_bytes();
            let (block, _) = Block::parse(bytes.clone(), 0).expect("good");
            let first = usize::try_from(block.header().sequence).expect("small");
            assert_eq!(first, end, "in order");
            assert_eq!(first_bytes.entry(first).or_insert(bytes.clone()), &bytes);
            let texts = texts(&block);
            end += texts.len();
            if first == stored.len() {
                stored.extend(texts);
            }
            if step < round % 3 {
                connection.ack(first as u64, block.header().count);
                acked = end;
            }
        }
        round += 1;
        connection.end();
        connection = peer.accept();
        connection.welcome(&[("x-styx-next-sequence", &stored.len().to_string())]);
    }
    let expected: Vec<_> = (0..500).map(|i| format!("record {i}")).collect();
    assert_eq!(stored, expected);
    for (ack, position) in acks.iter().zip(0..) {
        assert_eq!(wait(ack.position()).ok(), Some(position));
    }
}

#[test]
fn temporary_errors_are_retried() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let ack = append(&producer, "a");
    let sent = connection.block_bytes();
    connection.fault(&Fault::new(Code::Overloaded, "later").with_retry_after_ms(1));
    peer.accept().refuse(Code::ShuttingDown);
    peer.accept().refuse(Code::LogNotAvailable);
    let mut connection = peer.welcome(&[]);
    assert_eq!(connection.block_bytes(), sent);
    connection.ack(0, 1);
    assert_eq!(wait(ack.position()).ok(), Some(0));
}

#[test]
fn contradicting_reconnect_ends_the_producer() {
    let other = "ffffffffffffffffffffffffffffffff";
    for (headers, code) in [
        (&[][..], Code::ProducerUnknown),
        (&[("x-styx-log-id", other), ("x-styx-next-sequence", "1")][..], Code::LogChanged),
        (&[("x-styx-next-sequence", "0")][..], Code::LogEndRegressed),
        (&[("x-styx-next-sequence", "3")][..], Code::SequenceReused),
    ] {
        let peer = Peer::start();
        let (producer, mut connection) = open(&peer, |b| b);
        wait(async {
            let ack = producer.append(b"a").await.expect("taken");
            connection.block();
            connection.ack(0, 1);
            ack.position().await.expect("acked");
        });
        let ack = append(&producer, "b");
        connection.block();
        connection.cut();
        let _connection = peer.welcome(headers);
        let error = wait(ack.position()).expect_err("a contradiction");
        assert!(error.is(code), "{error:?} instead of {code}");
        assert!(error.maybe_appended(), "it was sent before");
    }
}

#[test]
fn without_an_id_sent_records_fail_and_unsent_ones_continue() {
    let peer = Peer::start();
    let (producer, mut connection) = open_with(
        &peer,
        |b| b.idempotent(false),
        &[("x-styx-max-in-flight-blocks", "1"), ("x-styx-epoch", "")],
    );
    assert_eq!(connection.asked("producer"), None);
    let sent = append(&producer, "sent");
    let block = connection.block();
    assert_eq!((block.header().producer_id, block.header().sequence), (0, 0));
    let waits = append(&producer, "waits");
    connection.cut();
    let mut connection = peer.welcome(&[("x-styx-epoch", "")]);
    assert_eq!(texts(&connection.block()), ["waits"]);
    connection.ack(8, 1);
    assert_eq!(wait(waits.position()).ok(), Some(8));
    let error = wait(producer.flush()).expect_err("one was lost");
    assert!(error.maybe_appended() && error.kind() == Kind::ConnectionFailed, "{error:?}");
    assert!(wait(sent.position()).is_err());
    // The server reports that nothing was appended, so the records can be sent again.
    let refused = append(&producer, "refused");
    connection.block();
    connection.fault(&Fault::new(Code::Overloaded, "later"));
    let mut connection = peer.welcome(&[("x-styx-epoch", "")]);
    assert_eq!(texts(&connection.block()), ["refused"]);
    connection.ack(9, 1);
    assert_eq!(wait(refused.position()).ok(), Some(9));
    assert!(wait(producer.flush()).is_ok(), "the lost one was told before");
}

#[test]
fn open_retries_temporary_errors_and_returns_others() {
    let peer = Peer::start();
    let failing = opening(&peer, |b| b);
    peer.accept().refuse(Code::LogNotFound);
    assert!(failing.join().expect("no panic").expect_err("no such log").is(Code::LogNotFound));

    let waiting = opening(&peer, |b| b.producer_id(9));
    peer.accept().refuse(Code::LogNotAvailable);
    let connection = peer.welcome(&[("x-styx-next-sequence", "17"), ("x-styx-epoch", "4")]);
    assert_eq!(connection.asked("producer").as_deref(), Some("9"));
    let producer = waiting.join().expect("no panic").expect("it opens");
    assert_eq!((producer.next_sequence(), producer.epoch()), (17, Some(4)));
    drop(producer);

    for options in [
        (|b: Builder| b.block_bytes(0)) as fn(Builder) -> Builder,
        |b| b.in_flight_bytes(0),
        |b| b.producer_id(0),
        |b| b.epoch(1),
        |b| b.idempotent(false).producer_id(1),
        |b| b.deadline(Duration::ZERO),
        |b| b.linger(Duration::MAX),
    ] {
        let refused = opening(&peer, options).join().expect("no panic");
        assert_eq!(refused.expect_err("unusable").kind(), Kind::InvalidArgument);
    }
}

#[test]
fn idle_producer_sends_heartbeats_and_leaves_a_silent_server() {
    let peer = Peer::start();
    let client = Client::builder(&peer.address()).silence_timeout(Duration::from_secs(2));
    let client = client.build().expect("good options");
    let builder = client.producer("orders");
    let opening = thread::spawn(move || block_on(builder.open()));
    let mut connection = peer.welcome(&[("x-styx-timeout", "2")]);
    let _producer = opening.join().expect("no panic").expect("it opens");
    assert_eq!(connection.event(), Some(Event::Heartbeat(None)));
    connection.heartbeat();
    assert_eq!(connection.event(), Some(Event::Heartbeat(None)));
    // From here on the server is silent, so the producer reconnects.
    let again = peer.accept();
    assert!(again.asked("producer").is_some());
}
