//! Tests of idempotent producers: blocks are stored unchanged, once and without gaps, and older
//! epochs are fenced.

use std::path::Path;
use std::sync::Arc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use styx_engine::{
    Append, AppendError, AppendStream, Appended, Catalog, Error, Log, Options, Producer,
    ProducerState, Ticket,
};
use styx_protocol::block::{Block, Checked, Flags, Header, Origin, build};
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogConfig, Position};

use crate::support::{self, WakeCount, name, open, poll_once, records, reopen};

const ID: u64 = 77;

/// Opens a catalog without threads. A call of `step` commits a group.
fn open_by_hand(directory: &Path) -> Catalog {
    Catalog::open(Options { committers_max: 0, ..Options::new(directory) }).expect("opened")
}

fn checked(bytes: Bytes) -> Checked {
    let (block, rest) = Block::parse(bytes, 1 << 20).expect("a block");
    assert!(rest.is_empty());
    block.into_checked(1 << 20).expect("a producer's block")
}

fn origin(epoch: u32, sequence: u64) -> Origin {
    Origin { producer_id: ID, producer_epoch: epoch, sequence, expected: None }
}

fn block(epoch: u32, sequence: u64, payloads: &[&str]) -> Checked {
    checked(build(&records(payloads), origin(epoch, sequence)))
}

fn send(log: &Log, block: Checked) -> Result<Appended, Error> {
    log.append_durably(block)
}

fn added(base: u64, count: u32) -> Appended {
    let (base, end) = (Position(base), Position(base + u64::from(count)));
    Appended { base, end, count, repeated: 0 }
}

fn repeated(base: u64, count: u32) -> Appended {
    Appended { count: 0, repeated: count, ..added(base, count) }
}

fn begin(log: &Log, epoch: Option<u32>) -> Result<(u32, Option<u64>), Error> {
    let state = log.begin_producer(ID, epoch)?.wait()?;
    Ok((state.epoch, state.next_sequence))
}

fn read_all(log: &Log) -> Vec<String> {
    let payloads = support::read_all(log).into_iter();
    payloads.map(|payload| String::from_utf8(payload).expect("text")).collect()
}

/// Reads the headers and bodies of the blocks in a log's first segment.
fn stored(directory: &Path) -> Vec<(Header, Vec<u8>)> {
    let path = directory.join("log/0/00000000000000000000.seg");
    let bytes = std::fs::read(path).expect("read");
    let mut rest = &bytes[..];
    let mut blocks = Vec::new();
    while let Ok((header, _)) = Header::decode(rest) {
        let (block, behind) =
            rest.split_at(usize::try_from(header.block_bytes()).expect("it fits"));
        blocks.push((header, block[BLOCK_HEADER_BYTES..].to_vec()));
        rest = behind;
    }
    blocks
}

fn take<T>(mut ticket: Ticket<T>) -> Result<T, Error> {
    poll_once(&mut ticket, Waker::noop()).expect("the ticket is resolved")
}

fn queue(log: &Log, append: impl Into<Append>) -> Ticket {
    log.append(append).expect("queued")
}

#[test]
fn a_clients_block_is_stored_with_its_body_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open_by_hand(directory.path());
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    let expecting = Origin { expected: Some(Position(2)), ..origin(3, 500) };
    let mut bytes = BytesMut::from(&build(&records(["c", "d"]), expecting)[..]);
    // An unknown flag of the kind that servers store and ignore.
    bytes[10] |= 0x40;
    let crc = crc32fast::hash(&bytes[8..BLOCK_HEADER_BYTES]).to_be_bytes();
    bytes[4..8].copy_from_slice(&crc);
    let sent = checked(bytes.freeze());
    let body = sent.body().clone();

    let tickets = [
        queue(&log, records(["a"])),
        queue(&log, records(["b"])),
        queue(&log, sent),
        queue(&log, block(3, 502, &["e"])),
        queue(&log, records(["f"])),
    ];
    assert!(catalog.step());
    let answers = tickets.map(|ticket| take(ticket).expect("appended"));
    assert_eq!(answers, [added(0, 1), added(1, 1), added(2, 2), added(4, 1), added(5, 1)]);
    assert_eq!(read_all(&log), ["a", "b", "c", "d", "e", "f"]);

    let blocks = stored(directory.path());
    let counts: Vec<_> = blocks.iter().map(|(header, _)| header.count).collect();
    assert_eq!(
        counts,
        [0, 2, 2, 1, 1],
        "loose records share a block, and each client's block is stored separately"
    );
    let (filler, (header, stored)) = (blocks[0].0, &blocks[2]);
    assert_eq!(*stored, body);
    assert_eq!(header.flags.bits(), 0x4000, "the condition is checked but not stored");
    assert_eq!((header.producer_id, header.sequence, header.producer_epoch), (ID, 500, 3));
    assert_eq!((header.base_position, header.durable_position), (2, 0));
    assert_eq!((header.segment_salt, header.open_epoch), (filler.segment_salt, 1));
    assert!(header.timestamp_us > 0);
}

#[test]
fn a_repeated_block_is_appended_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config = LogConfig { segment_max_count: 4, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    assert_eq!(send(&log, block(1, 10, &["a", "b", "c"])).expect("appended"), added(0, 3));
    assert_eq!(send(&log, block(1, 13, &["d"])).expect("appended"), added(3, 1));
    assert_eq!(send(&log, block(1, 14, &["e", "f"])).expect("appended"), added(4, 2));

    let check = |log: &Log| {
        assert_eq!(send(log, block(1, 10, &["a", "b", "c"])).expect("known"), repeated(0, 3));
        assert_eq!(send(log, block(1, 14, &["e", "f"])).expect("known"), repeated(4, 2));
        for (sequence, payloads) in
            [(10, &["a", "b", "x"][..]), (10, &["a", "b"]), (11, &["b", "c"]), (9, &["y"])]
        {
            let refused = send(log, block(1, sequence, payloads));
            assert!(
                matches!(refused, Err(Error::SequenceReused { producer: ID, sequence: s })
                    if s == sequence),
                "{refused:?}"
            );
        }
        for (sequence, payloads) in [(17, &["g"][..]), (14, &["e", "f", "g"])] {
            let refused = send(log, block(1, sequence, payloads));
            assert!(matches!(refused, Err(Error::SequenceGap { expected: 16, .. })), "{refused:?}");
        }
        let fenced = send(log, block(0, 16, &["g"]));
        assert!(matches!(fenced, Err(Error::ProducerFenced { current: 1, .. })), "{fenced:?}");
        assert_eq!(log.producer(ID), Some(ProducerState { epoch: 1, next_sequence: Some(16) }));
        let kept = usize::try_from(log.start_position().0).expect("it fits");
        assert_eq!(read_all(log), ["a", "b", "c", "d", "e", "f"][kept..]);
    };
    check(&log);
    let (catalog, log) = reopen(catalog, directory.path());
    check(&log);
    // A trim removes the headers from which the producers table was built.
    assert!(log.stats().segments >= 2);
    log.trim(Position(4)).expect("trimmed");
    assert_eq!(log.start_position(), Position(4));
    check(&log);
    let (catalog, log) = reopen(catalog, directory.path());
    check(&log);
    let mut archive = Vec::new();
    log.backup(&mut archive).expect("backed up");
    catalog.delete(&name("log")).expect("deleted");
    let log = catalog.restore(&name("log"), &mut archive.as_slice()).expect("restored");
    check(&log);
    assert_eq!(send(&log, block(1, 16, &["g"])).expect("appended"), added(6, 1));
}

#[test]
fn a_block_without_a_producer_is_appended_every_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    let without_producer = || checked(build(&records(["a"]), Origin::default()));
    assert_eq!(send(&log, without_producer()).expect("appended"), added(0, 1));
    assert_eq!(send(&log, without_producer()).expect("appended"), added(1, 1));
    assert_eq!(log.producer(0), None);
}

#[test]
fn a_repetition_is_recognised_before_the_expected_position_is_checked() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    let expecting = |sequence, expected| {
        let expected = Some(Position(expected));
        checked(build(&records(["a"]), Origin { expected, ..origin(1, sequence) }))
    };
    let refused = send(&log, expecting(0, 1));
    assert!(
        matches!(refused, Err(Error::PositionMismatch { end: Position(0), .. })),
        "{refused:?}"
    );
    assert_eq!(send(&log, expecting(0, 0)).expect("appended"), added(0, 1));
    assert_eq!(send(&log, expecting(0, 0)).expect("known"), repeated(0, 1));
    let refused = send(&log, expecting(2, 1));
    assert!(matches!(refused, Err(Error::SequenceGap { expected: 1, .. })), "{refused:?}");
}

#[test]
fn loose_records_and_blocks_share_one_sequence() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    let loose = |sequence, payloads: &[&str]| {
        let producer = Some(Producer { id: ID, epoch: None, sequence });
        log.append_durably(Append::Records { records: records(payloads), expected: None, producer })
    };
    assert_eq!(send(&log, block(2, 0, &["a", "b"])).expect("appended"), added(0, 2));
    let rest = Appended { repeated: 1, ..added(2, 2) };
    assert_eq!(loose(1, &["b", "c", "d"]).expect("appended"), rest);
    let again = Appended { base: Position(4), end: Position(4), count: 0, repeated: 3 };
    assert_eq!(loose(1, &["b", "c", "d"]).expect("known"), again);
    assert_eq!(send(&log, block(2, 4, &["e"])).expect("appended"), added(4, 1));
    assert_eq!(read_all(&log), ["a", "b", "c", "d", "e"]);
}

#[test]
fn other_records_with_a_used_sequence_are_refused_while_their_block_can_be_compared() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config = LogConfig { segment_max_count: 2, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    let loose = |log: &Log, sequence, payloads: &[&str]| {
        let producer = Some(Producer { id: ID, epoch: None, sequence });
        log.append_durably(Append::Records { records: records(payloads), expected: None, producer })
    };
    let check_refused = |log: &Log, sequence, payloads: &[&str]| {
        let result = loose(log, sequence, payloads);
        assert!(matches!(result, Err(Error::SequenceReused { producer: ID, .. })), "{result:?}");
    };
    assert_eq!(loose(&log, 0, &["a", "b"]).expect("appended").count, 2);
    check_refused(&log, 0, &["a", "x"]);
    assert_eq!(loose(&log, 2, &["c"]).expect("appended").count, 1);
    check_refused(&log, 2, &["x"]);
    assert_eq!(log.stats().segments, 2);
    // After a restart, the first block is known only from the snapshot of the roll.
    let (_catalog, log) = reopen(catalog, directory.path());
    check_refused(&log, 2, &["x"]);
    assert_eq!(loose(&log, 0, &["a", "x"]).expect("not known to differ").repeated, 2);
    assert_eq!(loose(&log, 0, &["a", "b", "c", "d"]).expect("appended").count, 1);
    assert_eq!(read_all(&log), ["a", "b", "c", "d"]);
}

#[test]
fn begin_fences_earlier_epochs_also_after_a_crash() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config = LogConfig { segment_max_count: 2, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    assert_eq!(log.producer(ID), None);
    assert_eq!(begin(&log, None).expect("begun"), (1, None), "a new producer has no sequence yet");
    assert_eq!(begin(&log, None).expect("begun"), (2, None));
    let (catalog, log) = reopen(catalog, directory.path());
    let fenced = send(&log, block(1, 0, &["a"]));
    assert!(matches!(fenced, Err(Error::ProducerFenced { current: 2, .. })), "{fenced:?}");
    let fenced = begin(&log, Some(1));
    assert!(matches!(fenced, Err(Error::ProducerFenced { current: 2, .. })), "{fenced:?}");

    // To begin again with the same epoch writes nothing.
    let written = log.stats().bytes_written;
    assert_eq!(begin(&log, Some(2)).expect("begun"), (2, None));
    assert_eq!(log.stats().bytes_written, written);
    assert_eq!(send(&log, block(2, 40, &["a", "b"])).expect("appended"), added(0, 2));
    assert_eq!(begin(&log, Some(7)).expect("begun"), (7, Some(42)));
    assert_eq!(log.stats().bytes_written, written + (96 + 18) + 96);

    // A block raises the epoch too, and the snapshot that a roll writes keeps it.
    assert_eq!(send(&log, block(9, 42, &["c"])).expect("appended"), added(2, 1));
    assert_eq!(begin(&log, None).expect("begun"), (10, Some(43)));
    for sequence in 43..47 {
        send(&log, block(10, sequence, &["d"])).expect("appended");
    }
    log.trim(log.end_position()).expect("trimmed");
    assert!(log.start_position() > Position(3));
    let (_catalog, log) = reopen(catalog, directory.path());
    assert_eq!(begin(&log, Some(10)).expect("begun"), (10, Some(47)));
    let fenced = send(&log, block(9, 47, &["e"]));
    assert!(matches!(fenced, Err(Error::ProducerFenced { current: 10, .. })), "{fenced:?}");
}

#[test]
fn begin_resolves_after_everything_queued_before_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open_by_hand(directory.path());
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    let older = queue(&log, block(1, 0, &["a"]));
    let newer = log.begin_producer(ID, None).expect("accepted");
    let late = queue(&log, block(1, 1, &["b"]));
    let forgotten = {
        log.forget_producer(ID).expect("accepted");
        queue(&log, block(0, 5, &["c"]))
    };
    assert_eq!(log.producer(ID), None, "nothing is durable yet");
    assert!(catalog.step());
    assert_eq!(take(older).expect("appended"), added(0, 1));
    let state = take(newer).expect("begun");
    assert_eq!(state, ProducerState { epoch: 2, next_sequence: Some(1) });
    let fenced = take(late);
    assert!(matches!(fenced, Err(Error::ProducerFenced { current: 2, .. })), "{fenced:?}");
    assert_eq!(take(forgotten).expect("appended"), added(1, 1));
    assert_eq!(log.producer(ID), Some(ProducerState { epoch: 0, next_sequence: Some(6) }));
    assert_eq!(read_all(&log), ["a", "c"]);

    let raised =
        stored(directory.path()).into_iter().find(|(header, _)| header.producer_epoch == 2);
    let (header, body) = raised.expect("a filler raises the epoch");
    assert_eq!((header.flags, header.producer_id, header.sequence), (Flags::FILLER, ID, 0));
    assert_eq!((header.count, header.base_position, body.len()), (0, 1, 0));
}

#[test]
fn the_durable_appends_of_a_stream_are_a_prefix() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open_by_hand(directory.path());
    let config = LogConfig { max_record_size: 100, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    let (stream, other) = (log.stream(), log.stream());
    let queue = |append: Append| stream.append(append).expect("queued");
    assert_eq!(send_by_hand(&catalog, &log, block(1, 10, &["a"])).expect("appended"), added(0, 1));
    let first = queue(records(["b"]).into());
    let refused = queue(block(1, 10, &["other"]).into());
    // This block is valid, but queued after a refused one.
    let behind = queue(block(1, 11, &["c"]).into());
    let others = other.append(records(["d"])).expect("queued");
    assert!(catalog.step());
    assert_eq!(take(first).expect("appended"), added(1, 1));
    assert!(matches!(take(refused), Err(Error::SequenceReused { .. })));
    assert!(matches!(take(behind), Err(Error::SequenceReused { .. })));
    assert_eq!(take(others).expect("appended"), added(2, 1));
    let refusal = |append: Append, stream: &AppendStream| match stream.append(append) {
        Err(AppendError::Refused(error)) => error,
        other => panic!("not refused: {other:?}"),
    };
    let later = refusal(records(["e"]).into(), &stream);
    assert!(matches!(later, Error::SequenceReused { .. }), "{later:?}");

    let long = "x".repeat(200);
    let refused = refusal(records([&long]).into(), &other);
    assert!(matches!(refused, Error::RecordTooLarge { size: 208, max: 100 }), "{refused:?}");
    let later = refusal(records(["f"]).into(), &other);
    assert!(matches!(later, Error::RecordTooLarge { .. }), "{later:?}");
    assert_eq!(read_all(&log), ["a", "b", "d"]);
}

fn send_by_hand(catalog: &Catalog, log: &Log, block: Checked) -> Result<Appended, Error> {
    let ticket = queue(log, block);
    assert!(catalog.step());
    take(ticket)
}

#[test]
fn a_task_that_waits_for_many_tickets_is_woken_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open_by_hand(directory.path());
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    let count = Arc::new(WakeCount::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut tickets: Vec<_> =
        (0..20).map(|sequence| queue(&log, block(1, sequence, &["a"]))).collect();
    for ticket in &mut tickets {
        assert!(poll_once(ticket, &waker).is_none());
    }
    assert!(catalog.step());
    assert_eq!(count.get(), 1);
    for (base, ticket) in (0..).zip(tickets) {
        assert_eq!(take(ticket).expect("appended"), added(base, 1));
    }
}
