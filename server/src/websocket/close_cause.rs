//! [`CloseCause`]: why a connection is over, and what its peer is told.

use std::io;

use styx_protocol::Code;

use super::decoder::Violation;
use crate::session::Error;

/// What a close frame says: a code and a reason. No code: nothing.
pub(super) type CloseFrame = (Option<u16>, String);

const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const NOT_TEXT: u16 = 1007;

/// See the module.
#[derive(Debug)]
pub(super) enum CloseCause {
    /// What was asked for has been sent.
    Complete,
    /// The peer closed, with this code if it gave one.
    ByPeer(Option<u16>),
    /// The peer cannot be told anything any more.
    Gone(&'static str),
    /// The peer sent what it must not.
    Violation(Violation),
    /// As an answer over HTTP would be an error.
    Fault(Error),
}

impl CloseCause {
    /// The server stops.
    pub(super) fn stopping() -> CloseCause {
        CloseCause::Fault(Error::new(Code::ShuttingDown, "the server is stopping: connect again"))
    }

    /// What to tell the peer; `None` when it cannot be told.
    pub(super) fn close_frame(&self) -> Option<CloseFrame> {
        Some(match self {
            CloseCause::Complete => (Some(NORMAL), String::new()),
            CloseCause::ByPeer(code) => (*code, String::new()),
            CloseCause::Gone(_) => return None,
            CloseCause::Violation(Violation::Protocol(why)) => {
                (Some(PROTOCOL_ERROR), (*why).to_owned())
            }
            CloseCause::Violation(Violation::NotText) => {
                (Some(NOT_TEXT), "a text message is not UTF-8: send it as binary".to_owned())
            }
            CloseCause::Violation(Violation::TooLarge { payload_bytes_max }) => of_code(
                Code::RecordTooLarge,
                &format!("a message may have {payload_bytes_max} bytes in this log"),
            ),
            CloseCause::Violation(Violation::UnexpectedMessage) => {
                of_code(Code::InvalidParams, "this connection reads: add mode=write to write")
            }
            CloseCause::Fault(error) => of_code(error.code, &error.message),
        })
    }

    /// Writes down what the server's operator should hear of, and for whoever
    /// looks closely the rest.
    pub(super) fn log(&self) {
        match self {
            CloseCause::Fault(error) if error.is_server_fault() => {
                tracing::error!(code = error.code.as_str(), "a WebSocket failed: {error}");
            }
            CloseCause::Gone(why) => tracing::debug!("a WebSocket ended: {why}"),
            cause => tracing::debug!("a WebSocket ended: {cause:?}"),
        }
    }
}

fn of_code(code: Code, message: &str) -> CloseFrame {
    (Some(code.close_code()), format!("{code}: {message}"))
}

impl From<Error> for CloseCause {
    fn from(error: Error) -> CloseCause {
        CloseCause::Fault(error)
    }
}

impl From<Violation> for CloseCause {
    fn from(violation: Violation) -> CloseCause {
        CloseCause::Violation(violation)
    }
}

impl From<io::Error> for CloseCause {
    fn from(_: io::Error) -> CloseCause {
        CloseCause::Gone("the socket failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_the_codes_of_the_table() {
        let code = |cause: CloseCause| cause.close_frame().and_then(|(code, _)| code);
        assert_eq!(code(CloseCause::stopping()), Some(4020));
        assert_eq!(code(Violation::TooLarge { payload_bytes_max: 1 }.into()), Some(4010));
        assert_eq!(code(Error::new(Code::UnknownError, "x").into()), Some(1011));
        assert_eq!(code(CloseCause::Complete), Some(1000));
        assert_eq!(code(CloseCause::ByPeer(None)), None);
        assert!(CloseCause::Gone("x").close_frame().is_none());
        let (_, reason) = CloseCause::stopping().close_frame().expect("it can be told");
        assert!(reason.starts_with("shutting_down: "), "{reason}");
    }
}
