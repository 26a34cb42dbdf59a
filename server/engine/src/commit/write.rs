//! Writing the bytes of a group, through the page cache or past it.

use super::failure::Failure;
use crate::segment::name::Offset;
use crate::storage::{DIRECT_ALIGNMENT, File, write_all_at, write_all_direct_at};

/// Writes all of `bytes` at `offset`.
pub(crate) fn write(file: &dyn File, bytes: &[u8], offset: Offset) -> Result<(), Failure> {
    write_all_at(file, bytes, offset).map_err(|(error, written)| match written {
        0 => Failure::before_writing("a write", &error),
        _ => Failure::broken("a write", &error),
    })
}

/// Like [`write`], but past the page cache from the first boundary on. The filler before the
/// boundary shares its page with earlier bytes, so it goes through the page cache.
pub(crate) fn write_aligned(file: &dyn File, bytes: &[u8], offset: Offset) -> Result<(), Failure> {
    let boundary = offset.next_multiple_of(DIRECT_ALIGNMENT as u64);
    let ahead = usize::try_from(boundary - offset).unwrap_or_default().min(bytes.len());
    let (filler, rest) = bytes.split_at(ahead);
    let whole_pages = rest.len().is_multiple_of(DIRECT_ALIGNMENT);
    if !whole_pages || rest.as_ptr().align_offset(DIRECT_ALIGNMENT) != 0 {
        return write(file, bytes, offset);
    }
    write(file, filler, offset)?;
    write_all_direct_at(file, rest, boundary).map_err(|(error, written)| match ahead + written {
        0 => Failure::before_writing("a write", &error),
        _ => Failure::broken("a write", &error),
    })
}
