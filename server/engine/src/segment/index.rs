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
//! A cache: written when the segment is sealed, made anew from the blocks when
//! it is missing or wrong, never a reason to touch data. An entry is a place to
//! begin looking, at or before what is looked for. While a segment is written
//! its entries are in memory; afterwards they are searched in the file, so that
//! old segments cost no memory.

use std::io;
use std::path::Path;

use styx_protocol::Position;

use super::name::Offset;
use super::sealed::Sealed;
use super::walk::Block;
use crate::storage::{Disk, File, Storage, read_exact_at, temporary_path, write_all_at};

const MAGIC: [u8; 4] = *b"STXI";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;

/// Entries are never farther apart than this, so that a look-up reads little.
const SPACING_BYTES_MAX: u64 = 16 << 10;

/// One block's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) offset: Offset,
    pub(crate) timestamp_us: u64,
    pub(crate) header_crc: u32,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    /// The block that holds this position.
    Position(Position),
    /// The first block at or after this time.
    Time(u64),
    /// The block that begins at this byte.
    Offset(Offset),
}

impl Key {
    /// Whether what is looked for is at or behind the entry. A time may also
    /// begin before an entry with exactly that time.
    fn is_at_or_behind(self, entry: &Entry) -> bool {
        match self {
            Key::Position(position) => entry.position <= position,
            Key::Time(time) => entry.timestamp_us < time,
            Key::Offset(offset) => entry.offset <= offset,
        }
    }
}

/// Where to look: from one entry to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: Entry,
    /// `None` at the end of the index.
    pub(crate) until: Option<Entry>,
}

/// Collects entries while a segment is written or walked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spacing {
    bytes: u64,
    last: Option<Offset>,
}

impl Spacing {
    /// Entries at least every `index_after_size` bytes.
    pub(crate) fn new(index_after_size: i64) -> Spacing {
        let bytes = u64::try_from(index_after_size).unwrap_or(SPACING_BYTES_MAX);
        Spacing { bytes: bytes.min(SPACING_BYTES_MAX), last: None }
    }

    /// The entry for a block, if it is far enough behind the last one.
    pub(crate) fn entry(
        &mut self,
        offset: Offset,
        header: &styx_protocol::block::Header,
        header_crc: u32,
    ) -> Option<Entry> {
        if header.is_marker() || self.last.is_some_and(|last| offset - last < self.bytes) {
            return None;
        }
        self.last = Some(offset);
        Some(Entry {
            position: Position(header.base_position),
            offset,
            timestamp_us: header.timestamp_us,
            header_crc,
        })
    }

    /// As [`Spacing::entry`], of a walked block.
    pub(crate) fn walked(&mut self, block: &Block) -> Option<Entry> {
        self.entry(block.offset, &block.header, block.header_crc)
    }
}

/// From the last entry at or before the key on, of entries in memory.
pub(crate) fn find(entries: &[Entry], key: Key) -> Option<Stretch> {
    let after = entries.partition_point(|entry| key.is_at_or_behind(entry));
    let from = *entries.get(after.checked_sub(1)?)?;
    Some(Stretch { from, until: entries.get(after).copied() })
}

/// Entries of an index file that are read in one go: a page of them.
const ENTRIES_AT_ONCE: u64 = 128;

/// From the last entry at or before the key on, of an index file. `None` when there is
/// none, or the file is not what it should be: then begin at the segment's
/// start.
///
/// # Errors
/// As the reads; `WouldBlock` when the disk would have to be waited for and may not be.
pub(crate) fn find_in_file(file: &dyn File, key: Key, disk: Disk) -> io::Result<Option<Stretch>> {
    let Some(count) = file.len()?.checked_sub(HEADER_BYTES as u64).map(|b| b / ENTRY_BYTES as u64)
    else {
        return Ok(None);
    };
    let at = |index: u64| HEADER_BYTES as u64 + index * ENTRY_BYTES as u64;
    let (mut low, mut high) = (0, count);
    while high - low > ENTRIES_AT_ONCE {
        let middle = low + (high - low) / 2;
        let mut bytes = [0; ENTRY_BYTES];
        disk.read_exact_at(file, &mut bytes, at(middle))?;
        match decode_entry(&bytes) {
            Some(entry) if key.is_at_or_behind(&entry) => low = middle,
            Some(_) => high = middle,
            None => return Ok(None),
        }
    }
    // The one behind them too, where there is one.
    let mut bytes = [0; (ENTRIES_AT_ONCE as usize + 1) * ENTRY_BYTES];
    let bytes = &mut bytes[..(count.min(high + 1) - low) as usize * ENTRY_BYTES];
    disk.read_exact_at(file, bytes, at(low))?;
    let (entries, _) = bytes.as_chunks();
    let (mut low, mut high) = (0, (high - low) as usize);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match decode_entry(&entries[middle]) {
            Some(entry) if key.is_at_or_behind(&entry) => {
                found = Some(entry);
                low = middle + 1;
            }
            Some(_) => high = middle,
            None => return Ok(None),
        }
    }
    Ok(found.map(|from| Stretch { from, until: entries.get(low).and_then(decode_entry) }))
}

/// Writes the index of a sealed segment whole.
pub(crate) fn write(
    storage: &dyn Storage,
    path: &Path,
    base: Position,
    sealed: &Sealed,
    entries: &[Entry],
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
    // Not synced: whatever a crash leaves is recognised by its checksums.
    let temporary = temporary_path(path);
    match storage.remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = storage.create(&temporary)?;
    write_all_at(&*file, &out, 0).map_err(|(e, _)| e)?;
    storage.rename(&temporary, path)
}

/// What the index of a sealed segment of `bytes` bytes says about it; `None`
/// when the file is not the index of this segment.
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
    let entries = u64::from(u32_at(&head, 12));
    let sealed = Sealed {
        end: Position(u64_at(&head, 32)),
        bytes,
        record_bytes: u64_at(&head, 40),
        first_timestamp_us: u64_at(&head, 48),
        last_timestamp_us: u64_at(&head, 56),
        seal_crc: u32_at(&head, 16),
    };
    let ours = head[..4] == MAGIC
        && u32_at(&head, 4) == crc32fast::hash(&head[8..])
        && u32_at(&head, 8) == VERSION
        && u64_at(&head, 24) == base.0
        && file.len()? == HEADER_BYTES as u64 + entries * ENTRY_BYTES as u64;
    Ok(ours.then_some(sealed))
}

fn decode_entry(bytes: &[u8; ENTRY_BYTES]) -> Option<Entry> {
    (u32_at(bytes, 28) == crc32fast::hash(&bytes[..28])).then(|| Entry {
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
