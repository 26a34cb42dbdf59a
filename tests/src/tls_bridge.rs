//! [`TlsBridge`]: makes a server with TLS look like one without, for tests that speak
//! plain bytes.
//!
//! ```text
//! test ── plain ──▶ bridge ══ TLS ══▶ server
//! ```
//! It forwards ends as they are: a closed side, and a connection that was cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// The bridge. Dropping it closes all its connections.
#[derive(Debug)]
pub struct TlsBridge {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl TlsBridge {
    /// Starts a bridge to this server, whose certificate `authority` (PEM) has signed.
    ///
    /// # Panics
    /// When no port is available.
    #[must_use]
    pub fn start(server: SocketAddr, authority: &str) -> TlsBridge {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let listener =
            runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(accept_all(listener, server, connector(authority)));
        TlsBridge { address, runtime: Some(runtime) }
    }

    /// Where it accepts connections without TLS.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsBridge {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Connects with TLS to servers whose certificate `authority` (PEM) has signed.
///
/// # Panics
/// When `authority` is no certificate.
#[must_use]
pub fn connector(authority: &str) -> TlsConnector {
    TlsConnector::from(client_config(authority))
}

/// The configuration of a client that trusts `authority` (PEM).
///
/// # Panics
/// When `authority` is no certificate.
#[must_use]
pub fn client_config(authority: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.as_bytes()).expect("a certificate");
    roots.add(certificate).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

async fn accept_all(listener: TcpListener, server: SocketAddr, connector: TlsConnector) {
    while let Ok((client, _)) = listener.accept().await {
        let connector = connector.clone();
        tokio::spawn(async move {
            if carry(&client, server, &connector).await.is_none() {
                // The test sees a reset, as it would on a plain connection.
                let _ = client.set_zero_linger();
            }
        });
    }
}

/// The side that has gone before everything was sent to the server.
enum Gone {
    Client,
    Server,
}

/// Forwards one connection until both sides are closed; `None` if it was cut.
async fn carry(client: &TcpStream, server: SocketAddr, connector: &TlsConnector) -> Option<()> {
    let _ = client.set_nodelay(true);
    let to_server = TcpStream::connect(server).await.ok()?;
    let _ = to_server.set_nodelay(true);
    let name = ServerName::try_from("localhost").ok()?;
    let server = connector.connect(name, to_server).await.ok()?;
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let there = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            client.readable().await.map_err(|_| Gone::Client)?;
            match client.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let received = buffer.get(..count).unwrap_or_default();
                    to_server.write_all(received).await.map_err(|_| Gone::Server)?;
                    to_server.flush().await.map_err(|_| Gone::Server)?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Gone::Client),
            }
        }
        to_server.shutdown().await.map_err(|_| Gone::Server)
    };
    let back = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let count = match from_server.read(&mut buffer).await {
                Ok(0) => break,
                Ok(count) => count,
                // The end of the socket without the end of TLS is a plain FIN.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(_) => return None,
            };
            let mut rest = buffer.get(..count)?;
            while !rest.is_empty() {
                client.writable().await.ok()?;
                match client.try_write(rest) {
                    Ok(count) => rest = rest.get(count..)?,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return None,
                }
            }
        }
        rustix::net::shutdown(client, rustix::net::Shutdown::Write).ok()
    };
    let (mut there, mut back) = (std::pin::pin!(there), std::pin::pin!(back));
    // A server that has closed everything may still be sent something; then it resets.
    tokio::select! {
        sent = &mut there => match sent {
            // A server that has refused a body may have sent an answer before it closed.
            Ok(()) | Err(Gone::Server) => back.await,
            Err(Gone::Client) => None,
        },
        received = &mut back => {
            received?;
            tokio::time::timeout(Duration::from_secs(60), there).await.ok()?.ok()
        }
    }
}
