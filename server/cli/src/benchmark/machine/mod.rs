//! What the machine itself can do, measured in the same run as the workloads and
//! before and after each of them: every result is also told as a share of one of these.
//!
//! ```text
//! DISK  sequential writes of 4 MiB, each synced: the better of buffered and direct
//! SYNC  one write of 4 KiB onto written space, synced
//! LOOP  one TCP stream over loopback
//! TRIP  one byte over loopback and back
//! BARE  requests that a service answers that does nothing else: beside each result
//! bare  records that a thread syncs and answers: beside each result of paced
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
mod echo;
mod loopback;

use std::io;
use std::path::Path;
use std::time::Duration;

use super::statistics::Rounds;

pub(super) use bare::Bare;
pub(super) use echo::Echo;

/// Measurements of each limit, whose median counts.
pub(super) const MEASUREMENTS: usize = 5;

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Disk,
    Sync,
    Loop,
    Trip,
}

/// What was measured; a larger number is better for rates, a smaller for times.
#[derive(Debug, Clone, Copy, Default)]
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

/// How far a limit may move meanwhile, for a figure that counts.
pub(super) const DRIFT_MAX: f64 = 0.2;

impl Limits {
    /// Measures these again, once to warm up and then each [`MEASUREMENTS`] times, for
    /// about `time` each; the others stay. `directory` is one on the filesystem that
    /// the server's data is on.
    pub(super) fn again(
        mut self,
        which: &[Limit],
        directory: &Path,
        time: Duration,
    ) -> io::Result<Limits> {
        let turn = || which.iter().map(|limit| limit.take(directory, time)).collect();
        let _: Vec<[f64; 2]> = turn()?;
        let turns = (0..MEASUREMENTS).map(|_| turn());
        let turns = turns.collect::<io::Result<Vec<Vec<[f64; 2]>>>>()?;
        for (at, limit) in which.iter().enumerate() {
            let median = |way: usize| {
                let taken = turns.iter().filter_map(|turn| turn.get(at)?.get(way).copied());
                Rounds::of(taken.collect()).map_or(0.0, |rounds| rounds.median())
            };
            match limit {
                Limit::Disk => {
                    let (buffered, direct) = (median(0), median(1));
                    self.disk = buffered.max(direct);
                    self.disk_is_direct = direct > buffered;
                }
                Limit::Sync => self.sync = Duration::from_secs_f64(median(0)),
                Limit::Loop => self.loopback = median(0),
                Limit::Trip => self.round_trip = Duration::from_secs_f64(median(0)),
            }
        }
        Ok(self)
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

    /// One of them, in bytes a second or in seconds.
    pub(super) fn value(&self, limit: Limit) -> f64 {
        match limit {
            Limit::Disk => self.disk,
            Limit::Sync => self.sync.as_secs_f64(),
            Limit::Loop => self.loopback,
            Limit::Trip => self.round_trip.as_secs_f64(),
        }
    }

    /// The limit that moved most between two measurements, and by which share of
    /// the smaller value.
    pub(super) fn drift(&self, later: &Limits) -> (&'static str, f64) {
        let moved = Limit::ALL.map(|limit| {
            let (before, after) = (self.value(limit), later.value(limit));
            let least = before.min(after).max(f64::MIN_POSITIVE);
            (limit.name(), before.max(after) / least - 1.0)
        });
        moved.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(("", 0.0))
    }

    /// As [`Limits::drift`], if that is too far for what was measured in between to
    /// count.
    pub(super) fn moved_too_far(&self, later: &Limits) -> Option<(&'static str, f64)> {
        Some(self.drift(later)).filter(|(_, share)| *share > DRIFT_MAX)
    }
}

impl Limit {
    pub(super) const ALL: [Limit; 4] = [Limit::Disk, Limit::Sync, Limit::Loop, Limit::Trip];

    pub(super) fn name(self) -> &'static str {
        match self {
            Limit::Disk => "DISK",
            Limit::Sync => "SYNC",
            Limit::Loop => "LOOP",
            Limit::Trip => "TRIP",
        }
    }

    /// Measured once; of the disk both ways to write.
    fn take(self, directory: &Path, time: Duration) -> io::Result<[f64; 2]> {
        let one = |value| [value, 0.0];
        Ok(match self {
            Limit::Disk => [
                disk::sequential(directory, disk::Mode::Buffered, time)?,
                // Not every filesystem has it.
                disk::sequential(directory, disk::Mode::Direct, time).unwrap_or(0.0),
            ],
            Limit::Sync => one(disk::sync(directory, time)?.as_secs_f64()),
            Limit::Loop => one(loopback::bandwidth(time)?),
            Limit::Trip => one(loopback::round_trip(time)?.as_secs_f64()),
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
        assert!(limits.drift(&limits).1.abs() < 1e-9);
        let later = Limits { sync: micros(150), disk: 0.9e9, ..limits };
        let (name, share) = limits.drift(&later);
        assert_eq!(name, "SYNC");
        assert!((share - 0.5).abs() < 1e-9, "{share}");
    }

    #[test]
    fn every_limit_is_measured() {
        let directory = std::env::temp_dir();
        let limits = Limits::default().again(&Limit::ALL, &directory, Duration::from_millis(5));
        let limits = limits.expect("a disk and a loopback");
        assert!(limits.disk > 0.0 && limits.loopback > 0.0);
        assert!(limits.sync > Duration::ZERO && limits.round_trip > Duration::ZERO);
    }
    #[test]
    fn limits_that_are_not_measured_again_stay() {
        let limits = Limits { disk: 1e9, loopback: 1.0, ..Limits::default() };
        let directory = std::env::temp_dir();
        let later = limits.again(&[Limit::Loop], &directory, Duration::from_millis(5));
        let later = later.expect("a loopback");
        assert!(later.disk == 1e9 && later.loopback > 1.0, "{later:?}");
        assert_eq!(limits.drift(&later).0, "LOOP");
    }
}
