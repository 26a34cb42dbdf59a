//! What a caller can do while there are no records: cancel, watch, wake, close.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use styx_client::bindings::{CompletionQueue, Outcome};
use styx_client::consumer::{Polled, Start};
use styx_client::{Consumer, Kind};

use crate::log::Log;
use crate::peer::Peer;
use crate::{PATIENCE, client, seen, take, wait};

/// A peer that sends the block of each position that it receives from the channel.
fn peer(log: &Log) -> (Peer, mpsc::Sender<u64>) {
    let (sender, receiver) = mpsc::channel();
    let (log, receiver) = (log.clone(), std::sync::Mutex::new(receiver));
    let peer = Peer::start(move |mut connection| {
        let position = connection.position(&log);
        connection.agree(&log, position);
        for position in receiver.lock().expect("no panic").iter() {
            connection.send_blocks(&log, position, position + 1);
        }
        connection.wait_for_end();
    });
    (peer, sender)
}

fn follow(peer: &Peer) -> Consumer {
    wait(client(peer).consumer("orders").start(Start::Position(0)).follow(true).open())
        .expect("opens")
}

fn is_readable(consumer: &Consumer, at_most: Duration) -> bool {
    let descriptor = consumer.descriptor().expect("a descriptor");
    let mut watched = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    let at_most = Timespec::try_from(at_most).expect("fits");
    poll(&mut watched, Some(&at_most)).expect("polls") > 0
}

/// Futures that are repeatedly dropped after one poll lose nothing.
#[test]
fn waits_can_be_cancelled_at_any_time() {
    let log = Log::of(200, 1);
    let (peer, send) = peer(&log);
    let mut consumer = follow(&peer);
    (0..200).for_each(|position| send.send(position).expect("served"));
    let mut context = Context::from_waker(Waker::noop());
    let mut records = Vec::new();
    let mut given_up = 0;
    while records.len() < 200 {
        // Sometimes reads single records, which leaves a part of a batch.
        if records.len() % 5 == 0 {
            if let Poll::Ready(record) = consumer.records().poll_next(&mut context) {
                let r = record.expect("a record").expect("no error");
                records.push((r.position(), r.timestamp(), r.payload().to_vec()));
                continue;
            }
        } else if records.len() % 3 == 0 {
            if let Poll::Ready(record) = pin!(consumer.next_record()).poll(&mut context) {
                let r = record.expect("no error").expect("a record");
                records.push((r.position(), r.timestamp(), r.payload().to_vec()));
                continue;
            }
        } else if let Poll::Ready(batch) = pin!(consumer.next_batch()).poll(&mut context) {
            records.extend(seen(&batch.expect("no error").expect("a batch")));
            continue;
        }
        given_up += 1;
        std::thread::yield_now();
    }
    assert_eq!(records, log.records(0, 200));
    assert!(given_up > 0 || records.len() == 200);
}

#[test]
fn wakeup_ends_only_a_poll() {
    let log = Log::of(3, 1);
    let (peer, send) = peer(&log);
    let mut consumer = follow(&peer);
    let handle = consumer.handle();
    handle.wakeup();
    assert!(matches!(wait(consumer.poll()), Ok(Polled::Nothing)), "one before counts");
    let waking = std::thread::spawn({
        let handle = handle.clone();
        move || handle.wakeup()
    });
    assert!(matches!(wait(consumer.poll()), Ok(Polled::Nothing)));
    waking.join().expect("no panic");
    handle.wakeup();
    send.send(0).expect("served");
    let batch = wait(consumer.next_batch()).expect("no error").expect("a batch");
    assert_eq!(seen(&batch), log.records(0, 1));
}

#[test]
fn close_from_another_thread_ends_a_waiting_call() {
    let log = Log::of(3, 1);
    let (peer, _send) = peer(&log);
    let mut consumer = follow(&peer);
    let handle = consumer.handle();
    let closing = std::thread::spawn(move || {
        handle.close();
        handle.close();
    });
    for _ in 0..2 {
        let error = wait(consumer.next_batch()).expect_err("closed");
        assert_eq!((error.kind(), error.is_retriable()), (Kind::Closed, false));
    }
    closing.join().expect("no panic");
    (0..2).for_each(|_| wait(consumer.close()));
}

/// The peer notices that a consumer has disconnected, for whatever reason.
#[test]
fn dropping_the_consumer_closes_the_connection() {
    let ends: [fn(Consumer); 3] = [
        drop,
        |mut consumer| wait(consumer.close()),
        |consumer| {
            consumer.handle().close();
            std::mem::forget(consumer);
        },
    ];
    for end in ends {
        let log = Log::of(3, 1);
        let (gone, is_gone) = mpsc::channel();
        let peer = Peer::start(move |mut connection| {
            connection.agree(&log, 0);
            connection.wait_for_end();
            gone.send(()).expect("waited for");
        });
        end(follow(&peer));
        is_gone.recv_timeout(PATIENCE).expect("it has gone");
    }
}

#[test]
fn descriptor_is_readable_exactly_while_a_call_would_not_wait() {
    let log = Log::of(3, 1);
    let (peer, send) = peer(&log);
    let mut consumer = follow(&peer);
    assert!(!is_readable(&consumer, Duration::ZERO));
    for position in 0..2 {
        send.send(position).expect("served");
        assert!(is_readable(&consumer, PATIENCE) && is_readable(&consumer, Duration::ZERO));
        assert!(matches!(consumer.try_next_batch(), Ok(Polled::Batch(_))));
        assert!(!is_readable(&consumer, Duration::ZERO));
        assert!(matches!(consumer.try_next_batch(), Ok(Polled::Nothing)));
    }
    consumer.handle().wakeup();
    assert!(is_readable(&consumer, Duration::ZERO));
    assert!(matches!(consumer.try_next_batch(), Ok(Polled::Nothing)));
    assert!(!is_readable(&consumer, Duration::ZERO));
    consumer.handle().close();
    for _ in 0..2 {
        assert!(is_readable(&consumer, Duration::ZERO), "the end stays");
        assert!(consumer.try_next_batch().is_err());
    }
}

#[test]
fn descriptor_created_late_is_readable_for_queued_items() {
    let log = Log::of(3, 1);
    let peer = Peer::start(move |connection| connection.serve(&log, usize::MAX));
    let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
    let first = wait(consumer.next_record()).expect("no error").is_some();
    assert!(first && is_readable(&consumer, PATIENCE));
}

#[test]
fn source_is_notified_when_a_batch_arrives() {
    let log = Log::of(3, 1);
    let (peer, send) = peer(&log);
    let mut consumer = follow(&peer);
    let queue = CompletionQueue::new(1).expect("a descriptor");
    consumer.notify(queue.source(42));
    for position in 0..3 {
        send.send(position).expect("served");
        assert!(queue.wait(PATIENCE));
        let mut completions = Vec::new();
        assert_eq!(queue.drain(10, &mut completions).completions, 1);
        assert_eq!(completions[0].token, 42);
        assert!(matches!(completions[0].result, Ok(Outcome::Ready)));
        assert_eq!(take(&mut consumer, 1), log.records(position, position + 1));
        assert!(matches!(consumer.try_next_batch(), Ok(Polled::Nothing)));
    }
    drop(consumer);
    assert!(queue.wait(PATIENCE), "its end is told too");
}

/// One thread waits in the consumer, while others look at it and wait with a handle.
#[test]
fn handle_waits_and_looks_without_the_consumer() {
    let log = Log::of(3, 1);
    let (peer, send) = peer(&log);
    let mut consumer = follow(&peer);
    let handle = consumer.handle();
    assert!(!handle.wait(Duration::ZERO) && !handle.wait(Duration::from_millis(1)));
    assert_eq!((handle.position(), handle.lag(), handle.caught_up()), (0, 3, false));
    std::thread::scope(|scope| {
        let waiting = [(), ()].map(|()| scope.spawn(|| handle.wait(PATIENCE)));
        send.send(0).expect("served");
        assert!(waiting.map(|thread| thread.join().expect("no panic")).iter().all(|is| *is));
    });
    assert!(handle.wait(Duration::ZERO), "nothing was taken");
    assert_eq!(take(&mut consumer, 1), log.records(0, 1));
    assert_eq!((handle.position(), handle.lag()), (1, 2));
    assert!(!handle.wait(Duration::ZERO));
    let waiting = std::thread::spawn({
        let handle = handle.clone();
        move || handle.wait(PATIENCE)
    });
    handle.wakeup();
    assert!(waiting.join().expect("no panic"), "a wake-up ends it");
    assert!(matches!(wait(consumer.poll()), Ok(Polled::Nothing)), "and is still there");
    drop(consumer);
    assert!(handle.wait(PATIENCE), "the end stays");
}

/// The next result of the queue.
fn next(queue: &CompletionQueue) -> (u64, Result<Outcome, Kind>) {
    let mut completions = Vec::new();
    while completions.is_empty() {
        assert!(queue.wait(PATIENCE), "something comes");
        let _ = queue.drain(1, &mut completions);
    }
    let completion = completions.remove(0);
    (completion.token, completion.result.map_err(|error| error.kind()))
}

#[test]
fn seek_to_tells_when_the_server_has_accepted_or_refused_it() {
    let log = Log::of(10, 1);
    let served = log.clone();
    let peer = Peer::start(move |connection| match connection.position(&served) {
        7 => connection.refuse(404, r#"{"code":"log_not_found","message":"it was deleted"}"#),
        _ => connection.serve(&served, usize::MAX),
    });
    let mut consumer = follow(&peer);
    let queue = CompletionQueue::new(4).expect("a descriptor");
    assert_eq!(take(&mut consumer, 10), log.records(0, 10));
    consumer.notify(queue.source(1));
    // At the end of the log there is nothing to take, but the source is told.
    consumer.seek_to(Start::End, queue.ticket(2).expect("a place"));
    assert_eq!(next(&queue), (2, Ok(Outcome::Done)));
    assert_eq!(next(&queue), (1, Ok(Outcome::Ready)));
    assert!(matches!(consumer.try_next_batch(), Ok(Polled::Nothing)));
    consumer.seek_to(4, queue.ticket(3).expect("a place"));
    let told = [next(&queue), next(&queue)];
    assert_eq!(told[0], (3, Ok(Outcome::Done)));
    assert_eq!(told[1], (1, Ok(Outcome::Ready)));
    assert_eq!(take(&mut consumer, 6), log.records(4, 10));
    while queue.drain(8, &mut Vec::new()).completions > 0 {}
    consumer.seek_to(7, queue.ticket(4).expect("a place"));
    // A notification of a record that was taken above may still come, before or instead of the
    // one of the seek.
    let mut told = Vec::new();
    while !(told.iter().any(|(token, _)| *token == 4) && told.contains(&(1, Ok(Outcome::Ready)))) {
        told.push(next(&queue));
    }
    assert!(told.iter().all(|(token, result)| *token == 1 || result.is_err()), "{told:?}");
    assert_eq!(consumer.position(), 10, "a failed seek leaves the position");
    assert!(consumer.try_next_batch().is_err(), "until the next seek");
    wait(consumer.seek(9)).expect("seeks");
    assert_eq!(take(&mut consumer, 1), log.records(9, 10));
}
