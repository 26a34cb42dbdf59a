//! What both sides know about a log: its name, id, configuration and status.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{CONFIG_VALUE_MAX, LOG_NAME_BYTES_MAX, MAX_RECORD_SIZE_MAX};

/// A log's name: `^[A-Za-z0-9_-]+$`, at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(String);

/// The text is not a log name. Has the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a log name: use 1 to 255 of A-Z a-z 0-9 _ -")]
pub struct InvalidName(pub String);

impl LogName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > LOG_NAME_BYTES_MAX || !text.bytes().all(allowed) {
            return Err(InvalidName(text.chars().take(LOG_NAME_BYTES_MAX).collect()));
        }
        Ok(LogName(text.to_owned()))
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A log's random id. A log gets a new one when it is created, restored or truncated. It is
/// written as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub u128);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The text is not 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log id is 32 hex digits")]
pub struct InvalidId;

impl FromStr for LogId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidId);
        }
        u128::from_str_radix(text, 16).map(LogId).map_err(|_| InvalidId)
    }
}

/// Whether a log can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStatus {
    /// Appends and reads work.
    Ok,
    /// Durable records were found to be damaged: intact records can be read.
    Corrupt,
    /// A write or fsync failed: until a restart, only durable records can be read.
    Tainted,
    /// The log is being opened: retry shortly.
    Scanning,
    /// The log's files could not be read (permissions, an I/O error).
    Unknown,
}

impl fmt::Display for LogStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogStatus::Ok => "ok",
            LogStatus::Corrupt => "corrupt",
            LogStatus::Tainted => "tainted",
            LogStatus::Scanning => "scanning",
            LogStatus::Unknown => "unknown",
        })
    }
}

/// The API's information about a log. It only counts durable records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogInfo {
    /// The log's name.
    pub name: String,
    /// Whether the log can be used.
    pub status: LogStatus,
    /// The number of records between start and end position.
    pub record_count: u64,
    /// Bytes of these records: payloads plus 8 bytes each.
    pub file_size: u64,
    /// Position of the first record that the log still has.
    pub start_position: u64,
    /// Position of the next record to be appended.
    pub end_position: u64,
}

/// The configuration of a log. -1 means no limit, where it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogConfig {
    /// The largest record in bytes: payload plus 8.
    pub max_record_size: i64,
    /// Bytes of a segment between two entries of its index.
    pub index_after_size: i64,
    /// The number of records after which a segment ends.
    pub segment_max_count: i64,
    /// Bytes after which a segment ends.
    pub segment_max_size: i64,
    /// Seconds after which a segment ends.
    pub segment_max_age: i64,
    /// The number of records to keep.
    pub log_max_count: i64,
    /// Bytes to keep.
    pub log_max_size: i64,
    /// Seconds to keep a record.
    pub log_max_age: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            max_record_size: 1 << 20,
            index_after_size: 1 << 20,
            segment_max_count: -1,
            segment_max_size: 1 << 30,
            segment_max_age: -1,
            log_max_count: -1,
            log_max_size: -1,
            log_max_age: -1,
        }
    }
}

/// A configuration value outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: use {accepted}")]
pub struct InvalidConfig {
    /// The field's name.
    pub field: &'static str,
    /// The given value.
    pub value: i64,
    /// The accepted values, in words.
    pub accepted: String,
}

impl LogConfig {
    /// The names of all fields, in order.
    pub const FIELDS: [&'static str; 8] = [
        "max_record_size",
        "index_after_size",
        "segment_max_count",
        "segment_max_size",
        "segment_max_age",
        "log_max_count",
        "log_max_size",
        "log_max_age",
    ];

    /// The field with this name, in any letter case, to read or set it.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut i64> {
        let index = Self::FIELDS.iter().position(|f| f.eq_ignore_ascii_case(name))?;
        Some(match index {
            0 => &mut self.max_record_size,
            1 => &mut self.index_after_size,
            2 => &mut self.segment_max_count,
            3 => &mut self.segment_max_size,
            4 => &mut self.segment_max_age,
            5 => &mut self.log_max_count,
            6 => &mut self.log_max_size,
            _ => &mut self.log_max_age,
        })
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// The first field that is 0, below -1 or too large; `max_record_size` and
    /// `index_after_size` cannot be -1.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        let mut copy = *self;
        for (index, field) in Self::FIELDS.into_iter().enumerate() {
            let value = *copy.field_mut(field).expect("FIELDS names fields");
            let (may_be_unlimited, min, max) = match index {
                0 => (false, 9, i64::try_from(MAX_RECORD_SIZE_MAX).expect("1 GiB fits")),
                1 => (false, 1, CONFIG_VALUE_MAX),
                _ => (true, 1, CONFIG_VALUE_MAX),
            };
            let unlimited = may_be_unlimited && value == -1;
            if !unlimited && !(min..=max).contains(&value) {
                let or = if may_be_unlimited { " or -1 (no limit)" } else { "" };
                let accepted = format!("{min} to {max}{or}");
                return Err(InvalidConfig { field, value, accepted });
            }
        }
        Ok(())
    }

    /// The most payload bytes of a record in this log.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        usize::try_from(self.max_record_size.saturating_sub(8)).unwrap_or(0)
    }
}
