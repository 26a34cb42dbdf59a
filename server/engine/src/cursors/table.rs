//! [`CursorTable`]: the cursors of one log, and the file with them.
//!
//! ```text
//! cursors
//!   "STXC" | crc: u32 of bytes 8.. | version: u32 | cursors: u32 | last_version: u64
//!   cursor:  log_id: u128 | position: u64 | version: u64 | replaced: u64 | updated_us: u64
//!            | name_bytes: u8 | name
//! ```
//!
//! The cursors are sorted by name. The file stays when its last cursor is deleted, because
//! `last_version` must not be lost. Invariant: the checksum covers the whole file, so a damaged
//! file never has a position, and encoding what was decoded gives the same bytes.

use std::collections::BTreeMap;

use styx_protocol::cursor::CURSORS_MAX;
use styx_protocol::limits::LOG_NAME_BYTES_MAX;
use styx_protocol::{CursorName, LogId, Position};

use crate::fields::Fields;
use crate::format::{Newer, Unusable};

const MAGIC: [u8; 4] = *b"STXC";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const CURSOR_BYTES: usize = 49;

/// No file is larger than this number of bytes.
pub(crate) const BYTES_MAX: u64 =
    (HEADER_BYTES + CURSORS_MAX * (CURSOR_BYTES + LOG_NAME_BYTES_MAX)) as u64;

/// A cursor without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The log that the position belongs to.
    pub(crate) log_id: LogId,
    pub(crate) position: Position,
    pub(crate) version: u64,
    /// The version that this one replaced; 0 for a new cursor.
    pub(crate) replaced: u64,
    /// When it was changed, in µs since the epoch.
    pub(crate) updated_us: u64,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CursorTable {
    pub(crate) cursors: BTreeMap<CursorName, Entry>,
    /// The highest version that a cursor of this log has had.
    pub(crate) last_version: u64,
}

impl CursorTable {
    /// Returns the content of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let names: usize = self.cursors.keys().map(|name| name.as_str().len()).sum();
        let mut out = Vec::with_capacity(HEADER_BYTES + self.cursors.len() * CURSOR_BYTES + names);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&VERSION.to_be_bytes());
        let count = u32::try_from(self.cursors.len()).expect("a log has few cursors");
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(&self.last_version.to_be_bytes());
        for (name, entry) in &self.cursors {
            out.extend_from_slice(&entry.log_id.0.to_be_bytes());
            out.extend_from_slice(&entry.position.0.to_be_bytes());
            out.extend_from_slice(&entry.version.to_be_bytes());
            out.extend_from_slice(&entry.replaced.to_be_bytes());
            out.extend_from_slice(&entry.updated_us.to_be_bytes());
            out.push(u8::try_from(name.as_str().len()).expect("a name has at most 255 bytes"));
            out.extend_from_slice(name.as_str().as_bytes());
        }
        let crc = crc32fast::hash(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Decodes the content of the file.
    ///
    /// # Errors
    /// The file is damaged, or a newer version of Styx wrote it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<CursorTable, Unusable> {
        let damaged = |cause: &str| Unusable::Damaged(cause.to_owned());
        let opened = Fields::open(bytes, MAGIC).ok_or_else(|| damaged("fails its checksum"))?;
        match opened {
            (VERSION, fields) => read(fields).ok_or_else(|| damaged("has invalid fields")),
            (newer, _) if newer > VERSION => Err(Unusable::Newer(Newer::version(newer))),
            _ => Err(damaged("has no valid version")),
        }
    }
}

/// Reads the fields after the version. `None` if one is invalid or bytes are left.
fn read(mut fields: Fields<'_>) -> Option<CursorTable> {
    let count = fields.u32()?;
    let mut table = CursorTable { last_version: fields.u64()?, ..CursorTable::default() };
    if usize::try_from(count).ok()? > CURSORS_MAX {
        return None;
    }
    for _ in 0..count {
        let entry = Entry {
            log_id: LogId(u128::from_be_bytes(fields.take()?)),
            position: Position(fields.u64()?),
            version: fields.u64()?,
            replaced: fields.u64()?,
            updated_us: fields.u64()?,
        };
        let [name_bytes] = fields.take()?;
        let (name, rest) = fields.0.split_at_checked(name_bytes.into())?;
        fields.0 = rest;
        let name: CursorName = std::str::from_utf8(name).ok()?.parse().ok()?;
        let is_sorted = table.cursors.last_key_value().is_none_or(|(last, _)| *last < name);
        let is_known = entry.replaced < entry.version && entry.version <= table.last_version;
        if !is_sorted || !is_known {
            return None;
        }
        table.cursors.insert(name, entry);
    }
    fields.0.is_empty().then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> CursorTable {
        let entry = |position, version, replaced| Entry {
            log_id: LogId(7),
            position: Position(position),
            version,
            replaced,
            updated_us: 99,
        };
        let cursors = [("billing", entry(3, 9, 4)), ("a", entry(u64::MAX, 5, 0))];
        let named = |(name, entry): (&str, _)| (name.parse().expect("a name"), entry);
        CursorTable { cursors: cursors.into_iter().map(named).collect(), last_version: 9 }
    }

    /// Fixes the checksum of a file.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn a_file_round_trips_and_every_flipped_bit_and_every_cut_is_detected() {
        let bytes = table().encode();
        assert_eq!(CursorTable::decode(&bytes), Ok(table()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(CursorTable::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(CursorTable::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn the_bytes_of_version_1_do_not_change() {
        let mut expected = b"STXC".to_vec();
        expected.extend([0x03, 0x14, 0x7a, 0x4e]);
        expected.extend([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9]);
        for (position, version, replaced, name) in [(u64::MAX, 5, 0, "a"), (3, 9, 4, "billing")] {
            expected.extend(7u128.to_be_bytes());
            for number in [position, version, replaced, 99] {
                expected.extend(number.to_be_bytes());
            }
            expected.push(u8::try_from(name.len()).expect("short"));
            expected.extend(name.as_bytes());
        }
        assert_eq!(table().encode(), expected);
    }

    #[test]
    fn invalid_fields_with_a_valid_checksum_are_refused() {
        let valid = CursorTable::decode(&table().encode()).expect("valid");
        let mut unknown = valid.clone();
        unknown.last_version = 8;
        assert!(CursorTable::decode(&unknown.encode()).is_err(), "a version after the last one");
        let mut trailing = valid.encode();
        trailing.push(0);
        assert!(CursorTable::decode(&sealed(trailing)).is_err(), "trailing bytes");
        let mut name = valid.encode();
        let last = name.len() - 1;
        name[last] = b'/';
        assert!(CursorTable::decode(&sealed(name)).is_err(), "a name with a slash");
        let mut newer = valid.encode();
        newer[11] = 2;
        let decoded = CursorTable::decode(&sealed(newer));
        assert_eq!(decoded, Err(Unusable::Newer(Newer::version(2))));
    }
}
