//! [`Sealed`]: the summary of a segment that never changes again.

use styx_protocol::Position;

/// The summary of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The next segment's base.
    pub(crate) end: Position,
    /// The file's length.
    pub(crate) bytes: u64,
    /// Uncompressed bytes of its records.
    pub(crate) record_bytes: u64,
    pub(crate) first_timestamp_us: u64,
    /// Of its newest record.
    pub(crate) last_timestamp_us: u64,
    pub(crate) seal_crc: u32,
}
