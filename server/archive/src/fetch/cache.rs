//! [`Cache`]: which chunk is in which slot, and which slot is given to another chunk.
//!
//! Chunks that were read since the last look get a second chance. Invariant: a slot that somebody
//! reads or waits for is not taken away.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::future::{BoxFuture, Shared};
use styx_engine::archive::{Entry, StoreError};

use super::slots::Slot;

/// A chunk of an archived segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChunkId {
    home: u128,
    base: u64,
    epoch: u32,
    pub(super) chunk: u64,
}

impl ChunkId {
    pub(super) fn new(entry: &Entry, chunk: u64) -> ChunkId {
        ChunkId { home: entry.home.0, base: entry.base.0, epoch: entry.epoch, chunk }
    }
}

/// A request for a chunk, for which any number of readers wait.
pub(super) type Loading = Shared<BoxFuture<'static, Result<Arc<Slot>, StoreError>>>;

enum State {
    Loading { loading: Loading, ahead: u64 },
    Ready { slot: Arc<Slot>, is_used: bool, ahead: u64 },
}

/// Where the chunks are.
#[derive(Default)]
pub(super) struct Cache {
    chunks: HashMap<ChunkId, State>,
    /// The chunks in slots, in the order in which they are looked at.
    order: VecDeque<ChunkId>,
}

/// A chunk in the cache, or the request for it.
pub(super) enum Found {
    Ready(Arc<Slot>),
    Loading(Loading),
}

impl Cache {
    /// The slot of a chunk, if the chunk is there. With it the number of chunks that were requested
    /// together with it ahead of a reader; 0 from the second call on.
    pub(super) fn ready(&mut self, id: ChunkId) -> Option<(Arc<Slot>, u64)> {
        match self.chunks.get_mut(&id)? {
            State::Ready { slot, is_used, ahead } => {
                *is_used = true;
                Some((slot.clone(), std::mem::take(ahead)))
            }
            State::Loading { .. } => None,
        }
    }

    /// The chunk, or the request for it, if there is one.
    pub(super) fn get(&mut self, id: ChunkId) -> Option<Found> {
        match self.chunks.get_mut(&id)? {
            State::Ready { slot, is_used, .. } => {
                *is_used = true;
                Some(Found::Ready(slot.clone()))
            }
            State::Loading { loading, .. } => Some(Found::Loading(loading.clone())),
        }
    }

    /// Whether the chunk is there or requested.
    pub(super) fn contains(&self, id: ChunkId) -> bool {
        self.chunks.contains_key(&id)
    }

    /// A request for a chunk has begun. `ahead` is the number of chunks that are requested with it
    /// ahead of a reader, or 0.
    pub(super) fn insert(&mut self, id: ChunkId, loading: Loading, ahead: u64) {
        self.chunks.insert(id, State::Loading { loading, ahead });
    }

    /// A request for a chunk has ended. Its slot is known from now on, unless it was distrusted.
    /// Without a slot, the request has failed.
    pub(super) fn loaded(&mut self, id: ChunkId, slot: Option<Arc<Slot>>) {
        let Some(State::Loading { ahead, .. }) = self.chunks.get(&id) else { return };
        let ahead = *ahead;
        match slot {
            Some(slot) => {
                self.chunks.insert(id, State::Ready { slot, is_used: false, ahead });
                self.order.push_back(id);
            }
            None => {
                self.chunks.remove(&id);
            }
        }
    }

    /// Forgets a chunk. Its slot is free when its readers are done.
    pub(super) fn forget(&mut self, id: ChunkId) {
        self.chunks.remove(&id);
        self.order.retain(|ordered| *ordered != id);
    }

    /// Forgets chunks of a large block, except those that somebody else reads.
    pub(super) fn forget_unused(&mut self, ids: &[ChunkId]) {
        for id in ids {
            if let Some(State::Ready { slot, .. }) = self.chunks.get(id)
                && Arc::strong_count(slot) == 1
            {
                self.chunks.remove(id);
            }
        }
        self.order.retain(|id| self.chunks.contains_key(id));
    }

    /// Frees one slot that nobody uses. Returns whether there was one.
    pub(super) fn free_one(&mut self) -> bool {
        // Everything is looked at twice: the first look only takes the second chance away.
        for _ in 0..2 * self.order.len() {
            let Some(id) = self.order.pop_front() else { return false };
            match self.chunks.get_mut(&id) {
                Some(State::Ready { slot, is_used, .. }) => {
                    if !*is_used && Arc::strong_count(slot) == 1 {
                        self.chunks.remove(&id);
                        return true;
                    }
                    *is_used = false;
                    self.order.push_back(id);
                }
                Some(State::Loading { .. }) | None => {}
            }
        }
        false
    }
}
