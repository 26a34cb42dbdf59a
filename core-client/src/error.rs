//! [`Error`]: what went wrong, in the words of the one error table.
//!
//! A server says a [`Code`]; what only a client can notice (no connection, a
//! deadline) has a [`Kind`] of its own. Both have a stable text, [`Error::code`],
//! that is the same in every language. Cheap to clone: one cause often ends
//! many records.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::LogStatus;
use styx_protocol::error::{Code, Remedy};

/// What kind of thing went wrong, so that a program can decide what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A row of the table that servers and clients share: docs/errors.md.
    Code(Code),
    /// No connection came about, or it broke.
    ConnectionFailed,
    /// A deadline or time-out passed.
    TimedOut,
    /// It was closed by its owner.
    Closed,
    /// The process was forked: this client belongs to the parent.
    Forked,
    /// The caller's own arguments cannot be used.
    InvalidArgument,
    /// There is no room now, and the call was one that does not wait.
    WouldBlock,
    /// The peer did not answer as a Styx server does.
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

/// What an error says besides its kind and message; `None` where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Facts {
    /// Position of the first kept record.
    pub start_position: Option<u64>,
    /// Position that the next record will get.
    pub end_position: Option<u64>,
    /// The position the error speaks of, such as that of a damaged record.
    pub position: Option<u64>,
    /// Where intact records go on behind a damaged one.
    pub next_intact_position: Option<u64>,
    /// The sequence that the server expected of the producer.
    pub expected_sequence: Option<u64>,
    /// How many records the request appended all the same.
    pub count: Option<u64>,
    /// The log's status, when it is not `ok`.
    pub status: Option<LogStatus>,
    /// When the server would like to be asked again.
    pub retry_after: Option<Duration>,
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

    /// The same error about records of which it is known, or not, that they
    /// were not appended.
    #[must_use]
    pub(crate) fn with_maybe_appended(mut self, maybe_appended: bool) -> Error {
        self.maybe_appended = maybe_appended;
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The kind's stable text.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.inner.kind.as_str()
    }

    /// Whether the same call may work later without anything being changed. A
    /// damaged log is not retriable: somebody has to look at it.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.inner.facts.status != Some(LogStatus::Corrupt) && self.inner.kind.is_retriable()
    }

    /// Whether the records that the error speaks of may be in the log all the
    /// same; of a call that manages logs, whether it may have been carried out.
    /// `false` means that they are not, and it was not.
    #[must_use]
    pub fn maybe_appended(&self) -> bool {
        self.maybe_appended
    }

    /// What happened, for people, without the kind.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Positions and the like, as far as the error has them.
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
    fn the_table_decides_what_a_code_means() {
        for code in Code::all() {
            let error = Error::code_error(code, "m");
            assert_eq!(error.code(), code.as_str());
            assert_eq!(error.is_retriable(), code.remedy() == Remedy::Retry, "{code}");
            assert_eq!(error.maybe_appended(), code.maybe_appended(), "{code}");
        }
    }

    #[test]
    fn a_damaged_log_is_not_asked_again() {
        let scanning = Facts { status: Some(LogStatus::Scanning), ..Facts::default() };
        let corrupt = Facts { status: Some(LogStatus::Corrupt), ..Facts::default() };
        let kind = Kind::Code(Code::LogNotAvailable);
        assert!(Error::with_facts(kind, "m", scanning).is_retriable());
        assert!(!Error::with_facts(kind, "m", corrupt).is_retriable());
    }
}
