//! [`TlsProxy`]: a TLS proxy in front of a server without TLS. It records the requests.
//!
//! ```text
//! client ══TLS══▶ proxy ──▶ server
//!                  └─ records the heads of the clients' requests
//! ```
//! Its certificate is only for `localhost`, from its own certificate authority, which no
//! machine trusts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// The proxy. Dropping it closes all its connections.
#[derive(Debug)]
pub struct TlsProxy {
    address: SocketAddr,
    /// Replaced by [`change_authority`](TlsProxy::change_authority).
    authority: Mutex<String>,
    lines: Arc<Lines>,
    // Declared last: dropping it ends the tasks that use the other fields.
    _runtime: Runtime,
}

/// Shared by all connections.
#[derive(Debug)]
struct Lines {
    server: SocketAddr,
    /// The certificate of new connections.
    identity: Mutex<Arc<ServerConfig>>,
    /// The bytes from each connection's client.
    received: Mutex<Vec<Arc<Mutex<Vec<u8>>>>>,
    /// How many times all connections were cut.
    cuts: watch::Sender<u64>,
}

impl TlsProxy {
    /// Starts a proxy in front of this server.
    ///
    /// # Panics
    /// When no port is available.
    #[must_use]
    pub fn start(server: SocketAddr) -> TlsProxy {
        TlsProxy::start_with(server, Validity::Current)
    }

    /// As [`start`](Self::start), with a certificate that is no longer valid.
    ///
    /// # Panics
    /// When no port is available.
    #[must_use]
    pub fn start_expired(server: SocketAddr) -> TlsProxy {
        TlsProxy::start_with(server, Validity::Expired)
    }

    fn start_with(server: SocketAddr, validity: Validity) -> TlsProxy {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let listener =
            runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (identity, authority) = identity(&format!("authority of {address}"), validity);
        let lines = Arc::new(Lines {
            server,
            identity: Mutex::new(identity),
            received: Mutex::default(),
            cuts: watch::Sender::new(0),
        });
        runtime.spawn(accept_all(listener, Arc::clone(&lines)));
        TlsProxy { address, authority: Mutex::new(authority), lines, _runtime: runtime }
    }

    /// The URL with the host name in the certificate.
    #[must_use]
    pub fn url(&self) -> String {
        format!("styxs://localhost:{}", self.address.port())
    }

    /// The URL with a host that is not in the certificate.
    #[must_use]
    pub fn url_by_number(&self) -> String {
        format!("styxs://{}", self.address)
    }

    /// The certificate of the authority, in PEM.
    #[must_use]
    pub fn authority(&self) -> String {
        lock(&self.authority).clone()
    }

    /// New connections get a certificate of another authority.
    pub fn change_authority(&self) {
        let name = format!("second authority of {}", self.address);
        let (identity, authority) = identity(&name, Validity::Current);
        *lock(&self.lines.identity) = identity;
        *lock(&self.authority) = authority;
    }

    /// Cuts every open connection, after any byte.
    pub fn cut(&self) {
        self.lines.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// The heads of all requests so far, including upgrades.
    ///
    /// # Panics
    /// When a client sent bytes that are not HTTP.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        lock(&self.lines.received).iter().flat_map(|received| heads(&lock(received))).collect()
    }
}

/// Whether a certificate is valid today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validity {
    Current,
    Expired,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds the lock")
}

/// A certificate authority of this name, and a server with its certificate.
fn identity(name: &str, validity: Validity) -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    if validity == Validity::Expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("the key is the certificate's");
    (Arc::new(config), authority)
}

async fn accept_all(listener: TcpListener, lines: Arc<Lines>) {
    while let Ok((client, _)) = listener.accept().await {
        let acceptor = TlsAcceptor::from(Arc::clone(&lock(&lines.identity)));
        let lines = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut cuts = lines.cuts.subscribe();
            tokio::select! {
                () = carry(client, &acceptor, &lines) => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

/// Forwards one connection until it ends.
async fn carry(client: TcpStream, acceptor: &TlsAcceptor, lines: &Lines) {
    let _ = client.set_nodelay(true);
    // A client that refuses the certificate sends no request.
    let Ok(client) = acceptor.accept(client).await else { return };
    let Ok(server) = TcpStream::connect(lines.server).await else { return };
    let _ = server.set_nodelay(true);
    let received = Arc::<Mutex<Vec<u8>>>::default();
    lock(&lines.received).push(Arc::clone(&received));
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let there = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            lock(&received).extend_from_slice(&buffer[..count]);
            if to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ = to_server.shutdown().await;
    };
    let back = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    tokio::join!(there, back);
}

/// The request heads in a client's bytes. Skips the bytes after an upgrade, and an
/// incomplete head.
fn heads(mut received: &[u8]) -> Vec<String> {
    let mut heads = Vec::new();
    while let Some(end) = find(received, b"\r\n\r\n") {
        let head = String::from_utf8(received[..end].to_vec()).expect("a head is text");
        let body = &received[end + 4..];
        let length = match (header(&head, "upgrade"), header(&head, "transfer-encoding")) {
            (Some(_), _) => body.len(),
            (_, Some(_)) => chunked_length(body),
            _ => header(&head, "content-length").map_or(0, |n| n.parse().expect("a number")),
        };
        heads.push(head);
        received = &body[length.min(body.len())..];
    }
    heads
}

/// A header of a request's head.
#[must_use]
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .next()
}

fn chunked_length(body: &[u8]) -> usize {
    let mut at = 0;
    while let Some(line) = find(&body[at..], b"\r\n") {
        let size = std::str::from_utf8(&body[at..at + line]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        at += line + 2 + size + 2;
        if size == 0 || at > body.len() {
            break;
        }
    }
    at
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
