//! [`Ended`]: why a connection is over, and what its peer is told.

use std::io;

use styx_protocol::Code;

use super::decoder::Violation;
use crate::session::Error;

/// What a close frame says: a code and a reason. No code: nothing.
pub(super) type Told = (Option<u16>, String);

const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const NOT_TEXT: u16 = 1007;

/// See the module.
#[derive(Debug)]
pub(super) enum Ended {
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

impl Ended {
    /// The server stops.
    pub(super) fn stopping() -> Ended {
        Ended::Fault(Error::new(Code::ShuttingDown, "the server is stopping: connect again"))
    }

    /// What to tell the peer; `None` when it cannot be told.
    pub(super) fn told(&self) -> Option<Told> {
        Some(match self {
            Ended::Complete => (Some(NORMAL), String::new()),
            Ended::ByPeer(code) => (*code, String::new()),
            Ended::Gone(_) => return None,
            Ended::Violation(Violation::Protocol(why)) => (Some(PROTOCOL_ERROR), (*why).to_owned()),
            Ended::Violation(Violation::NotText) => {
                (Some(NOT_TEXT), "a text message is not UTF-8: send it as binary".to_owned())
            }
            Ended::Violation(Violation::TooLarge { payload_bytes_max }) => of_code(
                Code::RecordTooLarge,
                &format!("a message may have {payload_bytes_max} bytes in this log"),
            ),
            Ended::Violation(Violation::Unasked) => {
                of_code(Code::InvalidParams, "this connection reads: add mode=write to write")
            }
            Ended::Fault(error) => of_code(error.code, &error.message),
        })
    }

    /// Writes down what the server's operator should hear of, and for whoever
    /// looks closely the rest.
    pub(super) fn report(&self) {
        match self {
            Ended::Fault(error) if error.is_our_fault() => {
                tracing::error!(code = error.code.as_str(), "a WebSocket failed: {error}");
            }
            Ended::Gone(why) => tracing::debug!("a WebSocket ended: {why}"),
            ended => tracing::debug!("a WebSocket ended: {ended:?}"),
        }
    }
}

fn of_code(code: Code, message: &str) -> Told {
    (Some(code.close_code()), format!("{code}: {message}"))
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Fault(error)
    }
}

impl From<Violation> for Ended {
    fn from(violation: Violation) -> Ended {
        Ended::Violation(violation)
    }
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Ended {
        Ended::Gone("the socket failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_the_codes_of_the_table() {
        let told = |ended: Ended| ended.told().and_then(|(code, _)| code);
        assert_eq!(told(Ended::stopping()), Some(4020));
        assert_eq!(told(Violation::TooLarge { payload_bytes_max: 1 }.into()), Some(4010));
        assert_eq!(told(Error::new(Code::UnknownError, "x").into()), Some(1011));
        assert_eq!(told(Ended::Complete), Some(1000));
        assert_eq!(told(Ended::ByPeer(None)), None);
        assert!(Ended::Gone("x").told().is_none());
        let (_, reason) = Ended::stopping().told().expect("it can be told");
        assert!(reason.starts_with("shutting_down: "), "{reason}");
    }
}
