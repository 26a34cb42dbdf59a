//! [`Endpoint`]: opens sockets to the server, and upgrades a request to a stream.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::encryption::Encryption;
use super::io_error;
use crate::Error;
use crate::environment::{ChildServer, Server};

/// The timeout for opening a connection and for each read.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest head of a response.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// The address of the server, and the headers of every request.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// `Host`, and `Authorization` if there is a token, each with its line ending.
    headers: String,
    /// For connections that can be encrypted.
    pub(super) encryption: Option<Encryption>,
}

/// A connection after the response 101.
#[derive(Debug)]
pub(crate) struct UpgradedConnection {
    pub(crate) stream: TcpStream,
    /// The head of the 101, in lower case.
    pub(crate) head: String,
    /// The bytes that were received after the head.
    pub(crate) surplus: Vec<u8>,
}

impl Endpoint {
    /// The endpoint of a server.
    ///
    /// # Errors
    /// The server uses TLS, or its host name cannot be resolved.
    pub(crate) fn to(server: &Server) -> Result<Endpoint, Error> {
        if server.address().is_encrypted() {
            return Err(Error::Misuse(
                "only styx/1 can be measured over TLS; add --protocol styx/1 or use an http:// address"
                    .to_owned(),
            ));
        }
        Endpoint::with_encryption(server)
    }

    /// The endpoint of a server, for connections that can be encrypted.
    ///
    /// # Errors
    /// The host name cannot be resolved, or the certificate of the server is not known.
    pub(crate) fn with_encryption(server: &Server) -> Result<Endpoint, Error> {
        let address = server.address();
        let (host, port) = (address.host(), address.port());
        let ca_file = server.child.as_ref().and_then(ChildServer::ca_file);
        let encryption = ca_file.map(|file| Encryption::new(file, host)).transpose()?;
        if address.is_encrypted() && encryption.is_none() {
            return Endpoint::to(server);
        }
        let found = (host, port).to_socket_addrs().map(|mut all| all.next());
        let address = match found {
            Ok(Some(address)) => address,
            Ok(None) => return Err(Error::Failed(format!("{host} has no address"))),
            Err(error) => return Err(io_error(host, &error)),
        };
        let bearer = match &server.token {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(Endpoint { address, headers: format!("Host: {host}:{port}\r\n{bearer}"), encryption })
    }

    /// The endpoint of a service in this process.
    pub(crate) fn local(address: SocketAddr) -> Endpoint {
        Endpoint { address, headers: format!("Host: {address}\r\n"), encryption: None }
    }

    /// The head of a request. `more` are additional headers with their line endings.
    pub(crate) fn head(&self, request: &str, more: &str) -> String {
        format!("{request} HTTP/1.1\r\n{}{more}\r\n", self.headers)
    }

    /// Opens a connection with TCP_NODELAY.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) fn connect(&self) -> Result<TcpStream, Error> {
        let failed = |error| io_error(&format!("cannot connect to {}", self.address), &error);
        let stream = TcpStream::connect_timeout(&self.address, TIMEOUT).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        Ok(stream)
    }

    /// Sends a request, for example `GET /logs/a/records`, with `Connection: Upgrade`.
    ///
    /// # Errors
    /// The server does not answer 101. The error contains its response.
    pub(crate) fn upgrade(&self, request: &str, more: &str) -> Result<UpgradedConnection, Error> {
        let mut stream = self.connect()?;
        let head = self.head(request, &format!("Connection: Upgrade\r\n{more}"));
        let failed = |error| io_error(request, &error);
        stream.write_all(head.as_bytes()).map_err(failed)?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let surplus = bytes.split_off(end + 4);
                let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                if head.starts_with("http/1.1 101") {
                    return Ok(UpgradedConnection { stream, head, surplus });
                }
                let said = format!("{head}{}", String::from_utf8_lossy(&surplus));
                return Err(Error::Failed(format!("{request} was refused:\n{}", said.trim_end())));
            }
            let received = stream.read(&mut chunk).map_err(failed)?;
            if received == 0 || bytes.len() > HEAD_BYTES_MAX {
                return Err(Error::Failed(format!("{request} got no response")));
            }
            bytes.extend_from_slice(chunk.get(..received).unwrap_or_default());
        }
    }
}

impl UpgradedConnection {
    /// A header of the 101, as a number.
    pub(crate) fn number(&self, header: &str) -> Option<u64> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(header))?;
        line.strip_prefix(':')?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upgrade_returns_the_head_and_the_bytes_after_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = Endpoint::local(listener.local_addr().expect("an address"));
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 1024];
            let received = stream.read(&mut request).expect("a request");
            stream
                .write_all(b"HTTP/1.1 101 Switching\r\nX-Styx-Epoch: 7\r\n\r\nsurplus")
                .expect("sent");
            String::from_utf8_lossy(&request[..received]).into_owned()
        });
        let upgraded = endpoint.upgrade("GET /a", "Upgrade: styx/0\r\n").expect("a 101");
        assert_eq!(upgraded.number("x-styx-epoch"), Some(7));
        assert_eq!(upgraded.number("x-styx-position"), None);
        assert_eq!(upgraded.surplus, b"surplus");
        let asked = peer.join().expect("no panic");
        assert!(asked.starts_with("GET /a HTTP/1.1\r\nHost: 127.0.0.1:"), "{asked}");
        assert!(asked.ends_with("Connection: Upgrade\r\nUpgrade: styx/0\r\n\r\n"), "{asked}");
    }
}
