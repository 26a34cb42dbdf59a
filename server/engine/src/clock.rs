//! Time, behind a trait: the wall clock, which may jump, and the monotonic clock.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// Both clocks of a machine.
pub trait Clock: Debug + Send + Sync {
    /// Microseconds since the epoch; may jump in either direction.
    fn wall_us(&self) -> u64;

    /// Time since a fixed moment; never decreases.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

#[allow(clippy::disallowed_methods, reason = "this is the place for time calls")]
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

/// The time by which ages are measured: the wall time at its creation plus the monotonic time
/// since then. A jump of the wall clock changes no age.
#[derive(Debug, Clone)]
pub(crate) struct SteadyTime {
    clock: Arc<dyn Clock>,
    wall_us: u64,
    monotonic: Duration,
}

impl SteadyTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> SteadyTime {
        let (wall_us, monotonic) = (clock.wall_us(), clock.monotonic());
        SteadyTime { clock, wall_us, monotonic }
    }

    pub(crate) fn now_us(&self) -> u64 {
        let since = self.clock.monotonic().saturating_sub(self.monotonic);
        self.wall_us.saturating_add(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}
