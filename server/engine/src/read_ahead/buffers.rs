//! [`Buffers`]: a bounded number of buffers of huge pages, which are used again.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use memmap2::MmapMut;

use super::PIECE_BYTES;
use crate::commit::buffer_pool::{HUGE_PAGE_BYTES, map_huge_pages};
use crate::sync::lock;

/// See the module.
#[derive(Debug)]
pub(super) struct Buffers {
    state: Mutex<State>,
    count_max: usize,
}

#[derive(Debug, Default)]
struct State {
    unused: Vec<MmapMut>,
    in_use: usize,
}

/// A buffer of [`PIECE_BYTES`] bytes, aligned for direct reads. Dropping it returns it.
#[derive(Debug)]
pub(super) struct Buffer {
    buffers: Arc<Buffers>,
    /// `None` after the drop.
    pages: Option<MmapMut>,
    /// The offset of the boundary of a huge page.
    start: usize,
    len: usize,
}

impl Buffers {
    pub(super) fn new(count_max: usize) -> Buffers {
        Buffers { state: Mutex::default(), count_max }
    }

    /// Whether there is no buffer at all.
    pub(super) fn is_none(&self) -> bool {
        self.count_max == 0
    }

    /// Returns a buffer that was used before, if there is one.
    pub(super) fn acquire_used(self: &Arc<Buffers>) -> Option<Buffer> {
        let mut state = lock(&self.state);
        let pages = state.unused.pop()?;
        state.in_use += 1;
        drop(state);
        Some(self.buffer(pages))
    }

    /// Returns a new buffer, unless all are in use. Its memory costs more to fill than that of a
    /// used one.
    pub(super) fn acquire_new(self: &Arc<Buffers>) -> Option<Buffer> {
        {
            let mut state = lock(&self.state);
            if state.in_use + state.unused.len() >= self.count_max {
                return None;
            }
            state.in_use += 1;
        }
        let Some(pages) = map_huge_pages(PIECE_BYTES.div_ceil(HUGE_PAGE_BYTES)) else {
            lock(&self.state).in_use -= 1;
            return None;
        };
        Some(self.buffer(pages))
    }

    fn buffer(self: &Arc<Buffers>, pages: MmapMut) -> Buffer {
        let start = pages.as_ptr().align_offset(HUGE_PAGE_BYTES);
        Buffer { buffers: Arc::clone(self), pages: Some(pages), start, len: 0 }
    }

    /// Frees the memory of buffers that are not in use.
    pub(super) fn free_unused(&self) {
        let unused = std::mem::take(&mut lock(&self.state).unused);
        drop(unused);
    }

    /// Whether there is such memory.
    pub(super) fn has_unused(&self) -> bool {
        !lock(&self.state).unused.is_empty()
    }
}

impl Buffer {
    /// The bytes from `filled` on, to read into.
    pub(super) fn space(&mut self, filled: usize) -> &mut [u8] {
        let range = self.start + filled..self.start + PIECE_BYTES;
        self.pages.as_mut().and_then(|pages| pages.get_mut(range)).unwrap_or_default()
    }

    /// The first `len` bytes, to be shared. The buffer returns when the last reference is dropped.
    pub(super) fn into_bytes(mut self, len: usize) -> Bytes {
        self.len = len;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        let range = self.start..self.start + self.len;
        self.pages.as_ref().and_then(|pages| pages.get(range)).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pages) = self.pages.take() {
            let mut state = lock(&self.buffers.state);
            state.in_use -= 1;
            state.unused.push(pages);
        }
    }
}
