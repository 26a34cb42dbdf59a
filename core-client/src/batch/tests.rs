//! Batches from blocks: what a batch contains, and which blocks are rejected.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use styx_protocol::block::{self, Codec, Flags, Header, Origin, ParseError};
use styx_protocol::{LogId, record};

use super::{Assembler, BlockError, Cause, RecordBatch, TimestampRun};

const LOG: LogId = LogId(7);
const END: u64 = u64::MAX;

/// A block as a server stores and sends it.
fn stored(codec: Codec, base: u64, timestamp: u64, payloads: &[Vec<u8>]) -> Bytes {
    let mut records = record::Builder::new();
    payloads.iter().for_each(|payload| assert!(records.push(payload)));
    let sent = block::build_with(codec, None, &records.take(), Origin::default());
    let (header, _) = Header::decode(&sent).expect("is good");
    let header = Header { base_position: base, timestamp_us: timestamp, ..header };
    Bytes::from([&header.encode().0[..], &sent[96..]].concat())
}

fn marker(flags: Flags, base: u64, body: &[u8]) -> Bytes {
    let size = body.len() as u32;
    let body_crc = crc(body);
    let header =
        Header { flags, base_position: base, body_size: size, body_crc, ..Header::default() };
    Bytes::from([&header.encode().0[..], body].concat())
}

fn crc(bytes: &[u8]) -> u32 {
    // A record's checksum covers its size and payload; split this way, it is any CRC.
    match bytes.split_first_chunk() {
        Some((size, payload)) => record::checksum(*size, payload),
        None => 0,
    }
}

fn payloads(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Takes the blocks, all of which are valid.
fn assemble(next: u64, until: u64, blocks: &[Bytes]) -> Vec<RecordBatch> {
    let mut assembler = Assembler::new(LOG, next, until);
    for block in blocks {
        assert_eq!(assembler.take(block.clone()), Ok(()));
    }
    assembler.finish().collect()
}

/// Position, timestamp and payload of every record.
fn records(batches: &[RecordBatch]) -> Vec<(u64, u64, Vec<u8>)> {
    let all = batches.iter().flat_map(RecordBatch::iter);
    all.map(|r| (r.position(), r.timestamp(), r.payload().to_vec())).collect()
}

#[test]
fn small_blocks_are_merged_and_a_large_one_is_shared() {
    let large = vec![vec![1u8; 20_000], vec![2u8; 7]];
    let blocks = [
        stored(Codec::None, 5, 100, &payloads(&["five", ""])),
        stored(Codec::None, 7, 100, &payloads(&["seven"])),
        stored(Codec::None, 8, 200, &payloads(&["eight"])),
        stored(Codec::None, 9, 300, &large),
        stored(Codec::None, 11, 300, &payloads(&["eleven"])),
    ];
    let batches = assemble(5, END, &blocks);
    let [small, own, last] = &batches[..] else { panic!("{batches:?}") };
    assert_eq!((small.len(), small.first_position(), small.next_position()), (4, 5, 9));
    let runs =
        [TimestampRun { first: 0, timestamp: 100 }, TimestampRun { first: 3, timestamp: 200 }];
    assert_eq!(small.runs().collect::<Vec<_>>(), runs);
    assert_eq!([&small[0], &small[1], &small[3]], [&b"five"[..], b"", b"eight"]);
    assert_eq!((own.len(), &own[1]), (2, &[2u8; 7][..]));
    assert_eq!(own.data().as_ptr(), blocks[3][96..].as_ptr(), "it was not copied");
    assert_eq!((last.first_position(), last.checkpoint().next.0), (11, 12));
    assert_eq!(last.checkpoint().log_id, LOG);
}

#[test]
fn batch_and_its_slices_share_memory() {
    let blocks: Vec<Bytes> = (0..5u64)
        .map(|i| stored(Codec::None, i * 2, 10 + i / 2, &payloads(&["even", "odd"])))
        .collect();
    let batches = assemble(0, END, &blocks);
    let [batch] = &batches[..] else { panic!("{batches:?}") };
    let all = records(&batches);
    assert_eq!(all.len(), 10);
    for start in 0..=10 {
        for end in start..=12 {
            let slice = batch.slice(start..end);
            let expected = &all[start..end.min(10)];
            assert_eq!(records(std::slice::from_ref(&slice)), expected, "{start}..{end}");
            assert_eq!(slice.first_position(), start as u64);
            let listed: Vec<_> = slice.payloads().collect();
            assert_eq!(listed.len(), slice.len());
            for (at, (position, timestamp, payload)) in expected.iter().enumerate() {
                let record = slice.get(at).expect("is there");
                assert_eq!((record.position(), record.timestamp()), (*position, *timestamp));
                assert_eq!(record.payload(), listed[at]);
                assert_eq!(record.payload_bytes(), payload);
                assert_eq!(record.payload_bytes().as_ptr(), record.payload().as_ptr());
                assert_eq!(record.checkpoint().next.0, position + 1);
                let run = slice.runs().take_while(|run| run.first <= at).last();
                assert_eq!(run.map(|run| run.timestamp), Some(*timestamp));
            }
            assert!(slice.get(slice.len()).is_none());
            assert_eq!(slice.runs().next().map_or(0, |run| run.first), 0);
        }
    }
    let (later, earlier) = (5, 3);
    assert!(batch.slice(later..earlier).is_empty());
    assert_eq!(batch.slice(3..9).slice(2..4).first_position(), 5);
}

#[test]
fn unrequested_records_are_left_out() {
    let blocks: Vec<Bytes> =
        (0..4u64).map(|i| stored(Codec::None, i * 3, i, &payloads(&["a", "b", "c"]))).collect();
    for next in 0..12 {
        for until in next..=13 {
            let positions: Vec<u64> =
                records(&assemble(next, until, &blocks)).iter().map(|r| r.0).collect();
            assert_eq!(positions, (next..until.min(12)).collect::<Vec<_>>(), "{next}..{until}");
        }
    }
}

#[test]
fn fillers_and_seals_are_skipped() {
    let blocks = [
        marker(Flags::FILLER, 0, b""),
        stored(Codec::None, 0, 1, &payloads(&["a"])),
        marker(Flags::FILLER, 1, &[0; 4000]),
        marker(Flags::SEAL, 1, b""),
        marker(Flags::FILLER, 1, b""),
        stored(Codec::None, 1, 1, &payloads(&["b"])),
    ];
    assert_eq!(records(&assemble(0, END, &blocks)).len(), 2);
}

/// Returns what is wrong with the second of two blocks. The first one is still returned.
fn fault_of(second: Bytes) -> BlockError {
    let mut assembler = Assembler::new(LOG, 10, END);
    assert_eq!(assembler.take(stored(Codec::None, 10, 1, &payloads(&["a", "b"]))), Ok(()));
    let fault = assembler.take(second).expect_err("a fault");
    let batches: Vec<_> = assembler.finish().collect();
    assert_eq!(records(&batches).iter().map(|r| r.0).collect::<Vec<_>>(), [10, 11]);
    assert_eq!((assembler.next_position(), fault.position), (12, 12));
    // The rejected block has no effect: the valid one continues.
    assert_eq!(assembler.take(stored(Codec::None, 12, 1, &payloads(&["c"]))), Ok(()));
    let batches: Vec<_> = assembler.finish().collect();
    assert_eq!(records(&batches), [(12, 1, b"c".to_vec())]);
    fault
}

#[test]
fn nonconsecutive_blocks_are_rejected() {
    for found in [13, 11, 10, 0] {
        let fault = fault_of(stored(Codec::None, found, 1, &payloads(&["x"])));
        assert_eq!(fault.cause, Cause::OutOfOrder { found });
    }
    let mut assembler = Assembler::new(LOG, 10, END);
    let fault = assembler.take(stored(Codec::None, 11, 1, &payloads(&["x"])));
    assert_eq!(fault.expect_err("a gap").cause, Cause::OutOfOrder { found: 11 });
}

#[test]
fn damaged_blocks_are_rejected() {
    let whole = stored(Codec::None, 12, 1, &payloads(&["some", "records"]));
    for at in 0..whole.len() {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 0x10;
        let cause = fault_of(damaged.into()).cause;
        let expected = match at {
            0..96 => matches!(cause, Cause::Block(ParseError::Header(_))),
            _ => cause == Cause::Block(ParseError::BodyChecksum),
        };
        assert!(expected, "byte {at}: {cause}");
    }
    for end in 0..whole.len() {
        assert!(matches!(fault_of(whole.slice(..end)).cause, Cause::Block(_)), "cut at {end}");
    }
    let longer = Bytes::from([&whole[..], b"x"].concat());
    assert_eq!(fault_of(longer).cause, Cause::Trailing(1));
}

/// A block with correct checksums whose header contradicts its body.
#[test]
fn contradictory_blocks_are_rejected() {
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        for bytes in [20, 30_000] {
            let records = vec![vec![7u8; bytes], vec![7u8; 50]];
            let whole = stored(codec, 12, 1, &records);
            let (good, _) = Header::decode(&whole).expect("is good");
            assert_eq!(good.codec, codec);
            let changes: [fn(&mut Header); 4] =
                [|h| h.count = 1, |h| h.count = 3, |h| h.count = 0, |h| h.raw_size -= 1];
            for (index, change) in changes.into_iter().enumerate() {
                let mut header = good;
                change(&mut header);
                let changed = [&header.encode().0[..], &whole[96..]].concat();
                let cause = fault_of(changed.into()).cause;
                let contradicts = matches!(cause, Cause::Block(ParseError::Contradiction { .. }));
                assert!(contradicts, "{codec} {bytes} change {index}: {cause}");
            }
        }
    }
}

/// A body with a correct checksum whose last record is cut off.
#[test]
fn record_that_exceeds_its_block_is_rejected() {
    let whole = stored(Codec::None, 12, 1, &payloads(&["one", "two"]));
    let body = &whole[96..whole.len() - 1];
    let (header, _) = Header::decode(&whole).expect("is good");
    let size = body.len() as u32;
    let header = Header { body_size: size, raw_size: size, body_crc: crc(body), ..header };
    let cut = [&header.encode().0[..], body].concat();
    assert!(matches!(fault_of(cut.into()).cause, Cause::Block(ParseError::Records(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For all blocks and codecs, and wherever the read begins and ends: exactly the
    /// requested records are returned, each once and unchanged.
    #[test]
    fn assembled_records_equal_the_sent_ones(
        blocks in vec((0usize..3, 0u64..3, vec(vec(0u8..4, 0..3000), 1..20)), 1..12),
        cut in (0.0f64..1.0, 0.0f64..1.2),
    ) {
        let (mut base, mut now) = (1000, 5);
        let mut sent = Vec::new();
        let mut expected = Vec::new();
        for (codec, later, payloads) in blocks {
            now += later;
            sent.push(stored(Codec::ALL[codec], base, now, &payloads));
            for payload in payloads {
                expected.push((base, now, payload));
                base += 1;
            }
        }
        let place = |share: f64| 1000 + ((base - 1000) as f64 * share) as u64;
        let next = place(cut.0);
        let until = place(cut.1).max(next);
        let batches = assemble(next, until, &sent);
        expected.retain(|(position, ..)| (next..until).contains(position));
        prop_assert_eq!(records(&batches), expected);
        prop_assert!(batches.iter().all(|batch| !batch.is_empty()));
        for pair in batches.windows(2) {
            prop_assert_eq!(pair[0].next_position(), pair[1].first_position());
        }
    }
}

/// `get` finds the same records as iterating, whichever record it found before.
#[test]
fn get_returns_the_record_at_an_index_in_any_order() {
    let blocks: Vec<Bytes> = (0..10u64)
        .map(|block| {
            let texts: Vec<Vec<u8>> =
                (0..=block).map(|record| format!("{block} {record}").into_bytes()).collect();
            stored(Codec::None, block * (block + 1) / 2, 1000 + block, &texts)
        })
        .collect();
    let batches = assemble(0, END, &blocks);
    let [batch] = &batches[..] else { panic!("{batches:?}") };
    assert_eq!(batch.runs().count(), 10);
    for batch in [batch.clone(), batch.slice(3..50), batch.slice(11..12), batch.slice(5..5)] {
        let expected: Vec<_> = batch.iter().collect();
        // Forwards, backwards, and with steps that leave out runs.
        let count = batch.len();
        let orders = [(0..count).collect(), (0..count).rev().collect()];
        let steps: Vec<usize> = (0..count).map(|i| i * 7 % count.max(1)).collect();
        for at in orders.into_iter().chain([steps]).flatten() {
            assert_eq!(batch.get(at), Some(expected[at]));
        }
        assert_eq!((batch.get(count), batch.get(usize::MAX)), (None, None));
    }
}

#[test]
fn batch_of_payloads_equals_a_received_batch() {
    let texts = payloads(&["one", "", "three"]);
    let received = assemble(5, END, &[stored(Codec::None, 5, 100, &texts)]);
    let made = RecordBatch::of(LOG, 5, 100, &texts);
    assert_eq!(made, received[0]);
    assert_eq!((made.data(), made.index()), (received[0].data(), received[0].index()));
    assert_eq!(made.runs().collect::<Vec<_>>(), received[0].runs().collect::<Vec<_>>());
    assert_eq!(made.checkpoint(), received[0].checkpoint());

    let empty = RecordBatch::of(LOG, 5, 100, Vec::<Vec<u8>>::new());
    assert_eq!((empty.is_empty(), empty.next_position(), empty.runs().count()), (true, 5, 0));
    assert_eq!(empty, made.slice(0..0));
    assert!(empty.get(0).is_none());
}

#[test]
fn batches_are_equal_if_their_records_are() {
    let texts = payloads(&["one", "two"]);
    let batch = RecordBatch::of(LOG, 5, 100, &texts);
    // The same records in memory of another shape.
    let longer = RecordBatch::of(LOG, 4, 100, payloads(&["zero", "one", "two", "three"]));
    assert_eq!(batch, longer.slice(1..3));
    assert_eq!(batch.get(1), longer.get(2));
    for other in [
        RecordBatch::of(LogId(8), 5, 100, &texts),
        RecordBatch::of(LOG, 6, 100, &texts),
        RecordBatch::of(LOG, 5, 101, &texts),
        RecordBatch::of(LOG, 5, 100, payloads(&["one", "other"])),
        RecordBatch::of(LOG, 5, 100, payloads(&["one"])),
    ] {
        assert_ne!(batch, other);
        assert!(other.get(1).is_none_or(|record| Some(record) != batch.get(1)));
    }
}

#[test]
fn batch_of_records_has_their_timestamps() {
    let records = [(7, "a"), (7, "b"), (9, "c"), (8, "d")];
    let batch = RecordBatch::of_records(LOG, 5, records);
    let seen: Vec<_> = batch.iter().map(|r| (r.timestamp(), r.payload())).collect();
    assert_eq!(seen, records.map(|(timestamp, text)| (timestamp, text.as_bytes())));
    let runs: Vec<_> = batch.slice(1..4).runs().map(|run| (run.first, run.timestamp)).collect();
    assert_eq!(runs, [(0, 7), (1, 9), (2, 8)]);
}

#[test]
#[should_panic(expected = "the positions exceed u64::MAX")]
fn batch_beyond_the_last_position_is_a_mistake_of_the_caller() {
    let _ = RecordBatch::of(LOG, u64::MAX, 0, ["one", "two"]);
}
