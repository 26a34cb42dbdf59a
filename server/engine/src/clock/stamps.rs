//! [`StampClock`]: the time of new records.
//!
//! It follows the wall clock while that runs like the monotonic clock. If the wall clock jumps, new
//! records get the time that it would have without the jump. If it keeps its new time for 10
//! minutes, it was set on purpose, and new records follow it again. They follow at once if the clock
//! was not set before. So a clock that is wrong for a
//! moment leaves no timestamp that is wrong for years: timestamps never decrease in a log.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::{PLAUSIBLE_US_MIN, SteadyTime, WALL_US_MAX};
use crate::sync::lock;

/// A smaller difference is followed at once, because time services make such corrections.
pub(crate) const JUMP_US_MIN: u64 = 60_000_000;
/// How long the wall clock must keep its new time until new records follow it.
const ADOPTED_AFTER: Duration = Duration::from_secs(600);
/// How often jumps are logged.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// The state of the wall clock, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClockStats {
    /// How far the wall clock is ahead of the time of new records, in µs. Negative if it is behind.
    pub offset_us: i64,
    /// How often the wall clock has jumped by more than a minute.
    pub jumps: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct StampClock {
    time: SteadyTime,
    /// What the time of new records adds to the steady time.
    offset_us: AtomicI64,
    /// Whether `jump` is set.
    has_jumped: AtomicBool,
    jump: Mutex<JumpState>,
    jumps: AtomicU64,
}

#[derive(Debug, Default)]
struct JumpState {
    jump: Option<Jump>,
    logged_at: Option<Duration>,
}

/// A jump of the wall clock that new records do not follow.
#[derive(Debug, Clone, Copy)]
struct Jump {
    /// The wall time minus the steady time.
    offset_us: i64,
    /// The monotonic time at which it was noticed.
    since: Duration,
}

impl StampClock {
    pub(crate) fn new(time: SteadyTime) -> StampClock {
        let wall_us = time.wall_us();
        if wall_us < PLAUSIBLE_US_MIN {
            let clock = shown(wall_us);
            tracing::warn!(
                clock,
                "the system clock is not set: the timestamps of new records are wrong until it is (run a time service, such as chrony)"
            );
        }
        StampClock {
            time,
            offset_us: AtomicI64::new(0),
            has_jumped: AtomicBool::new(false),
            jump: Mutex::default(),
            jumps: AtomicU64::new(0),
        }
    }

    /// Returns the time of records that are appended now, in µs since the epoch. Notices jumps.
    pub(crate) fn now_us(&self) -> u64 {
        let (wall_us, monotonic) = (self.time.wall_us(), self.time.monotonic());
        let steady_us = self.time.at_us(monotonic);
        let offset_us = difference(wall_us, steady_us);
        if offset_us.abs_diff(self.offset_us.load(Ordering::Relaxed)) > JUMP_US_MIN {
            return self.after_jump(wall_us, steady_us, monotonic);
        }
        self.offset_us.store(offset_us, Ordering::Relaxed);
        if self.has_jumped.load(Ordering::Relaxed) {
            self.has_jumped.store(false, Ordering::Relaxed);
            lock(&self.jump).jump = None;
            tracing::info!(clock = shown(wall_us), "the system clock is right again");
        }
        wall_us
    }

    /// Returns the state of the wall clock. Notices jumps.
    pub(crate) fn stats(&self) -> ClockStats {
        let stamp_us = self.now_us();
        let offset_us = match self.has_jumped.load(Ordering::Relaxed) {
            true => difference(self.time.wall_us(), stamp_us),
            false => 0,
        };
        ClockStats { offset_us, jumps: self.jumps.load(Ordering::Relaxed) }
    }

    /// Notes a jump, or the end of its 10 minutes. Returns the time of new records.
    #[cold]
    fn after_jump(&self, wall_us: u64, steady_us: u64, monotonic: Duration) -> u64 {
        let offset_us = difference(wall_us, steady_us);
        let stamp_us = steady_us
            .saturating_add_signed(self.offset_us.load(Ordering::Relaxed))
            .min(WALL_US_MAX);
        let mut state = lock(&self.jump);
        match state.jump {
            _ if stamp_us < PLAUSIBLE_US_MIN && wall_us >= PLAUSIBLE_US_MIN => {
                state.jump = None;
                self.has_jumped.store(false, Ordering::Relaxed);
                self.offset_us.store(offset_us, Ordering::Relaxed);
                self.jumps.fetch_add(1, Ordering::Relaxed);
                tracing::info!(clock = shown(wall_us), "the system clock was set");
                wall_us
            }
            Some(jump) if offset_us.abs_diff(jump.offset_us) <= JUMP_US_MIN => {
                if monotonic.saturating_sub(jump.since) < ADOPTED_AFTER {
                    return stamp_us;
                }
                state.jump = None;
                self.has_jumped.store(false, Ordering::Relaxed);
                self.offset_us.store(offset_us, Ordering::Relaxed);
                tracing::warn!(
                    clock = shown(wall_us),
                    expected = shown(stamp_us),
                    "the system clock has kept its new time for 10 minutes: new records follow it"
                );
                wall_us
            }
            _ => {
                state.jump = Some(Jump { offset_us, since: monotonic });
                self.has_jumped.store(true, Ordering::Relaxed);
                self.jumps.fetch_add(1, Ordering::Relaxed);
                let is_due = |at: Duration| monotonic.saturating_sub(at) >= LOGGED_EVERY;
                if state.logged_at.is_none_or(is_due) {
                    state.logged_at = Some(monotonic);
                    tracing::warn!(
                        clock = shown(wall_us),
                        expected = shown(stamp_us),
                        "the system clock has jumped: new records get the expected time, unless the clock keeps its new time for 10 minutes"
                    );
                }
                stamp_us
            }
        }
    }
}

/// Returns `a − b`.
fn difference(a: u64, b: u64) -> i64 {
    let difference = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a < b { -difference } else { difference }
}

/// Returns a time in RFC 3339, for the log.
pub(crate) fn shown(us: u64) -> String {
    let time = i64::try_from(us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    time.unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Clock;
    use super::*;

    const START_US: u64 = 1_770_000_000_000_000;
    const HOUR_US: i64 = 3_600_000_000;

    /// A wall time minus the true time, and the true time since the start.
    #[derive(Debug, Default)]
    struct TestClock {
        offset_us: AtomicI64,
        since_start_us: AtomicU64,
    }

    impl Clock for TestClock {
        fn wall_us(&self) -> u64 {
            let true_us = START_US + self.since_start_us.load(Ordering::Relaxed);
            true_us.saturating_add_signed(self.offset_us.load(Ordering::Relaxed))
        }

        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.since_start_us.load(Ordering::Relaxed))
        }
    }

    /// Plays steps of (seconds to wait, wall offset in µs, expected offset of new records in µs,
    /// expected jumps so far).
    fn check(steps: &[(u64, i64, i64, u64)]) {
        let clock = Arc::new(TestClock::default());
        let stamps = StampClock::new(SteadyTime::new(Arc::clone(&clock) as Arc<dyn Clock>));
        for (number, &(wait_s, offset_us, expected_us, jumps)) in steps.iter().enumerate() {
            clock.since_start_us.fetch_add(wait_s * 1_000_000, Ordering::Relaxed);
            clock.offset_us.store(offset_us, Ordering::Relaxed);
            let true_us = START_US + clock.since_start_us.load(Ordering::Relaxed);
            let stamp_us = stamps.now_us();
            assert_eq!(difference(stamp_us, true_us), expected_us, "step {number}");
            let stats = ClockStats { offset_us: offset_us - expected_us, jumps };
            assert_eq!(stamps.stats(), stats, "step {number}");
        }
    }

    #[test]
    fn small_corrections_are_followed_at_once() {
        check(&[(1, 0, 0, 0), (1, 59_000_000, 59_000_000, 0), (1, -1_000_000, -1_000_000, 0)]);
    }

    #[test]
    fn a_jump_for_a_moment_is_not_followed() {
        for jump in [HOUR_US, -HOUR_US, 9000 * HOUR_US, i64::MAX] {
            let clock = Arc::new(TestClock::default());
            let stamps = StampClock::new(SteadyTime::new(Arc::clone(&clock) as Arc<dyn Clock>));
            clock.offset_us.store(jump, Ordering::Relaxed);
            assert_eq!(stamps.now_us(), START_US);
            assert_eq!(stamps.stats().jumps, 1);
            clock.offset_us.store(0, Ordering::Relaxed);
            assert_eq!(stamps.now_us(), START_US);
            assert_eq!(stamps.stats(), ClockStats { offset_us: 0, jumps: 1 });
        }
    }

    #[test]
    fn a_clock_that_keeps_its_new_time_is_followed_after_ten_minutes() {
        for jump in [HOUR_US, -HOUR_US] {
            check(&[
                (0, 0, 0, 0),
                (1, jump, 0, 1),
                (599, jump, 0, 1),
                (1, jump, jump, 1),
                (1, jump + 1_000_000, jump + 1_000_000, 1),
                // Back again.
                (1, 0, jump + 1_000_000, 2),
                (600, 0, 0, 2),
            ]);
        }
    }

    #[test]
    fn a_clock_that_jumps_again_is_not_followed() {
        check(&[
            (0, 0, 0, 0),
            (1, HOUR_US, 0, 1),
            (599, 2 * HOUR_US, 0, 2),
            (599, HOUR_US, 0, 3),
            (599, 2 * HOUR_US, 0, 4),
            (600, 2 * HOUR_US, 2 * HOUR_US, 4),
        ]);
    }

    #[test]
    fn a_clock_that_was_not_set_is_followed_as_soon_as_it_is_set() {
        let clock = Arc::new(TestClock::default());
        clock.offset_us.store(-20 * 365 * 24 * HOUR_US, Ordering::Relaxed);
        let stamps = StampClock::new(SteadyTime::new(Arc::clone(&clock) as Arc<dyn Clock>));
        assert!(stamps.now_us() < PLAUSIBLE_US_MIN);
        clock.offset_us.store(0, Ordering::Relaxed);
        assert_eq!(stamps.now_us(), START_US);
        assert_eq!(stamps.stats(), ClockStats { offset_us: 0, jumps: 1 });
    }

    #[test]
    fn times_are_shown_in_rfc_3339() {
        assert_eq!(shown(0), "1970-01-01T00:00:00Z");
        assert_eq!(shown(1_770_000_000_000_000), "2026-02-02T02:40:00Z");
        assert_eq!(shown(u64::MAX), shown(WALL_US_MAX));
    }
}
