//! [`Pace`]: whether bytes move fast enough, in the time for which a peer is
//! waited for. What the server itself takes is nobody's slowness and not counted.
//!
//! It is judged anew in each span of that time, so that nobody earns a right to
//! drip by being fast first.

use std::time::Duration;

/// The least that has to move, and what has moved lately.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    bytes_per_second_min: u64,
    span: Duration,
    /// In the span under way.
    bytes: u64,
    waited: Duration,
}

/// What a span says that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Enough,
    TooSlow,
}

impl Pace {
    /// `bytes_per_second_min` on average over each `span`.
    pub(crate) fn new(bytes_per_second_min: u64, span: Duration) -> Pace {
        Pace { bytes_per_second_min, span, bytes: 0, waited: Duration::ZERO }
    }

    pub(crate) fn bytes_per_second_min(&self) -> u64 {
        self.bytes_per_second_min
    }

    /// What is left of the span under way.
    pub(crate) fn left(&self) -> Duration {
        self.span.saturating_sub(self.waited)
    }

    /// Takes note of what moved and how long that was waited for. A verdict comes at
    /// the end of a span, and the next one begins.
    pub(crate) fn note(&mut self, bytes: u64, waited: Duration) -> Option<Verdict> {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < self.span {
            return None;
        }
        let least = self.waited.as_millis() * u128::from(self.bytes_per_second_min) / 1000;
        let verdict =
            if u128::from(self.bytes) < least { Verdict::TooSlow } else { Verdict::Enough };
        *self = Pace::new(self.bytes_per_second_min, self.span);
        Some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_span_is_judged_by_itself() {
        let mut pace = Pace::new(8, 2 * SECOND);
        assert_eq!(pace.note(1_000_000, SECOND), None, "it is not over");
        assert_eq!(pace.left(), SECOND);
        assert_eq!(pace.note(0, SECOND), Some(Verdict::Enough));
        assert_eq!(pace.note(15, 2 * SECOND), Some(Verdict::TooSlow), "the first helps no more");
        assert_eq!(pace.note(16, 2 * SECOND), Some(Verdict::Enough));
        assert_eq!(pace.note(31, 4 * SECOND), Some(Verdict::TooSlow), "a long wait counts whole");
    }

    #[test]
    fn what_nobody_waited_for_is_fast_however_little_it_is() {
        let mut pace = Pace::new(u64::MAX, SECOND);
        assert_eq!(pace.note(1, Duration::ZERO), None);
        assert_eq!(pace.left(), SECOND);
    }
}
