//! When batches and records are equal: by what they say, not by the memory that they are
//! in.

use super::{Record, RecordBatch};

/// Batches are equal if they have the same log and equal records. An empty batch also has
/// to be at the same position.
impl PartialEq for RecordBatch {
    fn eq(&self, other: &RecordBatch) -> bool {
        self.log_id() == other.log_id()
            && self.first_position() == other.first_position()
            && self.len() == other.len()
            && self.iter().eq(other.iter())
    }
}

impl Eq for RecordBatch {}

/// Records are equal if their log, position, timestamp and payload are.
impl PartialEq for Record<'_> {
    fn eq(&self, other: &Record<'_>) -> bool {
        self.shared.log == other.shared.log
            && self.position == other.position
            && self.timestamp == other.timestamp
            && self.payload == other.payload
    }
}

impl Eq for Record<'_> {}
