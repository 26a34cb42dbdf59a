//! [`Position`]: which record of a log, counted from 0.
//!
//! A position says nothing about bytes; offsets in files never leave the
//! engine and have a type of their own there. A position means something only
//! together with the log's id, because truncating a log starts again at 0.

use std::fmt;

/// The number of a record in its log, from 0. The *end position* is the one
/// that the next record will get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The first position of every log.
    pub const ORIGIN: Position = Position(0);

    /// This position moved `records` further, or `None` past `u64::MAX`.
    #[must_use]
    pub fn checked_add(self, records: u64) -> Option<Position> {
        self.0.checked_add(records).map(Position)
    }

    /// This position moved by a signed distance, or `None` outside `u64`.
    #[must_use]
    pub fn checked_offset(self, by: i64) -> Option<Position> {
        self.0.checked_add_signed(by).map(Position)
    }

    /// Records from `earlier` up to here; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Position) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<u64> for Position {
    type Output = Position;

    /// Saturates: a log ends long before `u64::MAX` records.
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
