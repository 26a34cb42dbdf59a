//! [`Start`]: where a consumer begins.

use styx_protocol::{Checkpoint, LogId, Whence};

use crate::error::Error;

/// Where a consumer begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// At the first record that the log still has.
    #[default]
    Start,
    /// At the end: only records that are appended from now on.
    End,
    /// At this position. If retention has removed that record, or the log ends before
    /// it, opening fails with `out_of_range`. The error has both ends of the log.
    Position(u64),
    /// At the position of a checkpoint, in the log that the checkpoint belongs to. If
    /// that log was recreated or truncated since, opening fails with `log_changed`.
    Checkpoint(Checkpoint),
    /// At the first record that was appended at this time or later, in µs since the
    /// Unix epoch. If there is none yet, at the end.
    Time(u64),
    /// A number of records, which may be negative, from a place in the log. A start
    /// outside the log fails with `out_of_range`.
    Relative {
        /// The place.
        whence: Whence,
        /// Records from that place; with [`Whence::Time`], µs since the Unix epoch.
        position: i64,
    },
}

impl Start {
    /// The request parameters `whence` and `position`.
    ///
    /// # Errors
    /// `invalid_argument` for a number over `i64::MAX`.
    pub(super) fn parameters(self) -> Result<(Whence, i64), Error> {
        let number = |number: u64| {
            i64::try_from(number).map_err(|_| {
                Error::invalid(format!(
                    "the start {number} is too large: use a position or time up to {}",
                    i64::MAX
                ))
            })
        };
        Ok(match self {
            Start::Start => (Whence::Start, 0),
            Start::End => (Whence::End, 0),
            Start::Position(position) => (Whence::Origin, number(position)?),
            Start::Checkpoint(checkpoint) => (Whence::Origin, number(checkpoint.next.0)?),
            Start::Time(time) => (Whence::Time, number(time)?),
            Start::Relative { whence, position } => (whence, position),
        })
    }

    /// The log that the start belongs to, and an end that this log once had.
    pub(super) fn known_end(self) -> Option<(LogId, u64)> {
        match self {
            Start::Checkpoint(checkpoint) => Some((checkpoint.log_id, checkpoint.next.0)),
            _ => None,
        }
    }
}

impl From<u64> for Start {
    fn from(position: u64) -> Start {
        Start::Position(position)
    }
}

impl From<Checkpoint> for Start {
    fn from(checkpoint: Checkpoint) -> Start {
        Start::Checkpoint(checkpoint)
    }
}
