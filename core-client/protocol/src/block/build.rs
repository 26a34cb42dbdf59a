//! Builds blocks as a producer sends them: the server's fields are 0.

use bytes::Bytes;

use super::{Codec, Flags, Header};
pub use crate::codec::pack_behind;
use crate::limits::BLOCK_HEADER_BYTES;
use crate::{Position, Records};

/// The producer of a block, and the position at which it must be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// The producer's id; 0 means none.
    pub producer_id: u64,
    /// The producer's epoch.
    pub producer_epoch: u32,
    /// Sequence number of the first record in the producer's stream.
    pub sequence: u64,
    /// Append only if the log ends at this position.
    pub expected: Option<Position>,
}

/// A plain block of these records.
#[must_use]
pub fn build(records: &Records, origin: Origin) -> Bytes {
    build_with(Codec::None, None, records, origin)
}

/// A block of these records, compressed with `codec`, or plain if that does not make it
/// smaller. `level` only applies to zstd: -7 (fastest) to 22; `None` means 3.
///
/// The result has no spare capacity.
#[must_use]
pub fn build_with(codec: Codec, level: Option<i32>, records: &Records, origin: Origin) -> Bytes {
    let raw = records.bytes();
    let (codec, mut block) = match pack_behind(BLOCK_HEADER_BYTES, codec, level, raw) {
        Some(packed) => (codec, packed),
        None => (Codec::None, [&[0; BLOCK_HEADER_BYTES], &raw[..]].concat()),
    };
    let (header, body) = block.split_at_mut(BLOCK_HEADER_BYTES);
    header.copy_from_slice(&header_of(codec, records.count(), raw.len(), body, origin).encode().0);
    block.into()
}

/// The header of a block with this body: `count` records of `raw_bytes` in total, plain or
/// compressed with `codec`.
///
/// # Panics
/// For bodies of 4 GiB or more, which no block may have.
#[must_use]
pub fn header_of(
    codec: Codec,
    count: u32,
    raw_bytes: usize,
    body: &[u8],
    origin: Origin,
) -> Header {
    let size = |bytes: usize| u32::try_from(bytes).expect("records are at most about 1 GiB");
    Header {
        codec,
        flags: if origin.expected.is_some() { Flags::EXPECT_POSITION } else { Flags::NONE },
        count,
        body_size: size(body.len()),
        raw_size: size(raw_bytes),
        base_position: origin.expected.unwrap_or_default().0,
        producer_id: origin.producer_id,
        sequence: origin.sequence,
        producer_epoch: origin.producer_epoch,
        body_crc: crc32fast::hash(body),
        ..Header::default()
    }
}
