//! The numbers of a producer, and when they change.

use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use styx_protocol::Code;
use styx_protocol::frame::Fault;

use super::*;
use crate::process::Process;
use crate::producer::pending::Limits;
use crate::producer::work::WorkRequest;
use crate::producer::{ProducerShared, ProducerStats};

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

/// The numbers that a caller sees at the moment in which its ack becomes ready.
struct SeenWhenWoken {
    shared: ProducerShared,
    seen: Mutex<Option<(ProducerStats, u64)>>,
}

impl Wake for SeenWhenWoken {
    fn wake(self: Arc<Self>) {
        let seen = (self.shared.stats(), self.shared.settled_before());
        *self.seen.lock().expect("no panic") = Some(seen);
    }
}

#[test]
fn record_with_an_ack_is_not_in_flight_and_a_flush_returns_later() {
    let limits =
        Limits { block_bytes: 1, block_bytes_max: 1 << 20, in_flight_bytes: 1 << 20, blocks: 8 };
    let shared = ProducerShared::new(limits, Duration::ZERO, true, Process::current());
    let caller = Arc::new(SeenWhenWoken { shared, seen: Mutex::default() });
    let shared = &caller.shared;
    let ack = shared.push([0; 8], b"").expect("it is open").expect("there is space");
    let mut position = std::pin::pin!(ack.position());
    let waker = Waker::from(Arc::clone(&caller));
    assert!(position.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let work = shared.next_work(WorkRequest { now: Instant::now(), can_send: true });
    shared.settle(vec![work.block.expect("one is pending").settled(Ok(7))]);
    let (stats, settled_before) = caller.seen.lock().expect("no panic").expect("it was woken");
    assert_eq!((stats.in_flight_records, stats.in_flight_bytes, stats.acked_records), (0, 0, 1));
    assert_eq!(settled_before, 0, "a flush still waits");
    assert_eq!(shared.settled_before(), 1);
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
