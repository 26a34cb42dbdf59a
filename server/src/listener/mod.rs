//! Accepts connections, bounds their number and their idle time, and serves HTTP.
//!
//! ```text
//! sockets → accept → admission → TLS, if configured → watched socket → HTTP/1.1 or HTTP/2 → Http::serve
//!                  ↘ too many: 503 and close          ↘ beyond the limit: health, metrics or 503
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
mod sockets;
mod stream_executor;
mod tracked_body;
mod unix_socket;
mod watched_socket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use crate::certificates::Certificates;
use crate::descriptors::Shares;
use crate::http::Http;
use crate::peer;
use crate::transport::{PeerAddress, PlainSocket, Transport};
use admission::Admission;
use once_a_minute::OnceAMinute;
pub(crate) use sockets::{Listener, Sockets};

/// How long to wait if the system has no more file descriptors: this after the first
/// failure, twice as long after each further one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The purpose of a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The whole API.
    Main,
    /// Metrics and health alone, for `admin_address`.
    Admin,
}

/// The connections of all listening sockets of one role.
#[derive(Debug)]
pub(crate) struct Connections {
    http: Arc<Http>,
    admission: Arc<Admission>,
    certificates: Option<Arc<Certificates>>,
    tasks: JoinSet<()>,
    accept_failures: OnceAMinute,
}

impl Connections {
    /// With certificates, the connections are encrypted, except those to a Unix socket.
    pub(crate) fn new(
        http: Arc<Http>,
        role: Role,
        shares: Shares,
        certificates: Option<Arc<Certificates>>,
    ) -> Connections {
        Connections {
            admission: Admission::new(http.app.clone(), role, shares),
            http,
            certificates,
            tasks: JoinSet::new(),
            accept_failures: OnceAMinute::default(),
        }
    }

    /// Accepts and serves connections; never resolves. Cancel safe.
    pub(crate) async fn accept_all(&mut self, listeners: &[Listener]) {
        let mut pause = ACCEPT_PAUSE;
        for turn in (0..).map(|turn: usize| turn.checked_rem(listeners.len()).unwrap_or(0)) {
            let accepted = tokio::select! {
                accepted = sockets::accept(listeners, turn) => accepted,
                Some(ended) = self.tasks.join_next() => {
                    report(ended);
                    continue;
                }
            };
            match accepted {
                Ok((socket, peer)) => {
                    pause = ACCEPT_PAUSE;
                    self.start(socket, peer).await;
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
        // Nobody can read along on a Unix socket.
        let is_plain = matches!(socket, PlainSocket::Unix(_));
        let certificates = self.certificates.clone().filter(|_| !is_plain);
        let Some(seat) = self.admission.seat().await else {
            // Without keys, there are no words for a peer that expects TLS.
            if certificates.is_none() {
                refusal::refuse(&Transport::Plain(socket));
            }
            return;
        };
        peer::enable_keep_alive(&socket, self.http.app.config.tcp_timeout);
        let http = self.http.clone();
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
