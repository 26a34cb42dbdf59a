//! The limits of the machine. They are measured in the same run as the workloads, before
//! and after each. The report shows every figure as a share or multiple of one of them.
//!
//! ```text
//! DISK  sequential writes of 4 MiB, each synced: the faster of buffered and direct
//! READ  sequential reads of a file that is not in the page cache: the fastest way
//! SYNC  one write of 4 KiB to space that was written before, and its sync
//! LOOP  one TCP stream over loopback
//! TRIP  round trip of one byte over loopback
//! BARE  requests that a minimal HTTP service answers: measured before each round
//! bare  records that a thread syncs and answers: measured before each round of paced
//! ```
//! Each of the first five is the median of short measurements. The measurements are
//! interleaved, so a brief disturbance affects at most one or two samples of each limit.
//!
//! ```text
//! warm-up  DISK DISK READ… SYNC LOOP TRIP     is discarded
//! 1 … 5    DISK DISK READ… SYNC LOOP TRIP     the median of each column
//! ```

mod disk;
mod http_baseline;
mod loopback;
mod read;
mod sync_echo;

use std::io;
use std::path::Path;
use std::time::Duration;

use super::statistics::Rounds;
use read::ReadProbe;

pub(super) use http_baseline::HttpBaseline;
pub(super) use sync_echo::SyncEcho;

/// Measurements of each limit. Their median is the limit.
pub(super) const MEASUREMENTS: usize = 5;

/// One limit of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Disk,
    Read,
    Sync,
    Loop,
    Trip,
}

/// The measured limits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    /// Bytes per second.
    pub(super) disk: f64,
    /// Whether direct writes were faster than buffered writes.
    pub(super) disk_is_direct: bool,
    /// Bytes per second.
    pub(super) read: f64,
    /// How the disk was read fastest.
    pub(super) read_way: &'static str,
    pub(super) sync: Duration,
    /// Bytes per second.
    pub(super) loopback: f64,
    pub(super) round_trip: Duration,
}

/// The values of one measurement of one limit; the unused ones are 0.
type Sample = [f64; read::WAYS.len()];

/// The largest change of a limit with which a figure counts, as a share of the smaller
/// value.
pub(super) const CHANGE_MAX: f64 = 0.2;

impl Limits {
    /// Measures the limits in `which`, and keeps the others. Each is measured once to
    /// warm up and then [`MEASUREMENTS`] times, for about `time` each. `directory` is on
    /// the same file system as the server's data.
    ///
    /// # Errors
    /// A limit cannot be measured.
    pub(super) fn measure(
        mut self,
        which: &[Limit],
        directory: &Path,
        time: Duration,
    ) -> io::Result<Limits> {
        let file = which.contains(&Limit::Read).then(|| ReadProbe::new(directory, time));
        let file = file.transpose()?;
        let sample = |limit: &Limit| limit.sample(directory, file.as_ref(), time);
        let measure_all = || which.iter().map(sample).collect();
        let _warm_up: Vec<Sample> = measure_all()?;
        let samples = (0..MEASUREMENTS).map(|_| measure_all());
        let samples = samples.collect::<io::Result<Vec<Vec<Sample>>>>()?;
        for (at, limit) in which.iter().enumerate() {
            let median = |column: usize| {
                let values = samples.iter().filter_map(|row| row.get(at)?.get(column).copied());
                Rounds::of(values.collect()).map_or(0.0, |rounds| rounds.median())
            };
            match limit {
                Limit::Disk => {
                    let (buffered, direct) = (median(0), median(1));
                    self.disk = buffered.max(direct);
                    self.disk_is_direct = direct > buffered;
                }
                Limit::Read => {
                    let ways = read::WAYS.iter().enumerate();
                    let rates = ways.map(|(column, way)| (median(column), *way));
                    if let Some(fastest) = rates.max_by(|a, b| a.0.total_cmp(&b.0)) {
                        (self.read, self.read_way) = fastest;
                    }
                }
                Limit::Sync => self.sync = Duration::from_secs_f64(median(0)),
                Limit::Loop => self.loopback = median(0),
                Limit::Trip => self.round_trip = Duration::from_secs_f64(median(0)),
            }
        }
        Ok(self)
    }

    /// The mean of two measurements.
    pub(super) fn mean(self, other: Limits) -> Limits {
        Limits {
            disk: (self.disk + other.disk) / 2.0,
            disk_is_direct: self.disk_is_direct,
            read: (self.read + other.read) / 2.0,
            read_way: self.read_way,
            sync: (self.sync + other.sync) / 2,
            loopback: (self.loopback + other.loopback) / 2.0,
            round_trip: (self.round_trip + other.round_trip) / 2,
        }
    }

    /// The value of one limit, in bytes per second or in seconds.
    pub(super) fn value(&self, limit: Limit) -> f64 {
        match limit {
            Limit::Disk => self.disk,
            Limit::Read => self.read,
            Limit::Sync => self.sync.as_secs_f64(),
            Limit::Loop => self.loopback,
            Limit::Trip => self.round_trip.as_secs_f64(),
        }
    }

    /// The limit of `which` that changed most between two measurements, and the change as a
    /// share of the smaller value. `None` if `which` is empty.
    pub(super) fn largest_change(
        &self,
        later: &Limits,
        which: &[Limit],
    ) -> Option<(&'static str, f64)> {
        let changes = which.iter().map(|limit| {
            let (before, after) = (self.value(*limit), later.value(*limit));
            let least = before.min(after).max(f64::MIN_POSITIVE);
            (limit.name(), before.max(after) / least - 1.0)
        });
        changes.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// [`Limits::largest_change`], if it is above [`CHANGE_MAX`]: then figures that were
    /// measured in between and are compared with a limit of `which` do not count.
    pub(super) fn changed_too_much(
        &self,
        later: &Limits,
        which: &[Limit],
    ) -> Option<(&'static str, f64)> {
        self.largest_change(later, which).filter(|(_, share)| *share > CHANGE_MAX)
    }
}

impl Limit {
    pub(super) const ALL: [Limit; 5] =
        [Limit::Disk, Limit::Read, Limit::Sync, Limit::Loop, Limit::Trip];

    pub(super) fn name(self) -> &'static str {
        match self {
            Limit::Disk => "DISK",
            Limit::Read => "READ",
            Limit::Sync => "SYNC",
            Limit::Loop => "LOOP",
            Limit::Trip => "TRIP",
        }
    }

    /// One measurement, of the given file for READ. DISK has two values, buffered and
    /// direct, and READ has one for each way.
    fn sample(
        self,
        directory: &Path,
        file: Option<&ReadProbe>,
        time: Duration,
    ) -> io::Result<Sample> {
        let one = |value| [value, 0.0, 0.0, 0.0];
        Ok(match self {
            Limit::Disk => [
                disk::sequential(directory, disk::WriteMode::Buffered, time)?,
                // Not every file system supports direct writes.
                disk::sequential(directory, disk::WriteMode::Direct, time).unwrap_or(0.0),
                0.0,
                0.0,
            ],
            Limit::Read => file.map_or(Ok(one(0.0)), ReadProbe::sample)?,
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
    fn largest_change_names_the_limit_and_its_share() {
        let micros = Duration::from_micros;
        let limits = Limits {
            disk: 1e9,
            disk_is_direct: true,
            read: 2e9,
            read_way: read::WAYS[0],
            sync: micros(100),
            loopback: 3e9,
            round_trip: micros(20),
        };
        let largest = |later, which: &[Limit]| {
            let (name, share) = limits.largest_change(later, which)?;
            Some((name, (share * 100.0).round()))
        };
        assert!(largest(&limits, &Limit::ALL).is_some_and(|(_, percent)| percent == 0.0));
        let later = Limits { sync: micros(150), disk: 0.8e9, ..limits };
        assert_eq!(largest(&later, &Limit::ALL), Some(("SYNC", 50.0)));
        assert_eq!(largest(&later, &[Limit::Disk, Limit::Loop]), Some(("DISK", 25.0)));
        assert_eq!(largest(&later, &[]), None);
        assert_eq!(limits.changed_too_much(&later, &[Limit::Read, Limit::Trip]), None);
        assert_eq!(
            limits.changed_too_much(&later, &Limit::ALL).map(|(name, _)| name),
            Some("SYNC")
        );
    }

    #[test]
    fn every_limit_can_be_measured() {
        let directory = std::env::temp_dir();
        let limits = Limits::default().measure(&Limit::ALL, &directory, Duration::from_millis(5));
        let limits = limits.expect("a disk and a loopback");
        assert!(limits.disk > 0.0 && limits.read > 0.0 && limits.loopback > 0.0);
        assert!(read::WAYS.contains(&limits.read_way));
        assert!(limits.sync > Duration::ZERO && limits.round_trip > Duration::ZERO);
    }

    #[test]
    fn limits_that_are_not_measured_keep_their_value() {
        let limits = Limits { disk: 1e9, loopback: 1.0, ..Limits::default() };
        let directory = std::env::temp_dir();
        let later = limits.measure(&[Limit::Loop], &directory, Duration::from_millis(5));
        let later = later.expect("a loopback");
        assert!(later.disk == 1e9 && later.loopback > 1.0, "{later:?}");
        let largest = limits.largest_change(&later, &Limit::ALL);
        assert_eq!(largest.map(|(name, _)| name), Some("LOOP"));
    }
}
