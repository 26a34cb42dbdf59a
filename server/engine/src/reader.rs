//! Reading: a cursor over durable records, from memory or from the file.

use bytes::Bytes;
use styx_protocol::{Position, Records};

use crate::Error;

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
    pub(crate) runs: Vec<Run>,
}

/// The records of one block.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) first: Position,
    pub(crate) timestamp_us: u64,
    pub(crate) records: Records,
}

impl Batch {
    /// The position after the last record.
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
}

/// What a read found.
#[derive(Debug, Clone)]
pub enum Found<T> {
    /// This.
    Some(T),
    /// Nothing: the position is the durable end.
    AtEnd,
    /// The bytes are neither in memory nor in the page cache: call the blocking
    /// form on a thread that may wait for the disk.
    NeedsDisk,
}

/// A cursor. It survives retention of what it has read; when what it has yet to
/// read is removed, the next read is [`Error::OutOfRange`].
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// The position the next read begins at.
    #[must_use]
    pub fn position(&self) -> Position {
        unimplemented!()
    }

    /// Reads at most about `bytes_max` (one block at least) and moves on. Never
    /// waits for the disk.
    ///
    /// # Errors
    /// Damage, retention, a log that is gone.
    pub fn try_read(&mut self, bytes_max: usize) -> Result<Found<Batch>, Error> {
        let _ = bytes_max;
        unimplemented!()
    }

    /// As [`Reader::try_read`], but waits for the disk; never
    /// [`Found::NeedsDisk`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&mut self, bytes_max: usize) -> Result<Found<Batch>, Error> {
        let _ = bytes_max;
        unimplemented!()
    }

    /// Resolves when there is something to read at the position, or the log is
    /// gone (the next read says so).
    #[must_use]
    pub fn wait(&self) -> Wait {
        unimplemented!()
    }
}

/// See [`Reader::wait`]. Cancel safe.
#[derive(Debug)]
pub struct Wait {}

impl Wait {
    /// Blocks this thread until then.
    pub fn wait(self) {
        unimplemented!()
    }
}

impl Future for Wait {
    type Output = ();
    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        unimplemented!()
    }
}
