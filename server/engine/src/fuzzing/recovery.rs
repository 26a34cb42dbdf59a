//! Fuzz target for recovery: opens a log whose segments consist of arbitrary bytes.
//!
//! ```text
//! mode: u8 | durable: u8 | size of the first segment: u16 | first segment | second segment
//!  bits 0–2: fixup::Fixups; bit 3: there is a second segment; bit 4: there is no watermark
//! ```
//!
//! Invariant: a log that opens as `ok` reaches at least the watermark. It accepts an append, and
//! still contains the record after the next open. A log that opens as damaged is not changed.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use styx_protocol::{LogConfig, LogId, LogName, LogStatus, Position, Records};

use super::fixup::{self, ChainPosition, Fixups};
use super::memory::MemoryStorage;
use crate::manifest::Manifest;
use crate::segment::name;
use crate::watermark::{Mark, file_bytes};
use crate::{Catalog, Error, Found, Log, Options};

const FOLDER: &str = "/data/log/0";

/// The size of a read. It is small, so that reads end between blocks.
const READ_BYTES: usize = 700;

pub(super) fn recovery(input: &[u8]) {
    let Some(([mode, durable, first @ ..], bytes)) = input.split_first_chunk::<4>() else {
        return;
    };
    let first = usize::from(u16::from_be_bytes(*first));
    let disk = MemoryStorage::default();
    let durable = Position(u64::from(*durable));
    write_files(&disk, *mode, durable, bytes, first);

    let before = disk.files(".seg");
    let Ok(log) = open(&disk) else {
        assert_eq!(before, disk.files(".seg"), "a failed open does not change segments");
        return;
    };
    match log.log.status() {
        LogStatus::Ok => {
            assert!(*mode & 16 == 0, "a log without a watermark is not ok");
            assert!(log.log.end_position() >= durable, "the log reaches the watermark");
            accepts_appends(&disk, log);
        }
        _ => {
            assert_eq!(before, disk.files(".seg"), "damage is never cut off");
            assert!(log.log.append(Records::one(b"x")).is_err(), "a damaged log refuses appends");
            let _ = read_all(&log.log);
            let _ = read_all_blocks(&log.log);
            let _ = log.catalog.scrub();
        }
    }
    let _ = crate::verify::verify_log(&disk, "/data/log".as_ref(), &mut |_| {});
}

fn write_files(disk: &MemoryStorage, mode: u8, durable: Position, bytes: &[u8], first: usize) {
    let id = "00112233445566778899aabbccddeeff".parse::<LogId>().expect("32 hex digits");
    let manifest = Manifest::new(id, 0, LogConfig::default());
    disk.put("/data/log/log.toml", manifest.encode().into_bytes());
    if mode & 16 == 0 {
        let mark = Mark { open_epoch: 1, start: Position::ORIGIN, durable };
        disk.put(&format!("{FOLDER}/watermark"), file_bytes(mark));
    }
    let mut bytes = bytes.to_vec();
    let second = match mode & 8 {
        0 => None,
        _ => Some(bytes.split_off(first.min(bytes.len()))),
    };
    let link = fixup::blocks(&mut bytes, Fixups::of(mode), ChainPosition::default());
    disk.put(&format!("{FOLDER}/{}", name::segment(Position::ORIGIN)), bytes);
    if let Some(mut second) = second {
        let _ = fixup::blocks(&mut second, Fixups::of(mode), link);
        let base = Position(link.position.max(1));
        disk.put(&format!("{FOLDER}/{}", name::segment(base)), second);
    }
}

/// A log and the catalog that keeps it open.
struct Opened {
    catalog: Catalog,
    log: Log,
}

fn open(disk: &MemoryStorage) -> Result<Opened, Error> {
    let catalog = Catalog::open(Options {
        committers_max: 0,
        storage: Arc::new(disk.clone()),
        ..Options::new("/data")
    })?;
    let log = catalog.log(&"log".parse::<LogName>().expect("a name"))?;
    Ok(Opened { catalog, log })
}

/// Checks that the log accepts an append, and contains it after a restart.
fn accepts_appends(disk: &MemoryStorage, opened: Opened) {
    // A forged block with a valid checksum may contain no records, although its header counts
    // some. A read finds this damage, but an open does not.
    let report = crate::verify::verify_log(disk, "/data/log".as_ref(), &mut |_| {});
    let Ok(mut held) = read_all(&opened.log) else { return };
    assert_eq!(read_all_blocks(&opened.log).expect("the records are readable as blocks"), held);
    if !report.problems.is_empty() {
        return;
    }
    let end = opened.log.end_position();
    let ticket = opened.log.append(Records::one(b"more"));
    let mut ticket = ticket.expect("an intact log with an empty queue accepts appends");
    while opened.catalog.step() {}
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::Pin::new(&mut ticket).poll(&mut context) {
        Poll::Ready(Ok(appended)) => assert_eq!(appended.end.0, end.0 + 1),
        other => panic!("no ack at {end}: {other:?}"),
    }
    drop(opened);

    let again = open(disk).expect("the log opens again");
    assert_eq!(again.log.status(), LogStatus::Ok, "a recovered log stays intact");
    assert_eq!(again.log.end_position().0, end.0 + 1);
    held.push(b"more".to_vec());
    assert_eq!(read_all(&again.log).expect("the log is still readable"), held);
}

/// Reads the payloads of all records.
pub(super) fn read_all(log: &Log) -> Result<Vec<Vec<u8>>, Error> {
    let mut reader = log.reader(log.start_position())?;
    let mut all = Vec::new();
    loop {
        match reader.read(READ_BYTES)? {
            Found::Some(batch) => all.extend(batch.records().map(|record| record.payload.to_vec())),
            _ => return Ok(all),
        }
    }
}

/// Reads the same payloads through [`Reader::blocks`](crate::Reader::blocks).
fn read_all_blocks(log: &Log) -> Result<Vec<Vec<u8>>, Error> {
    let mut reader = log.reader(log.start_position())?;
    let mut all = Vec::new();
    loop {
        let at = reader.position();
        let Found::Some(blocks) = reader.blocks(READ_BYTES)? else { return Ok(all) };
        assert!(blocks.first() <= at && blocks.next() > at, "each read advances and leaves no gap");
        let parts: usize = blocks.parts().map(bytes::Bytes::len).sum();
        assert_eq!(parts, blocks.len_bytes());
        for block in blocks.blocks() {
            let Ok(records) = block.records() else { continue };
            all.extend(records.payloads().map(|payload| payload.to_vec()));
        }
    }
}
