//! Failures of requests to a store, by what the caller can do about them.

use std::fmt;

/// What the caller does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no object with this key.
    Missing,
    /// The store says that the condition of the request does not hold. It may be wrong: see
    /// [`Register`](crate::register::Register).
    Condition,
    /// The credentials are missing, wrong, expired, or do not allow this request.
    Denied,
    /// The store did not answer, or not with success. The request may have had its effect.
    Unavailable,
    /// The store answered with bytes that cannot be right.
    Damaged,
    /// The URL or another setting cannot work.
    Invalid,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What the caller can do.
    pub kind: Kind,
    /// The request: a verb and a key, or the setting.
    pub what: String,
    /// The reason, as the store or the network gave it.
    pub why: String,
}

impl Error {
    /// A failure of `what`, because of `why`.
    pub fn new(kind: Kind, what: impl Into<String>, why: impl Into<String>) -> Error {
        Error { kind, what: what.into(), why: why.into() }
    }

    pub(super) fn of(what: impl Into<String>, error: &object_store::Error) -> Error {
        use object_store::Error as Cause;
        let kind = match error {
            Cause::NotFound { .. } => Kind::Missing,
            Cause::AlreadyExists { .. } | Cause::Precondition { .. } => Kind::Condition,
            Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => Kind::Denied,
            Cause::InvalidPath { .. }
            | Cause::NotSupported { .. }
            | Cause::NotImplemented { .. }
            | Cause::UnknownConfigurationKey { .. } => Kind::Invalid,
            _ => Kind::Unavailable,
        };
        Error::new(kind, what, reason(error))
    }
}

/// The message of an error and of its causes, without repetitions, shortened to one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !reason.contains(&message) {
            reason = format!("{reason}: {message}");
        }
        cause = error.source();
    }
    let line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.chars().take(REASON_CHARS).collect()
}

/// The length of a reason. Stores answer with XML of any size.
const REASON_CHARS: usize = 600;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { kind, what, why } = self;
        match kind {
            Kind::Denied => write!(f, "{what}: access denied: {why} (check the credentials)"),
            Kind::Unavailable => write!(f, "{what}: the store is not available: {why}"),
            _ => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for Error {}
