//! [`Address`]: a server's host and port, and whether the connection is encrypted; or the path of
//! a Unix socket.
//!
//! ```text
//! host[:7123]   styx://host[:7123]   styxs://host[:7123]   http://host[:80]   https://host[:443]
//! unix:///absolute/path
//! ```
//! An address without a scheme is a `styx://` address. `styx` is the same as `http`, and
//! `styxs` the same as `https`, with another default port: a server serves every
//! protocol on one port.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;

/// The default port of `styx://` and `styxs://` addresses.
pub const DEFAULT_PORT: u16 = 7123;
/// The longest path of a Unix socket: the kernel has 108 bytes for it and a zero byte.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The host in requests through a Unix socket.
const HOST_OF_SOCKETS: &str = "localhost";

/// A server's address.
///
/// ```
/// use styx_client::Address;
///
/// # fn main() -> Result<(), styx_client::address::ParseError> {
/// let address: Address = "db.example.com:7200".parse()?;
/// assert_eq!(address.to_string(), "styx://db.example.com:7200");
/// let address: Address = "localhost".parse()?;
/// assert_eq!(address.to_string(), "styx://localhost:7123");
/// let address: Address = "unix:///run/styx/styx.sock".parse()?;
/// assert_eq!(address.unix_path(), Some("/run/styx/styx.sock".as_ref()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(Target);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Tcp {
        /// A host name or an IP address, without brackets.
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
}

/// Why a text is not an address. Each variant has the first 80 characters of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// An unknown scheme.
    #[error("{0:?} is not an address: use the scheme styx, styxs, http, https or unix, or none")]
    Scheme(String),
    /// The host is missing or invalid.
    #[error("{0:?} is not an address: the host is missing or invalid, use HOST:PORT")]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is not an address: the port must be a number from 1 to 65535")]
    Port(String),
    /// A user, path, query or fragment, where only a host and a port are allowed.
    #[error("{0:?} is not an address: only a host and a port are allowed, use HOST:PORT")]
    Surplus(String),
    /// The path of a Unix socket that is not absolute, or is too long.
    #[error(
        "{0:?} is not an address: use unix:// and the absolute path of a socket, of at most \
         {SOCKET_PATH_BYTES_MAX} bytes, as in unix:///run/styx/styx.sock"
    )]
    SocketPath(String),
}

impl Address {
    /// The host: a host name or an IP address; an IPv6 address has no brackets. For a Unix socket,
    /// `localhost`.
    #[must_use]
    pub fn host(&self) -> &str {
        match &self.0 {
            Target::Tcp { host, .. } => host,
            Target::Unix(_) => HOST_OF_SOCKETS,
        }
    }

    /// The port; 0 for a Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self.0 {
            Target::Tcp { port, .. } => port,
            Target::Unix(_) => 0,
        }
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.0, Target::Tcp { tls: true, .. })
    }

    /// The path of the Unix socket; `None` for a host and a port.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        match &self.0 {
            Target::Tcp { .. } => None,
            Target::Unix(path) => Some(path),
        }
    }

    /// `host:port`, as in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        match &self.0 {
            Target::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Target::Tcp { host, port, .. } => format!("{host}:{port}"),
            Target::Unix(_) => HOST_OF_SOCKETS.to_owned(),
        }
    }
}

impl FromStr for Address {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Address, ParseError> {
        const SCHEMES: [(&str, bool, u16); 4] = [
            ("styx", false, DEFAULT_PORT),
            ("styxs", true, DEFAULT_PORT),
            ("http", false, 80),
            ("https", true, 443),
        ];
        let shown = || text.chars().take(80).collect();
        // Without `://`, the part before a colon is a host: `localhost:9` has no scheme.
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("styx", text.trim()));
        if scheme.eq_ignore_ascii_case("unix") {
            let is_valid = rest.starts_with('/')
                && !rest.ends_with('/')
                && !rest.contains('\0')
                && rest.len() <= SOCKET_PATH_BYTES_MAX;
            let path = is_valid.then(|| Target::Unix(PathBuf::from(rest)));
            return path.map(Address).ok_or_else(|| ParseError::SocketPath(shown()));
        }
        let known = SCHEMES.into_iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let (_, tls, default_port) = known.ok_or_else(|| ParseError::Scheme(shown()))?;
        let rest = rest.trim_end_matches('/');
        if rest.contains(['/', '?', '#', '@']) {
            return Err(ParseError::Surplus(shown()));
        }
        let (host, port) = split(rest).ok_or_else(|| ParseError::Host(shown()))?;
        let port = match port {
            None => default_port,
            Some(digits) => {
                let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
                let number = digits.parse().ok().filter(|port| all_digits && *port != 0);
                number.ok_or_else(|| ParseError::Port(shown()))?
            }
        };
        Ok(Address(Target::Tcp { host: host.to_owned(), port, tls }))
    }
}

/// The host and port of `name`, `name:port`, `[v6]` or `[v6]:port`.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (!host.is_empty() && host.bytes().all(allowed)).then_some((host, port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Unix(path) => write!(f, "unix://{}", path.display()),
            Target::Tcp { tls, .. } => {
                write!(f, "{}://{}", if *tls { "styxs" } else { "styx" }, self.authority())
            }
        }
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Error {
        Error::invalid_argument(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_displayed() {
        for (text, shown, tls) in [
            ("styx://localhost", "styx://localhost:7123", false),
            ("STYXS://db-1.example.com", "styxs://db-1.example.com:7123", true),
            ("http://10.0.0.1", "styx://10.0.0.1:80", false),
            ("https://example.com/", "styxs://example.com:443", true),
            ("styx://[::1]", "styx://[::1]:7123", false),
            ("styx://[fe80::1]:9", "styx://[fe80::1]:9", false),
            (" http://host_1:65535// ", "styx://host_1:65535", false),
            ("localhost", "styx://localhost:7123", false),
            ("localhost:9", "styx://localhost:9", false),
            ("styx:9", "styx://styx:9", false),
            ("db-1.example.com/", "styx://db-1.example.com:7123", false),
            (" 10.0.0.1:80 ", "styx://10.0.0.1:80", false),
            ("[::1]", "styx://[::1]:7123", false),
            ("[fe80::1]:9", "styx://[fe80::1]:9", false),
            ("unix:///run/styx.sock", "unix:///run/styx.sock", false),
            (" UNIX:///a b/%20?x#y@z:1 ", "unix:///a b/%20?x#y@z:1", false),
        ] {
            let address: Address = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((address.to_string().as_str(), address.is_encrypted()), (shown, tls));
            assert_eq!(
                address.to_string().parse(),
                Ok(address),
                "the displayed address can be parsed"
            );
        }
    }

    #[test]
    fn path_of_a_unix_socket_is_absolute_and_fits_into_the_kernels_address() {
        let longest = format!("unix:///{}", "x".repeat(SOCKET_PATH_BYTES_MAX - 1));
        let address: Address = longest.parse().expect("107 bytes");
        assert_eq!((address.host(), address.port()), ("localhost", 0));
        let longer = format!("{longest}x");
        for text in [&longer, "unix://", "unix://styx.sock", "unix:///run/", "unix:///a\0"] {
            let error = text.parse::<Address>().expect_err(text);
            let shown = text.chars().take(80).collect();
            assert_eq!(error, ParseError::SocketPath(shown));
        }
    }

    #[test]
    fn invalid_addresses_are_rejected_with_the_reason() {
        let error = |text: &str| text.parse::<Address>().expect_err(text);
        for text in ["ftp://host", "://host", "localhost://7123"] {
            assert_eq!(error(text), ParseError::Scheme(text.to_owned()));
        }
        for text in [
            "",
            ":7123",
            "::1",
            "a b:7123",
            "[::1",
            "styx://",
            "styx://:7123",
            "styx://a b",
            "styx://[::1",
            "styx://[x]",
            "styx://[::1]7",
            "styx://::1",
        ] {
            assert_eq!(error(text), ParseError::Host(text.to_owned()));
        }
        for text in ["styx://h:", "styx://h:0", "styx://h:65536", "styx://h:+1", "h:", "h:0", "h:x"]
        {
            assert_eq!(error(text), ParseError::Port(text.to_owned()));
        }
        for text in
            ["http://h/path", "http://h?x", "http://h#x", "http://me@h", "styx:/host", "h:9/path"]
        {
            assert_eq!(error(text), ParseError::Surplus(text.to_owned()));
        }
    }
}
