//! [`Conditions`]: the machine, the server and the parameters of a run. Without them a
//! figure means nothing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use styx_engine::storage::probe::{self, Effort};

/// The head of every report.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) version: &'static str,
    pub(super) server: String,
    /// Whether the server was started for this run.
    pub(super) server_is_child: bool,
    /// The directory in which DISK and SYNC are measured.
    pub(super) directory: String,
    pub(super) filesystem: String,
    pub(super) kernel: String,
    pub(super) cores: usize,
    pub(super) memory_bytes: u64,
    /// For example 2026-01-31T12:00:00Z.
    pub(super) date: String,
    pub(super) rounds: usize,
    pub(super) seconds: Duration,
    pub(super) warm_up: Duration,
    pub(super) rate: u32,
    /// The run was brief: no figure counts.
    pub(super) quick: bool,
}

/// What the operating system reports about the machine.
#[derive(Debug)]
pub(super) struct System {
    pub(super) filesystem: String,
    pub(super) kernel: String,
    pub(super) cores: usize,
    pub(super) memory_bytes: u64,
    pub(super) date: String,
}

impl System {
    /// Reads all fields. A field that cannot be read is `unknown` or 0.
    pub(super) fn look(directory: &Path) -> System {
        let uname = rustix::system::uname();
        let kernel =
            format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy());
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        System {
            filesystem: filesystem(directory),
            kernel,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: total_bytes(&memory).unwrap_or(0),
            date: date(SystemTime::now()),
        }
    }
}

fn filesystem(directory: &Path) -> String {
    let Ok(report) = probe::inspect(directory, Effort::Quick) else { return "unknown".to_owned() };
    match report.mount {
        Some(mount) => format!("{} ({})", report.filesystem, mount.options.join(",")),
        None => report.filesystem,
    }
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The last second of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// A time in UTC, with a resolution of one second. A time before 1970 or after the year 9999 becomes
/// the nearest time between.
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    // `civil` counts year by year.
    let seconds = seconds.min(SECONDS_MAX);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day, from the number of days since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, days);
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in months {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_respect_leap_years() {
        let shown = |seconds| date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(shown(0), "1970-01-01T00:00:00Z");
        assert_eq!(shown(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(shown(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(shown(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(shown(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(shown(1 << 62), "9999-12-31T23:59:59Z");
        assert_eq!(date(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn total_memory_is_parsed_from_meminfo() {
        assert_eq!(total_bytes("MemTotal:       24 kB\nMemFree: 1 kB\n"), Some(24 * 1024));
        assert_eq!(total_bytes(""), None);
    }
}
