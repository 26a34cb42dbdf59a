//! [`ArchiveMetrics`]: the numbers of the archive. They exist only if there is an archive.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::register;
use crate::session::ArchiveStats;

/// See the module. Everything is set again at each scrape.
#[derive(Debug)]
pub(super) struct ArchiveMetrics {
    lag_seconds: Gauge,
    /// Unarchived bytes; 1 if the store answers; fenced and halted logs.
    gauges: [IntGauge; 4],
    requests: IntCounterVec,
    collected: IntCounterVec,
    /// Segments, bytes sent and received, chunks found in the cache and not found, missing objects,
    /// damaged ranges, healed entries.
    counters: [IntCounter; 8],
}

impl ArchiveMetrics {
    pub(super) fn new(registry: &Registry) -> ArchiveMetrics {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help));
        let requests = Opts::new(
            "styx_archive_requests_total",
            "Requests to the object store of the archive, by kind and result",
        );
        let collected = Opts::new(
            "styx_archive_collected_total",
            "Superfluous objects that the server removed from the store of the archive, by kind",
        );
        ArchiveMetrics {
            lag_seconds: register(
                registry,
                Gauge::new(
                    "styx_archive_lag_seconds",
                    "Age of the oldest record that is not archived yet; 0 if all are",
                ),
            ),
            gauges: [
                gauge("styx_archive_lag_bytes", "Bytes of segments that are not archived yet"),
                gauge(
                    "styx_archive_available",
                    "1 if the last request to the object store of the archive was answered",
                ),
                gauge(
                    "styx_archive_fenced_logs",
                    "Logs that are no longer archived because another server has taken them over",
                ),
                gauge(
                    "styx_archive_halted_logs",
                    "Logs that cannot be archived, for example because a segment is damaged",
                ),
            ],
            requests: register(registry, IntCounterVec::new(requests, &["kind", "result"])),
            collected: register(registry, IntCounterVec::new(collected, &["kind"])),
            counters: [
                counter("styx_archive_segments_total", "Segments that were archived"),
                counter("styx_archive_sent_bytes_total", "Bytes of objects sent to the store"),
                counter(
                    "styx_archive_received_bytes_total",
                    "Bytes of objects received from the store",
                ),
                counter(
                    "styx_archive_cache_hits_total",
                    "Reads of archived records that the cache answered",
                ),
                counter(
                    "styx_archive_cache_misses_total",
                    "Reads of archived records that needed the store",
                ),
                counter(
                    "styx_archive_missing_total",
                    "Reads of archived records that failed because their object is missing",
                ),
                counter(
                    "styx_archive_damaged_total",
                    "Reads of archived records that failed because their object is damaged",
                ),
                counter(
                    "styx_archive_healed_total",
                    "Segments that were archived before a crash, and recorded after it",
                ),
            ],
        }
    }

    pub(super) fn set(&self, stats: &ArchiveStats) {
        self.lag_seconds.set(stats.lag_seconds);
        let levels = [stats.lag_bytes, stats.is_available.into(), stats.fenced, stats.halted];
        for (gauge, level) in self.gauges.iter().zip(levels) {
            gauge.set(i64::try_from(level).unwrap_or(i64::MAX));
        }
        let totals = [
            stats.segments,
            stats.bytes_sent,
            stats.bytes_received,
            stats.cache_hits,
            stats.cache_misses,
            stats.missing,
            stats.damaged,
            stats.healed,
        ];
        for (counter, total) in self.counters.iter().zip(totals) {
            counter.reset();
            counter.inc_by(total);
        }
        self.collected.reset();
        for (kind, count) in &stats.collected {
            self.collected.with_label_values(&[*kind]).inc_by(*count);
        }
        self.requests.reset();
        for (kind, result, count) in &stats.requests {
            self.requests.with_label_values(&[*kind, *result]).inc_by(*count);
        }
    }
}
