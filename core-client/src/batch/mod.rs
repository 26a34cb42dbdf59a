//! [`RecordBatch`]: the unit in which records are returned to a caller, and passed to
//! other languages.
//!
//! ```text
//! data    │ … header │ crc size payload │ crc size payload │ header │ crc size payload │
//!                               ▲     ▲            ▲     ▲                     ▲     ▲
//! index   [start, end] ─────────┴─────┘  [start, end]────┘       [start, end]──┴─────┘
//! runs    {first: 0, timestamp}                              {first: 2, timestamp}
//! ```
//!
//! `data` is the memory that the socket was read into, or that compressed blocks were
//! decompressed into. `index` has the start and end of each payload in `data`. `runs`
//! has the timestamps: each applies from its first record on. Positions are dense:
//! record `i` of a batch has the position `first_position + i`.
//!
//! Invariant: a batch only has checked records. Every index entry is within `data`,
//! every block's checksum was verified, and nothing in a batch ever changes. Blocks
//! become batches in `assembler`.

mod assembler;
mod build;
mod equality;
mod iter;
mod owned;
mod run_of;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::{Index, Range};
use std::sync::Arc;

use bytes::Bytes;
use styx_protocol::{Checkpoint, LogId, Position};

pub(crate) use assembler::{Assembler, BlockError, Cause};
use iter::payload;
pub use iter::{Iter, Payloads};
pub use owned::OwnedRecord;
use run_of::LastRun;

/// Consecutive records of one log, in shared memory.
///
/// A batch from a consumer is never empty. Clones and [slices](Self::slice) share the
/// memory. It is freed when the last batch, slice and payload of it are dropped.
/// `batch[i]` is the payload of record `i`.
#[derive(Clone)]
pub struct RecordBatch {
    shared: Arc<BatchMemory>,
    /// The batch's records in `shared`; always within its index.
    range: Range<usize>,
}

/// The memory that clones and slices share.
struct BatchMemory {
    log: LogId,
    first_position: u64,
    data: Bytes,
    index: Vec<[u32; 2]>,
    /// Ascending by `first`, which is 0 for the first run. Empty if there is no record.
    runs: Vec<TimestampRun>,
    /// The run of the last record that [`RecordBatch::get`] returned.
    last_run: LastRun,
}

/// A timestamp, and the first record of a batch that it applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampRun {
    /// The index of the first record in the batch, from 0.
    pub first: usize,
    /// When the records were appended, in µs since the Unix epoch.
    pub timestamp: u64,
}

/// One record of a batch, borrowed from it.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    shared: &'a BatchMemory,
    position: u64,
    timestamp: u64,
    payload: &'a [u8],
}

impl RecordBatch {
    fn new(
        log: LogId,
        first_position: u64,
        data: Bytes,
        index: Vec<[u32; 2]>,
        runs: Vec<TimestampRun>,
    ) -> RecordBatch {
        let range = 0..index.len();
        let last_run = LastRun::default();
        let shared = BatchMemory { log, first_position, data, index, runs, last_run };
        RecordBatch { shared: Arc::new(shared), range }
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no records, as in an empty slice.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The position of the first record.
    #[must_use]
    pub fn first_position(&self) -> u64 {
        self.shared.first_position + self.range.start as u64
    }

    /// The position after the last record: where reading continues.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.shared.first_position + self.range.end as u64
    }

    /// The log's id and [`next_position`](Self::next_position). Store it together with the
    /// results of processing these records, and start from it after a restart.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { log_id: self.shared.log, next: Position(self.next_position()) }
    }

    /// The id of the log that the records belong to.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.shared.log
    }

    /// The record at this index, from 0. Fastest for one index after the other.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Record<'_>> {
        self.get_nearby(at).or_else(|| self.get_anywhere(at))
    }

    /// As [`get`](Self::get), but `None` too if the record has another timestamp than the one
    /// that was returned last: then call `get`. It calls no function, so a binding that
    /// does not inline this needs no stack in most calls.
    #[inline]
    #[must_use]
    pub fn get_nearby(&self, at: usize) -> Option<Record<'_>> {
        self.record(at, |shared, at| shared.last_run.timestamp(&shared.runs, at))
    }

    #[cold]
    #[inline(never)]
    fn get_anywhere(&self, at: usize) -> Option<Record<'_>> {
        self.record(at, |shared, at| Some(shared.last_run.search(&shared.runs, at)))
    }

    #[inline]
    fn record(
        &self,
        at: usize,
        timestamp: impl FnOnce(&BatchMemory, usize) -> Option<u64>,
    ) -> Option<Record<'_>> {
        let (shared, at) = (&*self.shared, self.range.start.checked_add(at)?);
        if at >= self.range.end {
            return None;
        }
        // First, because it needs registers only for itself.
        let timestamp = timestamp(shared, at)?;
        Some(Record {
            shared,
            position: shared.first_position + at as u64,
            timestamp,
            payload: payload(&shared.data, *shared.index.get(at)?),
        })
    }

    /// The records in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(&self.shared, self.range.clone())
    }

    /// The payloads in order. This does less work than [`iter`](Self::iter).
    #[must_use]
    pub fn payloads(&self) -> Payloads<'_> {
        Payloads::new(&self.shared.data, self.index())
    }

    /// A part of the records, which shares the memory of the whole batch. A range beyond
    /// the end of the batch is shortened.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> RecordBatch {
        let end = self.range.start.saturating_add(range.end).min(self.range.end);
        let start = self.range.start.saturating_add(range.start).min(end);
        RecordBatch { shared: Arc::clone(&self.shared), range: start..end }
    }

    /// The buffer that [`index`](Self::index) refers to. The bytes between the payloads
    /// belong to the protocol; ignore them.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.shared.data
    }

    /// The start and end of each payload in [`data`](Self::data).
    #[must_use]
    pub fn index(&self) -> &[[u32; 2]] {
        self.shared.index.get(self.range.clone()).unwrap_or_default()
    }

    /// The timestamps, each with the first record that it applies to, in ascending order.
    /// The first run begins at record 0.
    pub fn runs(&self) -> impl Iterator<Item = TimestampRun> + '_ {
        let runs = &self.shared.runs;
        let begin = runs.partition_point(|run| run.first <= self.range.start).saturating_sub(1);
        let end = runs.partition_point(|run| run.first < self.range.end);
        let runs = runs.get(begin..end).unwrap_or_default();
        runs.iter()
            .map(|run| TimestampRun { first: run.first.saturating_sub(self.range.start), ..*run })
    }

    /// The number of bytes of memory that the batch keeps allocated.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shared.data.len()
            + size_of_val(self.shared.index.as_slice())
            + size_of_val(self.shared.runs.as_slice())
            + size_of::<BatchMemory>()
    }
}

impl<'a> Record<'a> {
    /// The record's position in the log.
    #[inline]
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// When the record was appended, in µs since the Unix epoch. Timestamps never decrease
    /// within a log.
    #[inline]
    #[must_use]
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The record's payload.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The payload, without a copy. It shares the batch's memory and keeps all of it
    /// allocated.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        self.shared.data.slice_ref(self.payload)
    }

    /// The log's id and the position after this record.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { log_id: self.shared.log, next: Position(self.position + 1) }
    }
}

impl Index<usize> for RecordBatch {
    type Output = [u8];

    /// The payload of record `at`.
    ///
    /// # Panics
    /// If the batch has no such record.
    fn index(&self, at: usize) -> &[u8] {
        let [start, end] = RecordBatch::index(self)[at];
        &self.shared.data[start as usize..end as usize]
    }
}

impl<'a> IntoIterator for &'a RecordBatch {
    type Item = Record<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for RecordBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBatch")
            .field("first_position", &self.first_position())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("position", &self.position)
            .field("timestamp", &self.timestamp)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
