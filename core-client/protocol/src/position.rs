//! [`Position`]: which record of a log, counted from 0.
//!
//! A position is not a byte offset. File offsets never leave the engine, which has its own
//! type for them. A position is only meaningful together with the log's id, because
//! positions start at 0 again when a log is truncated.

use std::fmt;

/// The number of a record in its log, from 0. The *end position* is the position of the next
/// record to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The first position of every log.
    pub const ORIGIN: Position = Position(0);

    /// This position plus `records`; `None` beyond `u64::MAX`.
    #[must_use]
    pub fn checked_add(self, records: u64) -> Option<Position> {
        self.0.checked_add(records).map(Position)
    }

    /// This position plus a signed distance; `None` outside the range of `u64`.
    #[must_use]
    pub fn checked_offset(self, by: i64) -> Option<Position> {
        self.0.checked_add_signed(by).map(Position)
    }

    /// The number of records from `earlier` to this position; 0 if `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Position) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<u64> for Position {
    type Output = Position;

    /// Saturates. No log reaches `u64::MAX` records.
    fn add(self, records: u64) -> Position {
        Position(self.0.saturating_add(records))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for Position {
    fn from(value: u64) -> Self {
        Position(value)
    }
}
