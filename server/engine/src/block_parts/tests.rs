use bytes::Bytes;
use styx_protocol::block::{Block, Codec, Header, Origin, header_of};
use styx_protocol::record;

use super::*;

/// A checked block with payloads of these sizes.
fn block(base: u64, sizes: impl IntoIterator<Item = usize>) -> Block {
    let mut records = record::Builder::new();
    for (n, size) in sizes.into_iter().enumerate() {
        assert!(records.push(&payload(base + n as u64, size)), "the records fit in one block");
    }
    let records = records.take();
    let body = records.bytes().clone();
    let plain = header_of(Codec::None, records.count(), body.len(), &body, Origin::default());
    let header = Header { base_position: base, timestamp_us: 7, ..plain };
    let (_, header_crc) = header.encode();
    Block::vouched(header, header_crc, body)
}

fn payload(position: u64, size: usize) -> Vec<u8> {
    (0..size).map(|i| (position as usize * 31 + i * 7) as u8).collect()
}

fn table(base: u64, sizes: impl IntoIterator<Item = usize>) -> PartTable {
    PartTable::of(&block(base, sizes), 0).expect("a table")
}

#[test]
fn every_record_is_found_in_its_part() {
    let shapes: [Vec<usize>; 6] = [
        vec![100; 1300],
        vec![0; 2048],
        vec![20_000, 20_000],
        (0..400).map(|n| n * n % 997).collect(),
        // The record in the middle is larger than all others together.
        (0..301).map(|n| if n == 150 { 900_000 } else { 10 }).collect(),
        (0..17).map(|n| 1 << n).collect(),
    ];
    for sizes in shapes {
        let block = block(1000, sizes.iter().copied());
        let file = [&[0; 5096][..], &block.body()[..]].concat();
        let table = PartTable::of(&block, 5000).expect("a table");
        assert_eq!(
            (table.base(), table.end()),
            (Position(1000), Position(1000) + sizes.len() as u64)
        );
        assert!(table.part_of(Position(999)).is_none() && table.part_of(table.end()).is_none());
        for (n, size) in sizes.iter().enumerate() {
            let position = Position(1000 + n as u64);
            let part = table.part_of(position).expect("a part");
            let begins = usize::try_from(part.offset).expect("it fits");
            let bytes = Bytes::copy_from_slice(&file[begins..begins + part.len]);
            assert_eq!(part.timestamp_us, 7);
            assert_eq!(part.payload(&bytes).expect("an intact part"), payload(position.0, *size));
            for damaged in [0, bytes.len() / 2, bytes.len() - 1] {
                let mut other = bytes.to_vec();
                other[damaged] ^= 1;
                assert!(part.payload(&other.into()).is_none(), "{position} {damaged}");
            }
            assert!(part.payload(&bytes.slice(1..)).is_none());
        }
    }
}

#[test]
fn small_blocks_and_single_records_have_no_table() {
    assert!(PartTable::of(&block(0, vec![100; 100]), 0).is_none());
    assert!(PartTable::of(&block(0, [900_000]), 0).is_none());
}

#[test]
fn a_table_uses_a_fraction_of_its_block() {
    for (count, size) in [(1300, 100), (9000, 100), (13_000, 2), (1000, 1000), (16, 60_000)] {
        let block = block(0, vec![size; count]);
        let table = PartTable::of(&block, 0).expect("a table");
        assert!(cost(&table) * 200 < block.body().len(), "{count} {size}: {}", cost(&table));
    }
}

#[test]
fn a_table_belongs_to_one_segment() {
    let parts = BlockParts::new(1 << 20);
    assert!(parts.insert(1, table(500, vec![100; 200])));
    assert!(parts.insert(1, table(900, vec![100; 200])));
    let base = |segment, position| Some(parts.find(segment, Position(position))?.base());
    assert_eq!(base(1, 500), Some(Position(500)));
    assert_eq!(base(1, 699), Some(Position(500)));
    assert_eq!(base(1, 900), Some(Position(900)));
    for (segment, position) in [(1, 499), (1, 700), (1, 1100), (0, 600), (2, 600), (2, 5000)] {
        assert_eq!(base(segment, position), None, "{segment} {position}");
    }
}

#[test]
fn tables_never_exceed_their_budget() {
    let one = cost(&table(0, vec![100; 200]));
    let parts = BlockParts::new(10 * one + one / 2);
    for n in 0..1000u64 {
        // Some are larger, and some replace an older one.
        let size = 100 + n as usize % 7 * 100;
        parts.insert(n % 3, table(n % 50 * 1000, vec![size; 200]));
        let state = lock(&parts.state);
        let used: usize = state.tables.values().map(|slot| cost(&slot.table)).sum();
        assert_eq!(state.bytes, used);
        assert!(used <= parts.bytes_max, "{used}");
        assert_eq!(state.queue.len(), state.tables.len());
    }
    assert!(!BlockParts::new(one - 1).insert(0, table(0, vec![100; 200])));
    assert!(!BlockParts::new(0).insert(0, table(0, vec![100; 200])));
}

#[test]
fn a_table_that_is_used_outlives_those_that_are_not() {
    let parts = BlockParts::new(10 * cost(&table(0, vec![100; 200])));
    for n in 0..100u64 {
        parts.insert(0, table(n * 1000, vec![100; 200]));
        assert!(parts.find(0, Position(100)).is_some(), "{n}");
    }
    assert!(parts.find(0, Position(5000)).is_none());
}
