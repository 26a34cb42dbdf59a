//! [`Backoff`]: how long to wait before the next attempt.
//!
//! Exponential back-off with jitter: each wait is a random time from the upper half of a
//! span that doubles from [`FIRST`] to [`LONGEST`]. So the clients of a restarted server
//! do not all reconnect at once. The waits only depend on the seed.

use std::time::Duration;

/// The first span.
pub(crate) const FIRST: Duration = Duration::from_millis(20);
/// The longest span.
pub(crate) const LONGEST: Duration = Duration::from_secs(1);

/// The waits between attempts that fail one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    span: Duration,
    random: u64,
}

impl Backoff {
    /// The waits that this seed determines.
    pub(crate) fn new(seed: u64) -> Backoff {
        Backoff { span: FIRST, random: seed }
    }

    /// Waits with a random seed.
    pub(crate) fn random() -> Backoff {
        // Without random numbers from the system, only the jitter is the same everywhere.
        Backoff::new(getrandom::u64().unwrap_or(0x9E37_79B9))
    }

    /// The next wait, at least as long as the server requested.
    pub(crate) fn next(&mut self, requested: Option<Duration>) -> Duration {
        let half = self.span / 2;
        let wait = half + half.mul_f64(self.fraction());
        self.span = (self.span * 2).min(LONGEST);
        match requested {
            // Every client got the same request, so the jitter is added to it.
            Some(requested) => requested + wait / 2,
            None => wait,
        }
    }

    /// An attempt succeeded: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.span = FIRST;
    }

    /// The next number of splitmix64, as a fraction of 1.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_span() {
        let mut backoff = Backoff::new(7);
        let mut span = FIRST;
        for _ in 0..20 {
            let wait = backoff.next(None);
            assert!(wait >= span / 2 && wait <= span, "{wait:?} in {span:?}");
            span = (span * 2).min(LONGEST);
        }
        assert_eq!(span, LONGEST);
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }

    #[test]
    fn waits_depend_on_the_seed_only() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            std::array::from_fn::<_, 8, _>(|_| backoff.next(None))
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn wait_is_at_least_the_requested_time() {
        let requested = Duration::from_secs(5);
        let wait = Backoff::new(1).next(Some(requested));
        assert!(wait > requested && wait < requested + FIRST);
    }
}
