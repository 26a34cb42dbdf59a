//! [`Pace`]: whether a message that is still coming comes fast enough to keep
//! memory that others wait for.

use std::time::Duration;

use tokio::time::Instant;

/// How long is looked at.
const SPAN: Duration = Duration::from_secs(1);
/// What has to come in it.
const BYTES_MIN: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    bytes: usize,
    is_slow: bool,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { since: Instant::now(), bytes: 0, is_slow: false }
    }

    /// So much came.
    pub(super) fn note(&mut self, bytes: usize) {
        self.look();
        self.bytes += bytes;
    }

    /// What the last whole span says.
    pub(super) fn is_slow(&mut self) -> bool {
        self.look();
        self.is_slow
    }

    /// When that is to be asked again.
    pub(super) fn look_again_at(&self) -> Instant {
        self.since + SPAN
    }

    fn look(&mut self) {
        let now = Instant::now();
        let spans = now.duration_since(self.since).as_secs();
        if spans > 0 {
            // Nothing came in those behind the first.
            self.is_slow = spans > 1 || self.bytes < BYTES_MIN;
            *self = Pace { since: now, bytes: 0, is_slow: self.is_slow };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_second_decides() {
        let mut pace = Pace::new();
        for (came, expected) in [(BYTES_MIN, false), (BYTES_MIN - 1, true), (BYTES_MIN, false)] {
            pace.note(came);
            tokio::time::sleep_until(pace.look_again_at()).await;
            assert_eq!(pace.is_slow(), expected, "{came}");
        }
        tokio::time::advance(3 * SPAN).await;
        pace.note(1 << 20);
        assert!(pace.is_slow(), "nothing came for a while");
    }
}
