//! How records become blocks: merging, lingering, batches, limits.

use std::thread;
use std::time::Duration;

use styx_protocol::Code;
use styx_protocol::block::Flags;

use super::*;
use crate::error::Kind;
use crate::producer::tests::peer::texts;

#[test]
fn record_is_sent_at_once_and_acked_with_its_position() {
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
fn pending_records_are_merged_into_one_block() {
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
fn memory_is_bounded_and_appends_continue_with_acks() {
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

    // A cancelled append appends nothing.
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
fn waiting_appends_are_woken_one_at_a_time() {
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
fn flush_sends_lingering_blocks() {
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
fn full_block_is_sent_at_once_and_lingering_block_after_linger() {
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
fn batch_is_sent_in_one_block() {
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
fn large_batch_is_split_and_acked_when_all_parts_are() {
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
fn block_size_limit_of_the_server_is_respected() {
    let peer = Peer::start();
    let (producer, mut connection) = open_with(&peer, |b| b, &[("x-styx-max-block-size", "100")]);
    wait(producer.append_many([[7u8; 40]; 4])).expect("taken");
    for _ in 0..2 {
        assert_eq!(connection.block().header().count, 2);
    }
    append(&producer, &"x".repeat(1000));
    assert_eq!(connection.block().header().count, 1, "a larger record has a block of its own");
}

#[test]
fn too_large_record_is_rejected_and_others_are_appended() {
    let peer = Peer::start();
    let (producer, mut connection) = open(&peer, |b| b);
    let error = wait(producer.append(&vec![0; 1 << 30])).expect_err("8 bytes too many");
    assert!(error.is(Code::RecordTooLarge));
    append(&producer, "the next one works");
    connection.block();
}

#[test]
fn only_the_first_block_has_the_expected_position() {
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
