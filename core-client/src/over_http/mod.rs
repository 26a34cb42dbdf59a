//! Reading and appending with plain HTTP requests, where a proxy does not pass on HTTP upgrades.
//!
//! ```text
//! Reader     one request finds the range ─▶ one streamed response; after a failure, one for the rest
//!            follow: one long poll after the other
//! Appender   one request at a time, numbered by its producer, sent again until it is acknowledged
//! ```
//!
//! If opening a [`Producer`](crate::Producer) or [`Consumer`](crate::Consumer) fails with
//! [`Facts::refused_upgrade`](crate::error::Facts::refused_upgrade), these work in spite of it.
//! Otherwise use a producer or a consumer, because over HTTP:
//!
//! - each request waits for the one before, so appending is slower, and following needs a request
//!   for each answer;
//! - the records have no checksums between the client and the server, are not compressed, and have
//!   no timestamps;
//! - a newer process with the same producer id does not fence an older one.
//!
//! As with a producer and a consumer, no record is lost or repeated, whatever breaks and restarts.

mod appender;
mod reader;

pub use appender::Appender;
pub use reader::Reader;

use crate::error::{Error, Kind};

/// A header's value in the text of a response.
///
/// # Errors
/// [`Kind::BadAnswer`] if it is missing or cannot be parsed.
fn required<T: std::str::FromStr>(text: Option<&str>, name: &str) -> Result<T, Error> {
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        Error::bad_answer(format!("the server's response has no valid header {name}"))
    })
}

/// The error for a deadline that passed after this last error.
fn too_late(what: String, last: &Error) -> Error {
    Error::new(Kind::TimedOut, format!("{what}; the last error was: {last}"))
}
