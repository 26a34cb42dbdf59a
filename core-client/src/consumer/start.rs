//! [`Start`]: where a consumer begins.

use styx_protocol::{Checkpoint, LogId, Whence};

use crate::error::Error;

/// Where a consumer begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// At the first record that is kept.
    #[default]
    Start,
    /// At the end: records that are appended from now on.
    End,
    /// At this position. If retention has removed it, or the log ends before
    /// it, opening fails with `out_of_range`, which names the log's ends.
    Position(u64),
    /// Where a checkpoint says, in the log it was taken of. If that log was
    /// recreated or truncated since, opening fails with `log_changed`.
    Checkpoint(Checkpoint),
    /// At the first record that was appended at this time or later, in µs since
    /// the epoch; at the end if there is none yet.
    Time(u64),
    /// So many records (which may be negative) from a place in the log. Outside
    /// the log it is `out_of_range`.
    Relative {
        /// The place.
        whence: Whence,
        /// Records from there; with [`Whence::Time`] µs since the epoch.
        position: i64,
    },
}

impl Start {
    /// As the parameters `whence` and `position`.
    ///
    /// # Errors
    /// `invalid_argument` for a number that the protocol has no room for.
    pub(super) fn parameters(self) -> Result<(Whence, i64), Error> {
        let number = |number: u64| {
            i64::try_from(number)
                .map_err(|_| Error::invalid(format!("{number} is beyond every position and time")))
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

    /// The log that is meant, and an end that it had.
    pub(super) fn known(self) -> Option<(LogId, u64)> {
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
