//! What a read gives out: records, as runs of whole or partial blocks.

use bytes::Bytes;
use styx_protocol::{Position, Records};

/// One record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number in the log.
    pub position: Position,
    /// When it was appended, µs since the epoch.
    pub timestamp_us: u64,
    /// Its bytes.
    pub payload: Bytes,
}

/// Records of one or more blocks, in order and without a gap.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub(super) runs: Vec<Run>,
}

/// The records of one block.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) first: Position,
    pub(super) timestamp_us: u64,
    pub(super) records: Records,
}

impl Batch {
    /// The position of the first record; 0 for an empty batch.
    #[must_use]
    pub fn first(&self) -> Position {
        self.runs.first().map_or(Position::ORIGIN, |run| run.first)
    }

    /// The position after the last record; 0 for an empty batch.
    #[must_use]
    pub fn next(&self) -> Position {
        self.runs.last().map_or(Position::ORIGIN, |run| run.first + u64::from(run.records.count()))
    }

    /// How many records.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.records.count())).sum()
    }

    /// Encoded bytes of all records (8 bytes each and their payloads).
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.records.bytes().len()).sum()
    }

    /// The records; payloads share the batch's memory.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.runs.iter().flat_map(|run| {
            run.records.payloads().zip(0u64..).map(|(payload, i)| Record {
                position: run.first + i,
                timestamp_us: run.timestamp_us,
                payload,
            })
        })
    }

    /// The records block by block, each with the position of its first.
    pub fn blocks(&self) -> impl Iterator<Item = (Position, &Records)> + '_ {
        self.runs.iter().map(|run| (run.first, &run.records))
    }
}
