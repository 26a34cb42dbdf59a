//! Accepts connections, bounds their number and their idle time, and serves HTTP.
//!
//! ```text
//! accept → permit → watched socket → HTTP/1.1 or HTTP/2 → Http::serve
//!        ↘ none left: 503 and close
//! ```
//!
//! Invariant: whatever a peer does, it costs one bounded connection, which is closed
//! after a timeout. A panic ends one connection.

mod activity;
mod connection;
mod read_ahead;
mod refusal;
mod stream_executor;
mod tracked_body;
mod watched_socket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::app::App;
use crate::config::BindAddress;
use crate::http::Http;
use crate::peer;

/// How long to wait if the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    permits: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Connections {
    pub(crate) fn new(http: Arc<Http>) -> Connections {
        let permits = http.app.config.max_connections.min(Semaphore::MAX_PERMITS);
        Connections { permits: Arc::new(Semaphore::new(permits)), http, tasks: JoinSet::new() }
    }

    /// Accepts and serves connections; never resolves. Cancel safe.
    pub(crate) async fn accept_all(&mut self, listener: &TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(ended) = self.tasks.join_next() => {
                    report(ended);
                    continue;
                }
            };
            match accepted {
                Ok((stream, _)) => self.start(stream),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::error!("cannot accept connections, trying again in 100 ms: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn start(&mut self, stream: TcpStream) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            self.http.app.metrics.connections_refused.inc();
            refusal::refuse(stream);
            return;
        };
        let _ = stream.set_nodelay(true);
        peer::enable_keep_alive(&stream, self.http.app.config.tcp_timeout);
        let http = self.http.clone();
        self.tasks.spawn(async move {
            let _permit = permit;
            let _counted = ConnectionCount::new(&http.app);
            connection::serve(http, stream).await;
        });
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

/// Counts a connection until it is dropped.
struct ConnectionCount(Arc<App>);

impl ConnectionCount {
    fn new(app: &Arc<App>) -> ConnectionCount {
        app.metrics.connections.inc();
        ConnectionCount(app.clone())
    }
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
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
