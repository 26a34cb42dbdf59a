//! [`SteadyTime`]: the time for measuring ages.

use std::sync::Arc;
use std::time::Duration;

use super::{Clock, WALL_US_MAX};

/// The wall time at its creation, plus the monotonic time since then. A jump of the wall clock does
/// not change it.
#[derive(Debug, Clone)]
pub(crate) struct SteadyTime {
    clock: Arc<dyn Clock>,
    wall_us: u64,
    monotonic: Duration,
}

impl SteadyTime {
    /// Starts at the current wall time.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> SteadyTime {
        let (wall_us, monotonic) = (clock.wall_us().min(WALL_US_MAX), clock.monotonic());
        SteadyTime { clock, wall_us, monotonic }
    }

    /// Returns the steady time in microseconds since the Unix epoch.
    pub(crate) fn now_us(&self) -> u64 {
        self.at_us(self.clock.monotonic())
    }

    /// Returns the steady time at a monotonic time.
    pub(crate) fn at_us(&self, monotonic: Duration) -> u64 {
        let since = monotonic.saturating_sub(self.monotonic);
        let since_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        self.wall_us.saturating_add(since_us).min(WALL_US_MAX)
    }

    /// Returns the wall time in microseconds since the Unix epoch, at most the year 9999.
    pub(crate) fn wall_us(&self) -> u64 {
        self.clock.wall_us().min(WALL_US_MAX)
    }

    /// Returns the monotonic time.
    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}
