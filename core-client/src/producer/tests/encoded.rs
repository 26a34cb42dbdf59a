//! Records that are encoded first: which parts are accepted, which wait, and which an ack covers.

use std::rc::Rc;
use std::time::{Duration, Instant};

use styx_protocol::Code;
use styx_protocol::frame::Fault;

use super::*;
use crate::error::Kind;
use crate::producer::Encoded;
use crate::producer::tests::peer::texts;

/// Five records of 400,000 bytes: parts of two, two and one records.
fn three_parts() -> Encoded {
    let mut encoded = Encoded::new();
    for first in 0..5 {
        let mut payload = vec![0; 400_000];
        payload[0] = first;
        encoded.push(&payload).expect("small");
    }
    encoded
}

/// The first byte of every record in the next block.
fn first_bytes(connection: &mut PeerConnection) -> Vec<u8> {
    let block = connection.block();
    block.checked_records().expect("good records").payloads().map(|payload| payload[0]).collect()
}

#[test]
fn encoded_batch_is_appended_like_other_records() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.linger(Duration::from_millis(20)));
    append(&producer, "before");
    let mut encoded = Encoded::new();
    encoded.push(b"one").expect("small");
    encoded.extend_packed(b"twothree", &[3, 8]).expect("good ends");
    let ack = producer.try_append_encoded(&mut encoded).expect("accepted");
    assert!(encoded.is_empty());
    encoded.push(b"four").expect("small");
    let later = wait(producer.append_encoded(encoded)).expect("accepted");
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let block = connection.block();
        connection.ack(100 + seen.len() as u64, block.header().count);
        seen.extend(texts(&block));
    }
    assert_eq!(seen, ["before", "one", "two", "three", "four"]);
    assert_eq!((ack.sequence(), ack.count(), wait(ack.position()).ok()), (1, 3, Some(101)));
    assert_eq!((later.sequence(), later.count(), wait(later.position()).ok()), (4, 1, Some(104)));

    let mut nothing = Encoded::new();
    for ack in [
        producer.try_append_encoded(&mut nothing).expect("accepted"),
        wait(producer.append_encoded(nothing)).expect("accepted"),
    ] {
        assert_eq!((ack.count(), wait(ack.position()).ok()), (0, Some(0)));
    }
}

#[test]
fn would_block_keeps_what_was_not_accepted() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.in_flight_bytes(1));
    let mut encoded = three_parts();
    for (left, bytes) in [(3, [0, 1]), (1, [2, 3])] {
        for _ in 0..3 {
            let error = producer.try_append_encoded(&mut encoded).expect_err("no space");
            assert_eq!(error.kind(), Kind::WouldBlock);
            assert_eq!(encoded.len(), left, "a part leaves once");
        }
        assert_eq!(first_bytes(&mut connection), bytes);
        connection.ack(u64::from(bytes[0]) + 10, 2);
        assert!(producer.wait_room(PATIENCE));
    }
    let ack = producer.try_append_encoded(&mut encoded).expect("the last part");
    assert!(encoded.is_empty());
    assert_eq!((ack.sequence(), ack.count()), (0, 5), "it covers all parts");
    assert_eq!(first_bytes(&mut connection), [4]);
    assert!(ack.try_position().is_none());
    connection.ack(14, 1);
    assert_eq!(wait(ack.position()).ok(), Some(10));
    assert_eq!(producer.next_sequence(), 5);

    // The next batch has an ack of its own.
    encoded.push(b"x").expect("small");
    let ack = producer.try_append_encoded(&mut encoded).expect("accepted");
    assert_eq!((ack.sequence(), ack.count()), (5, 1));
}

#[test]
fn waiting_append_encoded_can_be_cancelled_and_needs_no_producer() {
    fn is_static<T: Send + 'static>(waiting: T) -> T {
        waiting
    }
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.in_flight_bytes(1));
    let mut waiting = Box::pin(is_static(producer.append_encoded(three_parts())));
    assert!(block_on_for(waiting.as_mut(), Duration::ZERO).is_none());
    assert_eq!(producer.next_sequence(), 2, "the first part was accepted");
    drop(waiting);
    assert_eq!(first_bytes(&mut connection), [0, 1]);
    connection.ack(0, 2);
    wait(producer.flush()).expect("acked");
    assert_eq!(producer.next_sequence(), 2, "the other parts were not");

    let first = is_static(producer.append_encoded(three_parts()));
    let mut waiting = Box::pin(first);
    assert!(block_on_for(waiting.as_mut(), Duration::ZERO).is_none());
    drop(producer);
    let _ = connection.event();
    let error = wait(waiting).expect_err("the producer is gone");
    assert_eq!(error.kind(), Kind::Closed);
}

#[test]
fn records_that_an_ended_producer_did_not_accept_go_to_another() {
    let peer = Peer::start();
    let (ended, mut connection) = open(&peer, |b| b.in_flight_bytes(1));
    let mut encoded = three_parts();
    ended.try_append_encoded(&mut encoded).expect_err("no space after the first part");
    connection.block();
    connection.fault(&Fault::new(Code::ProducerFenced, "another took over"));
    assert!(ended.wait_room(PATIENCE), "an append would fail at once");
    let error = ended.try_append_encoded(&mut encoded).expect_err("it has ended");
    assert!(error.is(Code::ProducerFenced) && !error.maybe_appended());
    assert_eq!(encoded.len(), 3);
    assert!(wait(ended.flush()).expect_err("the first part failed").is(Code::ProducerFenced));

    let (producer, mut connection) = open(&peer, |b| b);
    let ack = producer.try_append_encoded(&mut encoded).expect("accepted");
    assert_eq!((ack.sequence(), ack.count()), (0, 3));
    assert_eq!(first_bytes(&mut connection), [2, 3]);
    assert_eq!(first_bytes(&mut connection), [4]);
    connection.ack(0, 2);
    connection.ack(2, 1);
    assert_eq!(wait(ack.position()).ok(), Some(0), "only of the parts that it has accepted");
}

#[test]
fn smaller_blocks_of_the_server_split_parts() {
    let peer = Peer::start();
    let (producer, mut connection) = open_with(&peer, |b| b, &[("x-styx-max-block-size", "100")]);
    let mut encoded = Encoded::new();
    encoded.extend_packed(&[7; 160], &[40, 80, 120, 160]).expect("good ends");
    let ack = producer.try_append_encoded(&mut encoded).expect("accepted");
    for base in [0, 2] {
        assert_eq!(connection.block().header().count, 2);
        connection.ack(base, 2);
    }
    assert_eq!((ack.count(), wait(ack.position()).ok()), (4, Some(0)));
}

#[test]
fn wait_room_waits_for_an_ack_and_ends_at_its_time() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.in_flight_bytes(1));
    assert!(producer.wait_room(Duration::ZERO), "there is space");
    append(&producer, "a");
    assert!(!producer.wait_room(Duration::ZERO) && !producer.wait_room(Duration::from_millis(10)));
    connection.block();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| producer.wait_room(PATIENCE));
        // The append waits too. Whichever is woken first wakes the other.
        let appending = scope.spawn(|| wait(producer.append(b"b")).expect("accepted"));
        connection.ack(0, 1);
        assert!(appending.join().is_ok());
        connection.block();
        connection.ack(1, 1);
        assert!(waiting.join().expect("no panic"));
    });
    append(&producer, "c");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| producer.wait_room(PATIENCE));
        let closing = scope.spawn(|| wait(producer.close_within(Duration::from_millis(50))));
        assert!(waiting.join().expect("no panic"), "an append would fail at once");
        closing.join().expect("no panic").expect_err("the record was not acked");
    });
}

/// The iterator and its items cannot be sent to another thread, but the future can.
#[test]
fn future_of_append_many_does_not_hold_the_batch() {
    fn is_send<T: Send>(waiting: T) -> T {
        waiting
    }
    struct NotSend(Rc<[u8]>);
    impl AsRef<[u8]> for NotSend {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.in_flight_bytes(1));
    let payload: Rc<[u8]> = Rc::from(vec![7; 400_000]);
    let batch = (0..5).map(|_| NotSend(Rc::clone(&payload)));
    let waiting = is_send(producer.append_many(batch));
    assert_eq!(Rc::strong_count(&payload), 1, "all items were dropped");
    assert_eq!(producer.next_sequence(), 0, "nothing was appended yet");
    thread::scope(|scope| {
        let appending = scope.spawn(|| wait(waiting).expect("accepted"));
        for (base, count) in [(0, 2), (2, 2), (4, 1)] {
            assert_eq!(connection.block().header().count, count);
            connection.ack(base, count);
        }
        assert_eq!(appending.join().expect("no panic").count(), 5);
    });
}

#[test]
fn invalid_record_in_a_batch_appends_nothing() {
    let peer = Peer::start();
    let (producer, _connection) = open(&peer, |b| b);
    let (large, too_large) = (vec![0; 1 << 20], vec![0; 1 << 30]);
    let batch = || [&large[..], &large, &too_large];
    let error = wait(producer.append_many(batch())).expect_err("8 bytes too many");
    assert!(error.is(Code::RecordTooLarge));
    assert_eq!(producer.next_sequence(), 0);
    let error = producer.try_append_many([&too_large]).expect_err("8 bytes too many");
    assert!(error.is(Code::RecordTooLarge));
    let mut encoded = Encoded::new();
    let error = encoded.push(&too_large).expect_err("8 bytes too many");
    assert!(error.is(Code::RecordTooLarge) && encoded.is_empty());
}

#[test]
fn try_append_many_that_would_block_encodes_nothing() {
    let peer = Peer::start();
    let (producer, _connection) = open(&peer, |b| b.in_flight_bytes(1));
    append(&producer, "a");
    let mut items = 0;
    let batch = (0..1000).map(|_| {
        items += 1;
        b"record"
    });
    let error = producer.try_append_many(batch).expect_err("no space");
    assert_eq!(error.kind(), Kind::WouldBlock);
    assert!(items <= 1, "{items} records were taken from the batch");
}

#[test]
fn close_within_ends_at_its_time_and_the_earlier_limit_counts() {
    let peer = Peer::start();
    let (producer, _connection) = open(&peer, |b| b);
    append(&producer, "never acked");
    let begun = Instant::now();
    let mut slow = Box::pin(producer.close());
    assert!(block_on_for(slow.as_mut(), Duration::ZERO).is_none());
    let error = wait(producer.close_within(Duration::from_millis(50))).expect_err("too late");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::TimedOut, true));
    assert!(error.message().contains("50ms (close_within)"), "{error}");
    assert!(wait(slow).is_ok(), "the failure was reported");
    assert!(begun.elapsed() < Duration::from_secs(20), "not the 30 s of the option");
    assert!(wait(producer.close_within(Duration::MAX)).is_ok(), "it is closed");
}
