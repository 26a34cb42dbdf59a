//! How a producer ends, and which calls return its error.

use std::time::Duration;

use styx_protocol::Code;
use styx_protocol::frame::{Event, Fault, Outcome};

use super::*;
use crate::error::Kind;
use crate::producer::tests::peer::texts;

#[test]
fn fatal_errors_end_the_producer_for_good() {
    for code in [
        Code::SequenceGap,
        Code::SequenceReused,
        Code::ProducerFenced,
        Code::LogNotFound,
        Code::PositionMismatch,
        Code::RecordTooLarge,
    ] {
        let peer = Peer::start();
        let (producer, mut connection) = open(&peer, |b| b.block_bytes(1));
        let acks: Vec<_> = ["a", "b"].map(|text| append(&producer, text)).into();
        connection.block();
        connection.ack(3, 1);
        connection.block();
        connection.fault(&Fault::new(code, "no").with_expected_sequence(9));
        assert_eq!(wait(acks[0].position()).ok(), Some(3), "what was acked stays");
        let error = wait(acks[1].position()).expect_err("refused");
        assert!(error.is(code) && !error.maybe_appended(), "{error:?}");
        for later in [
            wait(producer.append(b"c")).map(drop),
            producer.try_append(b"c").map(drop),
            wait(producer.flush()),
        ] {
            assert!(later.expect_err("it is over").is(code), "the first cause stays");
        }
        assert!(wait(producer.close()).is_ok(), "the ack has told it");
    }
}

#[test]
fn unknown_outcome_sets_maybe_appended() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let ack = append(&producer, "a");
    connection.block();
    let mut fault = Fault::new(Code::ProducerFenced, "no");
    fault.outcome = Outcome::Unknown;
    connection.fault(&fault);
    assert!(wait(ack.position()).expect_err("refused").maybe_appended());
}

#[test]
fn missed_deadline_fails_all_records_and_closes_the_producer() {
    let peer = Peer::start();
    let (producer, mut connection) = open_with(
        &peer,
        |b| b.deadline(Duration::from_millis(300)),
        &[("x-styx-max-in-flight-blocks", "1")],
    );
    let sent = append(&producer, "sent");
    connection.block();
    let waits = append(&producer, "waits");
    let error = wait(sent.position()).expect_err("never acked");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::TimedOut, true));
    let error = wait(waits.position()).expect_err("never sent");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::TimedOut, false));
    let error = wait(producer.append(b"later")).expect_err("it is over");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::TimedOut, false));
}

#[test]
fn deadline_ends_a_producer_whose_server_is_unreachable() {
    let peer = Peer::start();
    let (producer, connection) = open(&peer, |b| b.deadline(Duration::from_millis(300)));
    drop(peer);
    connection.cut();
    let error = wait(producer.send(b"a")).expect_err("no server is listening");
    assert_eq!(error.kind(), Kind::TimedOut);
    assert!(error.message().contains("cannot connect"), "{error}");
}

#[test]
fn flush_and_close_return_unreported_failures() {
    for close in [false, true] {
        let peer = Peer::start();
        let (producer, mut connection) = open(&peer, |b| b);
        append(&producer, "a");
        connection.block();
        connection.fault(&Fault::new(Code::ProducerFenced, "another took over"));
        let told = if close { wait(producer.close()) } else { wait(producer.flush()) };
        assert!(told.expect_err("it was lost").is(Code::ProducerFenced));
        assert!(wait(producer.close()).is_ok(), "told once");
    }
}

#[test]
fn close_sends_pending_records_and_forgets_the_producer() {
    for drawn in [true, false] {
        let peer = Peer::start();
        let (producer, mut connection) = open(&peer, |b| {
            let b = b.linger(Duration::from_secs(60));
            if drawn { b } else { b.producer_id(7) }
        });
        let ack = append(&producer, "lingers");
        thread::scope(|scope| {
            let closing = scope.spawn(|| wait(producer.close()));
            assert_eq!(texts(&connection.block()), ["lingers"]);
            connection.ack(5, 1);
            assert_eq!(connection.event(), Some(Event::End { forget: drawn }));
            connection.cut();
            closing.join().expect("no panic").expect("all acked");
        });
        assert_eq!(wait(ack.position()).ok(), Some(5));
        assert_eq!(wait(producer.append(b"x")).expect_err("closed").kind(), Kind::Closed);
        assert!(wait(producer.close()).is_ok());
        assert!(wait(producer.flush()).is_ok(), "nothing is missing");
    }
}

#[test]
fn close_ends_at_its_timeout() {
    let peer = Peer::start();
    let (producer, _connection) = open(&peer, |b| b.close_timeout(Duration::from_millis(50)));
    append(&producer, "never acked");
    let error = wait(producer.close()).expect_err("too late");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::TimedOut, true));
}

#[test]
fn ack_of_unsent_records_ends_the_producer() {
    for (count, sent) in [(1, 0), (1, 2), (3, 2)] {
        let peer = Peer::start();
        let (producer, mut connection) = open(&peer, |b| b.linger(Duration::from_secs(60)));
        let acks: Vec<_> = (0..sent).map(|_| append(&producer, "a")).collect();
        thread::scope(|scope| {
            let flushing = scope.spawn(|| wait(producer.flush()));
            if sent > 0 {
                connection.block();
            } else {
                flushing.join().expect("no panic").expect("there is nothing to wait for");
            }
            connection.ack(0, count);
        });
        for ack in acks.iter().rev().take(1) {
            let error = wait(ack.position()).expect_err("the whole ack is wrong");
            assert_eq!((error.kind(), error.maybe_appended()), (Kind::BadAnswer, true));
        }
        assert!(wait(producer.flush()).is_err() || sent == 0);
    }
}

#[test]
fn dropping_a_producer_or_its_client_ends_waiting_calls() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let ack = append(&producer, "a");
    connection.block();
    drop(producer);
    let error = wait(ack.position()).expect_err("the outcome is unknown");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::Closed, true));
    while connection.event().is_some() {}
}
