//! [`Activity`]: the connections of one producer or consumer, in numbers. [`LastHeard`]: the
//! time of the last received bytes.
//!
//! The task of the connection writes them, and any thread reads them. There is no lock and
//! no order between the values. They change at most once for each read of the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub(crate) struct Activity {
    last_heard: LastHeard,
    /// Open connections. After a seek, the old one may end after the new one began.
    open: AtomicU64,
    connections: AtomicU64,
    resent_blocks: AtomicU64,
}

/// The time of the last received bytes.
#[derive(Debug)]
pub(crate) struct LastHeard {
    begun: Instant,
    /// Microseconds from `begun` to that time, plus 1. 0 before any bytes.
    micros: AtomicU64,
}

impl LastHeard {
    pub(crate) fn new() -> LastHeard {
        LastHeard { begun: Instant::now(), micros: AtomicU64::new(0) }
    }

    /// Bytes were received at this time.
    pub(crate) fn set(&self, now: Instant) {
        let since = now.saturating_duration_since(self.begun).as_micros();
        let since = u64::try_from(since).unwrap_or(u64::MAX - 1);
        self.micros.store(since + 1, Ordering::Relaxed);
    }

    /// The time since then; `None` before any bytes.
    pub(crate) fn elapsed(&self) -> Option<Duration> {
        let heard = self.micros.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.begun.elapsed().saturating_sub(Duration::from_micros(heard)))
    }
}

/// A connection is open until this is dropped.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Activity>);

impl Activity {
    pub(crate) fn new() -> Activity {
        Activity {
            last_heard: LastHeard::new(),
            open: AtomicU64::new(0),
            connections: AtomicU64::new(0),
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
        self.last_heard.set(now);
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
        self.last_heard.elapsed()
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
        let begun = activity.last_heard.begun;
        let connected = activity.connected(begun);
        assert!(activity.is_connected() && activity.silence() >= Some(Duration::ZERO));
        activity.heard(begun + Duration::from_secs(3600));
        assert_eq!(activity.silence(), Some(Duration::ZERO));
        drop(connected);
        drop(activity.connected(begun));
        assert_eq!((activity.is_connected(), activity.reconnects()), (false, 1));
    }
}
