//! Tests of reads: records, blocks and spans, uncompressed and compressed, from memory and from
//! the file.

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use styx_engine::{Batch, Blocks, Catalog, Error, Found, Log, Options, Reader, Seek, verify};
use styx_protocol::block::{Block, Header, Origin, build_with};
use styx_protocol::codec::{Codec, Codecs};
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::support::{self, name, open, reopen};

fn payload(position: u64) -> Vec<u8> {
    format!("{{\"record\":{position},\"filling\":\"{}\"}}", "no more ".repeat(9)).into()
}

fn records(positions: std::ops::Range<u64>) -> Records {
    support::records(positions.map(payload))
}

/// Appends the next `count` records as one block with this codec.
fn append(log: &Log, codec: Codec, count: u64) {
    let from = log.end_position().0;
    let bytes = build_with(codec, None, &records(from..from + count), Origin::default());
    let (block, _) = Block::parse(bytes, 1 << 20).expect("a block");
    assert_eq!(block.header().codec, codec, "the records are compressible");
    let checked = block.into_checked(1 << 20).expect("a producer's");
    let appended = log.append_durably(checked).expect("appended");
    assert_eq!((appended.base.0, appended.end.0), (from, from + count));
}

const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];

/// Creates a log with blocks of every codec, in several segments.
fn create_mixed(directory: &Path) -> (Catalog, Log) {
    let catalog = open(directory);
    let config = LogConfig { segment_max_count: 100, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    for i in 0..40 {
        append(&log, CODECS[i % 3], [1, 7, 20][i % 3]);
    }
    (catalog, log)
}

fn batch(found: Found<Batch>) -> Option<Batch> {
    match found {
        Found::Some(batch) => Some(batch),
        Found::AtEnd => None,
        Found::NeedsDisk | Found::NeedsStore(_) => panic!("a blocking read needs more"),
    }
}

fn check_batches(log: &Log, from: u64, bytes_max: usize) {
    let mut reader = log.reader(Position(from)).expect("a reader");
    let mut next = from;
    while let Some(batch) = batch(reader.read(bytes_max).expect("read")) {
        assert_eq!(batch.first().0, next);
        for record in batch.records() {
            assert_eq!(record.position.0, next);
            assert_eq!(record.payload, payload(next));
            next += 1;
        }
        assert_eq!(batch.next().0, next);
        assert!(batch.len_bytes() <= bytes_max || batch.blocks().count() == 1);
    }
    assert_eq!(next, log.end_position().0);
}

/// Checks the records of contiguous blocks. Returns the positions of the first record and after the
/// last one.
fn unpack(bytes: Bytes) -> (u64, u64) {
    let (mut rest, mut first, mut next) = (bytes, None, 0);
    while !rest.is_empty() {
        let (block, behind) = Block::parse(rest, 1 << 20).expect("a whole block");
        rest = behind;
        if block.header().is_marker() {
            continue;
        }
        let base = block.header().base_position;
        let expected = *first.get_or_insert(base);
        assert!(next == base || base == expected, "{base} after {next}");
        next = base;
        for payload_read in block.records().expect("records").payloads() {
            assert_eq!(payload_read, payload(next));
            next += 1;
        }
    }
    (first.expect("a block with records"), next)
}

fn check_blocks(log: &Log, from: u64, bytes_max: usize) {
    let mut reader = log.reader(Position(from)).expect("a reader");
    let mut next = from;
    loop {
        let blocks = match reader.blocks(bytes_max).expect("read") {
            Found::Some(blocks) => blocks,
            Found::AtEnd => break,
            Found::NeedsDisk | Found::NeedsStore(_) => panic!("a blocking read needs more"),
        };
        let bytes: Vec<u8> = blocks.parts().flat_map(|part| part.to_vec()).collect();
        assert_eq!(bytes.len(), blocks.len_bytes());
        assert!(bytes.len() <= bytes_max || blocks.blocks().count() == 1);
        let (first, end) = unpack(bytes.into());
        assert_eq!((first, end), (blocks.first().0, blocks.next().0));
        assert!(if next == from { first <= from } else { first == next }, "{first}, not {next}");
        assert!(end > next);
        let codecs = blocks.blocks().map(|block| block.header().codec);
        assert_eq!(codecs.fold(Codecs::PLAIN, Codecs::with), blocks.codecs());
        let counts = blocks.blocks().map(|block| u64::from(block.header().count));
        assert_eq!(counts.sum::<u64>(), end - first);
        next = end;
        assert_eq!(reader.position().0, next);
    }
    assert_eq!(next, log.end_position().0);
}

#[test]
fn blocks_of_every_codec_are_read_from_memory_and_from_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = create_mixed(directory.path());
    let check = |log: &Log| {
        for from in [0, 1, 5, 99, 100, 101, 250, log.end_position().0] {
            for bytes_max in [1, 300, 5000, 1 << 20] {
                check_batches(log, from, bytes_max);
                check_blocks(log, from, bytes_max);
            }
        }
        for position in 0..log.end_position().0 {
            let Ok(Found::Some(record)) = log.record(Position(position)) else {
                panic!("record {position} is missing")
            };
            assert_eq!(record.payload, payload(position));
            let Ok(found) = log.seek(Seek::Time(record.timestamp_us)) else {
                panic!("no record for this time")
            };
            assert!(found.0 <= position);
        }
    };
    check(&log);
    let (catalog, log) = reopen(catalog, directory.path());
    check(&log);
    let mut archive = Vec::new();
    log.backup(&mut archive).expect("backed up");
    catalog.delete(&name("log")).expect("deleted");
    let log = catalog.restore(&name("log"), &mut archive.as_slice()).expect("restored");
    check(&log);
    drop(log);
    assert!(catalog.close(Duration::from_secs(30)));
    let report = verify::verify(directory.path(), &mut |_| {}).expect("verified");
    assert!(report.is_good(), "{report:?}");
}

/// Reads single records from blocks of very different sizes. The engine estimates the size of such
/// a read from the index and from the last block, and must correct a wrong estimate.
#[test]
fn any_record_is_found_among_blocks_of_any_size() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let index_after_size = 256;
    let config = LogConfig { segment_max_count: 9000, index_after_size, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    for round in 0..400 {
        let count = [1, 1, 2, 3, 1, 60, 1, 400][round % 8];
        append(
            &log,
            [Codec::None, Codec::None, Codec::Lz4][round % 3 * usize::from(count > 3)],
            count,
        );
    }
    let (catalog, log) = reopen(catalog, directory.path());
    let end = log.end_position().0;
    assert!(end > 2 * 9000, "a finished segment whose index is longer than one read");
    for step in 0..end {
        // Positions jump back and forth, so that the last block does not predict the next one.
        let position = step * 7919 % end;
        match log.record(Position(position)).expect("read") {
            Found::Some(record) => {
                assert_eq!(
                    (record.position.0, &record.payload[..]),
                    (position, &payload(position)[..])
                );
            }
            nothing => panic!("{position}: {nothing:?}"),
        }
    }
    assert!(catalog.close(Duration::from_secs(30)));
}

fn try_blocks(reader: &mut Reader) -> Blocks {
    match reader.try_blocks(1 << 20) {
        Ok(Found::Some(blocks)) => blocks,
        other => panic!("{other:?}"),
    }
}

#[test]
fn followers_share_the_bytes_of_the_last_commits_and_get_each_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    let mut readers: Vec<_> =
        (0..3).map(|_| log.reader(Position::ORIGIN).expect("a reader")).collect();
    for codec in CODECS {
        let from = log.end_position();
        append(&log, codec, 10);
        let read: Vec<Blocks> = readers.iter_mut().map(try_blocks).collect();
        for blocks in &read {
            assert_eq!((blocks.first(), blocks.next().0), (from, from.0 + 10));
            let shared = read[0].parts().zip(blocks.parts());
            assert!(shared.into_iter().all(|(a, b)| a.as_ptr() == b.as_ptr()));
        }
        for reader in &mut readers {
            assert!(matches!(reader.try_blocks(1 << 20), Ok(Found::AtEnd)));
            assert!(matches!(reader.span(1 << 20), Ok(None)), "there are no new records");
        }
    }
    let mut late = log.reader(Position(3)).expect("a reader");
    assert!(matches!(late.span(1 << 20), Ok(None)), "the records are in memory");
    assert_eq!(
        try_blocks(&mut late).first(),
        Position::ORIGIN,
        "position 3 is inside the first block"
    );
}

/// Checks that all spans from a position contain whole, contiguous blocks and correct positions.
/// Returns the number of spans.
fn check_spans(log: &Log, from: u64, bytes_max: u64) -> usize {
    let mut reader = log.reader(Position(from)).expect("a reader");
    let (mut next, mut spans) = (from, 0);
    while next < log.end_position().0 {
        let Some(span) = reader.span(bytes_max).expect("no error") else {
            // The limit is smaller than the distance between two index entries.
            let found = reader.blocks(usize::try_from(bytes_max).expect("it fits"));
            let Ok(Found::Some(blocks)) = found else { panic!("{found:?}") };
            next = blocks.next().0;
            continue;
        };
        assert!(span.len() <= bytes_max);
        let file = std::fs::File::from(span.as_fd().try_clone_to_owned().expect("a handle"));
        let mut bytes = vec![0; usize::try_from(span.len()).expect("it fits")];
        file.read_exact_at(&mut bytes, span.offset()).expect("read");
        let (header, _) = Header::decode(&bytes).expect("a whole block");
        let held = header.base_position..header.end_position();
        assert!(
            held.contains(&next),
            "the span begins with {held:?} and not with the block of record {next}"
        );
        let (first, end) = unpack(bytes.into());
        assert!(if next == from { first <= from } else { first == next }, "{first}, not {next}");
        assert_eq!(end, span.next().0);
        next = end;
        assert_eq!(reader.position().0, next);
        spans += 1;
    }
    assert!(matches!(reader.span(bytes_max), Ok(None)));
    spans
}

#[test]
fn a_span_contains_whole_blocks_within_its_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config =
        LogConfig { segment_max_size: 200_000, index_after_size: 1000, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    for i in 0..300 {
        append(&log, CODECS[i % 3], 1 + i as u64 % 30);
    }
    assert!(log.stats().segments >= 2);
    let (_catalog, log) = reopen(catalog, directory.path());
    let end = log.end_position().0;
    for from in [0, 1, 17, end / 2, end - 1, end] {
        for bytes_max in [96, 4000, 70_000, 1 << 24] {
            let spans = check_spans(&log, from, bytes_max);
            assert!(spans > 0 || bytes_max < 70_000 || from == end, "{from}, {bytes_max}");
        }
    }
    // The new records are in memory, but the record before them is only in the file.
    let mut reader = log.reader(Position(end - 1)).expect("a reader");
    append(&log, Codec::None, 5);
    let span = reader.span(1 << 20).expect("no error").expect("a span");
    assert_eq!(
        span.next(),
        log.end_position(),
        "the span includes records that are also in memory"
    );
    let mut reader = log.reader(Position(end)).expect("a reader");
    assert!(matches!(reader.span(1 << 20), Ok(None)));
    // A trim removes the segment while the reader is in it.
    let mut reader = log.reader(Position::ORIGIN).expect("a reader");
    let held = reader.span(4000).expect("no error").expect("a span");
    log.trim(log.end_position()).expect("trimmed");
    assert!(log.start_position() > held.next());
    let gone = reader.span(4000);
    assert!(matches!(gone, Err(Error::OutOfRange { .. })), "{gone:?}");
    let file = std::fs::File::from(held.as_fd().try_clone_to_owned().expect("a handle"));
    let mut bytes = vec![0; usize::try_from(held.len()).expect("it fits")];
    file.read_exact_at(&mut bytes, held.offset()).expect("a span stays readable while it is held");
}

/// Regression test. A reader that read from memory and then fell behind continued with a span that
/// began at an index entry. So blocks that were already sent were sent again in the middle of the
/// stream.
#[test]
fn a_span_after_a_read_from_memory_begins_with_the_next_block() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options { tail_bytes_max: 4000, ..Options::new(directory.path()) };
    let catalog = Catalog::open(options).expect("opened");
    catalog.wait_until_open();
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    let mut reader = log.reader(Position::ORIGIN).expect("a reader");
    for _ in 0..200 {
        append(&log, Codec::None, 3);
        let _ = try_blocks(&mut reader);
    }
    // These records do not all fit in memory.
    for _ in 0..200 {
        append(&log, Codec::None, 3);
    }
    assert!(!reader.is_in_memory());
    let next = reader.position();
    let span = reader.span(1 << 20).expect("no error").expect("a span");
    let file = std::fs::File::from(span.as_fd().try_clone_to_owned().expect("a handle"));
    let mut bytes = vec![0; usize::try_from(span.len()).expect("it fits")];
    file.read_exact_at(&mut bytes, span.offset()).expect("read");
    assert_eq!(unpack(bytes.into()), (next.0, log.end_position().0));
}

/// Tests bodies with valid checksums that cannot be decompressed, or that do not match their
/// header. Such a body must not be served, must not crash the process, and must not hide the
/// records after it.
#[test]
fn a_packed_body_that_does_not_unpack_is_reported_as_damage() {
    for (codec, raw_size, body) in [
        (Codec::Lz4, 5000, vec![0xFF; 300]),
        (Codec::Zstd, 5000, vec![0xFF; 300]),
        // The decompressed size does not match the header.
        (Codec::Lz4, 1 << 30, vec![0x10, b'x']),
        (Codec::Lz4, 1, vec![0x10, b'x']),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let catalog = open(directory.path());
        let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
        for _ in 0..3 {
            append(&log, Codec::None, 2);
        }
        drop(log);
        assert!(catalog.close(Duration::from_secs(30)));
        forge(directory.path(), codec, raw_size, &body);

        let catalog = open(directory.path());
        let log = catalog.log(&name("log")).expect("the log exists");
        let mut reader = log.reader(Position::ORIGIN).expect("a reader");
        let Ok(Found::Some(batch)) = reader.read(1 << 20) else {
            panic!("cannot read two intact records")
        };
        assert_eq!(batch.next(), Position(2));
        assert!(matches!(reader.try_read(1 << 20), Ok(Found::NeedsDisk)), "{codec}");
        let read = reader.read(1 << 20);
        assert!(
            matches!(
                read,
                Err(Error::CorruptRecord { position: Position(2), next: Some(Position(4)), .. })
            ),
            "{codec}: {read:?}"
        );
        assert_eq!(log.status(), LogStatus::Corrupt);
        let mut behind = log.reader(Position(4)).expect("a reader");
        let Ok(Found::Some(batch)) = behind.read(1 << 20) else {
            panic!("cannot read two intact records")
        };
        assert_eq!((batch.first(), batch.next()), (Position(4), Position(6)));
        // The stored block can be sent, because its receiver detects the damage. But a block with
        // an impossible size is not sent.
        let mut reader = log.reader(Position(2)).expect("a reader");
        let sent = matches!(reader.blocks(1 << 20), Ok(Found::Some(_)));
        assert_eq!(sent, raw_size <= 5000, "{codec}");
        let mut reader = log.reader(Position(2)).expect("a reader");
        assert!(matches!(reader.span(1 << 20), Ok(None)), "a damaged log has no spans");
        drop((log, reader, behind));
        assert!(catalog.close(Duration::from_secs(30)));
        let report = verify::verify(directory.path(), &mut |_| {}).expect("verified");
        assert!(!report.is_good(), "{codec}");
    }
}

/// Replaces the body of the middle one of three blocks. Checksums and the chain stay valid.
fn forge(directory: &Path, codec: Codec, raw_size: u32, body: &[u8]) {
    let path = directory.join("log/0/00000000000000000000.seg");
    let stored = std::fs::read(&path).expect("read");
    let (mut forged, mut rest, mut prev_crc) = (Vec::new(), &stored[..], 0);
    while let Ok((header, _)) = Header::decode(rest) {
        let len = usize::try_from(header.block_bytes()).expect("it fits");
        let (block, behind) = rest.split_at(len);
        let (header, body) = match header.base_position {
            2 => {
                let body_size = u32::try_from(body.len()).expect("it fits");
                let body_crc = crc32fast::hash(body);
                (Header { codec, body_size, raw_size, body_crc, ..header }, body)
            }
            _ => (header, &block[BLOCK_HEADER_BYTES..]),
        };
        let (encoded, crc) = Header { prev_crc, ..header }.encode();
        prev_crc = crc;
        forged.extend_from_slice(&encoded);
        forged.extend_from_slice(body);
        rest = behind;
    }
    std::fs::write(&path, forged).expect("written");
}
