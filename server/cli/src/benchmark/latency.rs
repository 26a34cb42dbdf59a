//! [`Latencies`]: how long things took, from when they were meant to happen; and
//! [`Pace`], which says when that is.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::outcome::{Bound, Figure, Unit};
use super::statistics::Rounds;
use crate::failure::Failure;

/// Digits that are kept of a time.
const DIGITS: u8 = 3;
/// How long a thread may sleep too long: the rest of a wait is spent awake.
const SLEEP_ERROR: Duration = Duration::from_micros(60);

/// The percentiles that are told, with their quantiles.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// Those of what a record takes without a server.
const BARE_PERCENTILES: [(&str, f64); 2] = [("bare p50", 0.5), ("bare p99", 0.99)];

/// Times, as a histogram in nanoseconds.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    /// # Errors
    /// There is no memory for it.
    pub(super) fn new() -> Result<Latencies, Failure> {
        let histogram = Histogram::new(DIGITS);
        histogram.map(Latencies).map_err(|error| Failure::Failed(error.to_string()))
    }

    /// Counts `count` things that took so long.
    pub(super) fn record(&mut self, time: Duration, count: u64) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // It grows to whatever a Duration can be in nanoseconds.
        let _ = self.0.record_n(nanoseconds.max(1), count);
    }

    /// How many were counted.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e9
    }
}

/// A figure for each percentile over all rounds.
pub(super) fn figures(rounds: &[Latencies], bound: Bound) -> Vec<Figure> {
    percentiles(rounds, &PERCENTILES, Some(bound))
}

/// The same of what there was no server in.
pub(super) fn bare_figures(rounds: &[Latencies]) -> Vec<Figure> {
    percentiles(rounds, &BARE_PERCENTILES, None)
}

fn percentiles(
    rounds: &[Latencies],
    which: &[(&'static str, f64)],
    bound: Option<Bound>,
) -> Vec<Figure> {
    let figure = |(name, quantile): &(&'static str, f64)| {
        Some(Figure {
            name,
            unit: Unit::Seconds,
            rounds: Rounds::of(rounds.iter().map(|round| round.at(*quantile)).collect())?,
            record_bytes: None,
            bound,
        })
    };
    which.iter().filter_map(figure).collect()
}

/// When each record is meant to be sent: at a constant rate, whatever happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    begun: Instant,
    rate: u32,
}

impl Pace {
    /// The first one is due at once.
    pub(super) fn begin(rate: u32) -> Pace {
        Pace { begun: Instant::now(), rate }
    }

    /// When record `index` is meant to be sent.
    pub(super) fn due(self, index: u64) -> Instant {
        let rate = u64::from(self.rate.max(1));
        let rest = Duration::from_nanos(index % rate * 1_000_000_000 / rate);
        self.begun + Duration::from_secs(index / rate) + rest
    }

    /// Sleeps until record `index` is due; not at all when that is over.
    pub(super) fn wait_for(self, index: u64) {
        let due = self.due(index);
        loop {
            let now = Instant::now();
            match due.checked_duration_since(now) {
                None => return,
                Some(left) if left > SLEEP_ERROR => std::thread::sleep(left - SLEEP_ERROR),
                Some(_) => std::hint::spin_loop(),
            }
        }
    }

    /// Makes sleeps of this thread as exact as the system can.
    pub(super) fn sharpen() {
        // Where it cannot, sleeps are a little longer and the figures with them.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_due_at_a_constant_rate() {
        let pace = Pace::begin(3);
        let after = |index| pace.due(index) - pace.begun;
        assert_eq!(after(0), Duration::ZERO);
        assert_eq!(after(1), Duration::from_nanos(333_333_333));
        assert_eq!(after(3_000_000), Duration::from_secs(1_000_000));
        let begun = Instant::now();
        Pace::begin(200).wait_for(2);
        assert!(begun.elapsed() >= Duration::from_millis(9));
    }

    #[test]
    fn a_late_record_shows_in_the_percentiles() {
        let mut latencies = Latencies::new().expect("a histogram");
        latencies.record(Duration::from_micros(100), 99);
        latencies.record(Duration::from_millis(50), 1);
        let figures = figures(&[latencies], Bound::SyncAndTrip);
        let near = |at: usize, expected: f64| {
            let found = figures[at].rounds.median();
            assert!((found / expected - 1.0).abs() < 0.01, "{found} instead of {expected}");
        };
        near(0, 100e-6);
        near(2, 50e-3);
        near(3, 50e-3);
    }
}
