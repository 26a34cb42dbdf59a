//! [`Error`]: what went wrong, with a code from the error table.
//!
//! A server reports a [`Code`]. Errors that only a client can detect, such as a missing
//! connection or a missed deadline, have a [`Kind`] of their own. Both have a stable
//! text, [`Error::code`], which is the same in every language. An error is cheap to
//! clone, because one cause often fails many records.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::LogStatus;
use styx_protocol::error::{Code, Remedy};

/// The kind of an error: a program decides by it what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A code of the table that servers and clients share: docs/errors.md.
    Code(Code),
    /// No connection could be opened, or the connection broke.
    ConnectionFailed,
    /// A deadline or timeout passed.
    TimedOut,
    /// The client, producer, consumer, backup or restore was closed.
    Closed,
    /// The process was forked, and this client belongs to the parent.
    Forked,
    /// An argument or option of the caller is invalid.
    InvalidArgument,
    /// The call would have to wait, but is one that never waits.
    WouldBlock,
    /// The response does not conform to the protocol: the peer may not be a Styx server.
    BadAnswer,
}

impl Kind {
    /// The stable text, the same in every language: `log_not_found`,
    /// `connection_failed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Code(code) => code.as_str(),
            Kind::ConnectionFailed => "connection_failed",
            Kind::TimedOut => "timed_out",
            Kind::Closed => "closed",
            Kind::Forked => "forked",
            Kind::InvalidArgument => "invalid_argument",
            Kind::WouldBlock => "would_block",
            Kind::BadAnswer => "bad_answer",
        }
    }

    fn is_retriable(self) -> bool {
        match self {
            Kind::Code(code) => code.remedy() == Remedy::Retry,
            Kind::ConnectionFailed | Kind::TimedOut | Kind::WouldBlock => true,
            Kind::Closed | Kind::Forked | Kind::InvalidArgument | Kind::BadAnswer => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of this crate.
#[derive(Clone)]
#[non_exhaustive]
pub struct Error {
    inner: Arc<Inner>,
    maybe_appended: bool,
}

#[derive(Debug, Clone)]
struct Inner {
    kind: Kind,
    message: String,
    facts: Facts,
}

/// The values of an error besides its kind and message; `None` if it does not have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Facts {
    /// Position of the first record that the log still has.
    pub start_position: Option<u64>,
    /// Position of the next record to be appended.
    pub end_position: Option<u64>,
    /// The position that the error is about, such as that of a damaged record or of a cursor.
    pub position: Option<u64>,
    /// Position of the first intact record after a damaged one.
    pub next_intact_position: Option<u64>,
    /// The sequence that the server expected of the producer.
    pub expected_sequence: Option<u64>,
    /// The version of the cursor that the error is about.
    pub version: Option<u64>,
    /// The version that the cursor had before its last change; 0 if it did not exist.
    pub replaced_version: Option<u64>,
    /// The number of records that the request appended despite the error.
    pub count: Option<u64>,
    /// The log's status, when it is not `ok`.
    pub status: Option<LogStatus>,
    /// The time after which the server asks the client to retry.
    pub retry_after: Option<Duration>,
    /// The HTTP status of a response to a request for a styx/1 stream, if the server or a proxy
    /// ignored or refused the upgrade itself. Log management and [`over_http`](crate::over_http)
    /// work in spite of it.
    pub refused_upgrade: Option<u16>,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error::with_facts(kind, message, Facts::default())
    }

    pub(crate) fn with_facts(kind: Kind, message: impl Into<String>, facts: Facts) -> Error {
        let maybe_appended = matches!(kind, Kind::Code(code) if code.maybe_appended());
        Error { inner: Arc::new(Inner { kind, message: message.into(), facts }), maybe_appended }
    }

    pub(crate) fn code_error(code: Code, message: impl Into<String>) -> Error {
        Error::new(Kind::Code(code), message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(Kind::InvalidArgument, message)
    }

    pub(crate) fn bad_answer(message: impl Into<String>) -> Error {
        Error::new(Kind::BadAnswer, message)
    }

    pub(crate) fn closed(what: &str) -> Error {
        Error::new(Kind::Closed, format!("the {what} is closed"))
    }

    /// The same error with another value of
    /// [`maybe_appended`](Self::maybe_appended).
    #[must_use]
    pub(crate) fn with_maybe_appended(mut self, maybe_appended: bool) -> Error {
        self.maybe_appended = maybe_appended;
        self
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The kind's stable text.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.inner.kind.as_str()
    }

    /// Whether the same call may succeed later. For a damaged log it is `false`, because
    /// an operator has to act first.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.inner.facts.status != Some(LogStatus::Corrupt) && self.inner.kind.is_retriable()
    }

    /// Whether the records may be in the log despite the error. For a log management
    /// call: whether it may have been carried out. `false` means that the records are
    /// not in the log, and that the call was not carried out.
    #[must_use]
    pub fn maybe_appended(&self) -> bool {
        self.maybe_appended
    }

    /// What happened and what to do, for people; without the kind.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The error's positions and other values.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.inner.facts
    }

    pub(crate) fn is(&self, code: Code) -> bool {
        self.inner.kind == Kind::Code(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code())
            .field("message", &self.message())
            .field("maybe_appended", &self.maybe_appended)
            .field("facts", &self.inner.facts)
            .finish()
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_error_table() {
        for code in Code::all() {
            let error = Error::code_error(code, "m");
            assert_eq!(error.code(), code.as_str());
            assert_eq!(error.is_retriable(), code.remedy() == Remedy::Retry, "{code}");
            assert_eq!(error.maybe_appended(), code.maybe_appended(), "{code}");
        }
    }

    #[test]
    fn damaged_log_is_not_retriable() {
        let scanning = Facts { status: Some(LogStatus::Scanning), ..Facts::default() };
        let corrupt = Facts { status: Some(LogStatus::Corrupt), ..Facts::default() };
        let kind = Kind::Code(Code::LogNotAvailable);
        assert!(Error::with_facts(kind, "m", scanning).is_retriable());
        assert!(!Error::with_facts(kind, "m", corrupt).is_retriable());
    }
}
