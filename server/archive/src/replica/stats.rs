//! [`ReplicaStats`]: numbers of a read replica, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::store::Error;

/// Numbers since the start, and the current state.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReplicaStats {
    /// The number of served logs.
    pub logs: u64,
    /// Manifests that were looked at, whether or not they had changed, and listings of the logs.
    pub refreshes: u64,
    /// Those that failed.
    pub failures: u64,
    /// Seconds since the last one that was successful; since the start if none was.
    pub age_seconds: f64,
}

/// The numbers that are counted here.
#[derive(Debug)]
pub(super) struct Totals {
    refreshes: AtomicU64,
    failures: AtomicU64,
    distrusted: AtomicU64,
    is_available: AtomicBool,
    last_success: Mutex<Instant>,
    last_error: Mutex<Option<String>>,
}

impl Default for Totals {
    fn default() -> Totals {
        Totals {
            refreshes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            distrusted: AtomicU64::new(0),
            is_available: AtomicBool::new(true),
            last_success: Mutex::new(Instant::now()),
            last_error: Mutex::default(),
        }
    }
}

impl Totals {
    pub(super) fn succeeded(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
        *self.last_success.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if !self.is_available.swap(true, Ordering::Relaxed) {
            tracing::info!("the archive can be read again");
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Counts a failure of `what`, and writes the first one after a success to the log.
    pub(super) fn failed(&self, what: &str, error: &Error) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        if self.is_available.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "{what} failed: {error}; the replica serves what it has, and tries again"
            );
        } else {
            tracing::debug!("{what} failed: {error}");
        }
    }

    pub(super) fn distrusted(&self) {
        self.distrusted.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers of a replica among those of an archive.
    pub(super) fn add_to(&self, stats: crate::Stats) -> crate::Stats {
        crate::Stats {
            damaged: self.distrusted.load(Ordering::Relaxed),
            is_available: self.is_available.load(Ordering::Relaxed),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..stats
        }
    }

    pub(super) fn stats(&self, logs: u64) -> ReplicaStats {
        let last = *self.last_success.lock().unwrap_or_else(PoisonError::into_inner);
        ReplicaStats {
            logs,
            refreshes: self.refreshes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            age_seconds: last.elapsed().as_secs_f64(),
        }
    }
}
