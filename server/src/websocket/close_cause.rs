//! [`CloseCause`]: why a connection ends, and what its close frame says.

use std::io;

use styx_protocol::Code;

use super::decoder::Violation;
use crate::handover;
use crate::session::Error;

/// A close frame's code and reason; without a code it is empty.
pub(super) type CloseFrame = (Option<u16>, String);

const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const NOT_TEXT: u16 = 1007;

/// See the module.
#[derive(Debug)]
pub(super) enum CloseCause {
    /// Every record that was asked for has been sent.
    Complete,
    /// The peer closed the connection, with this code if it sent one.
    ByPeer(Option<u16>),
    /// Nothing can be sent to the peer any more.
    Gone(&'static str),
    /// The peer broke a rule.
    Violation(Violation),
    /// The request failed, with the error that HTTP would answer.
    Fault(Error),
}

impl CloseCause {
    /// What the close frame says; `None` if none can be sent.
    pub(super) fn close_frame(&self) -> Option<CloseFrame> {
        Some(match self {
            CloseCause::Complete => (Some(NORMAL), String::new()),
            CloseCause::ByPeer(code) => (*code, String::new()),
            CloseCause::Gone(_) => return None,
            CloseCause::Violation(Violation::Protocol(why)) => {
                (Some(PROTOCOL_ERROR), (*why).to_owned())
            }
            CloseCause::Violation(Violation::NotText) => (
                Some(NOT_TEXT),
                "a text message is not valid UTF-8; send it as a binary message".to_owned(),
            ),
            CloseCause::Violation(Violation::TooLarge { payload_bytes_max }) => of_code(
                Code::RecordTooLarge,
                &format!(
                    "the message is larger than the {payload_bytes_max} bytes that this log accepts"
                ),
            ),
            CloseCause::Violation(Violation::UnexpectedMessage) => of_code(
                Code::InvalidParams,
                "this connection only reads; connect with mode=write to write",
            ),
            CloseCause::Fault(error) => of_code(error.code, &error.message),
        })
    }

    /// Whether the peer has lost its access.
    pub(super) fn has_lost_access(&self) -> bool {
        matches!(self, CloseCause::Fault(error) if handover::has_lost_access(error.code))
    }

    /// Logs server faults as errors, and the rest for debugging.
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
    fn each_cause_has_its_close_code() {
        let code = |cause: CloseCause| cause.close_frame().and_then(|(code, _)| code);
        let stopping = || CloseCause::from(Error::new(Code::ShuttingDown, "x"));
        assert_eq!(code(stopping()), Some(4020));
        assert_eq!(code(Error::new(Code::Unauthorized, "x").into()), Some(4023));
        assert_eq!(code(Violation::TooLarge { payload_bytes_max: 1 }.into()), Some(4010));
        assert_eq!(code(Error::new(Code::UnknownError, "x").into()), Some(1011));
        assert_eq!(code(CloseCause::Complete), Some(1000));
        assert_eq!(code(CloseCause::ByPeer(None)), None);
        assert!(CloseCause::Gone("x").close_frame().is_none());
        let (_, reason) = stopping().close_frame().expect("a close frame");
        assert!(reason.starts_with("shutting_down: "), "{reason}");
    }
}
