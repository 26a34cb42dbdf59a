//! Cancelled waits, forked children, and notifications for bindings.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use styx_protocol::Code;
use styx_protocol::frame::{Event, Fault};

use super::*;
use crate::completion::{CompletionQueue, Outcome};
use crate::error::Kind;
use crate::process::Process;
use crate::producer::pending::Limits;
use crate::producer::tests::peer::texts;
use crate::producer::work::WorkRequest;
use crate::producer::{CloseLimit, ProducerShared};

/// Polls a future once and drops it.
fn give_up<T>(waiting: impl Future<Output = T>) {
    let mut waiting = Box::pin(waiting);
    assert!(block_on_for(waiting.as_mut(), Duration::ZERO).is_none(), "it had to wait");
}

#[test]
fn cancelled_send_or_flush_keeps_the_record() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    give_up(producer.send(b"sent"));
    give_up(producer.flush());
    assert_eq!(texts(&connection.block()), ["sent"]);
    connection.ack(0, 1);
    wait(producer.flush()).expect("durable");
    assert_eq!((producer.next_sequence(), producer.durable_sequence()), (1, 1));
}

#[test]
fn cancelled_wait_for_an_ack_does_not_affect_others() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let ack = append(&producer, "a");
    give_up(ack.position());
    connection.block();
    connection.ack(7, 1);
    assert_eq!(wait(ack.position()).ok(), Some(7));
    assert_eq!(wait(ack.clone().position()).ok(), Some(7));
}

#[test]
fn cancelled_close_still_closes() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    append(&producer, "a");
    give_up(producer.close());
    connection.block();
    connection.ack(0, 1);
    assert_eq!(connection.event(), Some(Event::End { forget: true }));
    connection.cut();
    wait(producer.close()).expect("closed");
}

#[test]
fn cancelled_open_closes_the_connection() {
    let peer = Peer::start();
    let client = Client::builder(&peer.address()).build().expect("good options");
    let mut opening = Box::pin(client.producer("orders").open());
    assert!(block_on_for(opening.as_mut(), Duration::ZERO).is_none());
    let mut connection = peer.accept();
    drop(opening);
    assert_eq!(connection.event(), None, "the client has closed");
}

/// The second record fills the block, so it would wake the task. That takes a lock which a thread of
/// the parent may have held during the fork.
#[test]
fn record_that_fills_a_block_in_a_forked_child_does_not_wake_the_task() {
    let limits = Limits {
        block_bytes: 1 << 10,
        block_bytes_max: 1 << 20,
        in_flight_bytes: 1 << 20,
        blocks: 8,
    };
    let linger = Duration::from_secs(60);
    let mut shared = ProducerShared::new(limits, linger, false, Process::current());
    let push = |shared: &ProducerShared, bytes: usize| {
        let payload = vec![0; bytes];
        shared.push(crate::producer::encoded::header_of(&payload).expect("small"), &payload)
    };
    push(&shared, 10).expect("the parent's").expect("there is space");
    let request = WorkRequest { now: Instant::now(), can_send: true };
    assert!(shared.next_work(request).block.is_none(), "the task waits");
    shared.process = Process::of_a_parent();
    let error = push(&shared, 998).expect_err("forked");
    assert_eq!(error.kind(), Kind::Forked);
}

#[test]
fn forked_child_gets_errors_and_never_waits() {
    let limits = Limits {
        block_bytes: 1 << 10,
        block_bytes_max: 1 << 20,
        in_flight_bytes: 1 << 20,
        blocks: 8,
    };
    let shared = ProducerShared::new(limits, Duration::ZERO, false, Process::of_a_parent());
    let check = |result: Result<(), Error>| {
        assert_eq!(result.expect_err("forked").kind(), Kind::Forked);
    };
    check(shared.push([0; 8], b"").map(drop));
    check(wait(shared.flush()));
    check(wait(shared.close(CloseLimit { within: Duration::from_secs(1), name: "here" })));
    shared.abandon();
    // Another thread held the lock during the fork. It does not exist in the child, so it
    // never releases the lock.
    thread::scope(|scope| {
        let (held, is_held) = mpsc::channel();
        let (done, is_done) = mpsc::channel::<()>();
        let shared = &shared;
        scope.spawn(move || {
            let _lock = shared.hold();
            held.send(()).expect("it is waited for");
            is_done.recv().expect("it comes");
        });
        is_held.recv().expect("it comes");
        check(shared.push([0; 8], b"").map(drop));
        shared.abandon();
        assert_eq!(shared.next_sequence(), 0);
        done.send(()).expect("it is waited for");
    });
}

/// If the producer had no space when its process forked, the child has no task that
/// makes space.
#[test]
fn forked_child_does_not_wait_for_space() {
    let limits =
        Limits { block_bytes: 1 << 10, block_bytes_max: 1 << 20, in_flight_bytes: 0, blocks: 8 };
    let shared = ProducerShared::new(limits, Duration::ZERO, true, Process::of_a_parent());
    let waiting = shared.when_space(|| shared.push([0; 8], b""));
    assert_eq!(wait(waiting).expect_err("forked").kind(), Kind::Forked);
    wait(shared.room());
}

/// That would take a lock, which a thread of the parent may have held during the fork.
#[test]
fn forked_child_does_not_wake_waiting_appends() {
    let limits = Limits {
        block_bytes: 1 << 10,
        block_bytes_max: 1 << 20,
        in_flight_bytes: 1 << 20,
        blocks: 8,
    };
    let shared = ProducerShared::new(limits, Duration::ZERO, true, Process::of_a_parent());
    wait(shared.room());
    give_up(shared.space.notified());
}

#[test]
fn bindings_are_notified_of_acks_and_of_the_end() {
    let queue = CompletionQueue::new(16).expect("a queue");
    let mut told = Vec::new();
    let mut next = |queue: &CompletionQueue| {
        while told.is_empty() {
            assert!(queue.wait(PATIENCE), "something comes");
            let _ = queue.drain(1, &mut told);
        }
        let completion = told.pop().expect("there is one");
        (completion.token, completion.result)
    };
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    producer.notify(queue.source(1));
    assert!(matches!(next(&queue), (1, Ok(Outcome::Ready))), "once at once");
    let ack = append(&producer, "a");
    connection.block();
    connection.ack(5, 1);
    assert!(matches!(next(&queue), (1, Ok(Outcome::Ready))));
    assert_eq!(ack.try_position().and_then(Result::ok), Some(5));

    producer.flush_to(queue.ticket(2).expect("there is room"));
    assert!(matches!(next(&queue), (2, Ok(Outcome::Done))));
    append(&producer, "b");
    connection.block();
    connection.fault(&Fault::new(Code::ProducerFenced, "another took over"));
    assert!(matches!(next(&queue), (1, Ok(Outcome::Ready))), "it ended");
    producer.close_to(queue.ticket(3).expect("there is room"));
    let (token, result) = next(&queue);
    assert_eq!((token, result.expect_err("lost").kind()), (3, Kind::Code(Code::ProducerFenced)));
    assert_eq!(producer.durable_sequence(), 1, "what failed is not durable");
}
