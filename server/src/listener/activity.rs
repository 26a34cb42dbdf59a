//! [`Activity`]: what a connection is doing, shared by its socket and its requests.
//!
//! Only the socket sees bytes and only the service sees requests, but the timeout
//! that applies depends on both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

/// Shared by the socket and the requests of one connection. Its users run in the
/// connection's task, except that a request may end in another one.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// Requests whose answer is not completely sent.
    active: AtomicU32,
    /// Requests that have begun since the connection was opened.
    begun: AtomicU64,
    /// When the last request ended, in µs after `opened`.
    idle_since_us: AtomicU64,
    is_http2: AtomicBool,
    /// The minimum rate of the current answer; 0 for none.
    bytes_per_second_min: AtomicU64,
}

/// One request, until its answer was sent or dropped.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Activity> {
        Arc::new(Activity {
            opened: Instant::now(),
            active: AtomicU32::new(0),
            begun: AtomicU64::new(0),
            idle_since_us: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
            bytes_per_second_min: AtomicU64::new(0),
        })
    }

    pub(super) fn begin(self: &Arc<Self>) -> RequestGuard {
        self.active.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        RequestGuard(self.clone())
    }

    /// Whether there is no current request.
    pub(super) fn is_between_requests(&self) -> bool {
        self.active.load(Ordering::Relaxed) == 0
    }

    pub(super) fn requests_begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.opened + Duration::from_micros(self.idle_since_us.load(Ordering::Relaxed))
    }

    pub(super) fn bytes_per_second_min(&self) -> u64 {
        self.bytes_per_second_min.load(Ordering::Relaxed)
    }

    pub(super) fn set_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }
}

impl RequestGuard {
    /// Sets the minimum rate of the connection's current answer, on HTTP/1.1.
    pub(super) fn set_minimum_rate(&self, bytes_per_second_min: u64) {
        self.0.bytes_per_second_min.store(bytes_per_second_min, Ordering::Relaxed);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let activity = &self.0;
        if activity.active.fetch_sub(1, Ordering::Relaxed) == 1 {
            let us = activity.opened.elapsed().as_micros();
            activity.idle_since_us.store(us.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}
