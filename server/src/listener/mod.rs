//! Accepts connections, bounds their number and their idle time, and serves HTTP.
//!
//! ```text
//! accept → admission → TLS handshake, if configured → watched socket → HTTP/1.1 or HTTP/2 → Http::serve
//!        ↘ too many: 503 and close     ↘ beyond the limit: health, metrics or 503
//! ```
//!
//! Invariant: whatever a peer does, it costs one bounded connection, which is closed
//! after a timeout. A panic ends one connection.

mod activity;
mod admission;
mod connection;
mod handshake;
mod once_a_minute;
mod read_ahead;
mod refusal;
mod stream_executor;
mod tracked_body;
mod watched_socket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};

use crate::certificates::Certificates;
use crate::config::BindAddress;
use crate::descriptors::Shares;
use crate::http::Http;
use crate::peer;
use crate::transport::{PeerAddress, PlainSocket, Transport};
use admission::Admission;
use once_a_minute::OnceAMinute;

/// How long to wait if the system has no more file descriptors: this after the first
/// failure, twice as long after each further one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Binds the first address that can be bound.
pub(crate) async fn bind(address: &BindAddress) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for (host, port) in address.candidates() {
        match TcpListener::bind((host, port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The connections of a listener.
#[derive(Debug)]
pub(crate) struct Connections {
    http: Arc<Http>,
    admission: Arc<Admission>,
    certificates: Option<Arc<Certificates>>,
    tasks: JoinSet<()>,
    accept_failures: OnceAMinute,
}

impl Connections {
    /// With certificates, the connections are encrypted.
    pub(crate) fn new(
        http: Arc<Http>,
        shares: Shares,
        certificates: Option<Arc<Certificates>>,
    ) -> Connections {
        Connections {
            admission: Admission::new(http.app.clone(), shares),
            http,
            certificates,
            tasks: JoinSet::new(),
            accept_failures: OnceAMinute::default(),
        }
    }

    /// Accepts and serves connections; never resolves. Cancel safe.
    pub(crate) async fn accept_all(&mut self, listener: &TcpListener) {
        let mut pause = ACCEPT_PAUSE;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(ended) = self.tasks.join_next() => {
                    report(ended);
                    continue;
                }
            };
            match accepted {
                Ok((stream, address)) => {
                    pause = ACCEPT_PAUSE;
                    let _ = stream.set_nodelay(true);
                    self.start(PlainSocket::Tcp(stream), PeerAddress::Tcp(address)).await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if let Some(failures) = self.accept_failures.record() {
                        tracing::error!(
                            failures,
                            "cannot accept connections, trying again every second: {error}"
                        );
                    }
                    // Usually the process or the system has no descriptor left.
                    self.admission.close_oldest_idle();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }

    async fn start(&mut self, socket: PlainSocket, peer: PeerAddress) {
        let Some(seat) = self.admission.seat().await else {
            // Without keys, there are no words for a peer that expects TLS.
            if self.certificates.is_none() {
                refusal::refuse(&Transport::Plain(socket));
            }
            return;
        };
        peer::enable_keep_alive(&socket, self.http.app.config.tcp_timeout);
        let http = self.http.clone();
        let certificates = self.certificates.clone();
        self.tasks.spawn(connection::serve(http, socket, peer, certificates, seat));
    }

    /// Call it after the shutdown began: waits at most `at_most` until every
    /// connection has ended, then closes the rest and returns their number.
    pub(crate) async fn drain(mut self, at_most: Duration) -> usize {
        let all = async {
            while let Some(ended) = self.tasks.join_next().await {
                report(ended);
            }
        };
        let _ = tokio::time::timeout(at_most, all).await;
        let left = self.tasks.len();
        self.tasks.shutdown().await;
        left
    }
}

/// Whether the error is about a connection that ended before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused)
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection ended because of a bug: {error}");
    }
}
