//! [`Start`]: where a consumer begins.

use std::str::FromStr;

use styx_protocol::read::rfc_3339_microseconds;
use styx_protocol::{Checkpoint, LogId, Whence};

use crate::error::Error;

/// Where a consumer begins to read.
///
/// As text, it is one of these:
///
/// | text | start |
/// |---|---|
/// | `start` | the first record that the log still has |
/// | `end` | the end |
/// | `end-100` | this number of records before the end |
/// | `42` | a position |
/// | `time:2026-11-28T16:00:00Z` | a time as in RFC 3339, with its offset |
/// | a checkpoint's text | a checkpoint |
///
/// ```
/// use styx_client::Start;
///
/// # fn main() -> Result<(), styx_client::Error> {
/// let start: Start = "42".parse()?;
/// assert_eq!(start, Start::Position(42));
/// # Ok(())
/// # }
/// ```
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
    pub(crate) fn parameters(self) -> Result<(Whence, i64), Error> {
        let number = |number: u64| {
            i64::try_from(number).map_err(|_| {
                Error::invalid_argument(format!(
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

impl FromStr for Start {
    type Err = Error;

    /// Reads the text forms of the type's description. Surrounding spaces are ignored.
    fn from_str(text: &str) -> Result<Start, Error> {
        let text = text.trim();
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let start = match text {
            "start" => Some(Start::Start),
            "end" => Some(Start::End),
            _ if is_number(text) => text.parse().ok().map(Start::Position),
            _ => match (text.strip_prefix("end-"), text.strip_prefix("time:")) {
                (Some(count), _) => {
                    let count = count.parse::<i64>().ok().filter(|_| is_number(count));
                    count.map(|count| Start::Relative { whence: Whence::End, position: -count })
                }
                // No record is older than the epoch.
                (None, Some(time)) => rfc_3339_microseconds(time)
                    .map(|time| Start::Time(u64::try_from(time).unwrap_or(0))),
                (None, None) => text.parse().ok().map(Start::Checkpoint),
            },
        };
        start.ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::invalid_argument(format!(
                "the start {shown:?} is invalid: use start, end, end-100, a position, a time such \
                 as time:2026-01-31T12:00:00Z, or a checkpoint"
            ))
        })
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

#[cfg(test)]
mod tests {
    use styx_protocol::Position;

    use super::*;

    #[test]
    fn every_text_form_is_parsed() {
        let before_end = |position| Start::Relative { whence: Whence::End, position };
        let checkpoint = Checkpoint { log_id: LogId(7), next: Position(42) };
        for (text, start) in [
            ("start", Start::Start),
            (" end ", Start::End),
            ("end-100", before_end(-100)),
            ("end-0", before_end(0)),
            ("0", Start::Position(0)),
            ("18446744073709551615", Start::Position(u64::MAX)),
            ("time:2023-11-14T22:13:20.000001Z", Start::Time(1_700_000_000_000_001)),
            ("time:2023-11-15T00:13:20+02:00", Start::Time(1_700_000_000_000_000)),
            ("time:1969-01-01T00:00:00Z", Start::Time(0)),
            (&checkpoint.to_string(), Start::Checkpoint(checkpoint)),
        ] {
            assert_eq!(text.parse::<Start>().expect(text), start, "{text}");
        }
    }

    #[test]
    fn invalid_text_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "Start",
            "start-1",
            "end+1",
            "end-",
            "end--1",
            "end-+1",
            "end-x",
            "-1",
            "+1",
            "1.5",
            "18446744073709551616",
            "end-9223372036854775808",
            "time:",
            "time:yesterday",
            "time:2023-11-14",
            "time:2023-11-14T22:13:20",
            "2023-11-14T22:13:20Z",
            "00000000000000000000000000000007:-1",
            "7:42",
        ] {
            let error = text.parse::<Start>().expect_err(text);
            assert_eq!(error.code(), "invalid_argument", "{text}");
            for part in ["end-100", "time:2026", "checkpoint"] {
                assert!(error.message().contains(part), "{error}");
            }
        }
    }
}
