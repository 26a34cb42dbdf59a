//! [`Error`]: why a request failed, with a code of the public table.
//!
//! The code is the decision the caller makes. Fields are the extra fields of the
//! answer (`end_position`, `status` …). Front ends only encode it.

use styx_protocol::log::{InvalidConfig, InvalidName};
use styx_protocol::read::InvalidParam;
use styx_protocol::{Code, LogStatus, Position};

/// Why a request failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    /// The row of the public table.
    pub(crate) code: Code,
    /// What failed and what to do.
    pub(crate) message: String,
    /// Extra fields of the answer, in order.
    pub(crate) fields: Vec<(&'static str, ErrorField)>,
    /// Seconds after which the caller should retry.
    pub(crate) retry_after: Option<u32>,
    /// The first readable position after damage; only streams send it.
    pub(crate) next_intact: Option<Position>,
    /// With `unauthorized`: whether a token was given.
    pub(crate) has_invalid_token: bool,
}

/// The message of a read that needs the archive.
const STORE_FAILS: &str = "the records are in the archive, and its object store does not answer or \
                           refuses; try again, or read newer records";

/// The value of an extra field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ErrorField {
    Number(u64),
    Text(String),
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Error {
        let retry_after = match code {
            Code::Overloaded
            | Code::ShuttingDown
            | Code::TooManyRequests
            | Code::StoreUnavailable => Some(1),
            _ => None,
        };
        Error {
            code,
            message: message.into(),
            fields: Vec::new(),
            retry_after,
            next_intact: None,
            has_invalid_token: false,
        }
    }

    pub(crate) fn invalid(name: &'static str, value: &str, accepted: &'static str) -> Error {
        InvalidParam::new(name, value, accepted).into()
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: u64) -> Error {
        self.fields.push((name, ErrorField::Number(value)));
        self
    }

    #[must_use]
    pub(crate) fn with_text(mut self, name: &'static str, value: &str) -> Error {
        self.fields.push((name, ErrorField::Text(value.to_owned())));
        self
    }

    /// Whether it is the server's fault, so that the operator should see it.
    pub(crate) fn is_server_fault(&self) -> bool {
        matches!(
            self.code,
            Code::UnknownError | Code::OutcomeUnknown | Code::CorruptRecord | Code::StorageFull
        )
    }
}

impl From<styx_engine::Error> for Error {
    fn from(cause: styx_engine::Error) -> Error {
        use styx_engine::Error as E;
        let mut error = Error::new(cause.code(), cause.to_string());
        match cause {
            E::OutOfRange { start, end, .. } => {
                error.with("start_position", start.0).with("end_position", end.0)
            }
            E::PositionMismatch { end, .. } => error.with("end_position", end.0),
            E::SequenceGap { expected, .. } => error.with("expected_sequence", expected),
            E::CorruptRecord { position, next, .. } => {
                error.next_intact = next;
                error.with("position", position.0)
            }
            E::NotAvailable { status, .. } => {
                error.fields.push(("status", ErrorField::Text(status.to_string())));
                error.retry_after = (status == LogStatus::Scanning).then_some(1);
                error
            }
            E::StoreUnavailable { cause } => {
                // The cause has the addresses of the store, which are not for every client.
                tracing::info!(%cause, "a read needs the archive, whose object store fails");
                error.message = STORE_FAILS.to_owned();
                error
            }
            E::CursorBeyondEnd { end, .. } => error.with("end_position", end.0),
            E::CursorTaken { now: Some(now), .. } => error
                .with("position", now.position.0)
                .with("version", now.version)
                .with("replaced_version", now.replaced),
            _ => error,
        }
    }
}

impl From<InvalidParam> for Error {
    fn from(cause: InvalidParam) -> Error {
        Error::new(Code::InvalidParams, cause.to_string())
    }
}

impl From<InvalidConfig> for Error {
    fn from(cause: InvalidConfig) -> Error {
        Error::new(Code::InvalidParams, cause.to_string())
    }
}

impl From<InvalidName> for Error {
    fn from(cause: InvalidName) -> Error {
        Error::new(Code::LogInvalidName, cause.to_string())
    }
}

impl From<styx_protocol::line_ending::UnknownLineEnding> for Error {
    fn from(cause: styx_protocol::line_ending::UnknownLineEnding) -> Error {
        Error::new(Code::InvalidParams, cause.to_string())
    }
}
