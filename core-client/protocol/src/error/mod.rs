//! The table of every error that a client and a server can report to each other.
//!
//! Each row describes one [`Code`]. Its text is stable, so programs can rely on it.
//! The HTTP status, the WebSocket close code and the stream code follow from the
//! row. docs/errors.md is generated from this table.

mod markdown;

pub use markdown::to_markdown;

/// What went wrong. The variants are in the order of the stream codes, from 1;
/// [`Code::UnknownError`] has stream code 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the table below says what each code means, in `meaning`")]
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
    RequestTimeout,
    CursorNotFound,
    CursorTaken,
    TooManyCursors,
    QuotaExceeded,
    StoreUnavailable,
    ReadOnly,
    UnknownError,
}

/// What a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The same request may work later.
    Retry,
    /// The request is wrong, or the caller's information is out of date. Sending the
    /// same request again fails again.
    Fatal,
}

/// One row of the table.
struct Row {
    code: Code,
    /// The stable text.
    text: &'static str,
    http_status: u16,
    remedy: Remedy,
    /// Whether the records of the failed request may have been appended.
    maybe_appended: bool,
    /// When the error is raised.
    meaning: &'static str,
}

use Remedy::{Fatal, Retry};

const TABLE: [Row; 34] = [
    Row {
        code: Code::NotFound,
        text: "not_found",
        http_status: 404,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "no such path",
    },
    Row {
        code: Code::MethodNotAllowed,
        text: "method_not_allowed",
        http_status: 405,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the path does not support this method",
    },
    Row {
        code: Code::InvalidParams,
        text: "invalid_params",
        http_status: 400,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "a query, form or header value cannot be parsed",
    },
    Row {
        code: Code::LogInvalidName,
        text: "log_invalid_name",
        http_status: 400,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the name is not a valid log name",
    },
    Row {
        code: Code::LogExist,
        text: "log_exist",
        http_status: 409,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "a log with that name already exists",
    },
    Row {
        code: Code::LogNotFound,
        text: "log_not_found",
        http_status: 404,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "no log has that name",
    },
    Row {
        code: Code::LogNotAvailable,
        text: "log_not_available",
        http_status: 503,
        remedy: Retry,
        maybe_appended: false,
        meaning: "the log is being opened, or is damaged",
    },
    Row {
        code: Code::MissingContentLength,
        text: "missing_content_length",
        http_status: 411,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the request needs a Content-Length",
    },
    Row {
        code: Code::OutOfRange,
        text: "out_of_range",
        http_status: 416,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the position is before the first kept record or after the end",
    },
    Row {
        code: Code::RecordTooLarge,
        text: "record_too_large",
        http_status: 413,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "a record is larger than the log's max_record_size, or than the memory that the server may use for it",
    },
    Row {
        code: Code::MalformedRecords,
        text: "malformed_records",
        http_status: 400,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the body cannot be decoded as its media type",
    },
    Row {
        code: Code::PositionMismatch,
        text: "position_mismatch",
        http_status: 409,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the log does not end at the expected position",
    },
    Row {
        code: Code::SequenceGap,
        text: "sequence_gap",
        http_status: 409,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "earlier records of this producer are missing",
    },
    Row {
        code: Code::SequenceReused,
        text: "sequence_reused",
        http_status: 409,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "this sequence was already used for other records",
    },
    Row {
        code: Code::ProducerFenced,
        text: "producer_fenced",
        http_status: 409,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "a producer with a higher epoch took over",
    },
    Row {
        code: Code::LogChanged,
        text: "log_changed",
        http_status: 409,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the caller's log was recreated, restored or truncated",
    },
    Row {
        code: Code::LogEndRegressed,
        text: "log_end_regressed",
        http_status: 409,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the log ends before a position that the caller knows to be durable",
    },
    Row {
        code: Code::OutcomeUnknown,
        text: "outcome_unknown",
        http_status: 500,
        remedy: Retry,
        maybe_appended: true,
        meaning: "a write or fsync failed; the records may be in the log after a restart",
    },
    Row {
        code: Code::Overloaded,
        text: "overloaded",
        http_status: 503,
        remedy: Retry,
        maybe_appended: false,
        meaning: "the server has more work than it accepts",
    },
    Row {
        code: Code::ShuttingDown,
        text: "shutting_down",
        http_status: 503,
        remedy: Retry,
        maybe_appended: false,
        meaning: "the server is stopping",
    },
    Row {
        code: Code::CorruptRecord,
        text: "corrupt_record",
        http_status: 500,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "a stored record fails its checksum",
    },
    Row {
        code: Code::StorageFull,
        text: "storage_full",
        http_status: 507,
        remedy: Retry,
        maybe_appended: false,
        meaning: "no space left on the storage",
    },
    Row {
        code: Code::Unauthorized,
        text: "unauthorized",
        http_status: 401,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "no valid token",
    },
    Row {
        code: Code::Forbidden,
        text: "forbidden",
        http_status: 403,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the token does not allow this",
    },
    Row {
        code: Code::TooManyRequests,
        text: "too_many_requests",
        http_status: 429,
        remedy: Retry,
        maybe_appended: false,
        meaning: "this client sends too much",
    },
    Row {
        code: Code::ProducerUnknown,
        text: "producer_unknown",
        http_status: 409,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the log no longer knows this producer (only clients report this)",
    },
    Row {
        code: Code::RequestTimeout,
        text: "request_timeout",
        http_status: 408,
        remedy: Retry,
        maybe_appended: true,
        meaning: "the body stopped arriving, or arrived too slowly; `count` says what was appended",
    },
    Row {
        code: Code::CursorNotFound,
        text: "cursor_not_found",
        http_status: 404,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the log has no cursor with that name",
    },
    Row {
        code: Code::CursorTaken,
        text: "cursor_taken",
        http_status: 412,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the cursor does not have the expected version: another consumer has taken it over, or it was changed or deleted",
    },
    Row {
        code: Code::TooManyCursors,
        text: "too_many_cursors",
        http_status: 409,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the log has as many cursors as a log can have",
    },
    Row {
        code: Code::QuotaExceeded,
        text: "quota_exceeded",
        http_status: 507,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "the limit of stored bytes, or of the number of logs, is reached",
    },
    Row {
        code: Code::StoreUnavailable,
        text: "store_unavailable",
        http_status: 503,
        remedy: Retry,
        maybe_appended: false,
        meaning: "the records are in the archive, and its object store does not answer",
    },
    Row {
        code: Code::ReadOnly,
        text: "read_only",
        http_status: 403,
        remedy: Fatal,
        maybe_appended: false,
        meaning: "another server owns the log, and this one only reads it",
    },
    Row {
        code: Code::UnknownError,
        text: "unknown_error",
        http_status: 500,
        remedy: Retry,
        maybe_appended: true,
        meaning: "a bug or an I/O error; the server's log has the cause",
    },
];

impl Code {
    /// Every code, in the order of the table.
    pub fn all() -> impl Iterator<Item = Code> {
        TABLE.iter().map(|row| row.code)
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The stable text, as in `{"code": …}`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().text
    }

    /// The HTTP status.
    #[must_use]
    pub fn http_status(self) -> u16 {
        self.row().http_status
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

    /// What a caller can do about it.
    #[must_use]
    pub fn remedy(self) -> Remedy {
        self.row().remedy
    }

    /// Whether records of the failed request may be in the log despite the error.
    #[must_use]
    pub fn maybe_appended(self) -> bool {
        self.row().maybe_appended
    }

    /// When the error is raised, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().meaning
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
    fn each_row_is_at_the_index_of_its_code() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.code as usize, index, "{}", row.text);
            assert_eq!(Code::from_stream_code(row.code.stream_code()), Some(row.code));
            assert_eq!(Code::from_text(row.text), Some(row.code));
        }
    }
}
