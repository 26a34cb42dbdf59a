//! Defaults and bounds of a client's options, and what it was told, checked when
//! it is built.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;

use crate::error::Error;

/// How long a connection may take to come about, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take; of a call that streams, how long each step may.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// After how much silence a stream's connection is taken for dead.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest silence that a server accepts.
pub const SILENCE_TIMEOUT_MIN: Duration = Duration::from_secs(2);
/// The longest of any of these.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Threads that own the client's sockets.
pub const THREADS: usize = 1;
/// The most of them.
pub const THREADS_MAX: usize = 64;

/// Which authorities may vouch for a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those that this machine trusts.
    #[default]
    System,
    /// Those in this PEM file and no others.
    File(PathBuf),
    /// Those in this PEM text and no others.
    Pem(Vec<u8>),
}

/// A bearer token, which is never shown.
#[derive(Clone)]
pub(crate) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a client was told.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) token: Option<Token>,
    pub(crate) roots: Roots,
    pub(crate) server_name: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) silence_timeout: Duration,
    pub(crate) user_agent: String,
    pub(crate) retry: bool,
    pub(crate) threads: usize,
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
            retry: true,
            threads: THREADS,
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
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| Error::invalid("the token has characters that no header can hold"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The options that every request shows, as headers.
#[derive(Debug, Clone)]
pub(crate) struct Headers {
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) user_agent: HeaderValue,
}

impl Options {
    /// Checks every value and makes the headers that all requests share.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub(crate) fn check(&self) -> Result<Headers, Error> {
        timeout("connect_timeout", self.connect_timeout, Duration::from_millis(1))?;
        timeout("timeout", self.call_timeout, Duration::from_millis(1))?;
        timeout("silence_timeout", self.silence_timeout, SILENCE_TIMEOUT_MIN)?;
        if !(1..=THREADS_MAX).contains(&self.threads) {
            return Err(Error::invalid(format!(
                "threads is {}: use 1 to {THREADS_MAX}",
                self.threads
            )));
        }
        let user_agent = HeaderValue::from_str(&self.user_agent)
            .map_err(|_| Error::invalid("the user agent has characters that no header can hold"))?;
        let authorization = self.token.as_ref().map(Token::header).transpose()?;
        Ok(Headers { authorization, user_agent })
    }
}

/// Holds a time against its bounds.
pub(crate) fn timeout(name: &str, value: Duration, min: Duration) -> Result<(), Error> {
    if (min..=TIMEOUT_MAX).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("{name} is {value:?}: use {min:?} to {TIMEOUT_MAX:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_a_token_is_not_shown() {
        let options = Options { token: Some(Token::new("s3cret".into())), ..Options::default() };
        let headers = options.check().expect("valid");
        assert!(!format!("{options:?} {headers:?}").contains("s3cret"));
        assert_eq!(headers.authorization.expect("given"), "Bearer s3cret");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let default = Options::default;
        let zero = Duration::ZERO;
        for (options, name) in [
            (Options { connect_timeout: zero, ..default() }, "connect_timeout"),
            (Options { call_timeout: TIMEOUT_MAX * 2, ..default() }, "timeout"),
            (Options { silence_timeout: Duration::from_secs(1), ..default() }, "silence_timeout"),
            (Options { threads: 0, ..default() }, "threads"),
            (Options { user_agent: "a\nb".into(), ..default() }, "user agent"),
            (Options { token: Some(Token::new("a\nb".into())), ..default() }, "token"),
        ] {
            let error = options.check().expect_err(name);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
