//! Tests of records that are larger than a group: their body is written without a copy, is not kept
//! in memory, and is checked piece by piece.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use styx_engine::{Append, Catalog, Error, Found, Log, Options, Payload, Producer, Reader, verify};
use styx_protocol::block::{Block, Codec, Origin, build_with};
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::support::{close, name, open, read_all, reopen};

/// A group has at most 4 MiB.
const LARGE_BYTES: usize = 5 << 20;

fn payload(number: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| u8::try_from((i * 31 + number * 7) % 251).expect("a byte")).collect()
}

fn create(options: Options) -> (Catalog, Log) {
    let catalog = Catalog::open(options).expect("opened");
    let config = LogConfig { max_record_size: 64 << 20, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    (catalog, log)
}

fn pieces(payload: &[u8], piece_bytes: usize) -> Append {
    let mut pieces = Payload::default();
    payload.chunks(piece_bytes).for_each(|piece| pieces.push(Bytes::copy_from_slice(piece)));
    Append::Pieces { payload: pieces, expected: None, producer: None }
}

fn block(payload: &[u8], codec: Codec) -> Append {
    let bytes = build_with(codec, None, &Records::one(payload), Origin::default());
    let (block, _) = Block::parse(bytes, 64 << 20).expect("a block");
    assert_eq!(block.header().codec, codec, "the payload is compressible");
    block.into_checked(64 << 20).expect("a producer's").into()
}

/// Appends large records in every form, with small ones between them.
fn append_all(log: &Log) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut number = 0;
    let mut append = |bytes: usize, form: &dyn Fn(&[u8]) -> Append| {
        let payload = payload(number, bytes);
        number += 1;
        let appended = log.append_durably(form(&payload)).expect("appended");
        assert_eq!((appended.base.0, appended.count), (number as u64 - 1, 1));
        all.push(payload);
    };
    for bytes in [LARGE_BYTES, 100, 4 << 20, 1 << 20] {
        append(bytes, &|payload| Records::one(payload).into());
        append(bytes, &|payload| pieces(payload, 300_000));
        append(10, &|payload| pieces(payload, 1));
        append(bytes, &|payload| block(payload, Codec::None));
        append(bytes, &|payload| Append::Records {
            records: Records::one(payload),
            expected: None,
            producer: Some(Producer { id: 1 + bytes as u64, epoch: None, sequence: 0 }),
        });
    }
    append(20 << 20, &|payload| block(payload, Codec::Zstd));
    all
}

#[test]
fn large_records_are_stored_as_small_ones_in_every_layout() {
    for (pad_commits, direct_bytes_min) in [(false, 512 << 10), (true, usize::MAX), (true, 1)] {
        let directory = tempfile::tempdir().expect("a directory");
        let options = Options { pad_commits, direct_bytes_min, ..Options::new(directory.path()) };
        let (catalog, log) = create(options);
        let all = append_all(&log);
        assert!(read_all(&log) == all);
        let (catalog, log) = reopen(catalog, directory.path());
        assert_eq!(log.status(), LogStatus::Ok);
        assert!(read_all(&log) == all);
        log.append_durably(Records::one(b"more")).expect("appended");
        close(catalog);
        let report = verify::verify(directory.path(), &mut |_| {}).expect("verified");
        assert!(report.is_good(), "{report:?}");
    }
}

#[test]
fn only_a_large_record_is_read_from_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_catalog, log) = create(Options::new(directory.path()));
    log.append_durably(Records::one(b"small")).expect("appended");
    let is_in_memory = |n| log.reader(Position(n)).expect("a reader").is_in_memory();
    assert!(is_in_memory(0));
    log.append_durably(pieces(&payload(1, LARGE_BYTES), 1 << 20)).expect("appended");
    log.append_durably(Records::one(b"after")).expect("appended");
    assert_eq!([0, 1, 2].map(is_in_memory), [true, false, true]);
    assert!(read_all(&log) == [b"small".to_vec(), payload(1, LARGE_BYTES), b"after".to_vec()]);
}

#[test]
fn repeated_large_record_is_not_appended_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_catalog, log) = create(Options::new(directory.path()));
    let append = |sequence, expected| {
        let mut pieces = Payload::default();
        pieces.push(payload(1, LARGE_BYTES).into());
        let producer = Some(Producer { id: 7, epoch: None, sequence });
        log.append_durably(Append::Pieces { payload: pieces, expected, producer })
    };
    assert_eq!(append(0, None).expect("appended").count, 1);
    let repeated = append(0, None).expect("repeated");
    assert_eq!((repeated.count, repeated.repeated, repeated.end.0), (0, 1, 1));
    assert!(matches!(append(2, None), Err(Error::SequenceGap { .. })));
    let elsewhere = append(1, Some(Position(5)));
    assert!(matches!(elsewhere, Err(Error::PositionMismatch { .. })), "{elsewhere:?}");
    assert_eq!(append(1, Some(Position(1))).expect("appended").end.0, 2);
}

fn segment(directory: &Path) -> PathBuf {
    let entries = std::fs::read_dir(directory.join("log/0")).expect("a list");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    paths.find(|path| path.extension().is_some_and(|e| e == "seg")).expect("a segment")
}

fn flip_byte(path: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).expect("opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

#[test]
fn damage_in_a_large_record_is_found_when_the_log_is_opened() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = create(Options::new(directory.path()));
    log.append_durably(Records::one(b"small")).expect("appended");
    log.append_durably(pieces(&payload(1, LARGE_BYTES), 1 << 20)).expect("appended");
    close(catalog);
    let path = segment(directory.path());
    let len = std::fs::metadata(&path).expect("a file").len();
    for at in [len - 1, len - LARGE_BYTES as u64 / 2, len - LARGE_BYTES as u64] {
        flip_byte(&path, at);
        let catalog = open(directory.path());
        let log = catalog.log(&name("log")).expect("open");
        assert_eq!(log.status(), LogStatus::Corrupt, "byte {at} of {len}");
        let damaged = log.record(Position(1));
        assert!(matches!(damaged, Err(Error::CorruptRecord { .. })), "{damaged:?}");
        assert!(matches!(log.record(Position(0)), Ok(Found::Some(_))));
        close(catalog);
        flip_byte(&path, at);
    }
}

#[test]
fn large_record_that_was_cut_off_by_a_crash_is_a_torn_tail() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = create(Options::new(directory.path()));
    log.append_durably(Records::one(b"small")).expect("appended");
    close(catalog);
    let path = segment(directory.path());
    let before = std::fs::metadata(&path).expect("a file").len();
    let watermark_path = path.with_file_name("watermark");
    let watermark = std::fs::read(&watermark_path).expect("read");
    let catalog = open(directory.path());
    let log = catalog.log(&name("log")).expect("open");
    log.append_durably(pieces(&payload(1, LARGE_BYTES), 1 << 20)).expect("appended");
    close(catalog);
    // The files after a crash: a part of the record, and the watermark from before it.
    let file = std::fs::File::options().write(true).open(&path).expect("opened");
    file.set_len(before + LARGE_BYTES as u64 / 2).expect("cut off");
    std::fs::write(&watermark_path, watermark).expect("written");
    let catalog = open(directory.path());
    let log = catalog.log(&name("log")).expect("open");
    assert_eq!(log.status(), LogStatus::Ok);
    assert_eq!(read_all(&log), [b"small".to_vec()]);
    log.append_durably(pieces(&payload(1, LARGE_BYTES), 1 << 20)).expect("appended");
    assert!(read_all(&log) == [b"small".to_vec(), payload(1, LARGE_BYTES)]);
}

/// Checks that a read fails with the memory that it needs, and succeeds with exactly that.
#[track_caller]
fn check_needs<T: std::fmt::Debug>(
    log: &Log,
    position: u64,
    bytes: usize,
    read: impl Fn(&mut Reader) -> Result<Found<T>, Error>,
) {
    let mut reader = log.reader(Position(position)).expect("a reader");
    reader.set_block_bytes_max(bytes - 1);
    match read(&mut reader) {
        Err(Error::NeedsMemory { position: at, bytes: needed }) => {
            assert_eq!((at.0, needed), (position, bytes));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(reader.position(), Position(position), "it has not moved");
    reader.set_block_bytes_max(bytes);
    assert!(matches!(read(&mut reader), Ok(Found::Some(_))), "position {position}");
}

#[test]
fn reader_says_how_much_memory_the_next_block_needs() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = create(Options::new(directory.path()));
    log.append_durably(Records::one(b"small")).expect("appended");
    log.append_durably(block(&payload(0, LARGE_BYTES), Codec::None)).expect("appended");
    let zstd = block(&vec![7; LARGE_BYTES], Codec::Zstd);
    let packed_bytes = zstd.len_bytes();
    assert!(packed_bytes < 10_000, "it fits every buffer");
    log.append_durably(zstd).expect("appended");
    let check = |log: &Log| {
        let plain = BLOCK_HEADER_BYTES + 8 + LARGE_BYTES;
        check_needs(log, 1, plain, |reader| reader.read(1 << 20));
        check_needs(log, 1, plain, Reader::record);
        check_needs(log, 1, plain, |reader| reader.blocks(1 << 20));
        let packed = BLOCK_HEADER_BYTES + packed_bytes + 8 + LARGE_BYTES;
        check_needs(log, 2, packed, |reader| reader.read(1 << 20));
        check_needs(log, 2, packed, Reader::record);
        // A batch ends before a block that needs more memory.
        let mut reader = log.reader(Position(0)).expect("a reader");
        reader.set_block_bytes_max(1 << 20);
        let Ok(Found::Some(batch)) = reader.read(1 << 20) else { panic!("it can be read") };
        assert_eq!(batch.count(), 1);
    };
    check(&log);
    let (_catalog, log) = reopen(catalog, directory.path());
    check(&log);
}
