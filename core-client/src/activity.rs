//! [`Activity`]: what is known of the connections of a producer or consumer.
//!
//! Its task writes it, any thread reads it. There is no lock and no order between the
//! values. They change at most once for each read of the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub(crate) struct Activity {
    begun: Instant,
    /// Open connections. After a seek, the old one may end after the new one began.
    open: AtomicU64,
    connections: AtomicU64,
    /// Microseconds from `begun` to the last received bytes, plus 1. 0 before any.
    heard: AtomicU64,
    resent_blocks: AtomicU64,
}

/// A connection is open until this is dropped.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Activity {
        Activity {
            begun: Instant::now(),
            open: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            resent_blocks: AtomicU64::new(0),
        }
    }

    /// A connection was opened.
    pub(crate) fn connected(self: &Arc<Self>, now: Instant) -> Connected {
        self.heard(now);
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    /// Bytes were received.
    pub(crate) fn heard(&self, now: Instant) {
        let since = now.saturating_duration_since(self.begun).as_micros();
        self.heard.store(u64::try_from(since).unwrap_or(u64::MAX - 1) + 1, Ordering::Relaxed);
    }

    /// A block was sent again.
    pub(crate) fn resent(&self) {
        self.resent_blocks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// The number of connections after the first.
    pub(crate) fn reconnects(&self) -> u64 {
        self.connections.load(Ordering::Relaxed).saturating_sub(1)
    }

    pub(crate) fn resent_blocks(&self) -> u64 {
        self.resent_blocks.load(Ordering::Relaxed)
    }

    /// How long nothing was received; `None` before the first connection.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let heard = Duration::from_micros(self.heard.load(Ordering::Relaxed).checked_sub(1)?);
        Some(self.begun.elapsed().saturating_sub(heard))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_with_the_last_received_bytes() {
        let activity = Arc::new(Activity::new());
        assert_eq!((activity.silence(), activity.is_connected()), (None, false));
        let begun = activity.begun;
        let connected = activity.connected(begun);
        assert!(activity.is_connected() && activity.silence() >= Some(Duration::ZERO));
        activity.heard(begun + Duration::from_secs(3600));
        assert_eq!(activity.silence(), Some(Duration::ZERO));
        drop(connected);
        drop(activity.connected(begun));
        assert_eq!((activity.is_connected(), activity.reconnects()), (false, 1));
    }
}
