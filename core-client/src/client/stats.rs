//! [`ClientStats`]: the numbers of a client, for programs that watch it.

use std::time::Duration;

use super::Client;

/// The numbers of a client since it was created, and its present state. They cover the
/// client's clones, its calls and its producers and consumers.
/// [`Client::stats`] returns it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Requests that were sent, including those that open producers and consumers.
    pub requests: u64,
    /// How often a call was tried again after an error that may pass. Producers and consumers
    /// count their reconnects themselves.
    pub retries: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Attempts to open a connection that failed.
    pub failed_connections: u64,
    /// Connections that are open. Some may be idle, kept for the next call.
    pub open_connections: u64,
    /// The open connections of producers and consumers. One without a sign of life is open
    /// until the [silence timeout](super::Builder::silence_timeout).
    pub open_streams: u64,
    /// How long ago anything was received on any connection; `None` before the first bytes.
    /// While there is a stream, a server sends a sign of life at least once in half the silence
    /// timeout. Without one, only calls receive something.
    pub since_last_heard: Option<Duration>,
}

impl Client {
    /// The numbers of the client and its present state. The call waits for nothing, so it also works
    /// while the server does not answer.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        let counts = self.transport().counts();
        ClientStats {
            requests: counts.requests(),
            retries: counts.retries(),
            connections: counts.connections(),
            failed_connections: counts.failed_connections(),
            open_connections: counts.open_connections(),
            open_streams: counts.open_streams(),
            since_last_heard: counts.silence(),
        }
    }
}
