//! A clock that a test advances, and whose wall time may jump.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use styx_engine::clock::Clock;

#[derive(Debug, Default)]
pub(crate) struct Hands {
    monotonic_us: AtomicU64,
    /// The difference between the wall clock and the true time.
    off_us: AtomicI64,
}

/// In 2026, so that small jumps stay after the epoch.
const BASE_US: u64 = 1_770_000_000_000_000;

impl Hands {
    pub(crate) fn advance(&self, by: Duration) {
        let us = u64::try_from(by.as_micros()).expect("fits");
        self.monotonic_us.fetch_add(us, Ordering::Relaxed);
    }

    pub(crate) fn set_off(&self, us: i64) {
        self.off_us.store(us, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn wall_us(&self) -> u64 {
        let right = BASE_US + self.monotonic_us.load(Ordering::Relaxed);
        right.saturating_add_signed(self.off_us.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_us.load(Ordering::Relaxed))
    }
}
