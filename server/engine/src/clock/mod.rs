//! [`Clock`]: the wall clock and the monotonic clock, behind a trait that tests can implement.
//!
//! ```text
//! Clock ─▶ SteadyTime   the monotonic clock, in µs since the epoch: never jumps
//!            └─▶ StampClock   the time of new records: the wall clock, unless it has just jumped
//! ```
//!
//! No other module of the engine reads the time. Invariants: no value of a clock is an error, and
//! a jump of the wall clock changes no age that was measured since the catalog was opened.

mod stamps;
mod steady;

use std::fmt::Debug;
use std::time::Duration;

pub use stamps::ClockStats;
pub(crate) use stamps::{JUMP_US_MIN, StampClock, shown};
pub(crate) use steady::SteadyTime;

/// 2020-01-01, in µs since the epoch. Styx is younger, so an earlier time comes from a clock that
/// was not set.
pub(crate) const PLAUSIBLE_US_MIN: u64 = 1_577_836_800_000_000;
/// The end of the year 9999, in µs since the epoch. Clients can represent no later time.
pub(crate) const WALL_US_MAX: u64 = 253_402_300_799_999_999;

/// Both clocks of a machine.
pub trait Clock: Debug + Send + Sync {
    /// Returns the wall time in microseconds since the Unix epoch; 0 before the epoch. It may have
    /// any value and may jump in either direction.
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

    /// On Linux it includes the time in which the machine was suspended. So a machine that wakes up
    /// does not look like one whose wall clock jumped.
    #[cfg(target_os = "linux")]
    fn monotonic(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    #[cfg(not(target_os = "linux"))]
    fn monotonic(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }
}
