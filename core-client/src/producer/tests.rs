//! A producer against a peer that is driven by hand.

use std::collections::HashMap;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use styx_protocol::Code;
use styx_protocol::block::{Block, Codec, Flags};
use styx_protocol::frame::{Event, Fault, Outcome};

use super::peer::{Connection, PATIENCE, Peer, texts};
use super::{Builder, Producer};
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::wait::{block_on, block_on_for};

/// A producer on its way to be open.
fn opening(
    peer: &Peer,
    options: impl FnOnce(Builder) -> Builder,
) -> JoinHandle<Result<Producer, Error>> {
    let client = Client::builder(&peer.address()).build().expect("good options");
    let builder = options(client.producer("orders"));
    thread::spawn(move || block_on(builder.open()))
}

fn open(peer: &Peer, options: impl FnOnce(Builder) -> Builder) -> (Producer, Connection) {
    open_with(peer, options, &[])
}

fn open_with(
    peer: &Peer,
    options: impl FnOnce(Builder) -> Builder,
    headers: &[(&str, &str)],
) -> (Producer, Connection) {
    let opening = opening(peer, options);
    let connection = peer.welcome(headers);
    (opening.join().expect("no panic").expect("it opens"), connection)
}

/// Waits for something that must come.
fn wait<T>(future: impl Future<Output = T>) -> T {
    block_on_for(std::pin::pin!(future), PATIENCE).expect("it comes")
}

fn append(producer: &Producer, text: &str) -> super::Ack {
    wait(producer.append(text.as_bytes())).expect("it is taken")
}

#[test]
fn a_record_is_sent_at_once_and_acked_with_its_position() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |builder| builder);
    assert!(connection.asked("producer").is_some());
    assert_eq!(connection.asked("x-styx-timeout").as_deref(), Some("30"));
    let ack = append(&producer, "one");
    let block = connection.block();
    assert_eq!(texts(&block), ["one"]);
    let header = block.header();
    assert_eq!(Some(header.producer_id), producer.producer_id());
    assert_eq!((header.sequence, header.producer_epoch), (0, 1));
    assert!(ack.try_position().is_none());
    connection.ack(41, 1);
    assert_eq!(wait(ack.position()).ok(), Some(41));
    assert_eq!((ack.sequence(), producer.next_sequence()), (0, 1));
}

#[test]
fn what_waits_for_the_connection_is_merged() {
    let peer = Peer::start();
    let (producer, mut connection) =
        open_with(&peer, |b| b, &[("x-styx-max-in-flight-blocks", "1")]);
    let first = append(&producer, "0");
    assert_eq!(texts(&connection.block()), ["0"]);
    let others: Vec<_> = (1..100).map(|i| append(&producer, &i.to_string())).collect();
    connection.ack(0, 1);
    wait(first.position()).expect("acked");
    let block = connection.block();
    let expected: Vec<_> = (1..100).map(|i| i.to_string()).collect();
    assert_eq!((texts(&block), block.header().sequence), (expected, 1));
    connection.ack(1000, 99);
    for (ack, position) in others.iter().zip(1000..) {
        assert_eq!(wait(ack.position()).ok(), Some(position));
    }
}

#[test]
fn a_reconnect_sends_the_same_bytes_and_acks_count_on() {
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
    assert_eq!(connection.asked("x-styx-log-id").as_deref(), Some(super::peer::LOG_ID));
    assert_eq!(connection.asked("x-styx-known-end"), None, "nothing was acked");
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

/// A block that was half written cannot be in the log, and goes on being the
/// same block.
#[test]
fn many_cuts_lose_and_change_nothing() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.block_bytes(64));
    let acks: Vec<_> = (0..500).map(|i| append(&producer, &format!("record {i}"))).collect();
    let mut stored: Vec<String> = Vec::new();
    let mut first_bytes = HashMap::new();
    let (mut round, mut acked) = (0, 0);
    while acked < 500 {
        // A few blocks are appended, fewer are acked, then the connection breaks.
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
fn fatal_errors_end_the_producer_and_stay() {
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
fn an_unknown_outcome_is_told() {
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
fn passing_errors_are_waited_out() {
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
fn what_a_reconnect_finds_can_end_the_producer() {
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
fn a_missed_deadline_fails_everything_and_closes() {
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
fn a_deadline_ends_a_producer_whose_server_is_away() {
    let peer = Peer::start();
    let (producer, connection) = open(&peer, |b| b.deadline(Duration::from_millis(300)));
    drop(peer);
    connection.cut();
    let error = wait(producer.send(b"a")).expect_err("nobody is there");
    assert_eq!(error.kind(), Kind::TimedOut);
    assert!(error.message().contains("cannot connect"), "{error}");
}

#[test]
fn memory_is_bounded_and_appends_go_on_as_acks_come() {
    const RECORD: [u8; 1000] = [7; 1000];
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.in_flight_bytes(10_000).block_bytes(2000));
    let mut taken = 0;
    let error = loop {
        match producer.try_append(&RECORD) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.is_retriable()), (Kind::WouldBlock, true));
    assert_eq!(taken, 10, "1008 bytes each: the tenth exceeds the bound, the eleventh waits");

    // A wait that is given up appends nothing.
    let mut waits = Box::pin(producer.append(&RECORD));
    assert!(block_on_for(waits.as_mut(), Duration::from_millis(20)).is_none());
    drop(waits);
    assert_eq!(producer.next_sequence(), 10);

    thread::scope(|scope| {
        let appending = scope.spawn(|| {
            for _ in 0..100 {
                wait(producer.append(&RECORD)).expect("there is room again");
            }
        });
        let mut acked = 0;
        while acked < 110 {
            let count = connection.block().header().count;
            connection.ack(acked, count);
            acked += u64::from(count);
        }
        appending.join().expect("all were taken");
    });
    assert_eq!(wait(producer.flush()).ok(), Some(()));
}

#[test]
fn several_waiting_appends_are_let_in_one_after_the_other() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.in_flight_bytes(1).block_bytes(1));
    append(&producer, "first");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| wait(producer.append(b"x")).expect("let in"));
        }
        for position in 0..9 {
            assert_eq!(connection.block().header().count, 1);
            connection.ack(position, 1);
        }
    });
    wait(producer.flush()).expect("all acked");
}

#[test]
fn a_failure_that_nobody_looked_at_surfaces_in_flush_or_close() {
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
fn closing_sends_what_waits_and_asks_to_be_forgotten() {
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
fn closing_ends_in_time() {
    let peer = Peer::start();
    let (producer, _connection) = open(&peer, |b| b.close_timeout(Duration::from_millis(50)));
    append(&producer, "never acked");
    let error = wait(producer.close()).expect_err("too late");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::TimedOut, true));
}

#[test]
fn flush_ends_lingering() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.linger(Duration::from_secs(60)));
    append(&producer, "a");
    append(&producer, "b");
    thread::scope(|scope| {
        let flushing = scope.spawn(|| wait(producer.flush()));
        assert_eq!(texts(&connection.block()), ["a", "b"]);
        connection.ack(0, 2);
        flushing.join().expect("no panic").expect("acked");
    });
}

#[test]
fn a_full_block_does_not_linger_and_a_lingering_one_leaves_in_time() {
    let peer = Peer::start();
    let (producer, mut connection) =
        open(&peer, |b| b.linger(Duration::from_millis(100)).block_bytes(20));
    append(&producer, "0123456789");
    append(&producer, "0123456789");
    append(&producer, "x");
    assert_eq!(texts(&connection.block()).len(), 1);
    assert_eq!(texts(&connection.block()).len(), 1);
    assert_eq!(texts(&connection.block()), ["x"]);
}

#[test]
fn a_batch_stands_in_one_block() {
    let peer = Peer::start();
    let (producer, mut connection) =
        open(&peer, |b| b.block_bytes(1000).linger(Duration::from_millis(20)));
    append(&producer, "before");
    let batch = vec![[7u8; 92]; 50];
    let ack = wait(producer.append_many(&batch)).expect("taken");
    assert_eq!((ack.sequence(), ack.count()), (1, 50));
    assert_eq!(connection.block().header().count, 1);
    assert_eq!(connection.block().header().count, 50, "beyond block_bytes, but not cut");
    connection.ack(10, 1);
    connection.ack(20, 50);
    assert_eq!(wait(ack.position()).ok(), Some(20));

    let nothing = wait(producer.append_many(Vec::<Vec<u8>>::new())).expect("taken");
    assert_eq!((nothing.count(), wait(nothing.position()).ok()), (0, Some(0)));
}

#[test]
fn a_large_batch_is_cut_and_acked_when_all_of_it_is() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let batch = vec![vec![7u8; 400_000]; 5];
    assert_eq!(
        producer.try_append_many(&batch).expect_err("over 1 MiB").kind(),
        Kind::InvalidArgument
    );
    let ack = wait(producer.append_many(&batch)).expect("taken");
    for (base, count) in [(0, 2), (100, 2), (7, 1)] {
        assert!(ack.try_position().is_none());
        assert_eq!(connection.block().header().count, count);
        connection.ack(base, count);
    }
    assert_eq!(wait(ack.position()).ok(), Some(0));
}

#[test]
fn a_server_that_takes_smaller_blocks_gets_them() {
    let peer = Peer::start();
    let (producer, mut connection) = open_with(&peer, |b| b, &[("x-styx-max-block-size", "100")]);
    wait(producer.append_many([[7u8; 40]; 4])).expect("taken");
    for _ in 0..2 {
        assert_eq!(connection.block().header().count, 2);
    }
    append(&producer, &"x".repeat(1000));
    assert_eq!(connection.block().header().count, 1, "a larger record stands alone");
}

#[test]
fn a_record_that_no_log_takes_is_refused_alone() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let error = wait(producer.append(&vec![0; 1 << 30])).expect_err("8 bytes too many");
    assert!(error.is(Code::RecordTooLarge));
    append(&producer, "the next one works");
    connection.block();
}

#[test]
fn only_the_first_block_says_where_the_log_must_end() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b.expected_position(40).block_bytes(1));
    append(&producer, "a");
    append(&producer, "b");
    let (first, second) = (connection.block(), connection.block());
    assert_eq!(first.header().flags, Flags::EXPECT_POSITION);
    assert_eq!(first.header().base_position, 40);
    assert_eq!(second.header().flags, Flags::NONE);
    connection.cut();
    let mut connection = peer.welcome(&[]);
    assert_eq!(connection.block(), first, "the same block with the same condition");
}

#[test]
fn without_an_id_what_was_sent_fails_and_what_was_not_goes_on() {
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
    // The server says that nothing was appended: then it can be sent again.
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
fn an_ack_of_what_was_not_sent_ends_the_producer() {
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
fn opening_tells_what_is_wrong_and_waits_out_what_passes() {
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
fn a_silent_server_is_left_and_hears_from_an_idle_producer() {
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
    // From here on the server says nothing: the producer comes again.
    let again = peer.accept();
    assert!(again.asked("producer").is_some());
}

#[test]
fn dropping_a_producer_or_its_client_ends_the_waiting() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let ack = append(&producer, "a");
    connection.block();
    drop(producer);
    let error = wait(ack.position()).expect_err("nobody will know");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::Closed, true));
    while connection.event().is_some() {}
}
