//! [`BindAddress`]: a `host:port` or the path of a Unix socket, kept as written.
//! [`is_destination`] checks the address of another server.
//!
//! `:7123` means every interface, as in 0.x. A name such as `localhost:7123` is
//! resolved when the server binds. With port 0 the system chooses the port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// What the address of a Unix socket begins with.
const UNIX: &str = "unix://";
/// The longest path of a Unix socket: the kernel has 108 bytes for it and a zero byte.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BindAddress {
    /// A TCP address.
    Tcp {
        /// A name or an IP address without brackets; empty for every interface.
        host: String,
        /// 0 if the system chooses.
        port: u16,
    },
    /// A Unix socket at this absolute path, which is at most 107 bytes long.
    Unix(PathBuf),
}

impl BindAddress {
    /// Whether it is the address of a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self, BindAddress::Unix(_))
    }
}

impl Default for BindAddress {
    fn default() -> BindAddress {
        BindAddress::Tcp { host: "127.0.0.1".to_owned(), port: 7123 }
    }
}

impl FromStr for BindAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<BindAddress, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return socket_path(path).map(BindAddress::Unix);
        }
        let wrong = || {
            "use host:port, as in 127.0.0.1:7123, localhost:7123 or :7123, or unix:///path/of/a.sock"
                .to_owned()
        };
        let (host, port) = split(text).ok_or_else(wrong)?;
        Ok(BindAddress::Tcp { host: host.to_owned(), port })
    }
}

/// The path of a Unix socket.
fn socket_path(path: &str) -> Result<PathBuf, String> {
    let length = path.len();
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(
            "use an absolute path after unix://, as in unix:///run/styx/styx.sock".to_owned()
        );
    }
    if path.contains('\0') {
        return Err("a path cannot contain a zero byte".to_owned());
    }
    if length > SOCKET_PATH_BYTES_MAX {
        return Err(format!(
            "the path of a Unix socket has at most {SOCKET_PATH_BYTES_MAX} bytes, and this one \
             has {length}: use a shorter path"
        ));
    }
    Ok(PathBuf::from(path))
}

/// Whether a server can have this `host:port`. An empty host is this machine, as in 0.x.
/// Does not resolve names.
pub(super) fn is_destination(text: &str) -> bool {
    // A socket address may also have a scope id, as in [fe80::1%2]:8125.
    let port = text.parse().map(|address: SocketAddr| address.port());
    port.ok().or_else(|| split(text).map(|(_, port)| port)).is_some_and(|port| port != 0)
}

/// Host, without brackets and possibly empty, and port.
fn split(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port = port.parse::<u16>().ok()?;
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ok = match inside {
        Some(address) => matches!(address.parse(), Ok(IpAddr::V6(_))),
        None => host.is_empty() || is_host(host),
    };
    ok.then_some((inside.unwrap_or(host), port))
}

/// Whether a name can be a host name or an IPv4 address.
fn is_host(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let parts: Vec<&str> = name.split('.').collect();
    let is_digits = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    let is_ipv4 = parts.len() == 4 && parts.iter().all(is_digits);
    parts.iter().copied().all(is_label)
        && (!is_ipv4 || parts.iter().all(|part| part.parse::<u8>().is_ok()))
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindAddress::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            BindAddress::Tcp { host, port } => write!(f, "{host}:{port}"),
            BindAddress::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_addresses_round_trip_and_invalid_ones_are_refused() {
        for text in [
            "127.0.0.1:7123",
            ":7123",
            "localhost:0",
            "[::1]:80",
            "0.0.0.0:7123",
            "unix:///run/a b.sock",
        ] {
            let address: BindAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
        for text in WRONG {
            assert!(text.parse::<BindAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn path_of_a_unix_socket_is_absolute_and_fits_into_the_kernels_address() {
        let longest = format!("unix:///{}", "x".repeat(106));
        longest.parse::<BindAddress>().expect("107 bytes");
        let longer = format!("{longest}x").parse::<BindAddress>().expect_err("108 bytes");
        assert!(longer.contains("at most 107 bytes, and this one has 108"), "{longer}");
        for text in ["unix://", "unix://x.sock", "unix:///", "unix:///run/", "unix:///a\0b"] {
            assert!(text.parse::<BindAddress>().is_err(), "{text:?}");
        }
    }

    const WRONG: [&str; 14] = [
        "",
        "7123",
        "localhost",
        "::1:80",
        "a b:1",
        "x:70000",
        "http://x:1",
        "[x]:1",
        "x:",
        "x:+1",
        "300.1.1.1:1",
        "a..b:1",
        "user@x:1",
        "x:1/path",
    ];

    #[test]
    fn destination_is_a_host_and_a_port_other_than_0() {
        for text in ["127.0.0.1:8125", "localhost:1", "db-1.a_b.example.:8125", ":8125", "[::1]:1"]
        {
            assert!(is_destination(text), "{text}");
        }
        assert!(is_destination("[fe80::1%2]:8125"));
        for text in WRONG.into_iter().chain(["localhost:0", "[::1]:0", "udp://x:8125"]) {
            assert!(!is_destination(text), "{text}");
        }
    }
}
