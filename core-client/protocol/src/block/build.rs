//! Blocks as a producer sends them: the server's fields are 0.

use bytes::Bytes;

use super::{Codec, Flags, Header};
pub use crate::codec::pack_behind;
use crate::limits::BLOCK_HEADER_BYTES;
use crate::{Position, Records};

/// Whose block it is, and where it must go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// The producer; 0 is none.
    pub producer_id: u64,
    /// The producer's epoch.
    pub producer_epoch: u32,
    /// Number of the first record in the producer's stream.
    pub sequence: u64,
    /// Append only if the log ends here.
    pub expected: Option<Position>,
}

/// A block of these records, plain.
#[must_use]
pub fn build(records: &Records, origin: Origin) -> Bytes {
    build_with(Codec::None, None, records, origin)
}

/// A block of these records, packed by `codec`, or plain when that would be no
/// smaller. `level` is for zstd alone: -7 (fastest) to 22, 3 when `None`.
///
/// The result has no spare capacity: it costs the memory it is long.
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

/// The header of a block whose body is made: `count` records of `raw_bytes` in all, as
/// they are or packed by `codec`.
///
/// # Panics
/// For bodies of 4 GiB and more, which are no block's.
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
