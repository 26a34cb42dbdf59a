//! [`Encryption`]: TLS for connections that do not use the client core.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Error;

/// The trusted authority of a server, and its name.
#[derive(Debug, Clone)]
pub(crate) struct Encryption {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A connection without waiting, encrypted or not.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Encryption {
    /// Trusts the servers whose certificate a certificate of this file has signed.
    ///
    /// # Errors
    /// The file has no certificate, or `host` cannot be a server's.
    pub(crate) fn new(ca_file: &Path, host: &str) -> Result<Encryption, Error> {
        let failed = |why: String| Error::Failed(format!("{}: {why}", ca_file.display()));
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(ca_file).map_err(|error| failed(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| failed(format!("no certificate can contain the name {host:?}")))?;
        Ok(Encryption { config: Arc::new(config), name })
    }

    /// Agrees on keys, and returns the stream, which then never waits.
    ///
    /// # Errors
    /// The handshake fails.
    pub(super) fn begin(&self, mut stream: std::net::TcpStream) -> io::Result<Stream> {
        let mut connection = ClientConnection::new(self.config.clone(), self.name.clone())
            .map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        stream.set_nonblocking(true)?;
        let stream = StreamOwned::new(connection, TcpStream::from_std(stream));
        Ok(Stream::Tls(Box::new(stream)))
    }
}

impl Stream {
    /// The socket to wait for.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &mut stream.sock,
        }
    }

    /// Whether a read that fills only a part of its buffer has emptied the socket.
    pub(super) fn is_drained_by_short_read(&self) -> bool {
        matches!(self, Stream::Plain(_))
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(bytes),
            Stream::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}
