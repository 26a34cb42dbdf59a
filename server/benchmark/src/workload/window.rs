//! [`Window`]: the measured part of a load.
//!
//! ```text
//! begin ── warm-up ──┬──── seconds ────┬── drain, read back
//!                    └ count, time     └ count, time: the difference gives the rate
//! ```

use std::time::{Duration, Instant};

use crate::plan::Settings;

/// Reads the number of durable records at both ends of the measured time.
#[derive(Debug)]
pub(super) struct Window {
    begun: Instant,
    warm_up: Duration,
    seconds: Duration,
    from: Option<(Instant, u64)>,
    to: Option<(Instant, u64)>,
}

impl Window {
    pub(super) fn begin(settings: Settings) -> Window {
        let Settings { warm_up, seconds, .. } = settings;
        Window { begun: Instant::now(), warm_up, seconds, from: None, to: None }
    }

    /// Whether the measured time is over. Calls `durable` only at its two ends. Call this
    /// often, because the ends are where a call happens to fall.
    pub(super) fn is_over(&mut self, durable: impl FnOnce() -> u64) -> bool {
        let now = Instant::now();
        match (self.from, self.to) {
            (_, Some(_)) => true,
            (None, None) => {
                if now - self.begun >= self.warm_up {
                    self.from = Some((now, durable()));
                }
                false
            }
            (Some((from, _)), None) => {
                if now - from < self.seconds {
                    return false;
                }
                self.to = Some((now, durable()));
                true
            }
        }
    }

    /// Durable records per second. 0 while the measured time is not over.
    pub(super) fn rate(&self) -> f64 {
        match (self.from, self.to) {
            (Some((from, before)), Some((to, after))) => {
                after.saturating_sub(before) as f64 / (to - from).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_does_not_count() {
        let settings = Settings {
            rounds: 1,
            seconds: Duration::from_millis(20),
            warm_up: Duration::from_millis(5),
            rate: 1,
            log_bytes: None,
            quick: true,
        };
        let mut window = Window::begin(settings);
        let mut asked = 0;
        while !window.is_over(|| {
            asked += 1;
            1_000_000 + 100 * asked
        }) {}
        assert_eq!(asked, 2, "called at both ends only");
        assert!(window.rate() > 0.0 && window.rate() <= 100.0 / 0.02, "{}", window.rate());
    }
}
