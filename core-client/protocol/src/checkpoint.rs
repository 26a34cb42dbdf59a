//! [`Checkpoint`]: the log and the position at which a consumer continues.
//!
//! After a log was truncated or recreated, its old positions refer to other records. With
//! the log's id, a checkpoint detects this, so that no wrong records are read. Consumers
//! store it together with their output, in one transaction.

use std::fmt;
use std::str::FromStr;

use crate::{LogId, Position};

/// A log's id and the position of the next record to read. Its text form, `id:position`, is
/// opaque to applications: they store it and pass it back unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The log.
    pub log_id: LogId,
    /// The next record.
    pub next: Position,
}

/// The text is not a checkpoint. Has the text, shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a checkpoint: use an unchanged checkpoint of a consumer")]
pub struct Invalid(pub String);

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log_id, self.next)
    }
}

impl FromStr for Checkpoint {
    type Err = Invalid;

    /// Accepts exactly what `Display` writes: 32 lower-case hex digits, a colon, and a
    /// decimal number without sign or leading zeros.
    fn from_str(text: &str) -> Result<Checkpoint, Invalid> {
        let parsed = text.split_once(':').and_then(|(id, position)| {
            let log_id = id.parse::<LogId>().ok()?;
            let next = position.parse().ok().map(Position)?;
            Some(Checkpoint { log_id, next })
        });
        let exact = parsed.filter(|checkpoint| checkpoint.to_string() == text);
        exact.ok_or_else(|| Invalid(text.chars().take(80).collect()))
    }
}
