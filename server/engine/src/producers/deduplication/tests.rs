use styx_protocol::Codec;
use styx_protocol::block::Flags;
use styx_protocol::record::Builder;

use super::*;

/// Records that hold their sequence numbers, except the one with the number `changed`.
fn changed(sequence: u64, count: u32, changed: Option<u64>) -> Records {
    let mut builder = Builder::new();
    for at in (0..u64::from(count)).map(|at| sequence.wrapping_add(at)) {
        let payload = if changed == Some(at) { !at } else { at };
        assert!(builder.push(&payload.to_be_bytes()), "they fit in a block");
    }
    builder.take()
}

fn records(sequence: u64, count: u32) -> Records {
    changed(sequence, count, None)
}

fn header(epoch: u32, sequence: u64, count: u32, base: u64) -> Header {
    Header {
        producer_id: 7,
        producer_epoch: epoch,
        sequence,
        count,
        base_position: base,
        body_crc: crc32fast::hash(records(sequence, count).bytes()),
        timestamp_us: base + 1,
        ..Header::default()
    }
}

fn filler(epoch: u32) -> Header {
    Header { flags: Flags::FILLER, body_crc: 0, ..header(epoch, 0, 0, 0) }
}

/// Returns the decision after these blocks. Checks that it does not depend on how many of them
/// are durable, in flight or planned.
fn check<T: PartialEq + std::fmt::Debug>(
    headers: &[Header],
    decide: impl Fn(ProducerView<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let pending = |headers: &[Header]| {
        let mut changes = PendingChanges::new();
        for header in headers {
            changes.entry(7).or_default().append(header);
        }
        changes
    };
    let with = |durable: usize, in_flight: usize| {
        let mut table = ProducerTable::default();
        headers[..durable].iter().for_each(|header| table.replay(header));
        table.begin_group(pending(&headers[durable..in_flight]));
        decide(ProducerView::of(7, &table, &pending(&headers[in_flight..])))
    };
    let all = with(headers.len(), headers.len());
    for in_flight in 0..=headers.len() {
        for durable in 0..=in_flight {
            let some = format!("{:?}", with(durable, in_flight));
            assert_eq!(some, format!("{all:?}"), "{durable} durable, {in_flight} in flight");
        }
    }
    all
}

fn loose(
    headers: &[Header],
    epoch: Option<u32>,
    sequence: u64,
    count: u32,
) -> Result<RecordsDecision, Error> {
    let records = records(sequence, count);
    check(headers, |view| {
        view.decide(&Producer { id: 7, epoch, sequence }, &SentRecords::Records(&records))
    })
}

fn block(headers: &[Header], block: Header) -> Result<BlockDecision, Error> {
    check(headers, |view| view.decide_block(&block))
}

#[test]
fn appended_loose_records_are_skipped_and_gaps_are_refused() {
    assert_eq!(loose(&[], None, 500, 3).unwrap(), RecordsDecision::Append { skip: 0, epoch: 0 });
    let sent = [header(2, 500, 3, 10)];
    assert_eq!(loose(&sent, None, 503, 1).unwrap(), RecordsDecision::Append { skip: 0, epoch: 2 });
    assert_eq!(
        loose(&sent, Some(3), 501, 4).unwrap(),
        RecordsDecision::Append { skip: 2, epoch: 3 }
    );
    let end = Some(Position(12));
    assert_eq!(loose(&sent, None, 500, 2).unwrap(), RecordsDecision::Repeated { end });
    assert_eq!(loose(&sent, None, 499, 1).unwrap(), RecordsDecision::Repeated { end: None });
    let gap = loose(&sent, None, 504, 1);
    assert!(matches!(gap, Err(Error::SequenceGap { expected: 503, .. })), "{gap:?}");
    let fenced = loose(&sent, Some(1), 503, 1);
    assert!(matches!(fenced, Err(Error::ProducerFenced { current: 2, .. })), "{fenced:?}");
}

#[test]
fn loose_records_that_differ_from_a_block_that_they_cover_are_refused() {
    let sent = [header(2, 500, 3, 10), header(2, 503, 2, 20)];
    let decide = |sent: &[Header], sequence, records: &Records| {
        check(sent, |view| {
            view.decide(&Producer { id: 7, epoch: None, sequence }, &SentRecords::Records(records))
        })
    };
    for (sequence, count, different, reused) in
        [(500, 3, 501, 500), (500, 5, 504, 503), (501, 4, 503, 503), (500, 7, 502, 500)]
    {
        let decided = decide(&sent, sequence, &changed(sequence, count, Some(different)));
        let expected = Error::SequenceReused { producer: 7, sequence: reused };
        assert_eq!(format!("{:?}", decided.unwrap_err()), format!("{expected:?}"));
    }
    let new = RecordsDecision::Append { skip: 5, epoch: 2 };
    assert_eq!(decide(&sent, 500, &changed(500, 7, Some(505))).unwrap(), new);
    // The log cannot compare a part of a block, or records with compressed bytes.
    let repeated = RecordsDecision::Repeated { end: Some(Position(13)) };
    assert_eq!(decide(&sent, 501, &changed(501, 2, Some(501))).unwrap(), repeated);
    let compressed = [Header { codec: Codec::Lz4, ..header(2, 500, 3, 10) }];
    assert_eq!(decide(&compressed, 500, &changed(500, 3, Some(501))).unwrap(), repeated);
}

#[test]
fn a_block_is_appended_repeated_or_refused_as_a_whole() {
    let sent = [header(2, 500, 3, 10), header(2, 503, 2, 20)];
    assert_eq!(block(&[], header(0, 77, 3, 0)).unwrap(), BlockDecision::Append);
    assert_eq!(block(&sent, header(2, 505, 9, 0)).unwrap(), BlockDecision::Append);
    let again = |base| BlockDecision::Repeated { base: Position(base) };
    assert_eq!(block(&sent, header(2, 500, 3, 0)).unwrap(), again(10));
    assert_eq!(block(&sent, header(9, 503, 2, 0)).unwrap(), again(20));
    let reused =
        |header| matches!(block(&sent, header), Err(Error::SequenceReused { producer: 7, .. }));
    assert!(reused(header(2, 500, 2, 0)), "same sequence, different count");
    assert!(reused(Header { body_crc: 0, ..header(2, 500, 3, 0) }), "different body");
    assert!(reused(header(2, 501, 2, 0)), "begins inside a remembered block");
    assert!(reused(header(2, 100, 3, 0)), "no longer remembered");
    let gap =
        |header| matches!(block(&sent, header), Err(Error::SequenceGap { expected: 505, .. }));
    assert!(gap(header(2, 506, 1, 0)), "begins after the next sequence");
    assert!(gap(header(2, 503, 3, 0)), "only its first records are stored");
    assert!(gap(header(2, 400, 200, 0)), "spans all remembered blocks");
    let fenced = block(&sent, header(1, 505, 1, 0));
    assert!(matches!(fenced, Err(Error::ProducerFenced { current: 2, .. })), "{fenced:?}");
}

#[test]
fn an_epoch_without_blocks_does_not_fix_the_next_sequence() {
    let begun = [filler(4)];
    assert_eq!(check(&begun, |view| Ok(view.next_sequence())).unwrap(), None);
    assert_eq!(block(&begun, header(4, 900, 1, 0)).unwrap(), BlockDecision::Append);
    let fenced = block(&begun, header(3, 0, 1, 0));
    assert!(matches!(fenced, Err(Error::ProducerFenced { current: 4, .. })), "{fenced:?}");
    let continued = [header(1, 500, 3, 10), filler(4)];
    assert_eq!(check(&continued, |view| Ok(view.next_sequence())).unwrap(), Some(503));
    assert_eq!(check(&continued, |view| Ok(view.epoch())).unwrap(), 4);
}

#[test]
fn begin_returns_the_requested_or_the_next_epoch() {
    let begin = |headers: &[Header], requested| check(headers, |view| view.begin(requested));
    assert_eq!(begin(&[], None).unwrap(), 1);
    assert_eq!(begin(&[], Some(0)).unwrap(), 0);
    assert_eq!(begin(&[filler(1)], None).unwrap(), 2);
    assert_eq!(begin(&[filler(1)], Some(1)).unwrap(), 1);
    assert_eq!(begin(&[header(0, 5, 1, 0)], None).unwrap(), 1);
    for (current, requested) in [(3, Some(2)), (u32::MAX, None)] {
        let fenced = begin(&[filler(current)], requested);
        assert!(matches!(fenced, Err(Error::ProducerFenced { .. })), "{fenced:?}");
    }
}

#[test]
fn a_forgotten_producer_starts_over() {
    let (mut table, mut changes) = (ProducerTable::default(), PendingChanges::new());
    table.replay(&header(2, 500, 3, 10));
    changes.entry(7).or_default().append(&header(2, 503, 1, 13));
    changes.entry(7).or_default().forget();
    let view = ProducerView::of(7, &table, &changes);
    assert_eq!((view.next_sequence(), view.epoch()), (None, 0));
    changes.entry(7).or_default().append(&header(0, 1, 1, 14));
    table.begin_group(changes);
    table.commit_group(0);
    let none = PendingChanges::new();
    let view = ProducerView::of(7, &table, &none);
    assert_eq!((view.next_sequence(), view.epoch()), (Some(2), 0));
}

/// Bug: a first append with the largest sequence number was accepted, and the next sequence
/// number overflowed. Builds with overflow checks stopped the committer. Other builds refused
/// a retry of that append as a gap.
#[test]
fn a_sequence_that_would_overflow_is_refused() {
    let gap = |sent: &[Header], sequence, count| {
        let loose = loose(sent, None, sequence, count);
        let block = block(sent, Header { sequence, count, ..header(0, 0, 0, 0) });
        let is_gap = |error: Option<Error>| matches!(error, Some(Error::SequenceGap { .. }));
        let (loose, block) = (is_gap(loose.err()), is_gap(block.err()));
        assert_eq!(loose, block);
        block
    };
    assert!(gap(&[], u64::MAX, 1));
    assert!(gap(&[], u64::MAX - 2, 3));
    assert!(!gap(&[], u64::MAX - 3, 3));
    let mut sent = vec![header(0, u64::MAX - 3, 3, 10)];
    assert!(gap(&sent, u64::MAX, 1));
    let end = Some(Position(13));
    assert_eq!(loose(&sent, None, u64::MAX - 3, 3).unwrap(), RecordsDecision::Repeated { end });
    // A forged block in the table does not overflow either.
    sent.push(header(0, u64::MAX, 3, 13));
    assert!(gap(&sent, u64::MAX, 1));
}
