//! Outcomes of blocks that a caller takes in bulk.

use std::time::{Duration, Instant};

use styx_protocol::Code;
use styx_protocol::frame::Fault;

use super::*;
use crate::process::Process;
use crate::producer::pending::Limits;
use crate::producer::settled::SETTLED_MAX;
use crate::producer::work::WorkRequest;
use crate::producer::{ProducerShared, Settled};

/// First sequence, number of records, and position or error code.
type Seen = (u64, u64, Result<u64, &'static str>);

fn take(producer: &Producer) -> Vec<Seen> {
    let mut settled = Vec::new();
    producer.take_settled(&mut settled);
    let seen = |s: Settled| (s.first_sequence, s.count, s.result.map_err(|e| e.code()));
    settled.into_iter().map(seen).collect()
}

#[test]
fn failure_that_the_caller_has_reported_is_not_returned_again() {
    for reports in [false, true] {
        let peer = Peer::start();
        let (producer, mut connection) = open(&peer, |b| b.track_settled(true));
        append(&producer, "lost");
        connection.block();
        connection.fault(&Fault::new(Code::ProducerFenced, "another took over"));
        let mut settled = Vec::new();
        while settled.is_empty() {
            thread::yield_now();
            producer.take_settled(&mut settled);
        }
        if reports {
            settled.iter().for_each(Settled::mark_reported);
        }
        let closed = wait(producer.close()).map_err(|error| error.code());
        assert_eq!(closed, if reports { Ok(()) } else { Err("producer_fenced") });
    }
}

#[test]
fn outcomes_of_blocks_are_taken_once_and_in_order() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.track_settled(true).block_bytes(1));
    assert!(take(&producer).is_empty());
    for text in ["a", "b", "c", "d"] {
        append(&producer, text);
    }
    wait(producer.append_many(["e", "f"])).expect("accepted");
    for base in [10, 20] {
        connection.block();
        connection.ack(base, 1);
    }
    let third = append(&producer, "last");
    connection.block();
    connection.ack(30, 1);
    connection.block();
    connection.fault(&Fault::new(Code::ProducerFenced, "another took over"));
    wait(third.position()).expect_err("never sent");
    let fenced = Err("producer_fenced");
    let expected = [
        (0, 1, Ok(10)),
        (1, 1, Ok(20)),
        (2, 1, Ok(30)),
        (3, 1, fenced),
        (4, 2, fenced),
        (6, 1, fenced),
    ];
    let mut seen = take(&producer);
    while seen.len() < expected.len() {
        // An ack is ready a moment before its outcome can be taken.
        thread::yield_now();
        seen.extend(take(&producer));
    }
    assert_eq!(seen, expected);
    assert!(take(&producer).is_empty());
    assert!(wait(producer.close()).is_err(), "taking an outcome reports no failure");
}

#[test]
fn outcomes_are_not_kept_by_default() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let ack = append(&producer, "a");
    connection.block();
    connection.ack(0, 1);
    wait(ack.position()).expect("acked");
    wait(producer.flush()).expect("acked");
    assert!(take(&producer).is_empty());
}

/// A caller that never takes outcomes must not use more and more memory.
#[test]
fn appends_wait_while_too_many_outcomes_were_not_taken() {
    let limits =
        Limits { block_bytes: 1, block_bytes_max: 1 << 20, in_flight_bytes: 1 << 20, blocks: 8 };
    let shared = ProducerShared::new(limits, Duration::ZERO, true, Process::current());
    let append = || shared.push([0; 8], b"").expect("it is open").is_some();
    let settle = |position: u64| {
        let work = shared.next_work(WorkRequest { now: Instant::now(), can_send: true });
        shared.settle(vec![work.block.expect("one is pending").settled(Ok(position))]);
    };
    for position in 0..SETTLED_MAX as u64 {
        assert!(append());
        settle(position);
    }
    assert!(!append(), "nothing is in flight, but the outcomes are full");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(shared.when_space(|| shared.push([0; 8], b""))));
        let mut settled = Vec::new();
        shared.take_settled(&mut settled);
        assert_eq!(settled.len(), SETTLED_MAX);
        assert!(settled.iter().zip(0..).all(|(s, n)| s.first_sequence == n && s.count == 1));
        waiting.join().expect("no panic").expect("it is accepted");
    });
    assert!(append());
}
