//! [`Room`]: the memory in which a group is built, and from which it is written and read.
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
const PAGES_MAX: usize = 2;
/// The largest group for which there are huge pages.
pub(crate) const ROOM_BYTES_MAX: usize = PAGES_MAX * HUGE_PAGE_BYTES;
/// Rooms of each size that are kept.
const FREE_MAX: usize = 4;

/// Rooms that are free, for all logs.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By their size in huge pages, from 1 on.
    free: [Vec<MmapMut>; PAGES_MAX],
    /// Lent since the last look.
    was_used: bool,
    /// Lent since the last look or the one before it.
    is_warm: bool,
}

/// See the module. To be filled from the front, as a `Vec` is.
#[derive(Debug)]
pub(crate) struct Room(Memory);

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    Huge(Lent),
}

/// Huge pages, on their way back when it is dropped.
#[derive(Debug)]
struct Lent {
    rooms: Arc<Rooms>,
    /// `None` once it is dropped.
    pages: Option<MmapMut>,
    /// Where the first huge page begins.
    from: usize,
    room_bytes: usize,
    filled: usize,
}

impl Rooms {
    /// Room for so many bytes, which may still grow beyond them.
    pub(crate) fn lend(self: &Arc<Rooms>, bytes: usize) -> Room {
        let pages = bytes.div_ceil(HUGE_PAGE_BYTES);
        // At least half of what it takes is used.
        let is_worth_it = bytes >= HUGE_PAGE_BYTES / 2 && pages <= PAGES_MAX;
        let huge = is_worth_it.then(|| self.lend_pages(pages)).flatten();
        Room(huge.map_or_else(|| Memory::Heap(Vec::with_capacity(bytes)), Memory::Huge))
    }

    fn lend_pages(self: &Arc<Rooms>, count: usize) -> Option<Lent> {
        let free = {
            let mut state = lock(&self.state);
            (state.was_used, state.is_warm) = (true, true);
            state.free.get_mut(count - 1)?.pop()
        };
        let pages = free.or_else(|| map(count))?;
        let from = pages.as_ptr().align_offset(HUGE_PAGE_BYTES);
        let room_bytes = count * HUGE_PAGE_BYTES;
        Some(Lent { rooms: Arc::clone(self), pages: Some(pages), from, room_bytes, filled: 0 })
    }

    /// Keeps what came back, unless nobody asks for such any more.
    fn take_back(&self, pages: MmapMut, count: usize) {
        let mut state = lock(&self.state);
        let is_warm = state.is_warm;
        match state.free.get_mut(count - 1) {
            Some(free) if is_warm && free.len() < FREE_MAX => free.push(pages),
            Some(_) | None => drop(state),
        }
    }

    /// To be called once a second or so: what nobody asked for between two calls is
    /// given back.
    pub(crate) fn look(&self) {
        let unused = {
            let mut state = lock(&self.state);
            state.is_warm = std::mem::take(&mut state.was_used);
            if state.is_warm {
                return;
            }
            std::mem::take(&mut state.free)
        };
        drop(unused);
    }

    /// Whether something may be kept, and [`look`](Self::look) is to be called.
    pub(crate) fn is_warm(&self) -> bool {
        lock(&self.state).is_warm
    }
}

/// So many huge pages of zeros, and what it takes to begin at a boundary of them. Where
/// there are none it is ordinary ones.
fn map(count: usize) -> Option<MmapMut> {
    let pages = MmapMut::map_anon((count + 1) * HUGE_PAGE_BYTES).ok()?;
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some(pages)
}

impl Room {
    /// Adds bytes at the end.
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Memory::Heap(vec) => vec.extend_from_slice(bytes),
            Memory::Huge(lent) => {
                if !lent.push(bytes) {
                    let mut vec = Vec::with_capacity(lent.filled + bytes.len());
                    vec.extend_from_slice(lent.as_ref());
                    vec.extend_from_slice(bytes);
                    self.0 = Memory::Heap(vec);
                }
            }
        }
    }

    /// What it takes of memory.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.0 {
            Memory::Heap(vec) => vec.len(),
            Memory::Huge(lent) => lent.room_bytes,
        }
    }

    /// What was put in, to be shared. The room is free again when all of it is gone.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self.0 {
            Memory::Heap(vec) => Bytes::from(vec),
            Memory::Huge(lent) => Bytes::from_owner(lent),
        }
    }
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::Heap(vec) => vec,
            Memory::Huge(lent) => lent.as_ref(),
        }
    }
}

impl DerefMut for Room {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Memory::Heap(vec) => vec,
            Memory::Huge(lent) => {
                let filled = lent.from..lent.from + lent.filled;
                lent.pages.as_mut().and_then(|pages| pages.get_mut(filled)).unwrap_or_default()
            }
        }
    }
}

impl Lent {
    /// Adds bytes, if there is room for them.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let filled = self.filled + bytes.len();
        if filled > self.room_bytes {
            return false;
        }
        let begins = self.from + self.filled;
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

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        let filled = self.from..self.from + self.filled;
        self.pages.as_ref().and_then(|pages| pages.get(filled)).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(pages) = self.pages.take() {
            self.rooms.take_back(pages, self.room_bytes / HUGE_PAGE_BYTES);
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

    fn free(rooms: &Rooms) -> usize {
        lock(&rooms.state).free.iter().map(Vec::len).sum()
    }

    #[test]
    fn bytes_come_out_as_they_were_put_in_whatever_memory_it_is() {
        for expected in [0, 100, 1 << 20, 2 << 20, (2 << 20) + 1, 4 << 20, 5 << 20] {
            let rooms = Arc::<Rooms>::default();
            let mut room = rooms.lend(expected);
            let pieces = [some(700, 1), some(expected / 2, 2), some(expected / 3, 3)];
            pieces.iter().for_each(|piece| room.extend_from_slice(piece));
            room[650..750.min(700 + expected / 2)].fill(9);
            let mut all = pieces.concat();
            all[650..750.min(700 + expected / 2)].fill(9);
            assert_eq!(*room, *all);
            assert!(room.held_bytes() >= all.len());
            assert_eq!(room.into_bytes(), all);
        }
    }

    #[test]
    fn large_groups_are_in_pages_of_which_they_use_at_least_half() {
        let rooms = Arc::<Rooms>::default();
        let held = |bytes| {
            let room = rooms.lend(bytes);
            matches!(room.0, Memory::Huge(_)).then(|| room.held_bytes())
        };
        assert_eq!(held((1 << 20) - 1), None);
        assert_eq!(held(1 << 20), Some(2 << 20));
        assert_eq!(held(2 << 20), Some(2 << 20));
        assert_eq!(held((2 << 20) + 1), Some(4 << 20));
        assert_eq!(held(ROOM_BYTES_MAX), Some(ROOM_BYTES_MAX));
        assert_eq!(held(ROOM_BYTES_MAX + 1), None);
        let room = rooms.lend(ROOM_BYTES_MAX);
        assert_eq!(room.as_ptr().align_offset(HUGE_PAGE_BYTES), 0);
    }

    #[test]
    fn what_becomes_larger_than_its_room_moves_out_whole() {
        let rooms = Arc::<Rooms>::default();
        let mut room = rooms.lend(ROOM_BYTES_MAX);
        let (first, second) = (some(ROOM_BYTES_MAX - 1, 1), some(2, 2));
        room.extend_from_slice(&first);
        room.extend_from_slice(&second);
        assert_eq!(*room, *[first, second].concat());
        assert_eq!(room.held_bytes(), ROOM_BYTES_MAX + 1);
        assert_eq!(free(&rooms), 1, "the pages are free again");
    }

    #[test]
    fn a_room_is_lent_again_when_its_last_reader_is_gone_and_not_before() {
        let rooms = Arc::<Rooms>::default();
        let mut room = rooms.lend(ROOM_BYTES_MAX);
        room.extend_from_slice(&some(ROOM_BYTES_MAX, 1));
        let at = room.as_ptr();
        let whole = room.into_bytes();
        let part = whole.slice(1000..2000);
        drop(whole);
        let mut other = rooms.lend(ROOM_BYTES_MAX);
        assert_ne!(other.as_ptr(), at);
        other.extend_from_slice(&some(ROOM_BYTES_MAX, 7));
        assert_eq!(part, some(ROOM_BYTES_MAX, 1)[1000..2000]);
        drop(part);
        let again = rooms.lend(ROOM_BYTES_MAX);
        assert_eq!(again.as_ptr(), at);
        assert!(again.is_empty(), "nothing of the one before is seen");
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_given_back() {
        let rooms = Arc::<Rooms>::default();
        assert!(!rooms.is_warm());
        let late = rooms.lend(ROOM_BYTES_MAX);
        drop(rooms.lend(ROOM_BYTES_MAX));
        assert_eq!(free(&rooms), 1);
        rooms.look();
        assert!(rooms.is_warm() && free(&rooms) == 1, "it was used since the look before");
        rooms.look();
        assert!(!rooms.is_warm() && free(&rooms) == 0);
        drop(late);
        assert_eq!(free(&rooms), 0, "who comes late is not kept");
    }

    #[test]
    fn few_are_kept_however_many_were_lent() {
        let rooms = Arc::<Rooms>::default();
        let many: Vec<Room> = (0..3 * FREE_MAX).map(|_| rooms.lend(ROOM_BYTES_MAX)).collect();
        drop(many);
        assert_eq!(free(&rooms), FREE_MAX);
    }
}
