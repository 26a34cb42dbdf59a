//! [`MinimumRate`]: whether bytes move fast enough while the server waits for a
//! peer. Time in which the server itself is busy does not count.
//!
//! Each window of waiting is judged by itself: a fast start does not earn the
//! right to be slow later.

use std::time::Duration;

/// The lowest rate allowed, and what has moved in the current window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MinimumRate {
    bytes_per_second_min: u64,
    window: Duration,
    /// Moved in the current window.
    bytes: u64,
    waited: Duration,
}

/// The result of a finished window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    FastEnough,
    TooSlow,
}

impl MinimumRate {
    /// `bytes_per_second_min` on average over each `window`.
    pub(crate) fn new(bytes_per_second_min: u64, window: Duration) -> MinimumRate {
        MinimumRate { bytes_per_second_min, window, bytes: 0, waited: Duration::ZERO }
    }

    pub(crate) fn bytes_per_second_min(&self) -> u64 {
        self.bytes_per_second_min
    }

    /// How much more waiting finishes the current window.
    pub(crate) fn window_left(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    /// Records how many bytes moved and how long the server waited for them.
    /// Returns a verdict if that finishes the window; then the next window begins.
    pub(crate) fn record(&mut self, bytes: u64, waited: Duration) -> Option<Verdict> {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < self.window {
            return None;
        }
        let bytes_min = self.waited.as_millis() * u128::from(self.bytes_per_second_min) / 1000;
        let verdict =
            if u128::from(self.bytes) < bytes_min { Verdict::TooSlow } else { Verdict::FastEnough };
        *self = MinimumRate::new(self.bytes_per_second_min, self.window);
        Some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_window_is_judged_by_itself() {
        let mut rate = MinimumRate::new(8, 2 * SECOND);
        assert_eq!(rate.record(1_000_000, SECOND), None, "the window is not over");
        assert_eq!(rate.window_left(), SECOND);
        assert_eq!(rate.record(0, SECOND), Some(Verdict::FastEnough));
        let slow = rate.record(15, 2 * SECOND);
        assert_eq!(slow, Some(Verdict::TooSlow), "the first window no longer counts");
        assert_eq!(rate.record(16, 2 * SECOND), Some(Verdict::FastEnough));
        let slow = rate.record(31, 4 * SECOND);
        assert_eq!(slow, Some(Verdict::TooSlow), "all of a long wait counts");
    }

    #[test]
    fn bytes_without_waiting_do_not_advance_the_window() {
        let mut rate = MinimumRate::new(u64::MAX, SECOND);
        assert_eq!(rate.record(1, Duration::ZERO), None);
        assert_eq!(rate.window_left(), SECOND);
    }
}
