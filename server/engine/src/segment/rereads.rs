//! [`Rereads`]: whether a cold part of a segment is read so often that the page cache should
//! have it.
//!
//! ```text
//! reader of a cold part   1st, 2nd                3rd                    later ones
//! reads                   past the page cache     fills the page cache   from the page cache
//! ```
//!
//! One reader leaves nothing in the page cache, but many readers should not all need the disk. If
//! the part is cold again later, the page cache has no room for it. Then twice as many readers as
//! before go past it until one fills it.

use std::sync::Mutex;

use crate::sync::lock;

/// The cold reads before the first one that fills the page cache.
const COLD_READS: u8 = 2;
/// The cold reads between two that fill the page cache at most.
const COLD_READS_MAX: u8 = 128;

/// The cold reads of each part. Two bytes for each part that was read cold or is before one.
#[derive(Debug, Default)]
pub(crate) struct Rereads(Mutex<Vec<Part>>);

#[derive(Debug, Clone, Copy)]
struct Part {
    /// The cold reads that will go past the page cache.
    left: u8,
    /// How many they will be after the next fill.
    next: u8,
}

impl Rereads {
    /// Notes that a reader begins to read this part, which is not in the page cache. Returns
    /// whether this reader should fill the page cache.
    pub(crate) fn begin(&self, part: u64) -> bool {
        let Ok(index) = usize::try_from(part) else { return false };
        let mut parts = lock(&self.0);
        if parts.len() <= index {
            parts.resize(index + 1, Part { left: COLD_READS, next: COLD_READS * 2 });
        }
        let Some(part) = parts.get_mut(index) else { return false };
        if part.left > 0 {
            part.left -= 1;
            return false;
        }
        *part = Part { left: part.next, next: part.next.saturating_mul(2).min(COLD_READS_MAX) };
        true
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn third_cold_read_fills_the_page_cache_and_later_ones_more_rarely() {
        let rereads = Rereads::default();
        let fills: Vec<usize> = (1..=600).filter(|_| rereads.begin(3)).collect();
        // Between them, there are 2, 4, 8 … 128 others.
        assert_eq!(fills, [3, 8, 17, 34, 67, 132, 261, 390, 519]);
        assert!(!rereads.begin(2), "parts are counted one by one");
    }
}
