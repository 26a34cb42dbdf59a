//! The objects beside a segment: whether bytes are its index, or the producers at its end.

use super::Entry;
use crate::producers::ProducerTable;
use crate::segment::index;

/// Whether these bytes are a complete and intact index of an archived segment.
#[must_use]
pub fn is_index_of(bytes: &[u8], entry: &Entry) -> bool {
    index::check(bytes, entry.base, entry.bytes) == Some(entry.sealed())
}

/// Whether these bytes are an intact snapshot of the producers at the end of an archived segment.
#[must_use]
pub fn is_producers_of(bytes: &[u8], entry: &Entry) -> bool {
    let decoded = ProducerTable::decode(bytes);
    decoded.is_ok_and(|(_, seal_crc, end)| seal_crc == entry.seal_crc && end == entry.end)
}
