//! [`Error`]: why a benchmark run ended early.

use std::fmt;

/// Why a benchmark run ended before its report was complete.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The arguments do not fit the server. The text says what to change.
    Misuse(String),
    /// The client could not reach the server, or the server refused a request.
    Client(styx_client::Error),
    /// Anything else: a system call failed, or a record that was read back is wrong.
    Failed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Misuse(message) | Error::Failed(message) => f.write_str(message),
            Error::Client(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Client(error) => Some(error),
            Error::Misuse(_) | Error::Failed(_) => None,
        }
    }
}

impl From<styx_client::Error> for Error {
    fn from(error: styx_client::Error) -> Error {
        Error::Client(error)
    }
}
