//! [`Sealed`]: the summary of a sealed segment.
//!
//! The writer creates it at a roll. Recovery reads it from the index, or from the blocks if the
//! index is missing. Invariant: the values never change, because a sealed segment does not.

use styx_protocol::Position;

/// The summary of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The position after its last record: the base of the next segment.
    pub(crate) end: Position,
    /// The length of the file in bytes.
    pub(crate) bytes: u64,
    /// The uncompressed size of its records in bytes.
    pub(crate) record_bytes: u64,
    /// The timestamp of its first record; 0 without records.
    pub(crate) first_timestamp_us: u64,
    /// The timestamp of its last record; 0 without records.
    pub(crate) last_timestamp_us: u64,
    /// The `header_crc` of its seal.
    pub(crate) seal_crc: u32,
}
