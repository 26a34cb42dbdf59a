//! The options of clients, producers and consumers by name ([`OPTIONS`]), and the defaults
//! and limits of a client's. Options are checked when the client is built.

mod table;
mod value;

pub use table::{OPTIONS, OptionInfo, OptionOf, OptionUnit};
pub(crate) use value::Given;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use styx_protocol::traceparent::TraceParent;

use crate::error::Error;
use crate::transport::Resolver;

/// Default of [`connect_timeout`](crate::client::Builder::connect_timeout): 10 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of [`timeout`](crate::client::Builder::timeout): 30 s.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of [`silence_timeout`](crate::client::Builder::silence_timeout): 30 s.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a host name that cannot be resolved is tried again, by calls and while a
/// producer or consumer is opened: 5 s. A container may start before the server's has a
/// name. Later, producers and consumers wait for the name as for a connection.
pub const UNKNOWN_HOST_TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest of the other timeouts: 1 ms.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// The shortest silence timeout that a server accepts: 2 s.
pub const SILENCE_TIMEOUT_MIN: Duration = Duration::from_secs(2);
/// The maximum of each of these timeouts: 24 hours.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Default of [`threads`](crate::client::Builder::threads): 1.
pub const THREADS: usize = 1;
/// The maximum number of threads: 64.
pub const THREADS_MAX: usize = 64;

/// The certificate authorities that a client trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The authorities that this machine trusts.
    #[default]
    System,
    /// Only the authorities in this PEM file.
    File(PathBuf),
    /// Only the authorities in this PEM text.
    Pem(Vec<u8>),
    /// Only the first certificate in this PEM file, whatever names it contains and whether or not
    /// it is valid now.
    Exactly(PathBuf),
}

/// A bearer token. `Debug` does not show it.
#[derive(Clone)]
pub(crate) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A client's options.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) token: Option<Token>,
    pub(crate) roots: Roots,
    pub(crate) server_name: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) silence_timeout: Duration,
    pub(crate) user_agent: String,
    pub(crate) traceparent: Option<String>,
    pub(crate) retry: bool,
    pub(crate) threads: usize,
    pub(crate) resolver: Resolver,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            token: None,
            roots: Roots::System,
            server_name: None,
            connect_timeout: CONNECT_TIMEOUT,
            call_timeout: CALL_TIMEOUT,
            silence_timeout: SILENCE_TIMEOUT,
            user_agent: concat!("styx-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            traceparent: None,
            retry: true,
            threads: THREADS,
            resolver: Resolver::default(),
        }
    }
}

impl Token {
    pub(crate) fn new(text: String) -> Token {
        Token(text)
    }

    /// The value of an `Authorization` header.
    fn header(&self) -> Result<HeaderValue, Error> {
        let text = format!("Bearer {}", self.0);
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Error::invalid_argument(
                "the token has characters that are not allowed in an HTTP header",
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The headers that every request has.
#[derive(Debug, Clone)]
pub(crate) struct Headers {
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) user_agent: HeaderValue,
    pub(crate) traceparent: Option<HeaderValue>,
}

impl Options {
    /// Checks every option and makes the headers of all requests.
    ///
    /// # Errors
    /// The first option that is invalid.
    pub(crate) fn check(&self) -> Result<Headers, Error> {
        check_timeout("connect_timeout", self.connect_timeout, TIMEOUT_MIN)?;
        check_timeout("timeout", self.call_timeout, TIMEOUT_MIN)?;
        check_timeout("silence_timeout", self.silence_timeout, SILENCE_TIMEOUT_MIN)?;
        if !(1..=THREADS_MAX).contains(&self.threads) {
            return Err(Error::invalid_argument(format!(
                "threads is {}: use 1 to {THREADS_MAX}",
                self.threads
            )));
        }
        let user_agent = HeaderValue::from_str(&self.user_agent).map_err(|_| {
            Error::invalid_argument(
                "the user agent has characters that are not allowed in an HTTP header",
            )
        })?;
        let authorization = self.token.as_ref().map(Token::header).transpose()?;
        let traceparent = self.traceparent.as_deref().map(trace_header).transpose()?;
        Ok(Headers { authorization, user_agent, traceparent })
    }
}

/// The value of a `traceparent` header.
fn trace_header(text: &str) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_str(text).ok().filter(|_| TraceParent::parse(text).is_some());
    value.ok_or_else(|| {
        Error::invalid_argument(format!(
            "traceparent is {text:?}: use a value as in W3C Trace Context, such as \
             00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ))
    })
}

/// Checks that a timeout is within its limits.
pub(crate) fn check_timeout(name: &str, value: Duration, min: Duration) -> Result<(), Error> {
    if (min..=TIMEOUT_MAX).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("{name} is {value:?}: use {min:?} to {TIMEOUT_MAX:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_debug_hides_the_token() {
        let options = Options { token: Some(Token::new("s3cret".into())), ..Options::default() };
        let headers = options.check().expect("valid");
        assert!(!format!("{options:?} {headers:?}").contains("s3cret"));
        assert_eq!(headers.authorization.expect("given"), "Bearer s3cret");
    }

    #[test]
    fn invalid_option_is_named_in_the_error() {
        let default = Options::default;
        let zero = Duration::ZERO;
        for (options, name) in [
            (Options { connect_timeout: zero, ..default() }, "connect_timeout"),
            (Options { call_timeout: TIMEOUT_MAX * 2, ..default() }, "timeout"),
            (Options { silence_timeout: Duration::from_secs(1), ..default() }, "silence_timeout"),
            (Options { threads: 0, ..default() }, "threads"),
            (Options { user_agent: "a\nb".into(), ..default() }, "user agent"),
            (Options { traceparent: Some("00-1-2-3".into()), ..default() }, "traceparent"),
            (Options { token: Some(Token::new("a\nb".into())), ..default() }, "token"),
        ] {
            let error = options.check().expect_err(name);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
