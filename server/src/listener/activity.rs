//! [`Activity`]: what a connection is doing, known to its socket and to its
//! requests.
//!
//! The socket alone sees bytes, the service alone sees requests; which timeout
//! applies depends on both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

/// Shared by the socket and the requests of one connection. All of its users
/// run in the connection's task, or tell it only that they are done.
#[derive(Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// Requests whose answer is not sent yet.
    active: AtomicU32,
    /// Requests that were ever begun.
    begun: AtomicU64,
    /// When the last request ended, in µs after `opened`.
    idle_since_us: AtomicU64,
    is_http2: AtomicBool,
    /// What the reader of the answer under way has to take; 0 for whatever it likes.
    bytes_per_second_min: AtomicU64,
}

/// One request, until its answer was sent or given up.
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

    /// Whether no request is under way.
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
    /// The connection's one answer, on HTTP/1.1, has to be taken this fast.
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
