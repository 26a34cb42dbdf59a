//! The one table of everything that can go wrong between a client and a server.
//!
//! Each row is a [`Code`]. Its text is stable and for programs; HTTP status,
//! WebSocket close code and stream code are derived from the row. docs/errors.md
//! is generated from this table.

mod markdown;

pub use markdown::to_markdown;

/// What went wrong. The order is the order of the stream codes, from 1;
/// [`Code::UnknownError`] is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each row says what it means, in `meaning`")]
pub enum Code {
    NotFound,
    MethodNotAllowed,
    InvalidParams,
    LogInvalidName,
    LogExist,
    LogNotFound,
    LogNotAvailable,
    MissingContentLength,
    OutOfRange,
    RecordTooLarge,
    MalformedRecords,
    PositionMismatch,
    SequenceGap,
    SequenceReused,
    ProducerFenced,
    LogChanged,
    LogEndRegressed,
    OutcomeUnknown,
    Overloaded,
    ShuttingDown,
    CorruptRecord,
    StorageFull,
    Unauthorized,
    Forbidden,
    TooManyRequests,
    ProducerUnknown,
    UnknownError,
}

/// What a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same request may work later.
    Retry,
    /// The request or the caller's knowledge is wrong; sending it again is no use.
    Fatal,
}

struct Row(Code, &'static str, u16, Remedy, bool, &'static str);

use Code as C;
use Remedy::{Fatal, Retry};

/// code, text, HTTP status, remedy, may the records have been appended, when
const TABLE: [Row; 27] = [
    Row(C::NotFound, "not_found", 404, Fatal, false, "no such path"),
    Row(
        C::MethodNotAllowed,
        "method_not_allowed",
        405,
        Fatal,
        false,
        "the path does not know this method",
    ),
    Row(
        C::InvalidParams,
        "invalid_params",
        400,
        Fatal,
        false,
        "a query, form or header value cannot be parsed",
    ),
    Row(C::LogInvalidName, "log_invalid_name", 400, Fatal, false, "the name is not a log name"),
    Row(C::LogExist, "log_exist", 409, Fatal, false, "a log of that name exists already"),
    Row(C::LogNotFound, "log_not_found", 404, Fatal, false, "no log of that name"),
    Row(
        C::LogNotAvailable,
        "log_not_available",
        503,
        Retry,
        false,
        "the log is being opened, or is damaged",
    ),
    Row(
        C::MissingContentLength,
        "missing_content_length",
        411,
        Fatal,
        false,
        "the request needs a Content-Length",
    ),
    Row(
        C::OutOfRange,
        "out_of_range",
        416,
        Fatal,
        false,
        "the position is before the first kept record or after the end",
    ),
    Row(
        C::RecordTooLarge,
        "record_too_large",
        413,
        Fatal,
        false,
        "a record is over the log's max_record_size",
    ),
    Row(
        C::MalformedRecords,
        "malformed_records",
        400,
        Fatal,
        false,
        "the body does not decode as its media type",
    ),
    Row(
        C::PositionMismatch,
        "position_mismatch",
        409,
        Fatal,
        false,
        "the log does not end at the expected position",
    ),
    Row(
        C::SequenceGap,
        "sequence_gap",
        409,
        Fatal,
        false,
        "records of this producer are missing before these",
    ),
    Row(
        C::SequenceReused,
        "sequence_reused",
        409,
        Fatal,
        false,
        "the sequence was used for other records",
    ),
    Row(
        C::ProducerFenced,
        "producer_fenced",
        409,
        Fatal,
        false,
        "a producer with a higher epoch took over",
    ),
    Row(
        C::LogChanged,
        "log_changed",
        409,
        Fatal,
        false,
        "the caller's log was recreated, restored or truncated",
    ),
    Row(
        C::LogEndRegressed,
        "log_end_regressed",
        409,
        Fatal,
        false,
        "the log ends before what the caller knew to be durable",
    ),
    Row(
        C::OutcomeUnknown,
        "outcome_unknown",
        500,
        Retry,
        true,
        "a write or sync failed: the records may be there after a restart",
    ),
    Row(C::Overloaded, "overloaded", 503, Retry, false, "more work than the server takes"),
    Row(C::ShuttingDown, "shutting_down", 503, Retry, false, "the server is stopping"),
    Row(
        C::CorruptRecord,
        "corrupt_record",
        500,
        Fatal,
        false,
        "a stored record fails its checksum",
    ),
    Row(C::StorageFull, "storage_full", 507, Retry, false, "no space left on the storage"),
    Row(C::Unauthorized, "unauthorized", 401, Fatal, false, "no valid token"),
    Row(C::Forbidden, "forbidden", 403, Fatal, false, "the token does not allow this"),
    Row(C::TooManyRequests, "too_many_requests", 429, Retry, false, "this client sends too much"),
    Row(
        C::ProducerUnknown,
        "producer_unknown",
        409,
        Fatal,
        false,
        "the log no longer knows this producer (raised by clients alone)",
    ),
    Row(
        C::UnknownError,
        "unknown_error",
        500,
        Retry,
        true,
        "a bug or an I/O error; the server's log has the cause",
    ),
];

impl Code {
    /// Every code, in the order of the table.
    pub fn all() -> impl Iterator<Item = Code> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The stable text, as in `{"code": …}`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status.
    #[must_use]
    pub fn http_status(self) -> u16 {
        self.row().2
    }

    /// The number in styx/1 error frames: 1 for the first row, 0 for
    /// [`Code::UnknownError`].
    #[must_use]
    pub fn stream_code(self) -> u16 {
        match self {
            Code::UnknownError => 0,
            other => other as u16 + 1,
        }
    }

    /// The WebSocket close code: 4000 plus the stream code; 1011 for 0.
    #[must_use]
    pub fn close_code(self) -> u16 {
        match self.stream_code() {
            0 => 1011,
            code => 4000 + code,
        }
    }

    /// What a caller can do.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        self.row().3
    }

    /// Whether records of the failed request may be in the log all the same.
    #[must_use]
    pub fn maybe_appended(self) -> bool {
        self.row().4
    }

    /// When it is raised, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().5
    }

    /// The code with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Code> {
        Code::all().find(|code| code.as_str() == text)
    }

    /// The code with this stream code.
    #[must_use]
    pub fn from_stream_code(number: u16) -> Option<Code> {
        Code::all().find(|code| code.stream_code() == number)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_at_its_codes_place() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.1);
            assert_eq!(Code::from_stream_code(row.0.stream_code()), Some(row.0));
            assert_eq!(Code::from_text(row.1), Some(row.0));
        }
    }
}
