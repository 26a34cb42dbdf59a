//! Measures the speed of a directory's storage with a temporary file.
//!
//! Invariant: the file is removed even if a measurement fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Effort, PREFIX};
use crate::clock::{Clock, RealClock};
use crate::storage::{File, RealStorage, Storage, write_all_at};

const SYNC_BYTES: usize = 4096;
const BANDWIDTH_BYTES: u64 = 64 << 20;
const BANDWIDTH_TIME_MAX: Duration = Duration::from_secs(1);
const BANDWIDTH_STEP_BYTES: usize = 1 << 20;

/// The durations of several syncs, each including the write before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syncs {
    /// In ascending order; never empty.
    times: Vec<Duration>,
}

impl Syncs {
    pub(super) fn of(mut times: Vec<Duration>) -> Option<Syncs> {
        times.sort_unstable();
        (!times.is_empty()).then_some(Syncs { times })
    }

    /// Returns the number of measurements, which is at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// Returns the median duration.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.quantile(50)
    }

    /// Returns the 99th percentile, or the longest duration if there are fewer than 100.
    #[must_use]
    pub fn p99(&self) -> Duration {
        self.quantile(99)
    }

    fn quantile(&self, percent: usize) -> Duration {
        let rank = (self.times.len() * percent).div_ceil(100).max(1);
        self.times.get(rank - 1).copied().unwrap_or_default()
    }
}

/// Appends and syncs 4 KiB at a time, like a commit, until there are enough measurements or the
/// time is up.
///
/// # Errors
/// The directory cannot be written to, or is full.
pub(super) fn syncs(directory: &Path, effort: Effort) -> io::Result<Syncs> {
    let (count_max, time_max) = match effort {
        Effort::Quick => (30, Duration::from_millis(20)),
        Effort::Thorough => (300, Duration::from_secs(2)),
    };
    let probe = ProbeFile::create(directory)?;
    let begun = RealClock.monotonic();
    let mut times = Vec::with_capacity(count_max);
    let mut now = begun;
    while times.len() < count_max && now.saturating_sub(begun) < time_max {
        // Some file systems do not store blocks of zeros.
        let block = [0xa5 ^ times.len() as u8; SYNC_BYTES];
        let before = RealClock.monotonic();
        probe.append(&block, (times.len() * SYNC_BYTES) as u64)?;
        probe.file.sync()?;
        now = RealClock.monotonic();
        times.push(now.saturating_sub(before));
    }
    Syncs::of(times).ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// Measures sequential writes with one sync at the end, in bytes per second. Writes at most 64 MiB,
/// for about 1 s, and blocks the calling thread.
///
/// # Errors
/// The directory cannot be written to, or is full.
pub fn bandwidth(directory: &Path) -> io::Result<f64> {
    let probe = ProbeFile::create(directory)?;
    let chunk: Vec<u8> = (0..BANDWIDTH_STEP_BYTES).map(|byte| (byte % 251) as u8).collect();
    let begun = RealClock.monotonic();
    let mut written = 0;
    while written < BANDWIDTH_BYTES
        && RealClock.monotonic().saturating_sub(begun) < BANDWIDTH_TIME_MAX
    {
        probe.append(&chunk, written)?;
        written += chunk.len() as u64;
    }
    probe.file.sync()?;
    let took = RealClock.monotonic().saturating_sub(begun).max(Duration::from_nanos(1));
    Ok(written as f64 / took.as_secs_f64())
}

/// A file that is removed when it is dropped.
struct ProbeFile {
    file: Arc<dyn File>,
    path: PathBuf,
}

impl ProbeFile {
    fn create(directory: &Path) -> io::Result<ProbeFile> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), RealClock.wall_us());
        let path = directory.join(name);
        Ok(ProbeFile { file: RealStorage.create(&path)?, path })
    }

    fn append(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_all_at(&*self.file, bytes, offset).map_err(|(error, _)| error)
    }
}

impl Drop for ProbeFile {
    fn drop(&mut self) {
        // This may fail, because a server that started in the meantime may have removed the file.
        let _ = RealStorage.remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_times() {
        let of = |count: u64| {
            let times = (1..=count).rev().map(Duration::from_micros).collect();
            let syncs = Syncs::of(times).expect("at least one duration");
            (syncs.median().as_micros(), syncs.p99().as_micros())
        };
        assert_eq!(of(1), (1, 1));
        assert_eq!(of(2), (1, 2));
        assert_eq!(of(30), (15, 30));
        assert_eq!(of(300), (150, 297));
        assert_eq!(Syncs::of(Vec::new()), None);
    }

    #[test]
    fn bandwidth_is_measured_and_leaves_no_files() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(bandwidth(directory.path()).expect("a writable directory") > 0.0);
        assert_eq!(RealStorage.list(directory.path()).expect("a list"), []);
    }
}
