//! [`RecordBatch`]: the unit in which records reach a caller and cross a
//! language border.
//!
//! ```text
//! data    │ … header │ crc size payload │ crc size payload │ header │ crc size payload │
//!                               ▲     ▲            ▲     ▲                     ▲     ▲
//! index   [start, end] ─────────┴─────┘  [start, end]────┘       [start, end]──┴─────┘
//! runs    {first: 0, timestamp}                              {first: 2, timestamp}
//! ```
//!
//! `data` is the memory that the socket was read into, or that compressed
//! blocks were unpacked into; `index` says where in it the payloads are; `runs`
//! says from which record on which timestamp holds. Positions are dense: record
//! `i` of a batch has `first_position + i`.
//!
//! Invariant: whoever holds a batch holds checked records. Every index entry
//! lies within `data`, every block's checksum was compared, and nothing in it
//! changes any more. Blocks become batches in `assembler`.

mod assembler;
mod iter;
mod owned;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::{Index, Range};
use std::sync::Arc;

use bytes::Bytes;
use styx_protocol::{Checkpoint, LogId, Position};

pub(crate) use assembler::{Assembler, Cause, Fault};
pub use iter::{Iter, Payloads};
pub use owned::OwnedRecord;

/// Records of one log that follow each other, in shared memory.
///
/// Never empty when it comes from a consumer. Cloning and [slicing](Self::slice)
/// share the memory, which is freed with the last batch, slice and payload of
/// it. `batch[i]` is the payload of record `i`.
#[derive(Clone)]
pub struct RecordBatch {
    shared: Arc<Shared>,
    /// Which records of `shared` these are; always within its index.
    range: Range<usize>,
}

/// What clones and slices share.
struct Shared {
    log: LogId,
    first_position: u64,
    data: Bytes,
    index: Vec<[u32; 2]>,
    /// Ascending by `first`; the first one's is 0 unless there is no record.
    runs: Vec<Run>,
}

/// From which record of a batch on which timestamp holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first record's place in the batch, from 0.
    pub first: usize,
    /// When the records were appended, in µs since the epoch.
    pub timestamp: u64,
}

/// One record of a batch, borrowed from it.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    shared: &'a Shared,
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
        runs: Vec<Run>,
    ) -> RecordBatch {
        let range = 0..index.len();
        RecordBatch { shared: Arc::new(Shared { log, first_position, data, index, runs }), range }
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there is no record; only an empty slice has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The position of the first record.
    #[must_use]
    pub fn first_position(&self) -> u64 {
        self.shared.first_position + self.range.start as u64
    }

    /// The position after the last record: where reading goes on.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.shared.first_position + self.range.end as u64
    }

    /// The log's identity and [`next_position`](Self::next_position): store it
    /// with what was made of these records, and start from it.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { log_id: self.shared.log, next: Position(self.next_position()) }
    }

    /// The identity of the log that the records are from.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.shared.log
    }

    /// The record at this place, from 0.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Record<'_>> {
        if at >= self.len() {
            return None;
        }
        Iter::new(&self.shared, self.range.start + at..self.range.end).next()
    }

    /// The records in their order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(&self.shared, self.range.clone())
    }

    /// The payloads in their order: less work than [`iter`](Self::iter).
    #[must_use]
    pub fn payloads(&self) -> Payloads<'_> {
        Payloads::new(&self.shared.data, self.index())
    }

    /// Some of the records, sharing the memory of all. A range that reaches
    /// beyond the batch is cut.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> RecordBatch {
        let end = self.range.start.saturating_add(range.end).min(self.range.end);
        let start = self.range.start.saturating_add(range.start).min(end);
        RecordBatch { shared: Arc::clone(&self.shared), range: start..end }
    }

    /// The buffer that [`index`](Self::index) points into. Between the payloads
    /// are bytes of the protocol, which mean nothing here.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.shared.data
    }

    /// Where each payload begins and ends in [`data`](Self::data).
    #[must_use]
    pub fn index(&self) -> &[[u32; 2]] {
        self.shared.index.get(self.range.clone()).unwrap_or_default()
    }

    /// From which record on which timestamp holds, ascending; the first one's
    /// `first` is 0.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        let runs = &self.shared.runs;
        let begin = runs.partition_point(|run| run.first <= self.range.start).saturating_sub(1);
        let end = runs.partition_point(|run| run.first < self.range.end);
        let runs = runs.get(begin..end).unwrap_or_default();
        runs.iter().map(|run| Run { first: run.first.saturating_sub(self.range.start), ..*run })
    }

    /// Bytes of memory that the batch keeps alive.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shared.data.len()
            + size_of_val(self.shared.index.as_slice())
            + size_of_val(self.shared.runs.as_slice())
            + size_of::<Shared>()
    }
}

impl<'a> Record<'a> {
    /// Its position in the log.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// When it was appended, in µs since the epoch; never decreases in a log.
    #[must_use]
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Its bytes.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Its bytes, sharing the batch's memory: to be kept without a copy. Keeps
    /// all of the batch's memory.
    #[must_use]
    pub fn payload_bytes(&self) -> Bytes {
        self.shared.data.slice_ref(self.payload)
    }

    /// The log's identity and the position after this record.
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
    /// When the batch has no such record, as a slice does.
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
