//! Reads of one record out of a large block. The first one reads the block, later ones only a part
//! of it.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use styx_engine::{Append, Catalog, Error, Found, Log, Options};
use styx_protocol::block::{Block, Codec, Origin, build_with};
use styx_protocol::{LogConfig, LogStatus, Position};

use crate::log::newest_segment;
use crate::open_segments::watched_storage::WatchedStorage;
use crate::support::{close, name, records};

/// No record stays in memory.
fn options(directory: &Path) -> Options {
    Options {
        tail_bytes_max: 0,
        direct_tail_bytes_max: 0,
        scrub_bytes_per_second: 0,
        ..Options::new(directory)
    }
}

fn create(options: Options) -> (Catalog, Log) {
    let catalog = Catalog::open(options).expect("opened");
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    (catalog, log)
}

/// A payload of a log and a position. It is unique if it has at least 8 bytes.
fn payload(log: u64, position: u64, len: usize) -> Vec<u8> {
    let unique = (log << 32 | position).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    unique.iter().cycle().take(len).copied().collect()
}

/// A directory in memory if possible. Syncs would only take time here.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// Appends `count` records of `len` bytes in one block.
fn append_block(log: &Log, seed: u64, count: u64, len: usize) {
    let base = log.info().end_position;
    let payloads = (base..base + count).map(|position| payload(seed, position, len));
    log.append_durably(records(payloads)).expect("appended");
}

/// Reads a record as a server does: without waiting first.
fn read(log: &Log, position: u64) -> Result<Vec<u8>, Error> {
    let mut found = log.try_record(Position(position))?;
    if matches!(found, Found::NeedsDisk) {
        found = log.record(Position(position))?;
    }
    let Found::Some(record) = found else { panic!("{position}: {found:?}") };
    assert_eq!(record.position, Position(position));
    Ok(record.payload.to_vec())
}

/// The sizes of the records of a block, and its codec.
fn blocks() -> impl Strategy<Value = Vec<(Vec<usize>, Codec)>> {
    let sizes = prop_oneof![
        3 => (0usize..300, 1usize..1500).prop_map(|(len, count)| vec![len; count]),
        2 => prop::collection::vec(0usize..2000, 1..200),
        1 => prop::collection::vec(0usize..60_000, 1..15),
        1 => Just(vec![0; 40_000]),
    ];
    let codec = prop_oneof![4 => Just(Codec::None), 1 => Just(Codec::Lz4)];
    prop::collection::vec((sizes, codec), 1..6)
}

#[test]
fn one_record_of_any_block_equals_that_of_a_whole_read() {
    let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
    let budgets = prop_oneof![Just(0usize), Just(2000), Just(16 << 20)];
    let picks = prop::collection::vec(any::<u64>(), 1..150);
    let cases = (blocks(), picks, budgets, any::<bool>());
    let equal = runner.run(&cases, |(blocks, picks, block_parts_bytes_max, is_direct)| {
        let directory = directory();
        let (_catalog, log) = create(Options {
            block_parts_bytes_max,
            direct_bytes_min: if is_direct { 20_000 } else { usize::MAX },
            ..options(directory.path())
        });
        blocks.iter().fold(0, |sent, (sizes, codec)| append_as_producer(&log, sent, sizes, *codec));
        check_reads(&log, &picks);
        Ok(())
    });
    equal.expect("equal");
}

/// Appends a block whose first record has this sequence. Returns the next sequence.
fn append_as_producer(log: &Log, sequence: u64, sizes: &[usize], codec: Codec) -> u64 {
    let payloads = sizes.iter().zip(sequence..).map(|(len, n)| payload(0, n, *len));
    let origin = Origin { producer_id: 7, sequence, ..Origin::default() };
    let bytes = build_with(codec, None, &records(payloads), origin);
    let (block, _) = Block::parse(bytes, 1 << 20).expect("a block");
    let block = block.into_checked(1 << 20).expect("a valid block");
    log.append_durably(Append::Block(block)).expect("appended");
    sequence + sizes.len() as u64
}

/// Compares reads of one record with a read of all.
fn check_reads(log: &Log, picks: &[u64]) {
    let mut reader = log.reader(Position::ORIGIN).expect("a reader");
    let mut whole = Vec::new();
    while let Found::Some(batch) = reader.read(1 << 20).expect("read") {
        whole.extend(batch.records());
    }
    assert_eq!(whole.len() as u64, log.info().end_position);
    for pick in picks {
        let position = pick % whole.len() as u64;
        for _ in 0..2 {
            let Found::Some(record) = log.record(Position(position)).expect("read") else {
                panic!("no record {position}")
            };
            assert_eq!(record, whole[position as usize]);
        }
    }
}

#[test]
fn a_reader_of_single_records_sees_all_in_order() {
    let directory = directory();
    let (_catalog, log) = create(options(directory.path()));
    for (count, len) in [(900, 100), (3, 50), (40, 4000), (1, 100_000)] {
        append_block(&log, 0, count, len);
    }
    for _ in 0..2 {
        let mut reader = log.reader(Position::ORIGIN).expect("a reader");
        for position in 0..log.info().end_position {
            let Found::Some(record) = reader.record().expect("read") else {
                panic!("no record {position}")
            };
            assert_eq!(record.position, Position(position));
            assert_eq!(record.payload, payload(0, position, record.payload.len()));
            assert_eq!(reader.position(), Position(position + 1));
        }
        assert!(matches!(reader.record(), Ok(Found::AtEnd)));
    }
}

#[test]
fn later_reads_of_a_block_read_only_a_part_of_it() {
    let directory = directory();
    let watched = WatchedStorage::default();
    let storage = Arc::new(watched.clone());
    let (_catalog, log) = create(Options { storage, ..options(directory.path()) });
    append_block(&log, 0, 9000, 100);
    let before = watched.read_bytes();
    assert_eq!(read(&log, 4000).expect("read"), payload(0, 4000, 100));
    let first = watched.read_bytes() - before;
    assert!(first > 900_000, "the block is checked: {first} bytes");
    for position in [0, 4000, 8999] {
        let before = watched.read_bytes();
        assert_eq!(read(&log, position).expect("read"), payload(0, position, 100));
        let bytes = watched.read_bytes() - before;
        assert!(bytes <= 4096, "{position}: {bytes} bytes");
    }
}

#[test]
fn a_part_that_is_not_in_the_page_cache_needs_the_disk() {
    let directory = directory();
    let watched = WatchedStorage::default();
    let storage = Arc::new(watched.clone());
    let (_catalog, log) = create(Options { storage, ..options(directory.path()) });
    append_block(&log, 0, 1000, 100);
    read(&log, 0).expect("read");
    watched.evict_from_cache(Some(".seg"));
    let waits = watched.waits();
    assert!(matches!(log.try_record(Position(500)), Ok(Found::NeedsDisk)));
    assert_eq!(watched.waits(), waits);
    assert_eq!(read(&log, 500).expect("read"), payload(0, 500, 100));
}

/// Flips a bit of a record of 100 bytes in the only block of the log.
fn flip(directory: &Path, record: u64) {
    let path = newest_segment(directory, "log");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("it opens");
    // A filler and the header of the block come first.
    let mut bytes = vec![0; 200_000];
    let len = file.read_at(&mut bytes, 0).expect("read");
    let expected = payload(0, record, 100);
    let found = bytes[..len].windows(100).position(|window| window == expected);
    let at = found.expect("the record") as u64 + 50;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

#[test]
fn damage_after_a_block_was_checked_is_reported_and_other_parts_are_readable() {
    let directory = directory();
    let (_catalog, log) = create(options(directory.path()));
    append_block(&log, 0, 1000, 100);
    for position in [0, 500, 999] {
        assert_eq!(read(&log, position).expect("read"), payload(0, position, 100));
    }
    flip(directory.path(), 500);
    let error = read(&log, 500).expect_err("it is damaged");
    let expected = Position(500);
    assert!(matches!(error, Error::CorruptRecord { position, .. } if position == expected));
    assert_eq!(log.status(), LogStatus::Corrupt);
    assert_eq!(read(&log, 999).expect("intact"), payload(0, 999, 100));
}

#[test]
fn records_of_a_truncated_or_recreated_log_are_the_new_ones() {
    let directory = directory();
    let (catalog, mut log) = create(options(directory.path()));
    for generation in 0..6 {
        append_block(&log, generation, 1000, 100);
        for position in [0, 1, 500, 999, 500] {
            assert_eq!(read(&log, position).expect("read"), payload(generation, position, 100));
        }
        if generation % 2 == 0 {
            log = catalog.truncate(&name("log")).expect("truncated");
        } else {
            catalog.delete(&name("log")).expect("deleted");
            log = catalog.create(&name("log"), LogConfig::default()).expect("created");
        }
    }
}

#[test]
fn trimmed_records_are_out_of_range() {
    let directory = directory();
    let catalog = Catalog::open(options(directory.path())).expect("opened");
    let config = LogConfig { segment_max_count: 1000, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    for _ in 0..3 {
        append_block(&log, 0, 1000, 100);
    }
    for position in [10, 1010, 2010] {
        assert_eq!(read(&log, position).expect("read"), payload(0, position, 100));
    }
    log.trim(Position(1000)).expect("trimmed");
    assert!(matches!(read(&log, 10), Err(Error::OutOfRange { .. })));
    assert_eq!(read(&log, 1020).expect("read"), payload(0, 1020, 100));
}

#[test]
fn concurrent_readers_get_their_records_while_tables_are_evicted() {
    let directory = directory();
    let block_parts_bytes_max = 2500;
    let (catalog, log) = create(Options { block_parts_bytes_max, ..options(directory.path()) });
    for _ in 0..10 {
        append_block(&log, 0, 300, 100);
    }
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..2000u64 {
                    let position = (n * 7919 + thread * 631) % 3000;
                    assert_eq!(read(log, position).expect("read"), payload(0, position, 100));
                }
            });
        }
    });
    close(catalog);
}
