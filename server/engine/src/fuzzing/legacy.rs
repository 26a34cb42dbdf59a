//! Fuzz target for Styx 0.x: builds arbitrary 0.x files, restores them as an archive and imports
//! them as a directory.
//!
//! ```text
//! input     mode: u8 | config: 68 bytes | segment…
//! segment   time: u8 | position: u8 | offset: u16 | sizes: u8, u8 | records | index
//! mode      bit 0: fix checksums, and cut record sizes to the available bytes
//!           bit 1: use the end of the segment before in names, not the position and offset here
//! ```
//!
//! Invariant: if the files become a log, it is intact and contains the payloads of the files. If
//! the archive becomes a log, the directory becomes the same log. Otherwise nothing is left behind.
//! The files of the source are never changed.

use std::path::Path;
use std::sync::Arc;

use styx_protocol::{LogName, LogStatus};

use super::memory::MemoryStorage;
use super::recovery::read_all;
use super::restore::compressed;
use crate::legacy::{Outcome, import};
use crate::storage::Storage as _;
use crate::{Catalog, Log, Options};

const CONFIG_BYTES: usize = 68;
/// The bytes of a record besides its payload.
const OVERHEAD: usize = 8;

/// The names and contents of files, in the order of an archive.
#[derive(Debug, Default)]
struct Files {
    config: Vec<u8>,
    records: Vec<(String, Vec<u8>)>,
    indexes: Vec<(String, Vec<u8>)>,
}

pub(super) fn legacy(input: &[u8]) {
    let Some(files) = Files::of(input) else { return };
    let name: LogName = "a".parse().expect("a name");

    let archive = compressed(&files.tar());
    let disk = MemoryStorage::default();
    let catalog = open(&disk);
    let restored = catalog.restore(&name, &mut archive.as_slice()).ok();
    if restored.is_none() {
        assert_nothing_left(&disk);
    }

    let disk = MemoryStorage::default();
    files.put(&disk, "/old/a");
    let source = |disk: &MemoryStorage| -> Vec<_> {
        let all = disk.files("").into_iter();
        all.filter(|(path, _)| path.starts_with("/old")).collect()
    };
    let before = source(&disk);
    let report = import(Path::new("/old"), &options(&disk), &[], &mut |_| {});
    assert_eq!(source(&disk), before, "the source is not changed");
    let outcome = report.expect("the directory contains a log").logs.remove(0).outcome;
    let Outcome::Imported { start, end, .. } = outcome else {
        assert!(restored.is_none(), "the archive was restored, but the import failed: {outcome:?}");
        return assert_nothing_left(&disk);
    };
    let catalog = open(&disk);
    let log = catalog.log(&name).expect("an imported log opens");
    assert_eq!((log.start_position(), log.end_position()), (start, end));
    let payloads = read_intact(&log);
    assert_eq!(payloads, files.payloads(), "the log contains the payloads of the files");
    assert_eq!(payloads.len() as u64, end.since(start));
    if let Some(restored) = restored {
        assert_eq!(read_intact(&restored), payloads);
        assert_eq!((restored.start_position(), restored.end_position()), (start, end));
        assert_eq!(restored.config(), log.config());
    }
}

fn read_intact(log: &Log) -> Vec<Vec<u8>> {
    assert_eq!(log.status(), LogStatus::Ok);
    read_all(log).expect("an intact log can be read")
}

fn options(disk: &MemoryStorage) -> Options {
    Options { committers_max: 0, storage: Arc::new(disk.clone()), ..Options::new("/data") }
}

fn open(disk: &MemoryStorage) -> Catalog {
    Catalog::open(options(disk)).expect("a data directory")
}

fn assert_nothing_left(disk: &MemoryStorage) {
    let left = disk.list("/data".as_ref()).expect("the data directory");
    assert!(left.iter().all(|entry| !entry.is_dir), "{left:?}");
}

impl Files {
    fn of(input: &[u8]) -> Option<Files> {
        let ([mode], rest) = input.split_first_chunk::<1>()?;
        let (config, mut rest) = rest.split_at_checked(CONFIG_BYTES)?;
        let (fix, follows) = (mode & 1 != 0, mode & 2 != 0);
        let mut files = Files { config: config.to_vec(), ..Files::default() };
        if fix {
            fix_crc(&mut files.config, 0, CONFIG_BYTES - 4);
        }
        let (mut position, mut offset) = (0, 0);
        while let Some((head, behind)) = rest.split_first_chunk::<6>() {
            let [time, at, offset_1, offset_0, records_bytes, index_bytes] = *head;
            if !follows || files.records.is_empty() {
                position = usize::from(at);
                offset = usize::from(u16::from_be_bytes([offset_1, offset_0]));
            }
            let (records, behind) = behind.split_at(behind.len().min(records_bytes.into()));
            let (index, behind) = behind.split_at(behind.len().min(index_bytes.into()));
            let (mut records, mut index) = (records.to_vec(), index.to_vec());
            if fix {
                fix_records(&mut records);
                (0..index.len() / 20).for_each(|entry| fix_crc(&mut index, entry * 20, 16));
            }
            let name = |kind| format!("segment-{position:020}-{offset:020}-{time:020}-{kind}");
            files.records.push((name("records"), records.clone()));
            files.indexes.push((name("index"), index));
            position += payloads(&records).len();
            offset += records.len();
            rest = behind;
        }
        Some(files)
    }

    fn all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let segments = self.records.iter().chain(&self.indexes);
        let segments = segments.map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        [("config", self.config.as_slice())].into_iter().chain(segments)
    }

    fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in self.all() {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes).expect("memory");
        }
        tar.into_inner().expect("memory")
    }

    fn put(&self, disk: &MemoryStorage, directory: &str) {
        for (name, bytes) in self.all() {
            disk.put(&format!("{directory}/{name}"), bytes.to_vec());
        }
    }

    /// The payloads of a directory with these files, if all files are valid.
    fn payloads(&self) -> Vec<Vec<u8>> {
        // A later file replaces an earlier one with the same name.
        let by_name: std::collections::BTreeMap<_, _> =
            self.records.iter().map(|(name, bytes)| (name, bytes)).collect();
        by_name.values().flat_map(|bytes| payloads(bytes)).collect()
    }
}

/// The payloads of a records file until a size is invalid.
fn payloads(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    while let Some((size, rest)) = bytes.split_first_chunk() {
        let size = usize::try_from(u32::from_be_bytes(*size)).expect("64 bits");
        let Some((record, behind)) = rest.split_at_checked(size.saturating_add(4)) else { break };
        payloads.push(record[..size].to_vec());
        bytes = behind;
    }
    payloads
}

/// Cuts record sizes to the available bytes, fixes checksums and drops incomplete records.
fn fix_records(bytes: &mut Vec<u8>) {
    let mut at = 0;
    while bytes.len() - at >= OVERHEAD {
        let claimed = u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        let size = (claimed as usize).min(bytes.len() - at - OVERHEAD);
        bytes[at..at + 4].copy_from_slice(&u32::try_from(size).expect("short").to_be_bytes());
        fix_crc(bytes, at, 4 + size);
        at += size + OVERHEAD;
    }
    bytes.truncate(at);
}

/// Writes the CRC-32C of the `count` bytes at `at` after them.
fn fix_crc(bytes: &mut [u8], at: usize, count: usize) {
    let crc = crc32c::crc32c(&bytes[at..at + count]).to_be_bytes();
    bytes[at + count..at + count + 4].copy_from_slice(&crc);
}
