//! [`Latencies`]: latencies, measured from the time at which a record was due.
//! [`Pace`] computes that time.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::outcome::{Bound, Figure, Unit};
use super::statistics::Rounds;
use crate::Error;

/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// How much longer than asked a thread may sleep. The last part of a wait is a busy loop.
const SLEEP_ERROR: Duration = Duration::from_micros(60);

/// The quantile of the median.
pub(super) const P50: f64 = 0.5;
/// The quantile that one event of a hundred exceeds.
pub(super) const P99: f64 = 0.99;

/// The reported percentiles, with their quantiles.
const PERCENTILES: [(&str, f64); 4] = [("p50", P50), ("p99", P99), ("p99.9", 0.999), ("max", 1.0)];

/// The reported percentiles of the baseline without a server ([`SyncEcho`]).
///
/// [`SyncEcho`]: super::machine::SyncEcho
const BASELINE_PERCENTILES: [(&str, f64); 2] = [("bare p50", P50), ("bare p99", P99)];

/// A histogram of latencies in nanoseconds.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    /// An empty histogram.
    ///
    /// # Errors
    /// There is not enough memory.
    pub(super) fn new() -> Result<Latencies, Error> {
        let histogram = Histogram::new(DIGITS);
        histogram.map(Latencies).map_err(|error| Error::Failed(error.to_string()))
    }

    /// Adds `count` events that took `time` each.
    pub(super) fn record(&mut self, time: Duration, count: u64) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Cannot fail: the histogram resizes itself to any value.
        let _ = self.0.record_n(nanoseconds.max(1), count);
    }

    /// The number of events.
    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency of this quantile, in seconds.
    pub(super) fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e9
    }
}

/// One figure per percentile, over all rounds.
pub(super) fn figures(rounds: &[Latencies], bound: Bound) -> Vec<Figure> {
    percentiles(rounds, &PERCENTILES, Some(bound))
}

/// As [`figures`], for the baseline without a server.
pub(super) fn baseline_figures(rounds: &[Latencies]) -> Vec<Figure> {
    percentiles(rounds, &BASELINE_PERCENTILES, None)
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

/// The time at which each record is due. The rate is constant, even if the server is slow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    begun: Instant,
    rate: u32,
}

impl Pace {
    /// Starts now: the first record is due immediately.
    pub(super) fn begin(rate: u32) -> Pace {
        Pace { begun: Instant::now(), rate }
    }

    /// When record `index` is due.
    pub(super) fn due(self, index: u64) -> Instant {
        let rate = u64::from(self.rate.max(1));
        let rest = Duration::from_nanos(index % rate * 1_000_000_000 / rate);
        self.begun + Duration::from_secs(index / rate) + rest
    }

    /// Sleeps until record `index` is due. Returns immediately if it is overdue.
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

    /// Makes sleeps of this thread as precise as the system allows.
    pub(super) fn use_precise_timers() {
        // If the system refuses, sleeps and therefore latencies are slightly longer.
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
    fn one_late_record_raises_the_high_percentiles() {
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
