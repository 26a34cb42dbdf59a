//! [`Bucket`]: a token bucket that holds the tokens of one second.
//!
//! ```text
//! take: one token or more is there ─▶ the whole price is taken, and the bucket may be in debt
//!       else                       ─▶ how long to wait
//! ```
//!
//! A price may be larger than the bucket, because the size of a record is unknown before it
//! has arrived. So a large price makes the next wait longer. Invariant: over any time t,
//! the prices of all but the last taker are at most `rate * (t + 1 s)`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time in which an empty bucket becomes full, in nanoseconds.
const FULL_AFTER: u64 = 1_000_000_000;

/// See the module. Times are nanoseconds since the start of the server.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Tokens a second; 0 for no limit.
    rate: AtomicU64,
    /// When the bucket is full. The later, the less is in it.
    full_at: AtomicU64,
}

impl Bucket {
    pub(super) fn set_rate(&self, rate: u64) {
        if self.rate.swap(rate, Ordering::Relaxed) != rate {
            // A debt was counted at the old rate.
            self.full_at.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate.load(Ordering::Relaxed)
    }

    /// How long to wait until a token is there; `None` if one is there now.
    pub(super) fn delay(&self, now: u64) -> Option<Duration> {
        let rate = self.rate();
        if rate == 0 {
            return None;
        }
        let missing = self.full_at.load(Ordering::Relaxed).saturating_sub(now);
        let wait = missing.saturating_add(time_of(1, rate)).saturating_sub(FULL_AFTER);
        (wait > 0).then(|| Duration::from_nanos(wait))
    }

    /// Takes this many tokens, even if they are not there.
    pub(super) fn charge(&self, now: u64, tokens: u64) {
        let rate = self.rate();
        if rate == 0 || tokens == 0 {
            return;
        }
        let time = time_of(tokens, rate);
        let later = |full_at: u64| Some(full_at.max(now).saturating_add(time));
        // It never fails, because the closure always returns a value.
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Whether it is as it was when it was new.
    pub(super) fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now
    }
}

/// The time in which this many tokens flow in.
fn time_of(tokens: u64, rate: u64) -> u64 {
    let nanoseconds = u128::from(tokens) * u128::from(FULL_AFTER) / u128::from(rate.max(1));
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = FULL_AFTER;

    fn bucket(rate: u64) -> Bucket {
        let bucket = Bucket::default();
        bucket.set_rate(rate);
        bucket
    }

    #[test]
    fn burst_of_one_second_is_followed_by_the_steady_rate() {
        let bucket = bucket(10);
        let mut now = 5 * SECOND;
        let mut taken = 0;
        while bucket.delay(now).is_none() {
            bucket.charge(now, 1);
            taken += 1;
        }
        assert_eq!(taken, 10);
        for _ in 0..100 {
            let wait = bucket.delay(now).expect("it is empty").as_nanos() as u64;
            assert_eq!(wait, SECOND / 10);
            now += wait;
            assert_eq!(bucket.delay(now), None);
            bucket.charge(now, 1);
        }
        assert!(!bucket.is_full(now) && bucket.is_full(now + SECOND));
        assert_eq!(bucket.delay(now + 60 * SECOND), None, "nothing is saved beyond a second");
        for _ in 0..10 {
            bucket.charge(now + 60 * SECOND, 1);
        }
        assert!(bucket.delay(now + 60 * SECOND).is_some());
    }

    #[test]
    fn price_beyond_the_bucket_is_paid_afterwards() {
        let bucket = bucket(1000);
        assert_eq!(bucket.delay(0), None);
        bucket.charge(0, 10_000);
        let wait = bucket.delay(0).expect("it is in debt");
        assert_eq!(wait, Duration::from_nanos(9 * SECOND + SECOND / 1000));
        assert_eq!(bucket.delay(9 * SECOND + SECOND / 1000), None);
    }

    #[test]
    fn no_rate_is_no_limit_and_a_new_rate_forgets_the_debt() {
        let bucket = bucket(0);
        bucket.charge(0, u64::MAX);
        assert_eq!(bucket.delay(0), None);
        assert!(bucket.is_full(0));
        bucket.set_rate(1);
        bucket.charge(0, u64::MAX);
        assert!(bucket.delay(0).is_some());
        bucket.set_rate(2);
        assert_eq!(bucket.delay(0), None);
    }
}
