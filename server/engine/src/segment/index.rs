//! A segment's index: the positions, offsets and times of some of its blocks.
//!
//! ```text
//! .idx   header (64 bytes) | entry (32 bytes) …
//! header "STXI" | crc: u32 of bytes 8..64 | version: u32 | entries: u32
//!        | seal_crc: u32 | zero: u32 | base_position: u64 | end_position: u64
//!        | record_bytes: u64 | first_timestamp_us: u64 | last_timestamp_us: u64
//! entry  position: u64 | offset: u64 | timestamp_us: u64 | header_crc: u32
//!        | crc: u32 of the 28 bytes before it
//! ```
//!
//! The index is written when the segment is sealed. An entry is a place to start a search, at or
//! before the target. While a segment is the newest, its entries are in memory. Afterwards they
//! are searched in the file, so old segments use no memory.
//!
//! Invariant: the index is a cache. It is rebuilt from the blocks if it is missing or invalid,
//! and no data is changed because of it.

use std::io;
use std::path::Path;

use styx_protocol::Position;

use super::name::Offset;
use super::sealed::Sealed;
use super::walk::WalkedBlock;
use crate::storage::{
    DiskWait, File, Storage, if_there, read_exact_at, temporary_path, write_all_at,
};

const MAGIC: [u8; 4] = *b"STXI";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;

/// The next block gets an entry at the latest at this distance from the last entry: 16 KiB. So a
/// search reads few bytes.
const SPACING_BYTES_MAX: u64 = 16 << 10;

/// The place of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) position: Position,
    pub(crate) offset: Offset,
    pub(crate) timestamp_us: u64,
    pub(crate) header_crc: u32,
}

/// The target of a search.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SearchKey {
    /// The block that contains this position.
    Position(Position),
    /// The first block at or after this time.
    Time(u64),
    /// The block that begins at this byte.
    Offset(Offset),
}

impl SearchKey {
    /// Whether the target is certainly at or after the entry. This is unknown for a time that is
    /// equal to the entry's, because earlier blocks may have the same time.
    fn is_at_or_after(self, entry: &IndexEntry) -> bool {
        match self {
            SearchKey::Position(position) => entry.position <= position,
            SearchKey::Time(time) => entry.timestamp_us < time,
            SearchKey::Offset(offset) => entry.offset <= offset,
        }
    }
}

/// The part of a segment to search: from one entry to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexRange {
    pub(crate) from: IndexEntry,
    /// `None` if `from` is the last entry.
    pub(crate) until: Option<IndexEntry>,
}

/// Chooses the blocks that get an entry, while a segment is written or walked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexSpacing {
    bytes: u64,
    last: Option<Offset>,
}

impl IndexSpacing {
    /// Chooses a block about every `index_after_size` bytes, but at least every 16 KiB. A negative
    /// value means 16 KiB.
    pub(crate) fn new(index_after_size: i64) -> IndexSpacing {
        let bytes = u64::try_from(index_after_size).unwrap_or(SPACING_BYTES_MAX);
        IndexSpacing { bytes: bytes.min(SPACING_BYTES_MAX), last: None }
    }

    /// Returns the entry for a block with records, if the block is far enough from the last entry.
    pub(crate) fn entry(
        &mut self,
        offset: Offset,
        header: &styx_protocol::block::Header,
        header_crc: u32,
    ) -> Option<IndexEntry> {
        if header.is_marker() || self.last.is_some_and(|last| offset - last < self.bytes) {
            return None;
        }
        self.last = Some(offset);
        Some(IndexEntry {
            position: Position(header.base_position),
            offset,
            timestamp_us: header.timestamp_us,
            header_crc,
        })
    }

    /// As [`IndexSpacing::entry`], for a walked block.
    pub(crate) fn walked(&mut self, block: &WalkedBlock) -> Option<IndexEntry> {
        self.entry(block.offset, &block.header, block.header_crc)
    }
}

/// Searches entries in memory for the range from the last entry at or before the key.
pub(crate) fn find(entries: &[IndexEntry], key: SearchKey) -> Option<IndexRange> {
    let after = entries.partition_point(|entry| key.is_at_or_after(entry));
    let from = *entries.get(after.checked_sub(1)?)?;
    Some(IndexRange { from, until: entries.get(after).copied() })
}

/// This many entries of an index file are read at once: 4 KiB, one page.
const ENTRIES_PER_READ: u64 = 128;

/// Searches an index file for the range from the last entry at or before the key. `None` if
/// there is no such entry or the file is invalid. The search then begins at the segment's start.
///
/// # Errors
/// The file cannot be read; `WouldBlock` if that needs the disk, and `disk` forbids it.
pub(crate) fn find_in_file(
    file: &dyn File,
    key: SearchKey,
    disk: DiskWait,
) -> io::Result<Option<IndexRange>> {
    let Some(count) = file.len()?.checked_sub(HEADER_BYTES as u64).map(|b| b / ENTRY_BYTES as u64)
    else {
        return Ok(None);
    };
    let at = |index: u64| HEADER_BYTES as u64 + index * ENTRY_BYTES as u64;
    let (mut low, mut high) = (0, count);
    while high - low > ENTRIES_PER_READ {
        let middle = low + (high - low) / 2;
        let mut bytes = [0; ENTRY_BYTES];
        disk.read_exact_at(file, &mut bytes, at(middle))?;
        match decode_entry(&bytes) {
            Some(entry) if key.is_at_or_after(&entry) => low = middle,
            Some(_) => high = middle,
            None => return Ok(None),
        }
    }
    // Also read the next entry, if there is one: it may be the end of the range.
    let mut bytes = [0; (ENTRIES_PER_READ as usize + 1) * ENTRY_BYTES];
    let bytes = &mut bytes[..(count.min(high + 1) - low) as usize * ENTRY_BYTES];
    disk.read_exact_at(file, bytes, at(low))?;
    let (entries, _) = bytes.as_chunks();
    let (mut low, mut high) = (0, (high - low) as usize);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match decode_entry(&entries[middle]) {
            Some(entry) if key.is_at_or_after(&entry) => {
                found = Some(entry);
                low = middle + 1;
            }
            Some(_) => high = middle,
            None => return Ok(None),
        }
    }
    Ok(found.map(|from| IndexRange { from, until: entries.get(low).and_then(decode_entry) }))
}

/// Writes the index of a sealed segment, and replaces an older one.
pub(crate) fn write(
    storage: &dyn Storage,
    path: &Path,
    base: Position,
    sealed: &Sealed,
    entries: &[IndexEntry],
) -> io::Result<()> {
    let mut out = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&sealed.seal_crc.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    for field in [
        base.0,
        sealed.end.0,
        sealed.record_bytes,
        sealed.first_timestamp_us,
        sealed.last_timestamp_us,
    ] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    let crc = crc32fast::hash(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_be_bytes());
    for entry in entries {
        let at = out.len();
        out.extend_from_slice(&entry.position.0.to_be_bytes());
        out.extend_from_slice(&entry.offset.to_be_bytes());
        out.extend_from_slice(&entry.timestamp_us.to_be_bytes());
        out.extend_from_slice(&entry.header_crc.to_be_bytes());
        let crc = crc32fast::hash(&out[at..]);
        out.extend_from_slice(&crc.to_be_bytes());
    }
    // A sync is not necessary: after a crash, the checksums show whether the file is complete.
    let temporary = temporary_path(path);
    if_there(storage.remove_file(&temporary))?;
    let file = storage.create(&temporary)?;
    write_all_at(&*file, &out, 0).map_err(|(e, _)| e)?;
    storage.rename(&temporary, path)
}

/// Reads the summary of a sealed segment of `bytes` bytes from its index. `None` if the file is
/// not a valid index of this segment.
pub(crate) fn read_summary(
    file: &dyn File,
    base: Position,
    bytes: u64,
) -> io::Result<Option<Sealed>> {
    let mut head = [0; HEADER_BYTES];
    match read_exact_at(file, &mut head, 0) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    Ok(decode_summary(&head, file.len()?, base, bytes))
}

/// As [`read_summary`], for the bytes of an index. `None` also if an entry is damaged.
pub(crate) fn check(index: &[u8], base: Position, bytes: u64) -> Option<Sealed> {
    let (head, entries) = index.split_first_chunk()?;
    let sealed = decode_summary(head, index.len() as u64, base, bytes)?;
    let (entries, _) = entries.as_chunks();
    entries.iter().all(|entry| decode_entry(entry).is_some()).then_some(sealed)
}

/// The summary in the header of an index of `index_bytes` bytes.
fn decode_summary(
    head: &[u8; HEADER_BYTES],
    index_bytes: u64,
    base: Position,
    bytes: u64,
) -> Option<Sealed> {
    let entries = u64::from(u32_at(head, 12));
    let sealed = Sealed {
        end: Position(u64_at(head, 32)),
        bytes,
        record_bytes: u64_at(head, 40),
        first_timestamp_us: u64_at(head, 48),
        last_timestamp_us: u64_at(head, 56),
        seal_crc: u32_at(head, 16),
    };
    let is_valid = head[..4] == MAGIC
        && u32_at(head, 4) == crc32fast::hash(&head[8..])
        && u32_at(head, 8) == VERSION
        && u64_at(head, 24) == base.0
        && index_bytes == HEADER_BYTES as u64 + entries * ENTRY_BYTES as u64;
    is_valid.then_some(sealed)
}

/// Whether a file is the index of this segment, with all of its entries intact and in order.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn is_intact(file: &dyn File, base: Position, sealed: &Sealed) -> io::Result<bool> {
    if read_summary(file, base, sealed.bytes)?.as_ref() != Some(sealed) {
        return Ok(false);
    }
    let (len, mut at) = (file.len()?, HEADER_BYTES as u64);
    let mut buffer = vec![0; ENTRIES_PER_READ as usize * ENTRY_BYTES];
    let mut before = None;
    while at < len {
        let left = usize::try_from(len - at).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        let piece = &mut buffer[..count];
        read_exact_at(file, piece, at)?;
        let (entries, _) = piece.as_chunks();
        for entry in entries {
            let Some(entry) = decode_entry(entry) else { return Ok(false) };
            let follows = before.is_none_or(|(position, offset)| {
                position < entry.position && offset < entry.offset
            });
            if !follows || entry.position < base || entry.offset >= sealed.bytes {
                return Ok(false);
            }
            before = Some((entry.position, entry.offset));
        }
        at += piece.len() as u64;
    }
    Ok(true)
}

fn decode_entry(bytes: &[u8; ENTRY_BYTES]) -> Option<IndexEntry> {
    (u32_at(bytes, 28) == crc32fast::hash(&bytes[..28])).then(|| IndexEntry {
        position: Position(u64_at(bytes, 0)),
        offset: u64_at(bytes, 8),
        timestamp_us: u64_at(bytes, 16),
        header_crc: u32_at(bytes, 24),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}
