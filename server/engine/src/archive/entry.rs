//! [`Entry`]: describes an archived segment.
//!
//! ```text
//! base: u64 | end: u64 | bytes: u64 | record_bytes: u64 | first_timestamp_us: u64
//! | last_timestamp_us: u64 | seal_crc: u32 | file_crc: u32 | epoch: u32 | home: u128
//! | crc: u32 of the 76 bytes before it
//! ```
//!
//! The list of a log and the manifest in the store use the same 80 bytes. Invariant: an entry never
//! changes, because a sealed segment does not. A later upload of the same segment has a new entry.

use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogId, Position};

use crate::fields::Fields;
use crate::segment::Sealed;

/// The encoded size of an entry in bytes.
pub const ENTRY_BYTES: usize = 80;

/// Where the checksum of an encoded entry begins.
const CRC_AT: usize = ENTRY_BYTES - 4;

/// A segment has at least a filler and a seal.
const SEGMENT_BYTES_MIN: u64 = 2 * BLOCK_HEADER_BYTES as u64;

/// The largest length of a segment that is believed: 2^62 bytes. So sums of a few cannot overflow.
const SEGMENT_BYTES_MAX: u64 = 1 << 62;

/// An archived segment, and where its objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The position of its first record.
    pub base: Position,
    /// The position after its last record: the base of the next segment.
    pub end: Position,
    /// The length of the segment file in bytes.
    pub bytes: u64,
    /// The uncompressed size of its records in bytes.
    pub record_bytes: u64,
    /// The timestamp of its first record, in µs since the epoch; 0 without records.
    pub first_timestamp_us: u64,
    /// The timestamp of its last record; 0 without records.
    pub last_timestamp_us: u64,
    /// The `header_crc` of its seal, which the next segment names.
    pub seal_crc: u32,
    /// The CRC-32C of the whole segment file.
    pub file_crc: u32,
    /// The open epoch of the log when the segment was uploaded. It is a part of the object's key.
    pub epoch: u32,
    /// The id of the log to which the objects belong. It differs from the log's id after a restore.
    pub home: LogId,
}

impl Entry {
    /// The bytes of the entry.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        let fields = [
            self.base.0,
            self.end.0,
            self.bytes,
            self.record_bytes,
            self.first_timestamp_us,
            self.last_timestamp_us,
        ];
        for (field, into) in fields.iter().zip(out.chunks_exact_mut(8)) {
            into.copy_from_slice(&field.to_be_bytes());
        }
        out[48..52].copy_from_slice(&self.seal_crc.to_be_bytes());
        out[52..56].copy_from_slice(&self.file_crc.to_be_bytes());
        out[56..60].copy_from_slice(&self.epoch.to_be_bytes());
        out[60..CRC_AT].copy_from_slice(&self.home.0.to_be_bytes());
        let crc = crc32fast::hash(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Decodes an entry. `None` if its checksum differs, or if no segment can have these values.
    #[must_use]
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Entry> {
        let mut fields = Fields(bytes);
        let entry = Entry {
            base: Position(fields.u64()?),
            end: Position(fields.u64()?),
            bytes: fields.u64()?,
            record_bytes: fields.u64()?,
            first_timestamp_us: fields.u64()?,
            last_timestamp_us: fields.u64()?,
            seal_crc: fields.u32()?,
            file_crc: fields.u32()?,
            epoch: fields.u32()?,
            home: LogId(fields.take().map(u128::from_be_bytes)?),
        };
        let crc = fields.u32()?;
        let is_intact = crc == crc32fast::hash(&bytes[..CRC_AT]);
        (is_intact && entry.is_possible()).then_some(entry)
    }

    /// Whether a sealed segment can have these values.
    fn is_possible(&self) -> bool {
        self.end >= self.base && (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.bytes)
    }

    /// The summary of the segment.
    pub(crate) fn sealed(&self) -> Sealed {
        Sealed {
            end: self.end,
            bytes: self.bytes,
            record_bytes: self.record_bytes,
            first_timestamp_us: self.first_timestamp_us,
            last_timestamp_us: self.last_timestamp_us,
            seal_crc: self.seal_crc,
        }
    }

    /// Whether this is an entry of the segment with this base and summary.
    pub(crate) fn is_of(&self, base: Position, sealed: &Sealed) -> bool {
        self.base == base
            && self.end == sealed.end
            && self.bytes == sealed.bytes
            && self.seal_crc == sealed.seal_crc
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An entry of a segment with records.
    pub(crate) fn entry(base: u64, end: u64) -> Entry {
        Entry {
            base: Position(base),
            end: Position(end),
            bytes: 4096,
            record_bytes: 3000,
            first_timestamp_us: 1_770_000_000_000_000,
            last_timestamp_us: 1_770_000_000_000_001,
            seal_crc: 0x0102_0304,
            file_crc: 0xA1A2_A3A4,
            epoch: 3,
            home: LogId(0x0F0E_0D0C_0B0A_0908_0706_0504_0302_0100),
        }
    }

    /// Golden bytes: docs/format.md describes them.
    #[test]
    fn an_entry_has_the_documented_bytes() {
        let encoded = entry(1, 0x0100).encode();
        let expected = "0000000000000001\
             0000000000000100\
             0000000000001000\
             0000000000000bb8\
             000649ce3d40a000\
             000649ce3d40a001\
             01020304\
             a1a2a3a4\
             00000003\
             0f0e0d0c0b0a09080706050403020100";
        let hex: String = encoded[..76].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(encoded[76..], crc32fast::hash(&encoded[..76]).to_be_bytes());
        assert_eq!(Entry::decode(&encoded), Some(entry(1, 0x0100)));
    }

    #[test]
    fn an_entry_with_one_changed_bit_is_invalid() {
        let encoded = entry(7, 9).encode();
        for bit in 0..8 * ENTRY_BYTES {
            let mut changed = encoded;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Entry::decode(&changed), None, "bit {bit}");
        }
    }

    #[test]
    fn an_entry_of_an_impossible_segment_is_invalid() {
        let valid = entry(7, 9);
        for (impossible, is_valid) in [
            (valid, true),
            (Entry { end: Position(7), ..valid }, true),
            (Entry { end: Position(6), ..valid }, false),
            (Entry { bytes: SEGMENT_BYTES_MIN, ..valid }, true),
            (Entry { bytes: SEGMENT_BYTES_MIN - 1, ..valid }, false),
            (Entry { bytes: SEGMENT_BYTES_MAX + 1, ..valid }, false),
        ] {
            assert_eq!(Entry::decode(&impossible.encode()).is_some(), is_valid, "{impossible:?}");
        }
    }
}
