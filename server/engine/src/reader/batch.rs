//! [`Batch`]: the result of a read of records.
//!
//! A batch keeps its records as runs: each run has the records of one block, without those before
//! the reader's position. Records share the memory of the block from which they were read.
//! Invariant: the runs follow each other without a gap in their positions.

use bytes::Bytes;
use styx_protocol::block::Header;
use styx_protocol::{Position, Records};

use super::extract::{Bound, Extract, Extracted};
use crate::tail::Group;

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its position in the log.
    pub position: Position,
    /// When the server appended it, in µs since the Unix epoch.
    pub timestamp_us: u64,
    /// The payload.
    pub payload: Bytes,
}

/// Records of one or more blocks, in order and without a gap in their positions.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    runs: Vec<Run>,
}

/// The records of one block, or its last ones.
#[derive(Debug, Clone)]
struct Run {
    first: Position,
    timestamp_us: u64,
    records: Records,
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

    /// The number of records.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.records.count())).sum()
    }

    /// The encoded size of all records in bytes: each payload plus 8.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.records.bytes().len()).sum()
    }

    /// The records in order. Their payloads share the batch's memory.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.runs.iter().flat_map(|run| {
            run.records.payloads().zip(0u64..).map(|(payload, i)| Record {
                position: run.first + i,
                timestamp_us: run.timestamp_us,
                payload,
            })
        })
    }

    /// The records, block by block. Each item has the position of its first record.
    pub fn blocks(&self) -> impl Iterator<Item = (Position, &Records)> + '_ {
        self.runs.iter().map(|run| (run.first, &run.records))
    }
}

impl Extract for Batch {
    const HAS_WHOLE_BLOCKS: bool = false;

    /// The uncompressed size of the records.
    fn measure(header: &Header) -> usize {
        header.raw_size as usize
    }

    fn extract(
        groups: &[Group],
        from: Position,
        bytes_max: usize,
    ) -> Result<Option<Extracted<Batch>>, usize> {
        let mut bound = Bound::new(bytes_max);
        let mut batch = Batch::default();
        let mut used = 0;
        'groups: for group in groups {
            for block in group.blocks_from(from) {
                let header = block.block.header();
                if header.is_marker() {
                    continue;
                }
                if !bound.admits(Batch::measure(header)) {
                    break 'groups;
                }
                let Some(records) = block.records() else {
                    if batch.runs.is_empty() {
                        return Err(block.at);
                    }
                    // Return the intact blocks first. The next read begins at the damage and
                    // reports it.
                    break 'groups;
                };
                let skip = from.since(Position(header.base_position));
                let skip = u32::try_from(skip).unwrap_or(u32::MAX);
                batch.runs.push(Run {
                    first: Position(header.base_position) + u64::from(skip),
                    timestamp_us: header.timestamp_us,
                    records: if skip == 0 { records } else { records.skip(skip) },
                });
                used = block.at + block.len_bytes();
            }
        }
        let next = batch.next();
        Ok((!batch.runs.is_empty()).then_some(Extracted { found: batch, next, used }))
    }
}
