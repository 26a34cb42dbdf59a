//! [`Backoff`]: how long to wait before the next attempt.
//!
//! Exponential, with jitter: each wait is drawn from the upper half of a span
//! that doubles from [`FIRST`] to [`LONGEST`], so that clients of a server that
//! comes back do not all come at once. Pure: the seed decides everything.

use std::time::Duration;

/// The first span.
pub(crate) const FIRST: Duration = Duration::from_millis(20);
/// The longest span.
pub(crate) const LONGEST: Duration = Duration::from_secs(1);

/// Waits between attempts that fail one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    span: Duration,
    random: u64,
}

impl Backoff {
    /// A row of waits that this seed decides.
    pub(crate) fn new(seed: u64) -> Backoff {
        Backoff { span: FIRST, random: seed }
    }

    /// A row of waits unlike any other client's.
    pub(crate) fn random() -> Backoff {
        // Without randomness from the system the jitter is merely the same.
        Backoff::new(getrandom::u64().unwrap_or(0x9E37_79B9))
    }

    /// The next wait, at least what the server asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let half = self.span / 2;
        let wait = half + half.mul_f64(self.fraction());
        self.span = (self.span * 2).min(LONGEST);
        match asked {
            // Everybody was asked the same: the jitter comes on top.
            Some(asked) => asked + wait / 2,
            None => wait,
        }
    }

    /// An attempt worked: the next row begins with a short wait.
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
    fn waits_grow_within_their_spans_and_end_growing() {
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
    fn seeds_differ_and_repeat() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed);
            std::array::from_fn::<_, 8, _>(|_| backoff.next(None))
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn the_server_is_not_asked_before_the_time_it_named() {
        let asked = Duration::from_secs(5);
        let wait = Backoff::new(1).next(Some(asked));
        assert!(wait > asked && wait < asked + FIRST);
    }
}
