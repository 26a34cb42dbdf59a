//! [`BindAddress`]: a `host:port`, kept as written.
//!
//! `:7123` means every interface, as in 0.x. A name such as `localhost:7123` is
//! resolved when the server binds. With port 0 the system chooses the port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindAddress {
    /// A name or an IP address without brackets; empty for every interface.
    pub host: String,
    /// 0 if the system chooses.
    pub port: u16,
}

impl BindAddress {
    /// The addresses to resolve and bind, best first.
    #[must_use]
    pub fn candidates(&self) -> Vec<(String, u16)> {
        let hosts: &[&str] =
            if self.host.is_empty() { &["::", "0.0.0.0"] } else { &[self.host.as_str()] };
        hosts.iter().map(|host| ((*host).to_owned(), self.port)).collect()
    }
}

impl Default for BindAddress {
    fn default() -> BindAddress {
        BindAddress { host: "127.0.0.1".to_owned(), port: 7123 }
    }
}

impl FromStr for BindAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<BindAddress, String> {
        let wrong = || "use host:port, as in 127.0.0.1:7123, localhost:7123 or :7123".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ok = match inside {
            Some(address) => matches!(address.parse(), Ok(IpAddr::V6(_))),
            None => !host.contains([':', '[', ']', '/']) && !host.contains(char::is_whitespace),
        };
        if ok {
            Ok(BindAddress { host: inside.unwrap_or(host).to_owned(), port })
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_addresses_round_trip_and_invalid_ones_are_refused() {
        for text in ["127.0.0.1:7123", ":7123", "localhost:0", "[::1]:80", "0.0.0.0:7123"] {
            let address: BindAddress = text.parse().expect(text);
            assert_eq!(address.to_string(), text);
        }
        for text in ["", "7123", "localhost", "::1:80", "a b:1", "x:70000", "http://x:1", "[x]:1"] {
            assert!(text.parse::<BindAddress>().is_err(), "{text}");
        }
    }
}
