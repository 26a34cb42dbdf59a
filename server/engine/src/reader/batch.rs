//! [`Batch`]: records, as runs of whole or partial blocks.

use bytes::Bytes;
use styx_protocol::block::Header;
use styx_protocol::{Position, Records};

use super::take::{Bound, Take, Taken};
use crate::tail::Group;

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
    runs: Vec<Run>,
}

/// The records of one block.
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

impl Take for Batch {
    /// Records take their memory unpacked.
    fn measure(header: &Header) -> usize {
        header.raw_size as usize
    }

    fn take(
        groups: &[Group],
        from: Position,
        bytes_max: usize,
    ) -> Result<Option<Taken<Batch>>, usize> {
        let mut bound = Bound::new(bytes_max);
        let mut batch = Batch::default();
        let mut used = 0;
        'groups: for group in groups {
            for kept in group.blocks_from(from) {
                let header = kept.block.header();
                if header.is_marker() {
                    continue;
                }
                if !bound.admits(Batch::measure(header)) {
                    break 'groups;
                }
                let Some(records) = kept.records() else {
                    if batch.runs.is_empty() {
                        return Err(kept.at);
                    }
                    // What is whole is given out first: the next read, which
                    // begins there, tells of it.
                    break 'groups;
                };
                let skip = from.since(Position(header.base_position));
                let skip = u32::try_from(skip).unwrap_or(u32::MAX);
                batch.runs.push(Run {
                    first: Position(header.base_position) + u64::from(skip),
                    timestamp_us: header.timestamp_us,
                    records: if skip == 0 { records } else { records.skip(skip) },
                });
                used = kept.at + kept.len_bytes();
            }
        }
        let next = batch.next();
        Ok((!batch.runs.is_empty()).then_some(Taken { found: batch, next, used }))
    }
}
