//! [`Kind`]: by which a program decides what to do about an error.
//!
//! A kind is a [`Code`] of the table that servers and clients share, or one that only a
//! client can detect. The kinds of clients are in `row`; docs/rust.md lists them.

use std::fmt;

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
    /// The response does not conform to the protocol: the peer may not be a Styx server, or
    /// one that is too old.
    BadAnswer,
    /// The host name of the server's address cannot be resolved.
    UnknownHost,
    /// The server's certificate is expired, has another name, or is not signed by a trusted
    /// authority.
    UntrustedServer,
    /// A background task of the client panicked.
    Panicked,
}

/// The properties of a kind.
struct Row {
    text: &'static str,
    number: u16,
    remedy: Remedy,
    meaning: &'static str,
}

impl Kind {
    /// The kinds that only clients have, in the order of their numbers.
    const OF_CLIENTS: [Kind; 10] = [
        Kind::ConnectionFailed,
        Kind::TimedOut,
        Kind::Closed,
        Kind::Forked,
        Kind::InvalidArgument,
        Kind::WouldBlock,
        Kind::BadAnswer,
        Kind::UnknownHost,
        Kind::UntrustedServer,
        Kind::Panicked,
    ];

    /// Every kind: the codes in the order of their table, then the kinds of clients.
    pub fn all() -> impl Iterator<Item = Kind> {
        Code::all().map(Kind::Code).chain(Kind::OF_CLIENTS)
    }

    /// The stable text, the same in every language: `log_not_found`,
    /// `connection_failed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().text
    }

    /// The stable number, the same in every language, 1 to 1999. A code of the table has its
    /// stream code, but `unknown_error` is 1000. The kinds of clients follow from 1001. No
    /// kind has the number 0, so 0 can mean success.
    #[must_use]
    pub fn number(self) -> u16 {
        self.row().number
    }

    /// When the error is raised, in a few words.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retriable(self) -> bool {
        self.row().remedy == Remedy::Retry
    }

    fn row(self) -> Row {
        use Remedy::{Fatal, Retry};
        let row = |text, number, remedy, meaning| Row { text, number, remedy, meaning };
        match self {
            Kind::Code(code) => {
                let number = match code.stream_code() {
                    0 => 1000,
                    number => number,
                };
                row(code.as_str(), number, code.remedy(), code.meaning())
            }
            Kind::ConnectionFailed => row(
                "connection_failed",
                1001,
                Retry,
                "no connection could be opened, or the connection broke",
            ),
            Kind::TimedOut => row("timed_out", 1002, Retry, "a deadline or timeout passed"),
            Kind::Closed => {
                row("closed", 1003, Fatal, "the object was closed, or the call cancelled")
            }
            Kind::Forked => row(
                "forked",
                1004,
                Fatal,
                "the process was forked: create a new client in the child",
            ),
            Kind::InvalidArgument => {
                row("invalid_argument", 1005, Fatal, "an argument or option is invalid")
            }
            Kind::WouldBlock => {
                row("would_block", 1006, Retry, "the call would have to wait, but never waits")
            }
            Kind::BadAnswer => row(
                "bad_answer",
                1007,
                Fatal,
                "the peer is not a Styx server, or one that is too old, or it violates the protocol",
            ),
            Kind::UnknownHost => {
                row("unknown_host", 1008, Retry, "the server's host name cannot be resolved")
            }
            Kind::UntrustedServer => {
                row("untrusted_server", 1009, Fatal, "the server's certificate is not trusted")
            }
            Kind::Panicked => {
                row("panicked", 1010, Fatal, "a bug: a background task of the client panicked")
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_follow_the_error_table() {
        for code in Code::all() {
            let kind = Kind::Code(code);
            assert_eq!((kind.as_str(), kind.meaning()), (code.as_str(), code.meaning()));
            assert_eq!(kind.is_retriable(), code.remedy() == Remedy::Retry, "{code}");
            let number = Some(kind.number()).filter(|number| *number != 1000).unwrap_or_default();
            assert_eq!(number, code.stream_code(), "{code}");
        }
    }

    #[test]
    fn texts_and_numbers_are_unique_and_no_number_is_0() {
        let texts: HashSet<_> = Kind::all().map(Kind::as_str).collect();
        let numbers: HashSet<_> = Kind::all().map(Kind::number).collect();
        let count = Kind::all().count();
        assert_eq!((texts.len(), numbers.len()), (count, count));
        assert!(numbers.iter().all(|number| (1..2000).contains(number)), "{numbers:?}");
    }

    /// A new kind breaks this match: add it to `OF_CLIENTS` too.
    #[test]
    fn kinds_of_clients_are_listed_in_the_order_of_their_numbers() {
        for (index, kind) in Kind::OF_CLIENTS.into_iter().enumerate() {
            let place = match kind {
                Kind::Code(code) => panic!("{code} is in the error table"),
                Kind::ConnectionFailed => 0,
                Kind::TimedOut => 1,
                Kind::Closed => 2,
                Kind::Forked => 3,
                Kind::InvalidArgument => 4,
                Kind::WouldBlock => 5,
                Kind::BadAnswer => 6,
                Kind::UnknownHost => 7,
                Kind::UntrustedServer => 8,
                Kind::Panicked => 9,
            };
            assert_eq!((index, usize::from(kind.number())), (place, 1001 + place), "{kind}");
        }
    }
}
