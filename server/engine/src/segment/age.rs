//! [`SegmentAge`]: what is known of the time at which a segment's newest record was appended.
//!
//! ```text
//! appended since the log was opened   the monotonic time of the commit
//! otherwise                           its timestamp, if that can be true
//!   otherwise                         the modification time of the file, if that can be true
//!     otherwise                       the time since the log was opened
//! ```
//!
//! A timestamp can be wrong by years, because the wall clock was wrong when it was written. A wrong
//! time must neither keep a segment for years nor remove it too early. Invariant: what cannot be
//! known makes a segment younger, never older.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sealed::Sealed;
use crate::clock::{JUMP_US_MIN, PLAUSIBLE_US_MIN, StampClock, SteadyTime};
use crate::log::micros;
use crate::storage::Storage;

/// The current time, as the clocks of a catalog know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) monotonic_us: u64,
    pub(crate) steady_us: u64,
    /// The time of new records.
    pub(crate) stamp_us: u64,
    pub(crate) wall_us: u64,
}

impl Now {
    pub(crate) fn read(time: &SteadyTime, stamps: &StampClock) -> Now {
        let monotonic = time.monotonic();
        Now {
            monotonic_us: micros(monotonic),
            steady_us: time.at_us(monotonic),
            stamp_us: stamps.now_us(),
            wall_us: time.wall_us(),
        }
    }

    /// Returns the age of a timestamp in µs. Returns `None` if the timestamp cannot be true: it is
    /// in the future, or older than Styx.
    pub(crate) fn age_us(&self, timestamp_us: u64) -> Option<u64> {
        if timestamp_us < PLAUSIBLE_US_MIN {
            return None;
        }
        // A wall clock that is ahead for a moment must not make records look old. The steady clock
        // is behind if the wall clock was behind when the catalog was opened.
        let clocks = [self.steady_us, self.stamp_us].map(|us| us.min(self.wall_us));
        let now_us = clocks.into_iter().find(|now_us| timestamp_us <= now_us + JUMP_US_MIN)?;
        Some(now_us.saturating_sub(timestamp_us))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SegmentAge {
    /// The monotonic time of the last commit of records plus 1, in µs; 0 if there was none since
    /// the log was opened.
    committed_at_us: AtomicU64,
    /// The monotonic time at which the log was opened, in µs.
    opened_at_us: AtomicU64,
    /// The modification time of the file, once it was needed.
    modified_us: OnceLock<Option<u64>>,
}

impl SegmentAge {
    /// Notes that the log was opened.
    pub(super) fn opened(&self, monotonic_us: u64) {
        self.opened_at_us.store(monotonic_us, Ordering::Relaxed);
    }

    /// Notes a commit of records.
    pub(super) fn committed(&self, monotonic_us: u64) {
        self.committed_at_us.store(monotonic_us.saturating_add(1), Ordering::Relaxed);
    }

    /// Returns the age of the newest record of a sealed segment in µs. May examine its file once.
    pub(super) fn at(&self, now: &Now, sealed: &Sealed, file: (&dyn Storage, &Path)) -> u64 {
        if let Some(at_us) = self.committed_at_us.load(Ordering::Relaxed).checked_sub(1) {
            return now.monotonic_us.saturating_sub(at_us);
        }
        if let Some(age_us) = now.age_us(sealed.last_timestamp_us) {
            return age_us;
        }
        let (storage, path) = file;
        let modified_us = self.modified_us.get_or_init(|| storage.modified_us(path).ok().flatten());
        if let Some(age_us) = modified_us.and_then(|modified_us| now.age_us(modified_us)) {
            return age_us;
        }
        now.monotonic_us.saturating_sub(self.opened_at_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: u64 = 365 * 86_400_000_000;
    const TODAY: u64 = PLAUSIBLE_US_MIN + 6 * YEAR;

    #[test]
    fn the_age_of_a_timestamp_survives_a_clock_that_is_wrong() {
        let right = Now { monotonic_us: 0, steady_us: TODAY, stamp_us: TODAY, wall_us: TODAY };
        let hour = 3_600_000_000;
        for (now, timestamp_us, expected) in [
            (right, TODAY - hour, Some(hour)),
            (right, TODAY + 1, Some(0)),
            (right, TODAY + YEAR, None),
            (right, PLAUSIBLE_US_MIN - 1, None),
            (right, 0, None),
            (right, u64::MAX, None),
            // Ahead for a moment, and for more than 10 minutes.
            (Now { wall_us: TODAY + YEAR, ..right }, TODAY - hour, Some(hour)),
            (
                Now { wall_us: TODAY + YEAR, stamp_us: TODAY + YEAR, ..right },
                TODAY - hour,
                Some(hour),
            ),
            // Ahead when the catalog was opened.
            (Now { steady_us: TODAY + YEAR, ..right }, TODAY - hour, Some(hour)),
            // Behind for a moment, and when the catalog was opened.
            (Now { wall_us: 0, ..right }, TODAY - hour, None),
            (Now { steady_us: 0, ..right }, TODAY - hour, Some(hour)),
            (Now { steady_us: 0, stamp_us: 0, ..right }, TODAY - hour, None),
        ] {
            assert_eq!(now.age_us(timestamp_us), expected, "{now:?}, {timestamp_us}");
        }
    }
}
