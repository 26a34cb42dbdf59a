//! [`Error`]: what went wrong, with a code from the error table.
//!
//! A server reports a [`Code`]. Errors that only a client can detect, such as a missing
//! connection or a missed deadline, have a [`Kind`] of their own. Both have a stable
//! text, [`Error::code`], which is the same in every language. An error is cheap to
//! clone, because one cause often fails many records.

mod kind;

pub use kind::Kind;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::{Checkpoint, Code, LogId, LogStatus};

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
    /// With `log_changed`: the position up to which the log is the same as the expected one, from
    /// which it was restored.
    pub fork_position: Option<u64>,
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

impl Facts {
    /// The numbers among them, with their names: all but `status` and `retry_after`. The client
    /// libraries of other languages show these.
    pub fn numbers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        // Every field, so that a new one is not forgotten.
        let Facts {
            start_position,
            end_position,
            fork_position,
            position,
            next_intact_position,
            expected_sequence,
            version,
            replaced_version,
            count,
            status: _,
            retry_after: _,
            refused_upgrade,
        } = *self;
        [
            ("start_position", start_position),
            ("end_position", end_position),
            ("fork_position", fork_position),
            ("position", position),
            ("next_intact_position", next_intact_position),
            ("expected_sequence", expected_sequence),
            ("version", version),
            ("replaced_version", replaced_version),
            ("count", count),
            ("refused_upgrade", refused_upgrade.map(u64::from)),
        ]
        .into_iter()
        .filter_map(|(name, number)| Some((name, number?)))
    }
}

/// Whether a log continues the expected one, which has another id: the server says that it was
/// restored from it, and that both are the same up to `needed`.
///
/// # Errors
/// `log_changed`, with the fork if the server has named it.
pub(crate) fn check_restored_from(
    fork: Option<Checkpoint>,
    expected: LogId,
    needed: u64,
) -> Result<(), Error> {
    let fork = fork.filter(|fork| fork.log_id == expected).map(|fork| fork.next.0);
    let text = match fork {
        Some(fork) if needed <= fork => return Ok(()),
        Some(fork) => format!(
            "the log was restored up to position {fork}, but position {needed} is needed: start \
             again from position {fork} or an earlier one"
        ),
        None => "the log was recreated, restored or truncated, so its positions refer to other \
                 records now: start again from a position of the new log"
            .to_owned(),
    };
    let facts = Facts { fork_position: fork, ..Facts::default() };
    Err(Error::with_facts(Kind::Code(Code::LogChanged), text, facts))
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

    pub(crate) fn bad_answer(message: impl Into<String>) -> Error {
        Error::new(Kind::BadAnswer, message)
    }

    /// An error of kind [`Kind::Panicked`] for a caught panic with this payload.
    #[must_use]
    pub fn panicked(payload: &(dyn Any + Send)) -> Error {
        let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => *text,
            (None, Some(text)) => text.as_str(),
            (None, None) => "no text",
        };
        Error::new(Kind::Panicked, format!("a background task of the client panicked: {text}"))
    }

    /// An error of kind [`Kind::InvalidArgument`]. A language binding raises it for an
    /// argument that it checks itself. The message says what is allowed.
    #[must_use]
    pub fn invalid_argument(message: impl Into<String>) -> Error {
        Error::new(Kind::InvalidArgument, message)
    }

    /// The error of kind [`Kind::Closed`] for an object, such as `"producer"`.
    #[must_use]
    pub fn closed(what: &str) -> Error {
        Error::new(Kind::Closed, format!("the {what} is closed"))
    }

    /// An error of kind [`Kind::Forked`].
    #[must_use]
    pub fn forked(message: impl Into<String>) -> Error {
        Error::new(Kind::Forked, message)
    }

    /// An error of kind [`Kind::WouldBlock`]: says what the call would have to wait for.
    #[must_use]
    pub fn would_block(message: impl Into<String>) -> Error {
        Error::new(Kind::WouldBlock, message)
    }

    /// An error of kind [`Kind::TimedOut`]: says what did not happen, and in what time.
    #[must_use]
    pub fn timed_out(message: impl Into<String>) -> Error {
        Error::new(Kind::TimedOut, message)
    }

    /// As [`timed_out`](Self::timed_out), for a caller that stopped waiting for a call that may
    /// still be carried out: [`maybe_appended`](Self::maybe_appended) is `true`.
    #[must_use]
    pub fn unfinished(message: impl Into<String>) -> Error {
        Error::timed_out(message).with_maybe_appended(true)
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
    fn outcome_of_codes_follows_the_error_table() {
        for code in Code::all() {
            let error = Error::code_error(code, "m");
            assert_eq!(error.code(), code.as_str());
            assert_eq!(error.maybe_appended(), code.maybe_appended(), "{code}");
        }
    }

    #[test]
    fn errors_of_bindings_have_the_kind_of_their_constructor() {
        for (error, kind, text) in [
            (Error::invalid_argument("m"), Kind::InvalidArgument, "m"),
            (Error::closed("producer"), Kind::Closed, "the producer is closed"),
            (Error::forked("m"), Kind::Forked, "m"),
            (Error::would_block("m"), Kind::WouldBlock, "m"),
            (Error::timed_out("m"), Kind::TimedOut, "m"),
        ] {
            assert_eq!((error.kind(), error.message()), (kind, text));
            assert!(!error.maybe_appended());
        }
    }

    #[test]
    fn error_of_a_panic_has_its_text() {
        for payload in [Box::new("boom") as Box<dyn Any + Send>, Box::new("boom".to_owned())] {
            let error = Error::panicked(&*payload);
            assert_eq!((error.code(), error.is_retriable()), ("panicked", false));
            assert!(error.message().ends_with(": boom"), "{error}");
        }
        assert!(Error::panicked(&7).message().ends_with(": no text"));
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
