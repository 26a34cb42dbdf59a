//! What the machine itself can do, measured in the same run as the workloads and
//! before and after them: every result is also told as a share of one of these.
//!
//! ```text
//! DISK  sequential writes of 4 MiB, each synced: the better of buffered and direct
//! SYNC  one write of 4 KiB onto written space, synced
//! LOOP  one TCP stream over loopback
//! TRIP  one byte over loopback and back
//! BARE  requests that a service answers that does nothing else: beside each result
//! ```
//! Each of the first four is the median of short measurements that take turns, so
//! that what disturbs the machine for a moment disturbs few of any limit's.
//!
//! ```text
//! warm-up  DISK DISK SYNC LOOP TRIP     counts for nothing
//! 1 … 5    DISK DISK SYNC LOOP TRIP     the middle one of each column
//! ```

mod bare;
mod disk;
mod loopback;

use std::io;
use std::path::Path;
use std::time::Duration;

use super::statistics::Rounds;

pub(super) use bare::Bare;

/// Measurements of each limit, whose median counts.
pub(super) const MEASUREMENTS: usize = 5;

/// What was measured; a larger number is better for rates, a smaller for times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes a second.
    pub(super) disk: f64,
    /// Whether the better of the two was direct.
    pub(super) disk_is_direct: bool,
    pub(super) sync: Duration,
    /// Bytes a second.
    pub(super) loopback: f64,
    pub(super) round_trip: Duration,
}

/// How far limits may move during a run that counts.
pub(super) const DRIFT_MAX: f64 = 0.2;

impl Limits {
    /// Measures, once to warm up and then each limit [`MEASUREMENTS`] times, for
    /// about `time` each. `directory` is one on the filesystem that the server's
    /// data is on.
    pub(super) fn measure(directory: &Path, time: Duration) -> io::Result<Limits> {
        Turn::take(directory, time)?;
        let turns = (0..MEASUREMENTS).map(|_| Turn::take(directory, time));
        let turns = turns.collect::<io::Result<Vec<_>>>()?;
        let median = |of: fn(&Turn) -> f64| {
            Rounds::of(turns.iter().map(of).collect()).map_or(0.0, |rounds| rounds.median())
        };
        let (buffered, direct) = (median(|turn| turn.buffered), median(|turn| turn.direct));
        Ok(Limits {
            disk: buffered.max(direct),
            disk_is_direct: direct > buffered,
            sync: Duration::from_secs_f64(median(|turn| turn.sync.as_secs_f64())),
            loopback: median(|turn| turn.loopback),
            round_trip: Duration::from_secs_f64(median(|turn| turn.round_trip.as_secs_f64())),
        })
    }

    /// The two measurements taken together.
    pub(super) fn middle(self, other: Limits) -> Limits {
        Limits {
            disk: (self.disk + other.disk) / 2.0,
            disk_is_direct: self.disk_is_direct,
            sync: (self.sync + other.sync) / 2,
            loopback: (self.loopback + other.loopback) / 2.0,
            round_trip: (self.round_trip + other.round_trip) / 2,
        }
    }

    /// The limit that moved most between two measurements, and by which share of
    /// the smaller value.
    pub(super) fn drift(self, later: Limits) -> (&'static str, f64) {
        let seconds = Duration::as_secs_f64;
        let moves = [
            ("DISK", self.disk, later.disk),
            ("SYNC", seconds(&self.sync), seconds(&later.sync)),
            ("LOOP", self.loopback, later.loopback),
            ("TRIP", seconds(&self.round_trip), seconds(&later.round_trip)),
        ];
        let share = |(name, before, after): (_, f64, f64)| {
            (name, before.max(after) / before.min(after).max(f64::MIN_POSITIVE) - 1.0)
        };
        moves.map(share).into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(("", 0.0))
    }
}

/// Each limit, measured once; of the disk both ways to write.
struct Turn {
    buffered: f64,
    direct: f64,
    sync: Duration,
    loopback: f64,
    round_trip: Duration,
}

impl Turn {
    fn take(directory: &Path, time: Duration) -> io::Result<Turn> {
        Ok(Turn {
            buffered: disk::sequential(directory, disk::Mode::Buffered, time)?,
            // Not every filesystem has it.
            direct: disk::sequential(directory, disk::Mode::Direct, time).unwrap_or(0.0),
            sync: disk::sync(directory, time)?,
            loopback: loopback::bandwidth(time)?,
            round_trip: loopback::round_trip(time)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_moved_most_is_named() {
        let micros = Duration::from_micros;
        let limits = Limits {
            disk: 1e9,
            disk_is_direct: true,
            sync: micros(100),
            loopback: 3e9,
            round_trip: micros(20),
        };
        assert!(limits.drift(limits).1.abs() < 1e-9);
        let later = Limits { sync: micros(150), disk: 0.9e9, ..limits };
        let (name, share) = limits.drift(later);
        assert_eq!(name, "SYNC");
        assert!((share - 0.5).abs() < 1e-9, "{share}");
    }

    #[test]
    fn every_limit_is_measured() {
        let directory = std::env::temp_dir();
        let limits =
            Limits::measure(&directory, Duration::from_millis(5)).expect("a disk and a loopback");
        assert!(limits.disk > 0.0 && limits.loopback > 0.0);
        assert!(limits.sync > Duration::ZERO && limits.round_trip > Duration::ZERO);
    }
}
