//! [`Error`]: a request that got no good answer, in words that say what to do.

use std::io;
use std::io::Read;

use styx_protocol::Code;

/// Most of an error answer that is looked at.
const ERROR_BODY_BYTES_MAX: u64 = 64 << 10;

/// Why a request got no good answer.
#[derive(Debug)]
pub(crate) enum Error {
    /// The server's address cannot be used.
    Host { host: String, why: String },
    /// Nobody listens there, or the name is not known.
    Unreachable { base: String, why: String },
    /// The connection broke; what was asked may have been done.
    Lost { why: String },
    /// The server answered with an error.
    Refused(Refusal),
}

/// An error answer.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    /// The row of the error table, if it is one.
    pub(crate) code: Option<Code>,
    /// For people.
    pub(crate) message: String,
    /// Of a write: the position after what was appended all the same.
    pub(crate) position: Option<u64>,
    /// Of a write: how many records were appended all the same.
    pub(crate) count: u64,
    /// Seconds after which the server would like to be asked again.
    pub(crate) retry_after: Option<u64>,
}

impl Error {
    /// What ureq says about a request to `base`.
    pub(super) fn transport(base: &str, error: ureq::Error) -> Error {
        let unreachable = |why: String| Error::Unreachable { base: base.to_owned(), why };
        match error {
            ureq::Error::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => unreachable("nobody listens there".to_owned()),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    unreachable(error.to_string())
                }
                _ => Error::lost(error),
            },
            ureq::Error::HostNotFound => unreachable("no host of that name is known".to_owned()),
            ureq::Error::Timeout(ureq::Timeout::Connect) => {
                unreachable("nothing answers there".to_owned())
            }
            ureq::Error::Timeout(_) => Error::Lost { why: "no answer in time".to_owned() },
            ureq::Error::ConnectionFailed => unreachable("the connection failed".to_owned()),
            ureq::Error::BadUri(why) => Error::Host { host: base.to_owned(), why },
            other => Error::Lost { why: other.to_string() },
        }
    }

    /// An I/O error in the middle of a request or an answer.
    pub(crate) fn lost(error: io::Error) -> Error {
        // ureq wraps its own errors; theirs is the shorter text.
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it was closed in the middle".to_owned(),
            _ => error.to_string(),
        };
        Error::Lost { why }
    }

    /// An answer that is not 2xx, with its body as far as it can be read.
    pub(super) fn refused(answer: ureq::http::Response<ureq::Body>) -> Error {
        let status = answer.status();
        let retry_after = answer.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        let read = answer.into_body().into_reader().take(ERROR_BODY_BYTES_MAX);
        // What came before a fault is still worth showing.
        let _ = { read }.read_to_end(&mut body);
        Error::Refused(Refusal { retry_after, ..Refusal::parse(status.as_u16(), &body) })
    }
}

impl Refusal {
    fn parse(status: u16, body: &[u8]) -> Refusal {
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let message = match json["message"].as_str() {
            Some(message) => message.to_owned(),
            None => format!("the server answered {status}, and not as a Styx server does"),
        };
        Refusal {
            code: json["code"].as_str().and_then(Code::from_text),
            message,
            position: json["position"].as_u64(),
            count: json["count"].as_u64().unwrap_or(0),
            retry_after: None,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Host { host, why } => write!(f, "cannot use {host:?} as a server: {why}"),
            Error::Unreachable { base, why } => write!(
                f,
                "cannot connect to {base}: {why}; is the server running? Start it with \
                 `styx serve`, or name another one with --host"
            ),
            Error::Lost { why } => write!(f, "the connection to the server broke: {why}"),
            Error::Refused(refusal) => f.write_str(&refusal.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_the_servers_message() {
        let body =
            br#"{"code": "record_too_large", "message": "too long", "position": 7, "count": 2}"#;
        let refusal = Refusal::parse(413, body);
        assert_eq!(refusal.code, Some(Code::RecordTooLarge));
        assert_eq!(
            (refusal.message.as_str(), refusal.position, refusal.count),
            ("too long", Some(7), 2)
        );
    }

    #[test]
    fn an_answer_of_something_else_is_named() {
        let refusal = Refusal::parse(502, b"<html>");
        assert_eq!(refusal.message, "the server answered 502, and not as a Styx server does");
        assert_eq!((refusal.code, refusal.count), (None, 0));
    }
}
