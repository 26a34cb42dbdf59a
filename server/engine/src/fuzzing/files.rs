//! Fuzz targets for the small files of a log: index, producers snapshot, cursors, list of archived
//! segments, manifest and watermark.
//!
//! Each takes the content of one file; the input's first byte selects the checksums to fix.
//! Invariant: decoding never panics, and a decoded value survives encoding and decoding.

use styx_protocol::Position;
use styx_protocol::block::Header;
use styx_protocol::cursor::CURSORS_MAX;

use super::{fixup, memory};
use crate::archive::Entry;
use crate::archive::list;
use crate::cursors::CursorTable;
use crate::manifest::Manifest;
use crate::producers::{PendingChanges, ProducerTable, ProducerView, SentRecords};
use crate::segment::index::{self, SearchKey};
use crate::storage::DiskWait;
use crate::watermark::{FILE_BYTES, Watermark, file_bytes, write_slot};

/// The index of a segment.
pub(super) fn index(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 != 0 && bytes.len() >= 64 {
        bytes[..4].copy_from_slice(b"STXI");
        fixup::crc(&mut bytes, 4, 8, 64);
        for at in (64..bytes.len().saturating_sub(31)).step_by(32) {
            fixup::crc(&mut bytes, at + 28, at, at + 28);
        }
    }
    let file = memory::file(bytes);
    let summary = index::read_summary(&*file, Position(0), 1000).expect("memory can be read");
    if let Some(sealed) = summary {
        assert_eq!(sealed.bytes, 1000, "the index belongs to a segment of this length");
    }
    for key in [
        SearchKey::Position(Position(0)),
        SearchKey::Position(Position(77)),
        SearchKey::Time(1 << 40),
    ] {
        let found =
            index::find_in_file(&*file, key, DiskWait::Allowed).expect("memory can be read");
        if let (Some(found), SearchKey::Position(position)) = (found, key) {
            assert!(found.from.position <= position, "the entry is not after the wanted position");
        }
    }
}

/// A producers snapshot.
pub(super) fn producers(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 != 0 && bytes.len() >= 8 {
        bytes[..4].copy_from_slice(b"STXP");
        let end = bytes.len();
        fixup::crc(&mut bytes, 4, 8, end);
    }
    if let Ok((table, seal_crc, end)) = ProducerTable::decode(&bytes) {
        let again = table.encode(seal_crc, end);
        let (table, crc_again, end_again) =
            ProducerTable::decode(&again).expect("an encoded table can be decoded");
        assert_eq!((seal_crc, end), (crc_again, end_again));
        assert_eq!(table.encode(seal_crc, end), again, "encoding is deterministic");
        let mut builder = styx_protocol::record::Builder::new();
        for payload in ["a", "", "c"] {
            assert!(builder.push(payload.as_bytes()), "a block holds three records");
        }
        let records = builder.take();
        for id in [0, 1, 7] {
            for sequence in [0, 1, 500, u64::MAX] {
                let changes = PendingChanges::new();
                let known = ProducerView::of(id, &table, &changes);
                let _ = known.decide(
                    &crate::Producer { id, epoch: None, sequence },
                    &SentRecords::Records(&records),
                );
                let _ = known.decide_block(&Header { sequence, count: 3, ..Header::default() });
                let _ = known.begin(None);
            }
        }
    }
}

/// The cursors.
pub(super) fn cursors(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 != 0 && bytes.len() >= 8 {
        bytes[..4].copy_from_slice(b"STXC");
        let end = bytes.len();
        fixup::crc(&mut bytes, 4, 8, end);
    }
    if let Ok(table) = CursorTable::decode(&bytes) {
        assert!(table.cursors.len() <= CURSORS_MAX, "no more than a log can have");
        assert_eq!(table.encode(), bytes, "each table has one form");
    }
}

/// The list of archived segments.
pub(super) fn archive_list(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 != 0 && bytes.len() >= 16 {
        bytes[..4].copy_from_slice(b"STXA");
        fixup::crc(&mut bytes, 4, 8, 16);
    }
    if mode & 2 != 0 {
        for at in (16..bytes.len().saturating_sub(79)).step_by(80) {
            fixup::crc(&mut bytes, at + 76, at, at + 76);
        }
    }
    let places_max = bytes.len().saturating_sub(16) / 80;
    let read = list::read(&*memory::file(bytes)).expect("memory can be read");
    if let Ok((entries, places)) = read {
        assert!(entries.len() <= places && places <= places_max, "each entry has a place");
        for (base, entry) in &entries {
            assert!(entry.base == *base && entry.end >= *base, "a segment has no end before it");
            assert_eq!(Entry::decode(&entry.encode()), Some(*entry));
        }
        let again = list::read(&*memory::file(list::encode(&entries))).expect("memory");
        let count = entries.len();
        assert_eq!(again, Ok((entries, count)), "an encoded list can be decoded");
    }
}

/// The manifest, `log.toml`.
pub(super) fn manifest(input: &[u8]) {
    let Some((mode, bytes)) = input.split_first() else { return };
    let with_valid_checksum = || {
        let crc = format!("checksum = \"{:08x}\"\n", crc32fast::hash(bytes));
        [crc.as_bytes(), bytes].concat()
    };
    let text = if mode & 1 != 0 { with_valid_checksum() } else { bytes.to_vec() };
    if let Ok(manifest) = Manifest::decode(&text) {
        assert_eq!(Manifest::decode(manifest.encode().as_bytes()), Ok(manifest));
    }
}

/// The two slots of the watermark.
pub(super) fn watermark(input: &[u8]) {
    let Some((mode, slots)) = input.split_first() else { return };
    let mut bytes = vec![0; FILE_BYTES as usize];
    for (slot, fields) in [0, 4096].into_iter().zip(slots.chunks(36)) {
        bytes[slot..slot + fields.len()].copy_from_slice(fields);
        if mode & 1 != 0 {
            fixup::crc(&mut bytes, slot + 32, slot, slot + 32);
        }
    }
    // Bits 6 and 7 shorten the file to a half, a quarter or an eighth.
    bytes.truncate(bytes.len() >> (mode >> 6));
    let file = memory::file(bytes);
    if let Ok(Some((counter, mark))) = Watermark::read(&*file).expect("memory can be read") {
        write_slot(&*file, counter + 1, mark).expect("memory can be written");
        let written = Watermark::read(&*memory::file(file_bytes(mark))).expect("memory");
        assert_eq!(written.map(|read| read.map(|(_, mark)| mark)), Ok(Some(mark)));
    }
}
