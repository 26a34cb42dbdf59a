//! [`Sockets`]: the listening sockets of the server, which it binds itself or gets from systemd.
//!
//! Invariant: the server listens on all of its addresses, or does not start. The file of a Unix
//! socket that it has bound is removed when it stops.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, UnixListener};

use super::Role;
use super::unix_socket::{self, SocketFile};
use crate::Error;
use crate::config::{BindAddress, Config};
use crate::systemd::{PassedSocket, PassedSockets};
use crate::transport::{PeerAddress, PlainSocket};

/// All listening sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// For the whole API; at least one.
    pub(crate) main: Vec<Listener>,
    /// For metrics and health alone.
    pub(crate) admin: Vec<Listener>,
}

/// One listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    /// Whether the connections are encrypted.
    is_tls: bool,
    /// Whether it was passed by systemd, which keeps it open when the server stops.
    is_passed: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// With its file, unless it was passed.
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "dropping it removes the file")] Option<SocketFile>,
    ),
}

impl Sockets {
    /// Takes the sockets that systemd has passed, and binds the configured addresses of each role
    /// for which it has passed none.
    ///
    /// # Errors
    /// The first address that cannot be bound, or socket that cannot be used. Nothing stays bound.
    pub(crate) async fn open(config: &Config, passed: PassedSockets) -> Result<Sockets, Error> {
        let main = match passed.main.is_empty() {
            true => bind_all(&config.bind_addresses, "bind_address", config).await?,
            false => listen_on(passed.main, config.has_tls())?,
        };
        let admin = match passed.admin.is_empty() {
            true => bind_all(config.admin_address.as_slice(), "admin_address", config).await?,
            false => listen_on(passed.admin, config.has_tls())?,
        };
        Ok(Sockets { main, admin })
    }

    /// Every socket with its role, the main ones first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Role, &Listener)> {
        let main = self.main.iter().map(|listener| (Role::Main, listener));
        main.chain(self.admin.iter().map(|listener| (Role::Admin, listener)))
    }
}

async fn bind_all(
    addresses: &[BindAddress],
    key: &'static str,
    config: &Config,
) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = match address {
            BindAddress::Tcp { host, port } => bind_tcp(host, *port).await.map(Socket::Tcp),
            BindAddress::Unix(path) => unix_socket::bind(path, config)
                .await
                .map(|(socket, file)| Socket::Unix(socket, Some(file))),
        };
        let failed = |source| Error::Bind { address: address.to_string(), key, source };
        listeners.push(Listener {
            socket: bound.map_err(failed)?,
            is_tls: config.has_tls(),
            is_passed: false,
        });
    }
    Ok(listeners)
}

/// Binds the first address of the host that can be bound.
async fn bind_tcp(host: &str, port: u16) -> io::Result<TcpListener> {
    let hosts: &[&str] = if host.is_empty() { &["::", "0.0.0.0"] } else { &[host] };
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for host in hosts {
        match TcpListener::bind((*host, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn listen_on(passed: Vec<PassedSocket>, is_tls: bool) -> Result<Vec<Listener>, Error> {
    let listen = |socket| {
        let socket = match socket {
            PassedSocket::Tcp(socket) => TcpListener::from_std(socket).map(Socket::Tcp),
            PassedSocket::Unix(socket) => {
                UnixListener::from_std(socket).map(|socket| Socket::Unix(socket, None))
            }
        };
        socket.map(|socket| Listener { socket, is_tls, is_passed: true })
    };
    let listeners: io::Result<_> = passed.into_iter().map(listen).collect();
    let doing = "cannot use a socket of the service manager";
    listeners.map_err(|source| Error::System { doing, source })
}

impl Listener {
    /// The address as clients write it.
    pub(crate) fn url(&self) -> String {
        match &self.socket {
            Socket::Tcp(socket) => {
                let address = socket.local_addr().map(|address| address.to_string());
                let scheme = if self.is_tls { "https" } else { "http" };
                format!("{scheme}://{}", address.unwrap_or_else(|_| "unknown".to_owned()))
            }
            Socket::Unix(socket, _) => {
                let address = socket.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                format!("unix://{}", path.map_or_else(|| "unknown".into(), |p| p.to_string_lossy()))
            }
        }
    }

    /// The TCP port; `None` for a Unix socket.
    pub(crate) fn port(&self) -> Option<u16> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok().map(|address| address.port()),
            Socket::Unix(..) => None,
        }
    }

    /// Whether only programs on this machine can connect.
    pub(crate) fn is_local(&self) -> bool {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().is_ok_and(|found| found.ip().is_loopback()),
            Socket::Unix(..) => true,
        }
    }

    /// Whether new connections wait for the next server when this one stops.
    pub(crate) fn is_passed(&self) -> bool {
        self.is_passed
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(PlainSocket, PeerAddress)>> {
        match &self.socket {
            Socket::Tcp(socket) => socket.poll_accept(cx).map_ok(|(stream, address)| {
                let _ = stream.set_nodelay(true);
                (PlainSocket::Tcp(stream), PeerAddress::Tcp(address))
            }),
            Socket::Unix(socket, _) => socket.poll_accept(cx).map_ok(|(stream, _)| {
                let peer = unix_socket::peer(&stream);
                (PlainSocket::Unix(stream), peer)
            }),
        }
    }
}

/// Accepts a connection of any of these sockets; looks at the one with the number `first` first,
/// so that a caller that counts up lets each have its turn. Cancel safe.
pub(super) async fn accept(
    listeners: &[Listener],
    first: usize,
) -> io::Result<(PlainSocket, PeerAddress)> {
    let in_turn = listeners.iter().cycle().skip(first).take(listeners.len());
    poll_fn(|cx| {
        for listener in in_turn.clone() {
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}
