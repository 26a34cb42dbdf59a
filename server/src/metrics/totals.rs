//! [`Totals`]: the numbers of all logs together.
//!
//! They do not depend on the number of logs, and every caller sees them.

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};
use styx_protocol::{LogInfo, LogStatus};

use super::register;
use crate::session::{LogStats, Sessions};

/// See the module. Everything is set again at each scrape.
#[derive(Debug)]
pub(super) struct Totals {
    logs: IntGaugeVec,
    /// Records and their bytes.
    kept: [IntGauge; 2],
    /// Bytes in queues, bytes on the disk, segments.
    levels: [IntGauge; 3],
    records_appended: IntCounter,
    /// Bytes, passes, problems.
    scrub: [IntCounter; 3],
    clock_jumps: IntCounter,
    disk_reserve_refusals: IntCounter,
}

const STATUSES: [LogStatus; 5] = [
    LogStatus::Ok,
    LogStatus::Corrupt,
    LogStatus::Tainted,
    LogStatus::Scanning,
    LogStatus::Unknown,
];

impl Totals {
    pub(super) fn new(registry: &Registry) -> Totals {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help));
        let logs = Opts::new("styx_logs", "Logs with this status");
        Totals {
            logs: register(registry, IntGaugeVec::new(logs, &["status"])),
            kept: [
                gauge("styx_logs_records", "Records in all logs"),
                gauge("styx_logs_record_bytes", "Bytes of records in all logs"),
            ],
            levels: [
                gauge("styx_logs_queue_bytes", "Bytes of appends to all logs that wait"),
                gauge("styx_logs_disk_bytes", "Bytes of the segments of all logs on disk"),
                gauge("styx_logs_segments", "Segments of all logs"),
            ],
            records_appended: counter(
                "styx_records_appended_total",
                "Records appended to all logs since the start, also to logs that were deleted",
            ),
            scrub: [
                counter(
                    "styx_scrub_bytes_total",
                    "Bytes of finished segments that the scrub has read",
                ),
                counter("styx_scrub_passes_total", "Times that the scrub has read all logs"),
                counter("styx_scrub_problems_total", "Damaged segments that the scrub has found"),
            ],
            clock_jumps: counter(
                "styx_clock_jumps_total",
                "Times that the system clock has jumped by more than a minute",
            ),
            disk_reserve_refusals: counter(
                "styx_disk_reserve_refusals_total",
                "Commits, new logs and restores refused because less than min_free_disk is free",
            ),
        }
    }

    /// Sets everything, from all logs.
    pub(super) fn set(&self, sessions: &Sessions, list: &[LogInfo], stats: &[(String, LogStats)]) {
        for status in STATUSES {
            let logs = list.iter().filter(|info| info.status == status).count();
            let gauge = self.logs.with_label_values(&[&status.to_string()]);
            gauge.set(i64::try_from(logs).unwrap_or(i64::MAX));
        }
        let sum = |of: fn(&LogInfo) -> u64| list.iter().map(of).fold(0, u64::saturating_add);
        let kept = [sum(|info| info.record_count), sum(|info| info.file_size)];
        self.kept.iter().zip(kept).for_each(|(gauge, total)| set_gauge(gauge, total));
        let sum = |of: fn(&LogStats) -> u64| {
            stats.iter().map(|(_, stats)| of(stats)).fold(0, u64::saturating_add)
        };
        let levels = [
            sum(|stats| stats.queue_bytes),
            sum(|stats| stats.disk_bytes),
            sum(|stats| stats.segments),
        ];
        self.levels.iter().zip(levels).for_each(|(gauge, total)| set_gauge(gauge, total));
        set_counter(&self.records_appended, sessions.measurements().records_appended());
        let scrubbed = sessions.scrub_stats();
        let scrubbed = [scrubbed.bytes, scrubbed.passes, scrubbed.problems];
        self.scrub.iter().zip(scrubbed).for_each(|(counter, total)| set_counter(counter, total));
        set_counter(&self.clock_jumps, sessions.clock_stats().jumps);
        set_counter(&self.disk_reserve_refusals, sessions.disk_reserve_stats().refusals);
    }
}

fn set_gauge(gauge: &IntGauge, total: u64) {
    gauge.set(i64::try_from(total).unwrap_or(i64::MAX));
}

fn set_counter(counter: &IntCounter, total: u64) {
    counter.reset();
    counter.inc_by(total);
}
