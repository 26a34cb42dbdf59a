//! [`ReadAhead`]: pieces of files that are not in the page cache, for readers of many records.
//!
//! ```text
//! file      |  piece 0  |  piece 1  |  piece 2  |  piece 3  |       4 MiB each
//! reader         ▲ uses       ready     is read                     by two threads
//! ```
//!
//! Filling the page cache is slow on virtual machines that return free memory to their host. So
//! pieces are read past it (`O_DIRECT`), into buffers that are used again and again, while earlier
//! pieces are sent. All readers share the pieces and their memory: readers of the same piece wait
//! for one read. A few pieces that were used stay for readers that are a little behind. Pieces that
//! nobody uses for about a second are freed.
//!
//! Nothing here checks the bytes, and nothing fails: without memory, or after an error, the caller
//! reads the file itself.

mod buffers;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;

use self::buffers::Buffers;
use crate::commit::thread_pool::{Job, ThreadPool};
use crate::segment::name::Offset;
use crate::storage::{DIRECT_ALIGNMENT, File};
use crate::sync::lock;

/// The size of a piece: 4 MiB, two huge pages. A block at a boundary of two pieces is copied.
pub(crate) const PIECE_BYTES: usize = 4 << 20;
/// Threads that read pieces before a reader asks for them.
const THREADS_MAX: usize = 2;
/// Pieces that were used and stay nevertheless, before new memory is filled.
const USED_KEPT: usize = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    shared: Arc<Shared>,
    /// `None` in an engine without threads, which reads nothing in advance.
    threads: Option<ThreadPool>,
}

/// A piece of a file, as far as the file is readable.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) file: Arc<dyn File>,
    /// Its offset in pieces.
    pub(crate) index: u64,
    /// Its length in bytes; less than [`PIECE_BYTES`] only at the end of the file.
    pub(crate) len: usize,
}

impl Piece {
    fn offset(&self) -> Offset {
        self.index * PIECE_BYTES as u64
    }
}

/// Whether a piece is in memory.
#[derive(Debug)]
pub(crate) enum Lookup {
    Ready(Bytes),
    /// Another thread is reading it.
    Reading,
    Absent,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A piece is no longer being read.
    read: Condvar,
    buffers: Arc<Buffers>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<OpenFile>,
    /// The number of uses so far, which orders the pieces by their last use.
    uses: u64,
    /// The value of `uses` at the last call of `free_unused`.
    uses_before: u64,
}

/// A file of which pieces are in memory.
#[derive(Debug)]
struct OpenFile {
    file: Arc<dyn File>,
    /// The same file, past the page cache.
    direct: Arc<dyn File>,
    slots: BTreeMap<u64, Slot>,
}

#[derive(Debug)]
enum Slot {
    Reading,
    Ready {
        bytes: Bytes,
        last_use: u64,
        /// A reader has asked for it.
        was_used: bool,
    },
}

impl ReadAhead {
    /// At most `bytes_max` bytes of pieces are in memory, including those that are still sent.
    pub(crate) fn new(bytes_max: usize, threaded: bool) -> ReadAhead {
        let shared = Shared {
            state: Mutex::default(),
            read: Condvar::new(),
            buffers: Arc::new(Buffers::new(bytes_max / PIECE_BYTES)),
        };
        let threads = threaded.then(|| ThreadPool::new("styx-read", THREADS_MAX));
        ReadAhead { shared: Arc::new(shared), threads }
    }

    /// Returns the piece if it is in memory. Never waits for the disk.
    pub(crate) fn try_get(&self, piece: &Piece) -> Lookup {
        lock(&self.shared.state).look_up(piece)
    }

    /// Returns the piece, and reads it if nobody else does. `None` if there is no memory for it, if
    /// the file cannot be read past the page cache, or after an error.
    pub(crate) fn get(&self, piece: &Piece) -> Option<Bytes> {
        let mut state = lock(&self.shared.state);
        loop {
            match state.look_up(piece) {
                Lookup::Ready(bytes) => return Some(bytes),
                Lookup::Absent => break,
                Lookup::Reading => {
                    let read = self.shared.read.wait(state);
                    state = read.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        let reading = self.shared.begin(&mut state, piece, Purpose::Now)?;
        drop(state);
        reading.read()
    }

    /// Begins to read a piece on another thread, unless it is in memory, or all memory has pieces
    /// that were not used yet.
    pub(crate) fn prefetch(&self, piece: &Piece) {
        let Some(threads) = &self.threads else { return };
        let mut state = lock(&self.shared.state);
        if state.is_absent(piece)
            && let Some(reading) = self.shared.begin(&mut state, piece, Purpose::InAdvance)
        {
            drop(state);
            threads.submit(Arc::new(ReadJob(Mutex::new(Some(reading)))));
        }
    }

    /// Frees the pieces that were not used since the last call, and unused buffers. To be called
    /// about once a second.
    pub(crate) fn free_unused(&self) {
        let mut state = lock(&self.shared.state);
        let uses = state.uses;
        let before = std::mem::replace(&mut state.uses_before, uses);
        let files = std::mem::take(&mut state.files);
        let (kept, freed): (Vec<_>, Vec<_>) = files
            .into_iter()
            .map(|mut file| {
                let unused = file.slots.extract_if(
                    ..,
                    |_, slot| matches!(slot, Slot::Ready { last_use, .. } if *last_use <= before),
                );
                let freed: Vec<_> = unused.collect();
                (file, freed)
            })
            .unzip();
        let (kept, closed): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|file| !file.slots.is_empty());
        state.files = kept;
        let is_idle = state.files.is_empty();
        drop(state);
        drop((closed, freed));
        if is_idle {
            self.shared.buffers.free_unused();
        }
    }

    /// Whether memory is used, so that [`free_unused`](Self::free_unused) must be called.
    pub(crate) fn is_active(&self) -> bool {
        !lock(&self.shared.state).files.is_empty() || self.shared.buffers.has_unused()
    }
}

impl State {
    fn look_up(&mut self, piece: &Piece) -> Lookup {
        self.uses += 1;
        let uses = self.uses;
        match self.slot(piece) {
            // The file has become longer since a shorter piece was read.
            Some(Slot::Ready { bytes, .. }) if bytes.len() < piece.len => Lookup::Absent,
            Some(Slot::Ready { bytes, last_use, was_used }) => {
                (*last_use, *was_used) = (uses, true);
                Lookup::Ready(bytes.slice(..piece.len))
            }
            Some(Slot::Reading) => Lookup::Reading,
            None => Lookup::Absent,
        }
    }

    /// Whether the piece is neither in memory nor being read.
    fn is_absent(&mut self, piece: &Piece) -> bool {
        match self.slot(piece) {
            Some(Slot::Ready { bytes, .. }) => bytes.len() < piece.len,
            Some(Slot::Reading) => false,
            None => true,
        }
    }

    fn open(&mut self, file: &Arc<dyn File>) -> Option<&mut OpenFile> {
        self.files.iter_mut().find(|open| Arc::ptr_eq(&open.file, file))
    }

    fn slot(&mut self, piece: &Piece) -> Option<&mut Slot> {
        self.open(&piece.file)?.slots.get_mut(&piece.index)
    }

    /// The number of pieces that were used.
    fn used(&self) -> usize {
        let slots = self.files.iter().flat_map(|file| file.slots.values());
        slots.filter(|slot| matches!(slot, Slot::Ready { was_used: true, .. })).count()
    }

    /// Removes the piece that was not used for the longest time, first those that were used.
    /// Returns `None` if there is none, or if it is wanted in advance and none was used.
    fn evict(&mut self, purpose: Purpose) -> Option<Bytes> {
        let slots = self.files.iter().enumerate().flat_map(|(at, file)| {
            file.slots.iter().filter_map(move |(index, slot)| match slot {
                Slot::Ready { last_use, was_used, .. } => {
                    let may_go = *was_used || purpose == Purpose::Now;
                    may_go.then_some((!was_used, *last_use, at, *index))
                }
                Slot::Reading => None,
            })
        });
        let (_, _, at, index) = slots.min()?;
        match self.files.get_mut(at)?.slots.remove(&index)? {
            Slot::Ready { bytes, .. } => Some(bytes),
            Slot::Reading => None,
        }
    }
}

impl Shared {
    /// Reserves memory for a piece and marks it as being read.
    fn begin(
        self: &Arc<Shared>,
        state: &mut State,
        piece: &Piece,
        purpose: Purpose,
    ) -> Option<Reading> {
        if self.buffers.is_none() {
            return None;
        }
        if state.open(&piece.file).is_none() {
            let direct = piece.file.to_direct()?;
            let file = Arc::clone(&piece.file);
            state.files.push(OpenFile { file, direct, slots: BTreeMap::new() });
        }
        let buffer = loop {
            if let Some(buffer) = self.buffers.acquire_used() {
                break buffer;
            }
            // A piece that is still sent keeps its buffer.
            if state.used() > USED_KEPT {
                drop(state.evict(purpose));
                continue;
            }
            match self.buffers.acquire_new() {
                Some(buffer) => break buffer,
                None => drop(state.evict(purpose)?),
            }
        };
        let open = state.open(&piece.file)?;
        open.slots.insert(piece.index, Slot::Reading);
        let direct = Arc::clone(&open.direct);
        Some(Reading {
            shared: Arc::clone(self),
            piece: piece.clone(),
            direct,
            buffer: Some(buffer),
            purpose,
        })
    }
}

/// A piece that is being read. Dropping it gives up.
#[derive(Debug)]
struct Reading {
    shared: Arc<Shared>,
    piece: Piece,
    direct: Arc<dyn File>,
    buffer: Option<buffers::Buffer>,
    purpose: Purpose,
}

/// Why a piece is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A reader waits for it.
    Now,
    /// A reader will probably ask for it.
    InAdvance,
}

impl Reading {
    /// Reads the piece; `None` after an error.
    fn read(mut self) -> Option<Bytes> {
        let mut buffer = self.buffer.take()?;
        let mut filled = 0;
        while filled < self.piece.len {
            let offset = self.piece.offset() + filled as u64;
            match self.direct.read_at(buffer.space(filled), offset) {
                Ok(count) if count > 0 => filled += count,
                Ok(_) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, offset, "cannot read past the page cache");
                    return None;
                }
            }
            // The rest of an unaligned read is at the end of the file.
            if !filled.is_multiple_of(DIRECT_ALIGNMENT) && filled < self.piece.len {
                return None;
            }
        }
        let bytes = buffer.into_bytes(self.piece.len);
        let mut state = lock(&self.shared.state);
        let last_use = state.uses;
        let was_used = self.purpose == Purpose::Now;
        if let Some(slot) = state.slot(&self.piece) {
            *slot = Slot::Ready { bytes: bytes.clone(), last_use, was_used };
        }
        Some(bytes)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        if let Some(open) = state.open(&self.piece.file)
            && let Some(Slot::Reading) = open.slots.get(&self.piece.index)
        {
            open.slots.remove(&self.piece.index);
        }
        drop(state);
        self.shared.read.notify_all();
    }
}

/// Reads a piece once.
#[derive(Debug)]
struct ReadJob(Mutex<Option<Reading>>);

impl Job for ReadJob {
    fn run(&self) -> bool {
        let reading = lock(&self.0).take();
        drop(reading.and_then(Reading::read));
        false
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests;
