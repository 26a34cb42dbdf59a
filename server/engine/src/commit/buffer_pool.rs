//! [`GroupBuffer`]: the memory in which a group is built, and from which it is written and read.
//!
//! ```text
//! Rooms ─lend─▶ Room ─▶ a group's bytes: written, in the tail, with readers ─▶ the last one is gone
//!   ▲                                                                               │
//!   └── kept for the next group, as long as there are some ─────────────────────────┘
//! ```
//!
//! A disk is handed memory in pieces that lie together physically. In pages of 4 KiB a
//! large group is a thousand of them; in huge pages it is three, and is written half as
//! fast again (docs/decisions/0017-large-groups-in-huge-pages.md). Small groups are in
//! ordinary memory, and so is whatever cannot be had as huge pages: nothing here fails.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use memmap2::MmapMut;

use crate::wait::lock;

/// What the processor calls a huge page, on all that have 4 KiB for ordinary ones.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Huge pages of the largest room.
const HUGE_PAGES_MAX: usize = 2;
/// The largest group for which there are huge pages.
pub(crate) const BUFFER_BYTES_MAX: usize = HUGE_PAGES_MAX * HUGE_PAGE_BYTES;
/// Rooms of each size that are kept.
const FREE_BUFFERS_MAX: usize = 4;

/// Rooms that are free, for all logs.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By their size in huge pages, from 1 on.
    free: [Vec<MmapMut>; HUGE_PAGES_MAX],
    /// Lent since the last look.
    used_since_tick: bool,
    /// Lent since the last look or the one before it.
    is_active: bool,
}

/// See the module. To be filled from the front, as a `Vec` is.
#[derive(Debug)]
pub(crate) struct GroupBuffer(Backing);

#[derive(Debug)]
enum Backing {
    Heap(Vec<u8>),
    Huge(HugePages),
}

/// Huge pages, on their way back when it is dropped.
#[derive(Debug)]
struct HugePages {
    pool: Arc<BufferPool>,
    /// `None` once it is dropped.
    pages: Option<MmapMut>,
    /// Where the first huge page begins.
    start: usize,
    capacity: usize,
    filled: usize,
}

impl BufferPool {
    /// Room for so many bytes, which may still grow beyond them.
    pub(crate) fn acquire(self: &Arc<BufferPool>, bytes: usize) -> GroupBuffer {
        let pages = bytes.div_ceil(HUGE_PAGE_BYTES);
        // At least half of what it takes is used.
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

    /// Keeps what came back, unless nobody asks for such any more.
    fn release(&self, pages: MmapMut, count: usize) {
        let mut state = lock(&self.state);
        let is_active = state.is_active;
        match state.free.get_mut(count - 1) {
            Some(free) if is_active && free.len() < FREE_BUFFERS_MAX => free.push(pages),
            Some(_) | None => drop(state),
        }
    }

    /// To be called once a second or so: what nobody asked for between two calls is
    /// given back.
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

    /// Whether something may be kept, and [`free_unused`](Self::look) is to be called.
    pub(crate) fn is_active(&self) -> bool {
        lock(&self.state).is_active
    }
}

/// So many huge pages of zeros, and what it takes to begin at a boundary of them. Where
/// there are none it is ordinary ones.
fn map_huge_pages(count: usize) -> Option<MmapMut> {
    let pages = MmapMut::map_anon((count + 1) * HUGE_PAGE_BYTES).ok()?;
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some(pages)
}

impl GroupBuffer {
    /// Adds bytes at the end.
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

    /// What it takes of memory.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.0 {
            Backing::Heap(vec) => vec.len(),
            Backing::Huge(huge) => huge.capacity,
        }
    }

    /// What was put in, to be shared. The room is free again when all of it is gone.
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
    /// Adds bytes, if there is room for them.
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Some bytes, different ones for each `seed`.
    fn some(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from((i * 31 + seed) % 251).expect("a byte")).collect()
    }

    fn free(pool: &BufferPool) -> usize {
        lock(&pool.state).free.iter().map(Vec::len).sum()
    }

    #[test]
    fn bytes_come_out_as_they_were_put_in_whatever_memory_it_is() {
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
    fn large_groups_are_in_pages_of_which_they_use_at_least_half() {
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
    fn what_becomes_larger_than_its_room_moves_out_whole() {
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
    fn a_room_is_lent_again_when_its_last_reader_is_gone_and_not_before() {
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
    fn what_nobody_asks_for_any_more_is_given_back() {
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
    fn few_are_kept_however_many_were_lent() {
        let pool = Arc::<BufferPool>::default();
        let many: Vec<GroupBuffer> =
            (0..3 * FREE_BUFFERS_MAX).map(|_| pool.acquire(BUFFER_BYTES_MAX)).collect();
        drop(many);
        assert_eq!(free(&pool), FREE_BUFFERS_MAX);
    }
}
