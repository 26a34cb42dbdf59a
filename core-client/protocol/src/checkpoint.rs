//! [`Checkpoint`]: where a consumer goes on, and in which log.
//!
//! A position alone means nothing once a log was truncated or created again;
//! with the log's id beside it, that is found out instead of other records being
//! read. Consumers store it with their output, in one transaction.

use std::fmt;
use std::str::FromStr;

use crate::{LogId, Position};

/// A log's id and the position of the next record to read. Its text form,
/// `id:position`, is opaque to applications: they store it and hand it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Which log.
    pub log_id: LogId,
    /// The record to go on with.
    pub next: Position,
}

/// The text is not a checkpoint; holds the text, shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a checkpoint: use one that a consumer gave out, unchanged")]
pub struct Invalid(pub String);

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log_id, self.next)
    }
}

impl FromStr for Checkpoint {
    type Err = Invalid;

    /// Takes exactly what `Display` writes: 32 lower-case hex digits, a colon, a
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
