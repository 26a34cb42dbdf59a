//! Iterators over a batch: over its records, or only over their payloads.
//!
//! Both go through the index once, from front to back, without copying or allocating. An
//! index entry outside the data is impossible (see [`super`]); it would yield an empty
//! payload.

use std::iter::FusedIterator;
use std::ops::Range;

use bytes::Bytes;

use super::{BatchMemory, Record, TimestampRun};

/// The records of a batch. [`RecordBatch::iter`](super::RecordBatch::iter) returns it.
#[derive(Clone)]
pub struct Iter<'a> {
    shared: &'a BatchMemory,
    entries: std::slice::Iter<'a, [u32; 2]>,
    /// The index of the next record in `shared`.
    at: usize,
    timestamp: u64,
    /// The runs that begin after `at`.
    runs: std::slice::Iter<'a, TimestampRun>,
    /// The first record of the next run.
    run_end: usize,
}

impl<'a> Iter<'a> {
    pub(super) fn new(shared: &'a BatchMemory, range: Range<usize>) -> Iter<'a> {
        let at = range.start;
        let begun = shared.runs.partition_point(|run| run.first <= at);
        let (before, after) = shared.runs.split_at(begun);
        let mut iter = Iter {
            shared,
            entries: shared.index.get(range).unwrap_or_default().iter(),
            at,
            timestamp: before.last().map_or(0, |run| run.timestamp),
            runs: after.iter(),
            run_end: 0,
        };
        iter.run_end = iter.next_run();
        iter
    }

    fn next_run(&self) -> usize {
        self.runs.as_slice().first().map_or(usize::MAX, |run| run.first)
    }

    #[cold]
    fn enter_run(&mut self) {
        if let Some(run) = self.runs.next() {
            self.timestamp = run.timestamp;
        }
        self.run_end = self.next_run();
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let entry = self.entries.next()?;
        if self.at == self.run_end {
            self.enter_run();
        }
        let record = Record {
            shared: self.shared,
            position: self.shared.first_position + self.at as u64,
            timestamp: self.timestamp,
            payload: payload(&self.shared.data, *entry),
        };
        self.at += 1;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// The payloads of a batch.
/// [`RecordBatch::payloads`](super::RecordBatch::payloads) returns it.
#[derive(Clone)]
pub struct Payloads<'a> {
    data: &'a Bytes,
    entries: std::slice::Iter<'a, [u32; 2]>,
}

impl<'a> Payloads<'a> {
    pub(super) fn new(data: &'a Bytes, index: &'a [[u32; 2]]) -> Payloads<'a> {
        Payloads { data, entries: index.iter() }
    }
}

impl<'a> Iterator for Payloads<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.entries.next().map(|entry| payload(self.data, *entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl DoubleEndedIterator for Payloads<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.entries.next_back().map(|entry| payload(self.data, *entry))
    }
}

impl ExactSizeIterator for Payloads<'_> {}
impl FusedIterator for Payloads<'_> {}

#[inline]
pub(super) fn payload(data: &[u8], [start, end]: [u32; 2]) -> &[u8] {
    data.get(start as usize..end as usize).unwrap_or_default()
}
