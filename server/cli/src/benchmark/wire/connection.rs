//! A socket to the server, and how a request becomes a stream on it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::broken;
use crate::benchmark::place::Server;
use crate::failure::Failure;

/// How long a connection or an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Where requests go, and what stands in each of them.
#[derive(Debug, Clone)]
pub(in crate::benchmark) struct Route {
    pub(in crate::benchmark) address: SocketAddr,
    /// `Host`, and the token if there is one, each with its line ending.
    headers: String,
}

/// A stream after its 101.
#[derive(Debug)]
pub(in crate::benchmark) struct Upgraded {
    pub(in crate::benchmark) stream: TcpStream,
    /// The 101, in lower case.
    pub(in crate::benchmark) head: String,
    /// What came together with it.
    pub(in crate::benchmark) surplus: Vec<u8>,
}

impl Route {
    /// The way to a server.
    ///
    /// # Errors
    /// It speaks TLS alone, or its name is not known.
    pub(in crate::benchmark) fn to(server: &Server) -> Result<Route, Failure> {
        let address = server.address();
        let (host, port) = (address.host(), address.port());
        if address.is_encrypted() {
            return Err(Failure::Misuse(
                "only styx/1 is measured over TLS; add --protocol styx/1, or name a server with http://"
                    .to_owned(),
            ));
        }
        let found = (host, port).to_socket_addrs().map(|mut all| all.next());
        let address = match found {
            Ok(Some(address)) => address,
            Ok(None) => return Err(Failure::Failed(format!("{host} has no address"))),
            Err(error) => return Err(broken(host, &error)),
        };
        let bearer = match &server.token {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(Route { address, headers: format!("Host: {host}:{port}\r\n{bearer}") })
    }

    /// The way to a service of our own.
    pub(in crate::benchmark) fn local(address: SocketAddr) -> Route {
        Route { address, headers: format!("Host: {address}\r\n") }
    }

    /// A request's head; `more` are further headers with their line endings.
    pub(in crate::benchmark) fn head(&self, request: &str, more: &str) -> String {
        format!("{request} HTTP/1.1\r\n{}{more}\r\n", self.headers)
    }

    /// Opens a connection that sends small messages at once.
    ///
    /// # Errors
    /// Nobody answers there.
    pub(in crate::benchmark) fn connect(&self) -> Result<TcpStream, Failure> {
        let failed = |error| broken(&format!("cannot connect to {}", self.address), &error);
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(stream)
    }

    /// Makes a stream of a request, as in `GET /logs/a/records`.
    ///
    /// # Errors
    /// The server refuses; with what it says.
    pub(in crate::benchmark) fn upgrade(
        &self,
        request: &str,
        more: &str,
    ) -> Result<Upgraded, Failure> {
        let mut stream = self.connect()?;
        let head = self.head(request, &format!("Connection: Upgrade\r\n{more}"));
        let failed = |error| broken(request, &error);
        stream.write_all(head.as_bytes()).map_err(failed)?;
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let surplus = bytes.split_off(end + 4);
                let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                if head.starts_with("http/1.1 101") {
                    return Ok(Upgraded { stream, head, surplus });
                }
                let said = format!("{head}{}", String::from_utf8_lossy(&surplus));
                return Err(Failure::Failed(format!(
                    "{request} is answered:\n{}",
                    said.trim_end()
                )));
            }
            let came = stream.read(&mut chunk).map_err(failed)?;
            if came == 0 || bytes.len() > HEAD_BYTES_MAX {
                return Err(Failure::Failed(format!("{request} has no answer")));
            }
            bytes.extend_from_slice(chunk.get(..came).unwrap_or_default());
        }
    }
}

impl Upgraded {
    /// A header of the 101, as a number.
    pub(in crate::benchmark) fn number(&self, header: &str) -> Option<u64> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(header))?;
        line.strip_prefix(':')?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_101_are_numbers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let route = Route::local(listener.local_addr().expect("an address"));
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 1024];
            let came = stream.read(&mut request).expect("a request");
            stream
                .write_all(b"HTTP/1.1 101 Switching\r\nX-Styx-Epoch: 7\r\n\r\nsurplus")
                .expect("sent");
            String::from_utf8_lossy(&request[..came]).into_owned()
        });
        let upgraded = route.upgrade("GET /a", "Upgrade: styx/0\r\n").expect("a 101");
        assert_eq!(upgraded.number("x-styx-epoch"), Some(7));
        assert_eq!(upgraded.number("x-styx-position"), None);
        assert_eq!(upgraded.surplus, b"surplus");
        let asked = peer.join().expect("no panic");
        assert!(asked.starts_with("GET /a HTTP/1.1\r\nHost: 127.0.0.1:"), "{asked}");
        assert!(asked.ends_with("Connection: Upgrade\r\nUpgrade: styx/0\r\n\r\n"), "{asked}");
    }
}
