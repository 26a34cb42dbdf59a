//! [`Meter`]: rates from the counters of consecutive samples.
//!
//! The counters begin at 0 when the server starts, and those of a log when it is created or
//! truncated. Invariant: a rate is never negative. A counter that became smaller, or a server that
//! was restarted, gives no rate for one interval.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;

use super::sample::{LogSample, Sample};

/// The number of rates that are remembered for a sparkline.
pub(super) const HISTORY: usize = 60;

/// Amounts per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    #[serde(rename = "appended_records_per_second")]
    pub(super) appended: f64,
    #[serde(rename = "written_bytes_per_second")]
    pub(super) written_bytes: f64,
    #[serde(rename = "read_records_per_second")]
    pub(super) read: f64,
    #[serde(rename = "read_bytes_per_second")]
    pub(super) read_bytes: f64,
}

/// Rates of the past, the oldest first.
pub(super) type History = VecDeque<f32>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Meter {
    uptime_us: Option<u64>,
    logs: HashMap<String, Track>,
    total: Rates,
    pub(super) appended: History,
    pub(super) read: History,
}

#[derive(Debug, Default)]
struct Track {
    counters: Counters,
    rates: Rates,
    /// Empty until there is a rate, because most logs of a large server are idle.
    history: History,
    /// Whether the last sample had the log.
    is_current: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    appended: u64,
    written_bytes: u64,
    read: u64,
    read_bytes: u64,
}

impl Meter {
    /// Notes a sample, which must be of all logs.
    pub(super) fn update(&mut self, sample: &Sample) {
        let before = self.uptime_us.replace(sample.uptime_us);
        let seconds = before.and_then(|before| sample.uptime_us.checked_sub(before));
        let seconds = seconds.filter(|us| *us > 0).map(|us| us as f64 / 1e6);
        self.total = Rates::default();
        for log in &sample.logs {
            let counters = Counters::of(log);
            let Some(track) = self.logs.get_mut(&log.name) else {
                let track = Track { counters, is_current: true, ..Track::default() };
                self.logs.insert(log.name.clone(), track);
                continue;
            };
            track.is_current = true;
            let rates = seconds.and_then(|seconds| counters.rates(track.counters, seconds));
            track.counters = counters;
            track.rates = rates.unwrap_or_default();
            let activity = track.rates.appended + track.rates.read;
            if activity > 0.0 || !track.history.is_empty() {
                push(&mut track.history, activity);
            }
            self.total.add(track.rates);
        }
        self.logs.retain(|_, track| std::mem::take(&mut track.is_current));
        if seconds.is_some() {
            push(&mut self.appended, self.total.appended);
            push(&mut self.read, self.total.read);
        }
    }

    /// The rates of a log; 0 before there are two samples of it.
    pub(super) fn rates(&self, log: &str) -> Rates {
        self.logs.get(log).map(|track| track.rates).unwrap_or_default()
    }

    /// Records appended and read per second in the past; `None` if there were none.
    pub(super) fn history(&self, log: &str) -> Option<&History> {
        self.logs.get(log).map(|track| &track.history).filter(|history| !history.is_empty())
    }

    /// The rates of all logs together.
    pub(super) fn total(&self) -> Rates {
        self.total
    }
}

impl Rates {
    fn add(&mut self, other: Rates) {
        self.appended += other.appended;
        self.written_bytes += other.written_bytes;
        self.read += other.read;
        self.read_bytes += other.read_bytes;
    }
}

impl Counters {
    fn of(log: &LogSample) -> Counters {
        Counters {
            appended: log.records_appended,
            written_bytes: log.bytes_written,
            read: log.records_read,
            read_bytes: log.bytes_read,
        }
    }

    /// `None` if a counter became smaller.
    fn rates(self, before: Counters, seconds: f64) -> Option<Rates> {
        let rate = |now: u64, before: u64| Some(now.checked_sub(before)? as f64 / seconds);
        Some(Rates {
            appended: rate(self.appended, before.appended)?,
            written_bytes: rate(self.written_bytes, before.written_bytes)?,
            read: rate(self.read, before.read)?,
            read_bytes: rate(self.read_bytes, before.read_bytes)?,
        })
    }
}

fn push(history: &mut History, rate: f64) {
    if history.len() == HISTORY {
        history.pop_front();
    }
    history.push_back(rate as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(uptime_s: u64, logs: &[(&str, u64, u64)]) -> Sample {
        let logs = logs.iter().map(|(name, appended, read)| LogSample {
            name: (*name).to_owned(),
            records_appended: *appended,
            bytes_written: appended * 10,
            records_read: *read,
            bytes_read: read * 20,
            ..LogSample::default()
        });
        Sample { uptime_us: uptime_s * 1_000_000, logs: logs.collect(), ..Sample::default() }
    }

    fn after(samples: &[Sample]) -> Meter {
        let mut meter = Meter::default();
        samples.iter().for_each(|sample| meter.update(sample));
        meter
    }

    #[test]
    fn rates_are_differences_divided_by_the_time_of_the_server() {
        let meter = after(&[sample(10, &[("a", 5, 0)]), sample(14, &[("a", 25, 8)])]);
        let expected = Rates { appended: 5.0, written_bytes: 50.0, read: 2.0, read_bytes: 40.0 };
        assert_eq!(meter.rates("a"), expected);
        assert_eq!(meter.total(), expected);
        assert_eq!(meter.history("a").map(|history| history[0]), Some(7.0));
    }

    #[test]
    fn first_sample_and_new_logs_have_no_rate() {
        assert_eq!(after(&[sample(10, &[("a", 5, 5)])]).total(), Rates::default());
        let meter = after(&[sample(10, &[]), sample(11, &[("a", 5, 5)])]);
        assert_eq!((meter.rates("a"), meter.rates("b")), (Rates::default(), Rates::default()));
    }

    #[test]
    fn restarted_server_and_truncated_log_give_no_negative_rate() {
        let restarted = after(&[sample(100, &[("a", 50, 50)]), sample(1, &[("a", 60, 60)])]);
        assert_eq!(restarted.total(), Rates::default());
        let truncated = after(&[sample(1, &[("a", 50, 0)]), sample(2, &[("a", 1, 0)])]);
        assert_eq!(truncated.total(), Rates::default());
        let same_answer = after(&[sample(1, &[("a", 5, 0)]), sample(1, &[("a", 6, 0)])]);
        assert_eq!(same_answer.total(), Rates::default());
    }

    #[test]
    fn deleted_log_is_forgotten_and_history_is_bounded() {
        let mut meter = after(&[sample(1, &[("a", 5, 0)]), sample(2, &[("a", 6, 0)])]);
        for second in 3..200 {
            meter.update(&sample(second, &[("a", 6, 0)]));
        }
        assert_eq!(meter.history("a").map(VecDeque::len), Some(HISTORY));
        assert_eq!(meter.appended.len(), HISTORY);
        meter.update(&sample(200, &[]));
        assert_eq!(meter.history("a"), None);
        assert!(meter.logs.is_empty());
    }
}
