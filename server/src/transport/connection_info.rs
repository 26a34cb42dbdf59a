//! [`ConnectionInfo`]: the facts about the peer of a connection. Each request has it among
//! its extensions, as an `Arc`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone)]
#[expect(dead_code, reason = "nothing reads yet whether it is encrypted")]
pub(crate) struct ConnectionInfo {
    pub(crate) peer: PeerAddress,
    /// Whether the bytes are encrypted.
    pub(crate) is_tls: bool,
    /// The subject of the verified certificate that the client presented, as in
    /// RFC 4514; `None` without TLS or without a client certificate.
    pub(crate) client_subject: Option<Arc<str>>,
}

/// From where a peer has connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    Tcp(SocketAddr),
    /// A process of this machine; its user and group, and its process id if known.
    Unix {
        user: u32,
        group: u32,
        process: Option<i32>,
    },
}

impl PeerAddress {
    /// The IP address; `None` for a process of this machine.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            PeerAddress::Tcp(address) => Some(address.ip()),
            PeerAddress::Unix { .. } => None,
        }
    }
}

impl fmt::Display for PeerAddress {
    /// For logs: `127.0.0.1:4711`, or `unix:uid=1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerAddress::Tcp(address) => address.fmt(f),
            PeerAddress::Unix { user, .. } => write!(f, "unix:uid={user}"),
        }
    }
}
