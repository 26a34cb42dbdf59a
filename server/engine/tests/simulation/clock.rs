//! [`ManualClock`]: a clock that tests advance, and whose wall time they can offset.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use styx_engine::clock::Clock;

/// A clock that changes only when a test changes it.
#[derive(Debug, Default)]
pub(crate) struct ManualClock {
    monotonic_us: AtomicU64,
    /// The difference between the wall clock and the true time, in microseconds.
    wall_offset_us: AtomicI64,
    /// The wall time plus 1, in place of the true time with the offset; 0 for none.
    stopped_wall: AtomicU64,
}

/// The true time at the start, in µs since the Unix epoch. It is in 2026, so that jumps by a few
/// years stay after the epoch.
pub(crate) const BASE_US: u64 = 1_770_000_000_000_000;

impl ManualClock {
    /// Advances both clocks.
    pub(crate) fn advance(&self, by: Duration) {
        let us = u64::try_from(by.as_micros()).expect("it fits");
        self.monotonic_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Sets the difference between the wall clock and the true time, in microseconds.
    pub(crate) fn set_wall_offset(&self, us: i64) {
        self.wall_offset_us.store(us, Ordering::Relaxed);
    }

    /// Stops the wall clock at a time in µs since the epoch. `u64::MAX` cannot be set.
    pub(crate) fn stop_wall_at(&self, us: u64) {
        self.stopped_wall.store(us + 1, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn wall_us(&self) -> u64 {
        if let Some(us) = self.stopped_wall.load(Ordering::Relaxed).checked_sub(1) {
            return us;
        }
        let true_us = BASE_US + self.monotonic_us.load(Ordering::Relaxed);
        true_us.saturating_add_signed(self.wall_offset_us.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_us.load(Ordering::Relaxed))
    }
}
