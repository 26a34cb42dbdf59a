//! [`GroupBuffer`]: the memory in which a group is built, written and then read.
//!
//! ```text
//! BufferPool ─acquire─▶ GroupBuffer ─▶ Bytes: written, in the tail, with readers ─▶ last one dropped
//!     ▲                                                                                  │
//!     └── kept for the next group while groups of this size are written ─────────────────┘
//! ```
//!
//! A disk receives memory in physically contiguous pieces. A large group in 4 KiB pages
//! consists of about a thousand pieces; in huge pages it has three, and is written about 1.5
//! times as fast (docs/decisions/0017-large-groups-in-huge-pages.md). Small groups use ordinary
//! memory. So does a large group when the system has no huge pages: nothing here fails.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use memmap2::MmapMut;

use crate::sync::lock;

/// The size of a huge page on every processor whose ordinary pages have 4 KiB.
pub(crate) const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Huge pages of the largest buffer.
const HUGE_PAGES_MAX: usize = 2;
/// The largest group that is built in huge pages.
pub(crate) const BUFFER_BYTES_MAX: usize = HUGE_PAGES_MAX * HUGE_PAGE_BYTES;
/// Free buffers that are kept, per size.
const FREE_BUFFERS_MAX: usize = 4;

/// The free buffers of all logs.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Indexed by the size in huge pages, minus 1.
    free: [Vec<MmapMut>; HUGE_PAGES_MAX],
    /// A buffer was acquired since the last call of `free_unused`.
    used_since_tick: bool,
    /// A buffer was acquired since the last call of `free_unused` or in the interval before it.
    is_active: bool,
}

/// See the module. It is filled from the front, like a `Vec`.
#[derive(Debug)]
pub(crate) struct GroupBuffer(Backing);

#[derive(Debug)]
enum Backing {
    Heap(Vec<u8>),
    Huge(HugePages),
}

/// Huge pages that return to the pool when they are dropped.
#[derive(Debug)]
struct HugePages {
    pool: Arc<BufferPool>,
    /// `None` after the drop.
    pages: Option<MmapMut>,
    /// The offset of the first huge page boundary.
    start: usize,
    capacity: usize,
    filled: usize,
}

impl BufferPool {
    /// A buffer for about `bytes` bytes. It can grow beyond them.
    pub(crate) fn acquire(self: &Arc<BufferPool>, bytes: usize) -> GroupBuffer {
        let pages = bytes.div_ceil(HUGE_PAGE_BYTES);
        // A group that would use less than half of its huge pages goes into ordinary memory.
        let is_worth_it = bytes >= HUGE_PAGE_BYTES / 2 && pages <= HUGE_PAGES_MAX;
        let huge = is_worth_it.then(|| self.acquire_pages(pages)).flatten();
        GroupBuffer(huge.map_or_else(|| Backing::Heap(Vec::with_capacity(bytes)), Backing::Huge))
    }

    fn acquire_pages(self: &Arc<BufferPool>, count: usize) -> Option<HugePages> {
        let free = {
            let mut state = lock(&self.state);
            (state.used_since_tick, state.is_active) = (true, true);
            state.free.get_mut(count - 1)?.pop()
        };
        let pages = free.or_else(|| map_huge_pages(count))?;
        let start = pages.as_ptr().align_offset(HUGE_PAGE_BYTES);
        let capacity = count * HUGE_PAGE_BYTES;
        Some(HugePages { pool: Arc::clone(self), pages: Some(pages), start, capacity, filled: 0 })
    }

    /// Keeps returned pages, unless groups of this kind are no longer written.
    fn release(&self, pages: MmapMut, count: usize) {
        let mut state = lock(&self.state);
        let is_active = state.is_active;
        match state.free.get_mut(count - 1) {
            Some(free) if is_active && free.len() < FREE_BUFFERS_MAX => free.push(pages),
            Some(_) | None => drop(state),
        }
    }

    /// Frees the kept pages if no buffer was acquired since the last call. To be called about once
    /// a second.
    pub(crate) fn free_unused(&self) {
        let unused = {
            let mut state = lock(&self.state);
            state.is_active = std::mem::take(&mut state.used_since_tick);
            if state.is_active {
                return;
            }
            std::mem::take(&mut state.free)
        };
        drop(unused);
    }

    /// Whether pages may be kept, so that [`free_unused`](Self::free_unused) must be called.
    pub(crate) fn is_active(&self) -> bool {
        lock(&self.state).is_active
    }
}

/// Maps `count` huge pages of zeros, plus one to align them. If the system has no huge pages,
/// these are ordinary pages.
pub(crate) fn map_huge_pages(count: usize) -> Option<MmapMut> {
    let pages = MmapMut::map_anon((count + 1) * HUGE_PAGE_BYTES).ok()?;
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some(pages)
}

impl GroupBuffer {
    /// Appends bytes.
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Backing::Heap(vec) => vec.extend_from_slice(bytes),
            Backing::Huge(huge) => {
                if !huge.push(bytes) {
                    let mut vec = Vec::with_capacity(huge.filled + bytes.len());
                    vec.extend_from_slice(huge.as_ref());
                    vec.extend_from_slice(bytes);
                    self.0 = Backing::Heap(vec);
                }
            }
        }
    }

    /// Bytes of memory that the buffer occupies.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.0 {
            Backing::Heap(vec) => vec.len(),
            Backing::Huge(huge) => huge.capacity,
        }
    }

    /// The content, to be shared. The pages return to the pool when the last reference is dropped.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self.0 {
            Backing::Heap(vec) => Bytes::from(vec),
            Backing::Huge(huge) => Bytes::from_owner(huge),
        }
    }
}

impl Deref for GroupBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Backing::Heap(vec) => vec,
            Backing::Huge(huge) => huge.as_ref(),
        }
    }
}

impl DerefMut for GroupBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Backing::Heap(vec) => vec,
            Backing::Huge(huge) => {
                let filled = huge.start..huge.start + huge.filled;
                huge.pages.as_mut().and_then(|pages| pages.get_mut(filled)).unwrap_or_default()
            }
        }
    }
}

impl HugePages {
    /// Appends bytes if they fit; returns `false` otherwise.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let filled = self.filled + bytes.len();
        if filled > self.capacity {
            return false;
        }
        let begins = self.start + self.filled;
        let Some(free) =
            self.pages.as_mut().and_then(|pages| pages.get_mut(begins..begins + bytes.len()))
        else {
            return false;
        };
        free.copy_from_slice(bytes);
        self.filled = filled;
        true
    }
}

impl AsRef<[u8]> for HugePages {
    fn as_ref(&self) -> &[u8] {
        let filled = self.start..self.start + self.filled;
        self.pages.as_ref().and_then(|pages| pages.get(filled)).unwrap_or_default()
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Some(pages) = self.pages.take() {
            self.pool.release(pages, self.capacity / HUGE_PAGE_BYTES);
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    /// `len` bytes that differ for each `seed`.
    fn some(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from((i * 31 + seed) % 251).expect("a byte")).collect()
    }

    fn free(pool: &BufferPool) -> usize {
        lock(&pool.state).free.iter().map(Vec::len).sum()
    }

    #[test]
    fn both_kinds_of_memory_return_the_bytes_unchanged() {
        for expected in [0, 100, 1 << 20, 2 << 20, (2 << 20) + 1, 4 << 20, 5 << 20] {
            let pool = Arc::<BufferPool>::default();
            let mut buffer = pool.acquire(expected);
            let pieces = [some(700, 1), some(expected / 2, 2), some(expected / 3, 3)];
            pieces.iter().for_each(|piece| buffer.extend_from_slice(piece));
            buffer[650..750.min(700 + expected / 2)].fill(9);
            let mut all = pieces.concat();
            all[650..750.min(700 + expected / 2)].fill(9);
            assert_eq!(*buffer, *all);
            assert!(buffer.held_bytes() >= all.len());
            assert_eq!(buffer.into_bytes(), all);
        }
    }

    #[test]
    fn huge_pages_are_used_if_at_least_half_full() {
        let pool = Arc::<BufferPool>::default();
        let held = |bytes| {
            let buffer = pool.acquire(bytes);
            matches!(buffer.0, Backing::Huge(_)).then(|| buffer.held_bytes())
        };
        assert_eq!(held((1 << 20) - 1), None);
        assert_eq!(held(1 << 20), Some(2 << 20));
        assert_eq!(held(2 << 20), Some(2 << 20));
        assert_eq!(held((2 << 20) + 1), Some(4 << 20));
        assert_eq!(held(BUFFER_BYTES_MAX), Some(BUFFER_BYTES_MAX));
        assert_eq!(held(BUFFER_BYTES_MAX + 1), None);
        let buffer = pool.acquire(BUFFER_BYTES_MAX);
        assert_eq!(buffer.as_ptr().align_offset(HUGE_PAGE_BYTES), 0);
    }

    #[test]
    fn a_buffer_that_outgrows_its_pages_moves_to_the_heap() {
        let pool = Arc::<BufferPool>::default();
        let mut buffer = pool.acquire(BUFFER_BYTES_MAX);
        let (first, second) = (some(BUFFER_BYTES_MAX - 1, 1), some(2, 2));
        buffer.extend_from_slice(&first);
        buffer.extend_from_slice(&second);
        assert_eq!(*buffer, *[first, second].concat());
        assert_eq!(buffer.held_bytes(), BUFFER_BYTES_MAX + 1);
        assert_eq!(free(&pool), 1, "the pages are free again");
    }

    #[test]
    fn pages_are_reused_only_after_the_last_reader_is_gone() {
        let pool = Arc::<BufferPool>::default();
        let mut buffer = pool.acquire(BUFFER_BYTES_MAX);
        buffer.extend_from_slice(&some(BUFFER_BYTES_MAX, 1));
        let at = buffer.as_ptr();
        let whole = buffer.into_bytes();
        let part = whole.slice(1000..2000);
        drop(whole);
        let mut other = pool.acquire(BUFFER_BYTES_MAX);
        assert_ne!(other.as_ptr(), at);
        other.extend_from_slice(&some(BUFFER_BYTES_MAX, 7));
        assert_eq!(part, some(BUFFER_BYTES_MAX, 1)[1000..2000]);
        drop(part);
        let again = pool.acquire(BUFFER_BYTES_MAX);
        assert_eq!(again.as_ptr(), at);
        assert!(again.is_empty(), "nothing of the one before is seen");
    }

    #[test]
    fn unused_pages_are_freed() {
        let pool = Arc::<BufferPool>::default();
        assert!(!pool.is_active());
        let late = pool.acquire(BUFFER_BYTES_MAX);
        drop(pool.acquire(BUFFER_BYTES_MAX));
        assert_eq!(free(&pool), 1);
        pool.free_unused();
        assert!(pool.is_active() && free(&pool) == 1, "it was used since the look before");
        pool.free_unused();
        assert!(!pool.is_active() && free(&pool) == 0);
        drop(late);
        assert_eq!(free(&pool), 0, "who comes late is not kept");
    }

    #[test]
    fn at_most_four_buffers_of_a_size_are_kept() {
        let pool = Arc::<BufferPool>::default();
        let many: Vec<GroupBuffer> =
            (0..3 * FREE_BUFFERS_MAX).map(|_| pool.acquire(BUFFER_BYTES_MAX)).collect();
        drop(many);
        assert_eq!(free(&pool), FREE_BUFFERS_MAX);
    }
}
