//! Cursors: durable, named positions in a log.
//!
//! A consumer stores in a cursor where it continues. Every change of a cursor gives it a
//! new version, so that a change can be made on the condition that nobody else made one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{LogId, LogName};

/// The largest number of cursors that a log has.
pub const CURSORS_MAX: usize = 1000;

/// A cursor's name. It follows the rules of log names: `^[A-Za-z0-9_-]+$`, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorName(LogName);

/// The text is not a cursor name. Has the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cursor name: use 1 to 255 of A-Z a-z 0-9 _ -")]
pub struct InvalidName(pub String);

impl CursorName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for CursorName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<CursorName, InvalidName> {
        text.parse().map(CursorName).map_err(|error: crate::log::InvalidName| InvalidName(error.0))
    }
}

impl fmt::Display for CursorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The API's information about a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorInfo {
    /// The cursor's name.
    pub cursor: String,
    /// The log that the position belongs to.
    #[serde(with = "id_as_text")]
    pub log_id: LogId,
    /// The position of the next record to read.
    pub position: u64,
    /// When the cursor was last changed, in µs since the Unix epoch.
    pub updated: u64,
    /// The number of the last change. No two changes of the cursors of a log have the same
    /// number.
    pub version: u64,
}

/// Where a change puts a cursor: the body of a `PUT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NewPosition {
    /// The position of the next record to read.
    pub position: u64,
    /// The log that the position belongs to. If it is given, another log refuses the change.
    #[serde(with = "id_or_none_as_text", skip_serializing_if = "Option::is_none")]
    pub log_id: Option<LogId>,
}

mod id_as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::LogId;

    pub(super) fn serialize<S: Serializer>(id: &LogId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(id)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<LogId, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

mod id_or_none_as_text {
    use serde::Serializer;

    use crate::LogId;

    pub(super) fn serialize<S: Serializer>(id: &Option<LogId>, to: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => to.collect_str(id),
            None => to.serialize_none(),
        }
    }
}
