//! [`PassedSockets`]: listening sockets that systemd has opened (socket activation).
//!
//! ```text
//! LISTEN_PID=<this process>  LISTEN_FDS=2  LISTEN_FDNAMES=styx:admin   descriptors 3, 4, …
//! ```
//! systemd keeps the sockets while the server restarts, so connections wait instead of being
//! refused. Invariant: a socket is used for the whole API only if its name says so, or if it has
//! no name of its own.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::Error;

/// More than anybody needs, and few enough to check each.
const SOCKETS_MAX: usize = 64;
/// Names of sockets for the whole API: the one of the documents, the default of a unit named
/// `styx.socket`, and that of a program that gives no names.
const MAIN_NAMES: [&str; 4] = ["styx", "styx.socket", "unknown", ""];
const ADMIN_NAME: &str = "admin";

/// The sockets that the service manager has passed; none by default.
#[derive(Debug, Default)]
pub struct PassedSockets {
    /// For the whole API.
    pub(crate) main: Vec<PassedSocket>,
    /// For metrics and health alone.
    pub(crate) admin: Vec<PassedSocket>,
}

/// One of them. It does not block.
#[derive(Debug)]
pub(crate) enum PassedSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl PassedSockets {
    /// Takes the sockets that are meant for this process, and removes the variables that describe
    /// them. Call it while the process has one thread.
    ///
    /// # Errors
    /// One of them is not a listening stream socket, or has an unknown name.
    pub fn take() -> Result<PassedSockets, Error> {
        let failed = |message: String| Error::Activation { message };
        let variable = |name| env::var(name).unwrap_or_default();
        if variable("LISTEN_PID").parse() != Ok(std::process::id()) {
            return Ok(PassedSockets::default());
        }
        let names = variable("LISTEN_FDNAMES");
        let text = variable("LISTEN_FDS");
        let count = text.parse().ok().filter(|count| *count <= SOCKETS_MAX);
        let count: usize = count
            .ok_or_else(|| failed(format!("{text:?} is not a number from 0 to {SOCKETS_MAX}")))?;
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let mut passed = PassedSockets::default();
        for index in 0..count {
            let name = names.next().unwrap_or_default();
            let shown = format!("socket {} with the name {name:?}", index + 1);
            let socket = PassedSocket::take(&mut descriptors, index)
                .map_err(|error| failed(format!("{shown}: {error}")))?;
            if name == ADMIN_NAME {
                passed.admin.push(socket);
            } else if MAIN_NAMES.contains(&name) {
                passed.main.push(socket);
            } else {
                return Err(failed(format!(
                    "{shown}: set FileDescriptorName= to styx for the whole API, or to admin for \
                     metrics and health alone"
                )));
            }
        }
        Ok(passed)
    }
}

impl PassedSocket {
    fn take(descriptors: &mut ListenFd, index: usize) -> io::Result<PassedSocket> {
        let wrong = || {
            let message = "it is not a listening stream socket; use ListenStream= with a TCP \
                           address or a path, and Accept=no";
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        if let Ok(Some(socket)) = descriptors.take_tcp_listener(index) {
            if !socket_acceptconn(&socket)? {
                return Err(wrong());
            }
            socket.set_nonblocking(true)?;
            return Ok(PassedSocket::Tcp(socket));
        }
        match descriptors.take_unix_listener(index) {
            Ok(Some(socket)) if socket_acceptconn(&socket)? => {
                socket.set_nonblocking(true)?;
                Ok(PassedSocket::Unix(socket))
            }
            _ => Err(wrong()),
        }
    }
}
