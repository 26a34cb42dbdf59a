//! Readers of many records that are not in the page cache.

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use styx_engine::{Catalog, Error, Found, Log, Options, Reader};
use styx_protocol::block::Block;
use styx_protocol::{LogConfig, Position, Records};

use crate::support::{close, name};

/// Payloads that fill some pieces of 4 MiB. Their blocks end at no boundary, and one block is
/// larger than a piece.
fn payloads() -> Vec<Vec<u8>> {
    let payload = |n: usize, len: usize| {
        (0..len).map(|i| u8::try_from((n * 7 + i * 13) % 251).expect("a byte")).collect::<Vec<u8>>()
    };
    let mut all: Vec<_> = (0..70).map(|n| payload(n, 100_000 + n * 1_001)).collect();
    all.insert(20, payload(99, 5_000_000));
    all
}

fn create(directory: &std::path::Path, read_ahead_bytes_max: usize) -> (Catalog, Log) {
    let options = Options {
        direct_bytes_min: 50_000,
        tail_bytes_max: 0,
        read_ahead_bytes_max,
        ..Options::new(directory)
    };
    let catalog = Catalog::open(options).expect("opened");
    let config = LogConfig { max_record_size: 8 << 20, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    for payload in payloads() {
        log.append_durably(Records::one(&payload)).expect("appended");
    }
    (catalog, log)
}

/// Drops the pages of all files of the log.
fn drop_cache(directory: &std::path::Path) {
    for file in std::fs::read_dir(directory.join("log/0")).expect("a directory").flatten() {
        let file = std::fs::File::open(file.path()).expect("it opens");
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// The payloads from a position on. Each read first tries not to wait.
fn read_records(reader: &mut Reader, bytes_max: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut found = reader.try_read(bytes_max).expect("read");
        if matches!(found, Found::NeedsDisk) {
            found = reader.read(bytes_max).expect("read");
        }
        let Found::Some(batch) = found else { return all };
        all.extend(batch.records().map(|record| record.payload.to_vec()));
    }
}

/// The payloads of all blocks, as a server sends them: in spans, unless the reader reads ahead.
fn read_blocks(reader: &mut Reader) -> Vec<Vec<u8>> {
    let (mut rest, mut all) = (Bytes::from(sent_bytes(reader)), Vec::new());
    while !rest.is_empty() {
        let (block, behind) = Block::parse(rest, 8 << 20).expect("a whole block");
        if !block.header().is_marker() {
            assert_eq!(block.header().base_position, all.len() as u64);
            let records = block.records().expect("records");
            all.extend(records.payloads().map(|payload| payload.to_vec()));
        }
        rest = behind;
    }
    all
}

fn sent_bytes(reader: &mut Reader) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        if !reader.reads_ahead()
            && let Some(span) = reader.span(4 << 20).expect("no error")
        {
            use std::os::fd::AsFd;
            let file = std::fs::File::from(span.as_fd().try_clone_to_owned().expect("a handle"));
            let mut bytes = vec![0; usize::try_from(span.len()).expect("it fits")];
            file.read_exact_at(&mut bytes, span.offset()).expect("read");
            all.extend(bytes);
            continue;
        }
        let mut found = reader.try_blocks(1 << 20).expect("read");
        if matches!(found, Found::NeedsDisk) {
            found = reader.blocks(1 << 20).expect("read");
        }
        let Found::Some(blocks) = found else { return all };
        blocks.parts().for_each(|part| all.extend_from_slice(part));
    }
}

#[test]
fn cold_records_are_read_ahead_and_are_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_catalog, log) = create(directory.path(), 64 << 20);
    for bytes_max in [1, 100_000, 1 << 20, 16 << 20] {
        drop_cache(directory.path());
        let mut reader = log.reader(Position::ORIGIN).expect("a reader");
        assert!(read_records(&mut reader, bytes_max) == payloads(), "{bytes_max}");
    }
}

#[test]
fn cold_blocks_are_the_same_with_little_memory_and_without() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = create(directory.path(), 0);
    close(catalog);
    drop(log);
    for read_ahead_bytes_max in [0, 4 << 20, 12 << 20, 64 << 20] {
        let options = Options { read_ahead_bytes_max, ..Options::new(directory.path()) };
        let catalog = Catalog::open(options).expect("opened");
        catalog.wait_until_open();
        let log = catalog.log(&name("log")).expect("open");
        drop_cache(directory.path());
        let read = || {
            let mut reader = log.reader(Position::ORIGIN).expect("a reader");
            assert!(read_blocks(&mut reader) == payloads());
        };
        std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(read))));
        close(catalog);
    }
}

#[test]
fn reader_that_reads_ahead_sees_what_is_appended_meanwhile() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_catalog, log) = create(directory.path(), 64 << 20);
    drop_cache(directory.path());
    let mut reader = log.reader(Position::ORIGIN).expect("a reader");
    assert!(read_records(&mut reader, 1 << 20) == payloads());
    for payload in [b"one".to_vec(), vec![b'x'; 300_000], b"two".to_vec()] {
        log.append_durably(Records::one(&payload)).expect("appended");
        drop_cache(directory.path());
        assert!(read_records(&mut reader, 1 << 20) == [payload]);
    }
}

/// Flips a bit of a record of the log, and drops the log from the page cache.
fn damage(directory: &std::path::Path) {
    let path = crate::log::newest_segment(directory, "log");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("it opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 3_000_000).expect("read");
    file.write_all_at(&[byte[0] ^ 1], 3_000_000).expect("written");
    file.sync_all().expect("synced");
    drop_cache(directory);
}

#[test]
fn damage_is_found_by_a_reader_that_reads_ahead() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_catalog, log) = create(directory.path(), 64 << 20);
    damage(directory.path());
    let mut reader = log.reader(Position::ORIGIN).expect("a reader");
    let mut count = 0;
    let error = loop {
        match reader.read(1 << 20) {
            Ok(Found::Some(batch)) => count += batch.count(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::CorruptRecord { position, .. } if position == Position(count)));
    assert!(count > 10, "the records before the damage are returned");
}

#[test]
fn receiver_that_checks_blocks_finds_the_damage_and_the_next_reader_reports_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_catalog, log) = create(directory.path(), 64 << 20);
    damage(directory.path());
    let reader = |position| {
        let mut reader = log.reader(position).expect("a reader");
        reader.set_receiver_checks(true);
        reader
    };
    let (mut next, mut damaged) = (Position::ORIGIN, Vec::new());
    let mut blocks = reader(Position::ORIGIN);
    while let Found::Some(read) = blocks.blocks(1 << 20).expect("the receiver checks them") {
        for part in read.parts() {
            let mut rest = part.clone();
            while !rest.is_empty() {
                let (block, behind) = Block::split(rest.clone(), 8 << 20).expect("a whole block");
                if Block::parse(rest, 8 << 20).is_err() {
                    damaged.push(next);
                }
                next = Position(block.header().end_position());
                rest = behind;
            }
        }
    }
    assert_eq!((damaged.len(), next), (1, Position(payloads().len() as u64)));
    // The records of the same blocks are checked here in any case.
    assert!(matches!(reader(damaged[0]).read(1), Err(Error::CorruptRecord { .. })));
    // From now on the log is known to be damaged.
    assert!(matches!(reader(damaged[0]).blocks(1), Err(Error::CorruptRecord { .. })));
}
