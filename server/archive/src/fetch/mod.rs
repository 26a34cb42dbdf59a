//! [`Fetch`]: reads archived segments from the store, in chunks of 1 MiB, through a cache on disk.
//!
//! ```text
//! read_cached ─▶ all chunks in slots? ─▶ bytes
//!            └─▶ first read of a chunk that was requested ahead: request the ones after it
//! fetch ─▶ for each chunk: in a slot │ already requested │ request ─▶ GET ─▶ slot ─▶ wake all
//!      └─▶ chunks ahead: requested too, but nobody waits for them
//! ```
//! Chunks that a reader waits for are one request if they are adjacent; chunks ahead are one each,
//! so that they come at the same time. A reader in order has up to 16 of them on their way.
//!
//! Requests run on the archive's runtime, so a reader's future works on every executor and holds no
//! thread. A block that fills a large part of the cache gets spare slots beyond it, while it is read.
//! Invariant: a chunk has one request at a time, however many readers want it. The bytes in
//! flight for all readers are bounded by the memory for reads, and no reader waits longer than the
//! deadline. The engine compares checksums; nothing here is trusted.

mod cache;
mod slots;

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use styx_engine::archive::{Entry, FetchResult, Kept, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use crate::keys;
use crate::store::{Error, Kind, Store};
use cache::{Cache, ChunkId, Found, Loading};
use slots::{CHUNK_BYTES, Slot, Slots};

/// The fewest slots: two windows of a reader in order.
const SLOTS_MIN: u64 = 32;

/// A range with more than this part of all chunks of the cache is large.
const LARGE_PART: usize = 16;

/// The most chunks that are requested ahead of one reader.
const AHEAD_MAX: u64 = 16;

/// The most chunks of one request.
const TOGETHER_MAX: u64 = 4;

/// Settings of reads.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The size of the cache on disk in bytes, at least 32 MiB. It takes more while a block is read
    /// that does not fit into it.
    pub cache_bytes: u64,
    /// The bytes of all chunks that are on their way at the same time, at least 1 MiB.
    pub memory_bytes: u64,
    /// How long a reader waits.
    pub deadline: Duration,
}

/// Reads archived segments.
#[derive(Clone)]
pub struct Fetch(Arc<Shared>);

struct Shared {
    store: Store,
    runtime: Handle,
    slots: Arc<Slots>,
    cache: Mutex<Cache>,
    /// One permit for each chunk on its way.
    memory: Semaphore,
    /// The number of permits.
    chunks_max: u32,
    deadline: Duration,
    hits: AtomicU64,
    misses: AtomicU64,
    missing: AtomicU64,
    /// Makes space on the disk of the cache.
    make_space: OnceLock<MakeSpace>,
}

/// A function that begins to make space on the disk, and does not wait for it.
type MakeSpace = Box<dyn Fn() + Send + Sync>;

/// The attempts to write a chunk on a full disk, and the pause between them.
const FULL_DISK_ATTEMPTS: u32 = 20;
const FULL_DISK_PAUSE: Duration = Duration::from_millis(200);

/// Numbers of the cache since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads that found all their bytes in the cache.
    pub hits: u64,
    /// Chunks that were requested from the store.
    pub misses: u64,
    /// Requests for objects that do not exist.
    pub missing: u64,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("store", self.0.store.location()).finish_non_exhaustive()
    }
}

impl Fetch {
    /// Creates the file of the cache, which has no name, in a directory.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn new(
        store: Store,
        runtime: Handle,
        directory: &Path,
        settings: &Settings,
    ) -> io::Result<Fetch> {
        let slots = (settings.cache_bytes / CHUNK_BYTES).max(SLOTS_MIN);
        let slots = Slots::create(directory, u32::try_from(slots).unwrap_or(u32::MAX))?;
        let chunks_max = u32::try_from(settings.memory_bytes / CHUNK_BYTES).unwrap_or(u32::MAX);
        let chunks_max = chunks_max.clamp(1, 1 << 20);
        Ok(Fetch(Arc::new(Shared {
            store,
            runtime,
            slots,
            cache: Mutex::default(),
            memory: Semaphore::new(chunks_max as usize),
            chunks_max,
            deadline: settings.deadline,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            make_space: OnceLock::new(),
        })))
    }

    /// Numbers of the cache since the start.
    pub fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Shared { hits, misses, missing, .. } = &*self.0;
        Stats { hits: load(hits), misses: load(misses), missing: load(missing) }
    }

    /// The length of the cache's file in bytes.
    ///
    /// # Errors
    /// The file cannot be examined.
    pub fn disk_bytes(&self) -> io::Result<u64> {
        self.0.slots.file_bytes()
    }

    /// See [`Depot::read_cached`](styx_engine::archive::Depot::read_cached). Reads the cache's file,
    /// but never waits for the store.
    pub fn read_cached(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> bool {
        let Some(end) = offset.checked_add(buffer.len() as u64) else { return false };
        let chunks = chunks(&(offset..end));
        let (slots, ahead) = {
            let mut cache = self.0.cache();
            let mut ahead = None;
            let slots: Option<Vec<Arc<Slot>>> = chunks
                .map(|chunk| {
                    let (slot, more) = cache.ready(ChunkId::new(entry, chunk))?;
                    ahead = (more > 0).then(|| Ahead { from: chunk + 1, chunks: more }).or(ahead);
                    Some(slot)
                })
                .collect();
            (slots, ahead)
        };
        // Before the read, so that the requests go on meanwhile.
        if let Some(ahead) = ahead {
            self.request_ahead(entry, ahead.grown());
        }
        let Some(slots) = slots else { return false };
        let (mut rest, mut at) = (buffer, offset);
        for slot in slots {
            let within = at % CHUNK_BYTES;
            let here = usize::try_from(CHUNK_BYTES - within).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(here);
            if slot.read(now, within).is_err() {
                return false;
            }
            (rest, at) = (later, at + here as u64);
        }
        self.0.hits.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// See [`Depot::fetch`](styx_engine::archive::Depot::fetch).
    pub fn fetch(&self, entry: &Entry, range: Range<u64>, ahead: u64) -> FetchResult {
        let wanted = chunks(&range);
        let ids: Vec<ChunkId> = wanted.clone().map(|chunk| ChunkId::new(entry, chunk)).collect();
        let room = match ids.len() > self.0.slots.count() / LARGE_PART {
            true => Room::Spare,
            false => Room::Cache,
        };
        let found = self.find(entry, wanted.clone(), room);
        let last = chunks(&(range.start..range.end.saturating_add(ahead))).end;
        let chunks = (last - wanted.end).min(AHEAD_MAX);
        self.request_ahead(entry, Ahead { from: wanted.end, chunks });
        let shared = self.0.clone();
        let (tell, told) = oneshot::channel();
        let deadline = self.0.deadline;
        self.0.runtime.spawn(async move {
            let slots = try_join_all(found.into_iter().map(async |found| match found {
                Found::Ready(slot) => Ok(slot),
                Found::Loading(loading) => loading.await,
            }));
            let result = match tokio::time::timeout(deadline, slots).await {
                Ok(slots) if room == Room::Spare => {
                    slots.map(|slots| Kept::new(LargeBlock { slots, ids, shared }))
                }
                Ok(slots) => slots.map(Kept::new),
                Err(_) => Err(StoreError::Unavailable(format!("no answer for {deadline:?}"))),
            };
            // Nobody may wait any more.
            let _ = tell.send(result);
        });
        Box::pin(async move {
            let stopped = || StoreError::Unavailable("the archive was stopped".to_owned());
            told.await.unwrap_or_else(|_| Err(stopped()))
        })
    }

    /// See [`Depot::distrust`](styx_engine::archive::Depot::distrust).
    pub fn distrust(&self, entry: &Entry, range: Range<u64>) {
        let mut cache = self.0.cache();
        for chunk in chunks(&range) {
            cache.forget(ChunkId::new(entry, chunk));
        }
    }

    /// Sets the function that is called if the cache cannot be written because the disk is full. Only
    /// the first call has an effect.
    pub fn on_full_disk(&self, make_space: impl Fn() + Send + Sync + 'static) {
        // A second function is not used.
        let _ = self.0.make_space.set(Box::new(make_space));
    }

    /// The chunks, or the requests for them. Adjacent ones for which there is no request are
    /// requested together.
    fn find(&self, entry: &Entry, chunks: Range<u64>, room: Room) -> Vec<Found> {
        let mut cache = self.0.cache();
        let mut found = Vec::new();
        let mut next = chunks.start;
        while next < chunks.end {
            if let Some(known) = cache.get(ChunkId::new(entry, next)) {
                found.push(known);
                next += 1;
                continue;
            }
            let most = chunks.end.min(next + TOGETHER_MAX);
            let is_known = |chunk: &u64| cache.contains(ChunkId::new(entry, *chunk));
            let end = (next + 1..most).find(is_known).unwrap_or(most);
            let loading = self.load(entry, next..end, room);
            for (chunk, loading) in (next..end).zip(loading) {
                cache.insert(ChunkId::new(entry, chunk), loading.clone(), 0);
                found.push(Found::Loading(loading));
            }
            next = end;
        }
        found
    }

    /// Requests chunks that a reader in order will want, and that nobody has requested. Each one
    /// knows that it was requested ahead.
    fn request_ahead(&self, entry: &Entry, ahead: Ahead) {
        let end = (ahead.from + ahead.chunks).min(entry.bytes.div_ceil(CHUNK_BYTES));
        let mut cache = self.0.cache();
        for chunk in ahead.from..end {
            let id = ChunkId::new(entry, chunk);
            if !cache.contains(id)
                && let Some(loading) = self.load(entry, chunk..chunk + 1, Room::Cache).pop()
            {
                // The request goes on without being awaited.
                cache.insert(id, loading, ahead.chunks);
            }
        }
    }

    /// Begins one request for these chunks.
    fn load(&self, entry: &Entry, chunks: Range<u64>, room: Room) -> Vec<Loading> {
        self.0.misses.fetch_add(chunks.end - chunks.start, Ordering::Relaxed);
        let (shared, entry, wanted) = (self.0.clone(), *entry, chunks.clone());
        let task = self.0.runtime.spawn(async move {
            let deadline = shared.deadline;
            let loaded =
                tokio::time::timeout(deadline, shared.load(&entry, wanted.clone(), room)).await;
            let result = loaded.unwrap_or_else(|_| {
                Err(StoreError::Unavailable(format!("no answer for {deadline:?}")))
            });
            if matches!(result, Err(StoreError::Missing)) {
                shared.missing.fetch_add(1, Ordering::Relaxed);
            }
            let mut cache = shared.cache();
            for (nth, chunk) in wanted.enumerate() {
                let slot = result.as_ref().ok().and_then(|slots| slots.get(nth)).cloned();
                cache.loaded(ChunkId::new(&entry, chunk), slot);
            }
            drop(cache);
            result
        });
        let stopped = |_| StoreError::Unavailable("the archive was stopped".to_owned());
        let all = async move { task.await.map_err(stopped).flatten() }.boxed().shared();
        let one = |nth: usize| {
            let all = all.clone();
            let lost = move || StoreError::Unavailable("the request was too short".to_owned());
            async move { all.await?.get(nth).cloned().ok_or_else(lost) }.boxed().shared()
        };
        (chunks.start..chunks.end).enumerate().map(|(nth, _)| one(nth)).collect()
    }
}

/// Chunks to request for a reader in order.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    from: u64,
    chunks: u64,
}

impl Ahead {
    /// Twice as many, up to the limit: the reader has used what was requested for it.
    fn grown(self) -> Ahead {
        Ahead { chunks: self.chunks.saturating_mul(2).min(AHEAD_MAX), ..self }
    }
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load(
        &self,
        entry: &Entry,
        chunks: Range<u64>,
        room: Room,
    ) -> Result<Arc<[Arc<Slot>]>, StoreError> {
        let closed = |_| StoreError::Unavailable("the archive was stopped".to_owned());
        let permits = u32::try_from(chunks.end - chunks.start).unwrap_or(u32::MAX);
        let permits = self.memory.acquire_many(permits.min(self.chunks_max));
        let _permits = permits.await.map_err(closed)?;
        let range = chunks.start * CHUNK_BYTES..entry.bytes.min(chunks.end * CHUNK_BYTES);
        let bytes =
            self.store.get_range(&keys::segment(entry), range).await.map_err(|e| reason(&e))?;
        let mut slots = Vec::new();
        for _ in chunks {
            slots.push(Arc::new(self.slot(room).await));
        }
        let slots: Arc<[Arc<Slot>]> = slots.into();
        let mut attempts = 0;
        loop {
            let (writing, bytes) = (slots.clone(), bytes.clone());
            let written = tokio::task::spawn_blocking(move || {
                let parts = bytes.chunks(usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX));
                writing.iter().zip(parts).try_for_each(|(slot, part)| slot.write(part))
            });
            match written.await.map_err(io::Error::other).flatten() {
                Ok(()) => return Ok(slots),
                Err(e) if is_full(&e) && attempts < FULL_DISK_ATTEMPTS => {
                    attempts += 1;
                    if let Some(make_space) = self.make_space.get() {
                        make_space();
                    }
                    tokio::time::sleep(FULL_DISK_PAUSE).await;
                }
                Err(e) => {
                    let why = format!("the cache cannot be written: {e}");
                    return Err(StoreError::Unavailable(why));
                }
            }
        }
    }

    /// A free slot. While all are in use, takes a spare one or waits.
    async fn slot(&self, room: Room) -> Slot {
        loop {
            let freed = self.slots.freed().notified();
            if let Some(slot) = self.slots.take() {
                return slot;
            }
            let is_freed = self.cache().free_one();
            if !is_freed && room == Room::Spare {
                return self.slots.take_spare();
            }
            if !is_freed {
                // A slot in use becomes evictable without a signal, so it is looked for again.
                let _ = tokio::time::timeout(Duration::from_millis(50), freed).await;
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Where a chunk may be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// Within the size of the cache.
    Cache,
    /// In a spare slot if the cache has none.
    Spare,
}

/// The chunks of a large block, which leave the cache when its reader has read them.
struct LargeBlock {
    slots: Vec<Arc<Slot>>,
    ids: Vec<ChunkId>,
    shared: Arc<Shared>,
}

impl Drop for LargeBlock {
    fn drop(&mut self) {
        self.slots.clear();
        self.shared.cache().forget_unused(&self.ids);
    }
}

/// The chunks with bytes of a range.
fn chunks(range: &Range<u64>) -> Range<u64> {
    range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES)
}

/// What a failed request means for a reader.
pub(crate) fn reason(error: &Error) -> StoreError {
    match error.kind {
        Kind::Missing => StoreError::Missing,
        Kind::Damaged => StoreError::Damaged(error.why.clone()),
        Kind::Condition | Kind::Denied | Kind::Unavailable | Kind::Invalid => {
            StoreError::Unavailable(error.to_string())
        }
    }
}
