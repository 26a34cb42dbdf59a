//! The numbers of a producer, and when they change.

use std::time::Duration;

use styx_protocol::Code;
use styx_protocol::frame::Fault;

use super::*;
use crate::producer::ProducerStats;

#[test]
fn numbers_follow_records_from_the_append_to_the_ack() {
    let peer = Peer::start();
    let (producer, mut connection) =
        open_with(&peer, |b| b.block_bytes(1), &[("x-styx-max-in-flight-blocks", "1")]);
    let opened = producer.stats();
    assert!(opened.is_connected && opened.since_last_heard.is_some());
    assert!(opened.in_flight_records == 0 && opened.since_last_ack.is_none());
    append(&producer, "a");
    connection.block();
    append(&producer, "bc");
    let ack = wait(producer.append_many(["d", "e"])).expect("accepted");
    let stats = producer.stats();
    assert_eq!((stats.in_flight_records, stats.in_flight_bytes, stats.buffered_bytes), (4, 37, 28));
    connection.ack(0, 1);
    // While a block is unacked, the producer merges the records after it.
    let (mut blocks, mut acked) = (1, 1);
    while acked < 4 {
        let count = connection.block().header().count;
        connection.ack(acked, count);
        (blocks, acked) = (blocks + 1, acked + u64::from(count));
    }
    wait(ack.position()).expect("acked");
    let stats = producer.stats();
    let expected = ProducerStats {
        acked_records: 4,
        acked_bytes: 37,
        acked_blocks: blocks,
        is_connected: true,
        since_last_ack: stats.since_last_ack,
        since_last_heard: stats.since_last_heard,
        ..ProducerStats::default()
    };
    assert_eq!(stats, expected);
    assert!(stats.since_last_ack <= Some(PATIENCE) && stats.since_last_heard <= Some(PATIENCE));
}

/// A caller that has an ack must not see its record in flight. The ack is checked on
/// another thread without waiting, because a waiting caller is woken later anyway.
#[test]
fn record_with_an_ack_is_not_in_flight() {
    const ROUNDS: u64 = 300;
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    thread::scope(|scope| {
        scope.spawn(|| {
            for position in 0..ROUNDS {
                connection.block();
                connection.ack(position, 1);
            }
        });
        for round in 1..=ROUNDS {
            let ack = append(&producer, "a");
            while ack.try_position().is_none() {
                thread::yield_now();
            }
            let stats = producer.stats();
            let seen = (stats.in_flight_records, stats.in_flight_bytes, stats.acked_records);
            assert_eq!(seen, (0, 0, round));
        }
    });
}

#[test]
fn lost_connection_is_counted_with_the_blocks_sent_again() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let ack = append(&producer, "a");
    connection.block();
    connection.cut();
    let mut connection = peer.accept();
    assert!(!producer.stats().is_connected, "the peer has not answered yet");
    connection.welcome(&[]);
    connection.block();
    connection.ack(0, 1);
    wait(ack.position()).expect("acked");
    let stats = producer.stats();
    assert_eq!((stats.reconnects, stats.resent_blocks, stats.is_connected), (1, 1, true));
}

#[test]
fn failed_records_are_counted_and_nothing_stays_in_flight() {
    let peer = Peer::start();
    let (producer, mut connection) = open_with(
        &peer,
        |b| b.block_bytes(1).linger(Duration::ZERO),
        &[("x-styx-max-in-flight-blocks", "1")],
    );
    append(&producer, "sent");
    connection.block();
    let waits = append(&producer, "waits");
    connection.fault(&Fault::new(Code::ProducerFenced, "another took over"));
    wait(waits.position()).expect_err("it was not sent");
    let stats = producer.stats();
    assert_eq!((stats.failed_records, stats.acked_records), (2, 0));
    assert_eq!((stats.in_flight_records, stats.in_flight_bytes, stats.buffered_bytes), (0, 0, 0));
    wait(producer.close()).expect_err("one failure was not reported");
    assert!(!producer.stats().is_connected);
}
