//! Opens a [`Socket`] to the server's address, within the connect timeout.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Socket, Transport, tls};
use crate::error::{Error, Kind};

/// Silence after which the kernel checks whether the peer is alive (TCP keep-alive).
const KEEPALIVE: Duration = Duration::from_secs(30);

impl Transport {
    /// Opens a connection. Tries every IP address of the host name in turn.
    ///
    /// # Errors
    /// [`Kind::ConnectionFailed`] or [`Kind::TimedOut`], with the address;
    /// [`Kind::InvalidArgument`] for a name that no certificate can have.
    pub(crate) async fn connect(&self) -> Result<Socket, Error> {
        let timeout = self.options.connect_timeout;
        match tokio::time::timeout(timeout, self.connect_without_limit()).await {
            Ok(connected) => connected,
            Err(_) => Err(Error::new(
                Kind::TimedOut,
                format!("cannot connect to {}: no response within {timeout:?}", self.address),
            )),
        }
    }

    async fn connect_without_limit(&self) -> Result<Socket, Error> {
        let (host, port) = (self.address.host(), self.address.port());
        let stream = TcpStream::connect((host, port)).await.map_err(|e| self.failed(&e))?;
        set_options(&stream).map_err(|e| self.failed(&e))?;
        let Some(config) = &self.tls else { return Ok(Socket::Plain(stream)) };
        let name = self.options.server_name.as_deref().unwrap_or(host);
        let name = tls::server_name(name)?;
        let connector = TlsConnector::from(config.clone());
        let stream = connector.connect(name, stream).await.map_err(|e| self.failed(&e))?;
        Ok(Socket::Tls(Box::new(stream)))
    }

    fn failed(&self, error: &io::Error) -> Error {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "no server is listening there".to_owned(),
            _ => error.to_string(),
        };
        Error::new(Kind::ConnectionFailed, format!("cannot connect to {}: {why}", self.address))
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE / 3)?;
    Ok(())
}
