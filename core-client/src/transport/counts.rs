//! [`Counts`]: the connections and requests of a client, in numbers.
//!
//! The client's threads write it, any thread reads it. There is no lock and no order between the
//! values. Each read of a socket costs a look at the clock and one store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::activity::LastHeard;

/// See the module.
#[derive(Debug)]
pub(crate) struct Counts {
    requests: AtomicU64,
    retries: AtomicU64,
    connections: AtomicU64,
    failed_connections: AtomicU64,
    open_connections: AtomicU64,
    open_streams: AtomicU64,
    last_heard: LastHeard,
}

/// A connection counts as open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    counts: Arc<Counts>,
    is_stream: bool,
}

impl Counts {
    pub(super) fn new() -> Counts {
        Counts {
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            failed_connections: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
            open_streams: AtomicU64::new(0),
            last_heard: LastHeard::new(),
        }
    }

    /// A request is about to be sent.
    pub(super) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is tried again.
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// No connection could be opened.
    pub(super) fn failed_to_connect(&self) {
        self.failed_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was opened.
    pub(super) fn connected(self: &Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open_connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection { counts: Arc::clone(self), is_stream: false }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn failed_connections(&self) -> u64 {
        self.failed_connections.load(Ordering::Relaxed)
    }

    pub(crate) fn open_connections(&self) -> u64 {
        self.open_connections.load(Ordering::Relaxed)
    }

    pub(crate) fn open_streams(&self) -> u64 {
        self.open_streams.load(Ordering::Relaxed)
    }

    /// How long nothing was received on any connection; `None` before the first bytes.
    pub(crate) fn silence(&self) -> Option<Duration> {
        self.last_heard.elapsed()
    }
}

impl OpenConnection {
    /// Bytes were received.
    pub(super) fn heard(&self) {
        self.counts.last_heard.set(Instant::now());
    }

    /// From now on the connection is a stream of a producer or consumer.
    pub(super) fn becomes_stream(&mut self) {
        if !std::mem::replace(&mut self.is_stream, true) {
            self.counts.open_streams.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.counts.open_connections.fetch_sub(1, Ordering::Relaxed);
        if self.is_stream {
            self.counts.open_streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_counts_as_open_until_it_is_dropped() {
        let counts = Arc::new(Counts::new());
        let (one, mut two) = (counts.connected(), counts.connected());
        assert_eq!(counts.silence(), None);
        two.heard();
        assert!(counts.silence().is_some());
        two.becomes_stream();
        two.becomes_stream();
        assert_eq!((counts.open_connections(), counts.open_streams()), (2, 1));
        drop(two);
        assert_eq!((counts.open_connections(), counts.open_streams()), (1, 0));
        drop(one);
        assert_eq!((counts.open_connections(), counts.connections()), (0, 2));
    }
}
