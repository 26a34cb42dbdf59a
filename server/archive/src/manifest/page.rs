//! A page: up to 4,096 entries that no longer change, in an object of their own.
//!
//! ```text
//! "STXP" | crc: u32 | version: u32 | entries: u32 count, 80 bytes each
//! ```

use bytes::Bytes;
use styx_engine::archive::{ENTRY_BYTES, Encoder, Entry, Fields};

use super::{Unusable, are_contiguous};

const MAGIC: [u8; 4] = *b"STXP";
const VERSION: u32 = 1;

/// The number of entries in a full page.
pub const ENTRIES: usize = 4096;

/// The size of a full page in bytes.
pub const BYTES_MAX: u64 = 16 + (ENTRIES * ENTRY_BYTES) as u64;

/// Encodes at most [`ENTRIES`] entries.
pub fn encode(entries: &[Entry]) -> Bytes {
    let mut encoder = Encoder::new(MAGIC, VERSION);
    encoder.count(entries.len());
    for entry in entries {
        encoder.put(entry.encode());
    }
    encoder.finish().into()
}

/// Decodes a page.
///
/// # Errors
/// The bytes are damaged, or a newer version of Styx wrote them.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, Unusable> {
    let (version, mut fields) = Fields::open(bytes, MAGIC).ok_or(Unusable::Damaged)?;
    if version != VERSION {
        return Err(Unusable::Newer(version));
    }
    let entries = fields
        .items(ENTRIES, ENTRY_BYTES, |fields| Entry::decode(&fields.take()?))
        .ok_or(Unusable::Damaged)?;
    match fields.is_at_end() && !entries.is_empty() && are_contiguous(&entries) {
        true => Ok(entries),
        false => Err(Unusable::Damaged),
    }
}
