//! [`Pace`]: limits the rate of all uploads together, or of all checks before them.
//!
//! The bodies of requests consist of small frames. After each, its request pauses until the rate
//! allows the next one. So uploads do not come in bursts that delay commits.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lowest rate. At a lower one, a frame would take so long that requests seem to stall.
const RATE_MIN: u64 = 64 << 10;

/// The unused time that is saved up. Timers fire late, and the time until bytes are read or sent is
/// unused too: without this, the rate would stay far below its limit.
const SAVED_UP: Duration = Duration::from_millis(10);

/// The rate of all uploads, and when the next byte may be sent.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    next: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Pace {
        let bytes_per_second = bytes_per_second.max(RATE_MIN);
        Pace { bytes_per_second, next: Mutex::new(Instant::now()) }
    }

    /// How long to wait after sending this number of bytes.
    pub(crate) fn pause_after(&self, bytes: usize) -> Duration {
        self.pause_at(Instant::now(), bytes)
    }

    fn pause_at(&self, now: Instant, bytes: usize) -> Duration {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).max(now.checked_sub(SAVED_UP).unwrap_or(now)) + takes;
        next.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_share_one_rate_and_little_unused_time_is_saved_up() {
        let pace = Pace::new(100_000);
        let start = Instant::now() + Duration::from_secs(1);
        assert_eq!(pace.pause_at(start, 51_000), Duration::from_millis(500));
        assert_eq!(pace.pause_at(start, 50_000), Duration::from_secs(1));
        let later = start + Duration::from_secs(100);
        assert_eq!(pace.pause_at(later, 101_000), Duration::from_secs(1));
    }

    #[test]
    fn timers_that_fire_late_do_not_lower_the_rate() {
        let pace = Pace::new(50_000_000);
        let start = Instant::now() + Duration::from_secs(1);
        let mut now = start;
        for _ in 0..1000 {
            let pause = pace.pause_at(now, 50_000);
            if !pause.is_zero() {
                now += pause + Duration::from_millis(1);
            }
        }
        let took = now - start;
        assert!(took >= Duration::from_millis(990), "{took:?}");
        assert!(took <= Duration::from_millis(1010), "{took:?}");
    }
}
