//! [`Clock`]: the wall clock and the monotonic clock, behind a trait that tests can implement.
//!
//! No other module of the engine reads the time. Invariant: ages are measured with `SteadyTime`,
//! so a jump of the wall clock changes none of them.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Both clocks of a machine.
pub trait Clock: Debug + Send + Sync {
    /// Returns the wall time in microseconds since the Unix epoch. It may jump in either direction.
    fn wall_us(&self) -> u64;

    /// Returns the time since a fixed moment. It never decreases.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

#[allow(clippy::disallowed_methods, reason = "all time calls are in this module")]
impl Clock for RealClock {
    fn wall_us(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }
}

/// The time for measuring ages: the wall time at its creation, plus the monotonic time since then.
/// A jump of the wall clock does not change it.
#[derive(Debug, Clone)]
pub(crate) struct SteadyTime {
    clock: Arc<dyn Clock>,
    wall_us: u64,
    monotonic: Duration,
}

impl SteadyTime {
    /// Starts at the current wall time.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> SteadyTime {
        let (wall_us, monotonic) = (clock.wall_us(), clock.monotonic());
        SteadyTime { clock, wall_us, monotonic }
    }

    /// Returns the steady time in microseconds since the Unix epoch.
    pub(crate) fn now_us(&self) -> u64 {
        let since = self.clock.monotonic().saturating_sub(self.monotonic);
        self.wall_us.saturating_add(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Returns the clock, for example to read the wall time.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}
