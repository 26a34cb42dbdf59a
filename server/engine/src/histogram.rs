//! [`Histogram`]: counts values in buckets, without a lock.
//!
//! ```text
//! value ─▶ bucket k: values up to lowest · 2^k ─▶ two atomic additions
//! values of a group ─▶ Tally ─▶ one addition for each bucket with new values, and one for the sum
//! ```
//!
//! Invariant: a value costs a few nanoseconds and no memory, so that the paths of appends and reads
//! can count each request.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of buckets with a bound. The last bucket has the values above the largest bound.
const BOUNDS: usize = 24;

/// A histogram whose bounds are a power of two and its doubles: 24 of them.
#[derive(Debug)]
pub struct Histogram {
    /// The lowest bound is 2 to the power of this.
    lowest_exponent: u32,
    counts: [AtomicU64; BOUNDS + 1],
    sum: AtomicU64,
}

/// The values of a [`Histogram`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Each bound, with the number of values up to it and above the bound before.
    pub buckets: Vec<(u64, u64)>,
    /// The number of values above the last bound.
    pub above: u64,
    /// The sum of all values.
    pub sum: u64,
}

/// Collects the values of a group, and adds them to the histogram when it is dropped.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    histogram: &'a Histogram,
    counts: [u32; BOUNDS + 1],
    sum: u64,
}

impl Histogram {
    /// An empty histogram for durations in µs: from 4 µs to 33.6 s.
    #[must_use]
    pub const fn of_micros() -> Histogram {
        Histogram::from(2)
    }

    /// An empty histogram for sizes in bytes: from 64 B to 512 MiB.
    #[must_use]
    pub const fn of_bytes() -> Histogram {
        Histogram::from(6)
    }

    const fn from(lowest_exponent: u32) -> Histogram {
        let counts = [const { AtomicU64::new(0) }; BOUNDS + 1];
        Histogram { lowest_exponent, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub fn add(&self, value: u64) {
        if let Some(count) = self.counts.get(self.bucket(value)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a group of values, when it is dropped.
    pub(crate) fn tally(&self) -> Tally<'_> {
        Tally { histogram: self, counts: [0; BOUNDS + 1], sum: 0 }
    }

    /// The sum of all values so far.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// The values so far. A value that is counted meanwhile may be in the sum alone.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let bounds = (self.lowest_exponent..).map(|exponent| 1 << exponent);
        HistogramSnapshot {
            buckets: bounds.zip(counts).take(BOUNDS).collect(),
            above: counts.last().copied().unwrap_or_default(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }

    /// The bucket of a value: the exponent of the next power of two, counted from the lowest.
    fn bucket(&self, value: u64) -> usize {
        let exponent = u64::BITS - value.saturating_sub(1).leading_zeros();
        (exponent.saturating_sub(self.lowest_exponent) as usize).min(BOUNDS)
    }
}

impl HistogramSnapshot {
    /// The number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum::<u64>() + self.above
    }
}

impl Tally<'_> {
    pub(crate) fn add(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(self.histogram.bucket(value)) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(value);
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        for (count, all) in self.counts.iter().zip(&self.histogram.counts) {
            if *count > 0 {
                all.fetch_add(u64::from(*count), Ordering::Relaxed);
            }
        }
        self.histogram.sum.fetch_add(self.sum, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    /// The bound of the bucket that the only value is in; `None` above all bounds.
    fn bound_of(histogram: &Histogram) -> Option<u64> {
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 1);
        snapshot.buckets.iter().find(|(_, count)| *count == 1).map(|(bound, _)| *bound)
    }

    #[test]
    fn a_value_is_in_the_bucket_with_the_next_larger_bound() {
        for (value, bound) in [
            (0, Some(4)),
            (1, Some(4)),
            (4, Some(4)),
            (5, Some(8)),
            (8, Some(8)),
            (9, Some(16)),
            (1000, Some(1024)),
            (1 << 25, Some(1 << 25)),
            ((1 << 25) + 1, None),
            (u64::MAX, None),
        ] {
            let histogram = Histogram::of_micros();
            histogram.add(value);
            assert_eq!(bound_of(&histogram), bound, "{value}");
            assert_eq!(histogram.snapshot().sum, value);
        }
        let histogram = Histogram::of_bytes();
        histogram.add(64);
        assert_eq!(bound_of(&histogram), Some(64));
    }

    #[test]
    fn a_tally_counts_the_same_as_single_values() {
        let (one_by_one, grouped) = (Histogram::of_micros(), Histogram::of_micros());
        let mut tally = grouped.tally();
        for value in (0..40).map(|exponent| (1 << exponent) + exponent) {
            one_by_one.add(value);
            tally.add(value);
        }
        assert_eq!(grouped.snapshot().count(), 0, "nothing is counted before the drop");
        drop(tally);
        assert_eq!(grouped.snapshot(), one_by_one.snapshot());
        assert_eq!(grouped.snapshot().count(), 40);
    }
}
