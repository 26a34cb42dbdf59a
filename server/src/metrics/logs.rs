//! [`LogMetrics`]: the series of each log, with its name as a label.
//!
//! A server with very many logs does not have them (`metrics.per_log`); the totals remain.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use styx_protocol::LogInfo;

use super::register;
use crate::session::LogStats;

/// See the module. Everything is set again at each scrape.
#[derive(Debug)]
pub(super) struct LogMetrics {
    record_count: GaugeVec,
    file_size: GaugeVec,
    counters: [IntCounterVec; 3],
    gauges: [IntGaugeVec; 3],
    status: IntGaugeVec,
}

impl LogMetrics {
    pub(super) fn new(registry: &Registry) -> LogMetrics {
        let gauge = |name: &str, help: &str| {
            register(registry, GaugeVec::new(Opts::new(name, help), &["log"]))
        };
        let counter = |name: &str, help: &str| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &["log"]))
        };
        let number = |name: &str, help: &str| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), &["log"]))
        };
        LogMetrics {
            record_count: gauge("log_record_count", "Records in the log"),
            file_size: gauge("log_file_size", "Bytes of records in the log"),
            counters: [
                counter("styx_log_commits_total", "Commits (written and synced) since the start"),
                counter("styx_log_records_appended_total", "Records appended since the start"),
                counter(
                    "styx_log_bytes_written_total",
                    "Bytes written for records since the start",
                ),
            ],
            gauges: [
                number("styx_log_queue_bytes", "Bytes of appends that wait to be committed"),
                number("styx_log_disk_bytes", "Bytes of the log's segments on disk"),
                number("styx_log_segments", "Segments of the log"),
            ],
            status: register(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "styx_log_status",
                        "1 for the log's status: ok, corrupt, tainted, scanning or unknown",
                    ),
                    &["log", "status"],
                ),
            ),
        }
    }

    /// Forgets all logs.
    pub(super) fn reset(&self) {
        self.record_count.reset();
        self.file_size.reset();
        self.counters.iter().for_each(IntCounterVec::reset);
        self.gauges.iter().for_each(IntGaugeVec::reset);
        self.status.reset();
    }

    /// Sets the series that every log has.
    pub(super) fn set_info(&self, info: &LogInfo) {
        self.record_count.with_label_values(&[&info.name]).set(info.record_count as f64);
        self.file_size.with_label_values(&[&info.name]).set(info.file_size as f64);
        let status = info.status.to_string();
        self.status.with_label_values(&[&info.name, &status]).set(1);
    }

    /// Sets the series of an open log.
    pub(super) fn set_stats(&self, name: &str, stats: &LogStats) {
        let totals = [stats.commits, stats.records_appended, stats.bytes_written];
        for (counter, total) in self.counters.iter().zip(totals) {
            counter.with_label_values(&[name]).inc_by(total);
        }
        let levels = [stats.queue_bytes, stats.disk_bytes, stats.segments];
        for (gauge, level) in self.gauges.iter().zip(levels) {
            gauge.with_label_values(&[name]).set(i64::try_from(level).unwrap_or(i64::MAX));
        }
    }
}
