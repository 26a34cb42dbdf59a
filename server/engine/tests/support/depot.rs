//! [`MemoryDepot`]: an object store in memory, with a cache that is as cold as the test wants.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use styx_engine::archive::{Depot, Entry, FetchResult, Kept, SealedSegment, StoreError};
use styx_engine::{Error, Found, Log, Reader};
use styx_protocol::{LogId, LogName, Position};

/// The key of a segment's object.
pub(crate) type Key = (LogId, Position, u32);

/// See the module. A cheap handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDepot(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    objects: HashMap<Key, Vec<u8>>,
    /// The ranges that are in the cache.
    cached: Vec<(Key, Range<u64>)>,
    /// The bytes that [`Depot::read_cached`] returns for damaged ones of the cache, until they are distrusted.
    rotten_cache: Option<(Key, u64)>,
    answer: Answer,
    waiting: Vec<Waker>,
    fetches: Vec<Range<u64>>,
    /// The indexes in the store, and the log that gets them.
    indexes: HashMap<Position, Vec<u8>>,
    index_of: Option<Log>,
    index_fetches: Vec<Position>,
    notices: usize,
    removals: Vec<(LogId, Removal)>,
    short: usize,
}

/// A call of the engine about the removal of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    Begun { open_epoch: u32 },
    Kept,
    Done,
}

/// How the store answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    #[default]
    Ok,
    Error,
    /// It does not answer until this changes.
    Never,
}

pub(crate) fn key(entry: &Entry) -> Key {
    (entry.home, entry.base, entry.epoch)
}

impl MemoryDepot {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uploads a segment and returns its entry.
    pub(crate) fn upload(&self, log: &Log, segment: &SealedSegment) -> Result<Entry, Error> {
        let file_crc = segment.check(|_| Ok(()))?;
        let mut bytes = vec![0; usize::try_from(segment.bytes()).expect("small")];
        let mut at = 0;
        while at < bytes.len() {
            match segment.read_at(&mut bytes[at..], at as u64)? {
                0 => break,
                read => at += read,
            }
        }
        assert_eq!(crc32c::crc32c(&bytes), file_crc, "the file did not change");
        let entry = segment.entry(file_crc, log.open_epoch(), log.id());
        self.put(&entry, bytes);
        Ok(entry)
    }

    /// Archives all segments that are not archived. Returns how many they were.
    pub(crate) fn archive(&self, log: &Log) -> usize {
        let segments = log.unarchived();
        let entries: Vec<Entry> = segments
            .iter()
            .map(|segment| self.upload(log, segment).expect("an intact segment"))
            .collect();
        log.record_archived(&entries).expect("recorded");
        entries.len()
    }

    pub(crate) fn put(&self, entry: &Entry, bytes: Vec<u8>) {
        self.state().objects.insert(key(entry), bytes);
    }

    /// A store with the same objects, which changes alone.
    pub(crate) fn deep_copy(&self) -> MemoryDepot {
        let objects = self.state().objects.clone();
        MemoryDepot(Arc::new(Mutex::new(State { objects, ..State::default() })))
    }

    /// Changes a bit of an object, or removes the object, as `number` says. Returns whether there is
    /// one.
    pub(crate) fn rot_any(&self, number: u64) -> bool {
        let mut state = self.state();
        let mut keys: Vec<Key> = state.objects.keys().copied().collect();
        keys.sort_by_key(|(home, base, epoch)| (home.0, base.0, *epoch));
        let at = |count: usize| usize::try_from(number % count.max(1) as u64).expect("it fits");
        let Some(key) = keys.get(at(keys.len())) else { return false };
        if number.is_multiple_of(7) {
            state.objects.remove(key);
        } else if let Some(bytes) = state.objects.get_mut(key) {
            let at = at(bytes.len());
            bytes[at] ^= 1 << (number % 8);
        }
        true
    }

    /// Copies an object to the key of another entry.
    pub(crate) fn copy(&self, from: &Entry, to: &Entry) {
        let mut state = self.state();
        let bytes = state.objects.get(&key(from)).expect("it exists").clone();
        state.objects.insert(key(to), bytes);
    }

    pub(crate) fn remove(&self, entry: &Entry) {
        self.state().objects.remove(&key(entry));
        self.forget();
    }

    /// Changes a byte of an object.
    pub(crate) fn rot(&self, entry: &Entry, at: usize) {
        let mut state = self.state();
        state.objects.get_mut(&key(entry)).expect("it exists")[at] ^= 1;
        state.cached.clear();
    }

    /// Changes a byte in the cache, until it is fetched again.
    pub(crate) fn rot_cache(&self, entry: &Entry, at: u64) {
        self.state().rotten_cache = Some((key(entry), at));
    }

    /// Empties the cache.
    pub(crate) fn forget(&self) {
        self.state().cached.clear();
    }

    pub(crate) fn answer(&self, answer: Answer) {
        let waiting = {
            let mut state = self.state();
            state.answer = answer;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// The ranges that were fetched since the last call.
    pub(crate) fn take_fetches(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.state().fetches)
    }

    /// The number of notices since the last call.
    pub(crate) fn take_notices(&self) -> usize {
        std::mem::take(&mut self.state().notices)
    }

    /// The segments whose index was fetched since the last call.
    pub(crate) fn take_index_fetches(&self) -> Vec<Position> {
        std::mem::take(&mut self.state().index_fetches)
    }

    /// Puts indexes into the store, for this log.
    pub(crate) fn put_indexes(&self, log: &Log, indexes: HashMap<Position, Vec<u8>>) {
        let mut state = self.state();
        (state.indexes, state.index_of) = (indexes, Some(log.clone()));
    }

    pub(crate) fn removals(&self) -> Vec<(LogId, Removal)> {
        self.state().removals.clone()
    }

    pub(crate) fn short(&self) -> usize {
        self.state().short
    }
}

impl Depot for MemoryDepot {
    fn read_cached(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> bool {
        let state = self.state();
        let end = offset + buffer.len() as u64;
        assert!(end <= entry.bytes && !buffer.is_empty(), "the range is within the segment");
        let key = key(entry);
        let holds = |(of, range): &(Key, Range<u64>)| {
            *of == key && range.start <= offset && end <= range.end
        };
        if !state.cached.iter().any(holds) {
            return false;
        }
        let Some(object) = state.objects.get(&key) else { return false };
        let (from, to) =
            (usize::try_from(offset).expect("small"), usize::try_from(end).expect("small"));
        buffer.copy_from_slice(&object[from..to]);
        if let Some((of, at)) = state.rotten_cache
            && of == key
            && (offset..end).contains(&at)
        {
            buffer[usize::try_from(at - offset).expect("small")] ^= 1;
        }
        true
    }

    fn fetch(&self, entry: &Entry, range: Range<u64>, ahead: u64) -> FetchResult {
        assert!(range.start < range.end && range.end + ahead <= entry.bytes, "{range:?} {ahead}");
        let depot = self.clone();
        let entry = *entry;
        depot.state().fetches.push(range.clone());
        Box::pin(MemoryFetch { depot, entry, range })
    }

    fn fetch_index(&self, _: &LogName, _: LogId, entry: &Entry) -> FetchResult {
        let mut state = self.state();
        state.index_fetches.push(entry.base);
        let found = state.indexes.get(&entry.base).cloned().zip(state.index_of.clone());
        let answer = state.answer;
        drop(state);
        Box::pin(std::future::ready(match (answer, found) {
            (Answer::Ok, Some((bytes, log))) => match log.restore_index(entry.base, &bytes) {
                Ok(true) => Ok(Kept::new(())),
                _ => Err(StoreError::Damaged("another index".into())),
            },
            (Answer::Ok, None) => Err(StoreError::Missing),
            _ => Err(StoreError::Unavailable("it is on fire".into())),
        }))
    }

    fn distrust(&self, entry: &Entry, range: Range<u64>) {
        let mut state = self.state();
        let key = key(entry);
        state.cached.retain(|(of, cached)| {
            *of != key || cached.end <= range.start || range.end <= cached.start
        });
        state.rotten_cache = None;
    }

    fn notice(&self, _: &LogName, _: LogId) {
        self.state().notices += 1;
    }

    fn removing(&self, _: &LogName, id: LogId, open_epoch: u32) {
        self.state().removals.push((id, Removal::Begun { open_epoch }));
    }

    fn kept(&self, _: &LogName, id: LogId) {
        self.state().removals.push((id, Removal::Kept));
    }

    fn removed(&self, _: &LogName, id: LogId) {
        self.state().removals.push((id, Removal::Done));
    }

    fn disk_is_short(&self, _: &LogName, _: LogId) {
        self.state().short += 1;
    }
}

struct MemoryFetch {
    depot: MemoryDepot,
    entry: Entry,
    range: Range<u64>,
}

impl Future for MemoryFetch {
    type Output = Result<Kept, StoreError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.depot.state();
        let key = key(&self.entry);
        match state.answer {
            Answer::Never => {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            Answer::Error => {
                return Poll::Ready(Err(StoreError::Unavailable("it is on fire".into())));
            }
            Answer::Ok => {}
        }
        let len = state.objects.get(&key).map(Vec::len);
        Poll::Ready(match len {
            None => Err(StoreError::Missing),
            Some(len) if (len as u64) < self.range.end => {
                Err(StoreError::Damaged("it is too short".into()))
            }
            Some(_) => {
                state.cached.push((key, self.range.clone()));
                Ok(Kept::new(Unpin { depot: self.depot.clone(), key, range: self.range.clone() }))
            }
        })
    }
}

/// Removes bytes from the cache as soon as nobody keeps them, so that nothing depends on luck.
#[derive(Debug)]
struct Unpin {
    depot: MemoryDepot,
    key: Key,
    range: Range<u64>,
}

impl Drop for Unpin {
    fn drop(&mut self) {
        let mut state = self.depot.state();
        let at =
            state.cached.iter().position(|(of, range)| *of == self.key && *range == self.range);
        if let Some(at) = at {
            state.cached.swap_remove(at);
        }
    }
}

/// Reads, and fetches the bytes that the read needs from the store.
pub(crate) fn read_through<T>(
    reader: &mut Reader,
    read: impl Fn(&mut Reader) -> Result<Found<T>, Error>,
) -> Result<Found<T>, Error> {
    loop {
        match read(reader)? {
            Found::NeedsStore(fetch) => reader.keep(fetch.wait()?),
            found => return Ok(found),
        }
    }
}
