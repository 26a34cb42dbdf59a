//! [`Metrics`]: the metrics for Prometheus.
//!
//! Requests and connections are counted as they happen. Metrics of logs are read
//! when they are scraped, so appends pay nothing for them.

use std::sync::Mutex;

use http::{Method, StatusCode};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::session::{LogStats, Sessions, StorageHealth};

/// The server's counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    /// The two most frequent requests, counted without a look-up.
    reads: IntCounter,
    writes: IntCounter,
    /// Connections open now.
    pub(crate) connections: IntGauge,
    /// The limit of open connections.
    pub(crate) connections_max: IntGauge,
    /// Idle connections closed because there were too many.
    pub(crate) connections_closed_idle: IntCounter,
    /// Connections refused because there were too many.
    pub(crate) connections_refused: IntCounter,
    in_flight_bytes: IntGauge,
    answer_bytes: IntGauge,
    streams: IntGaugeVec,
    clock_offset: Gauge,
    disk_reserve_reached: IntGauge,
    /// Set and read under the lock, so that two scrapes do not mix.
    logs: Mutex<LogMetrics>,
}

#[derive(Debug)]
struct LogMetrics {
    record_count: GaugeVec,
    file_size: GaugeVec,
    counters: [IntCounterVec; 3],
    gauges: [IntGaugeVec; 3],
    status: IntGaugeVec,
    /// Bytes, passes, problems.
    scrub: [IntCounter; 3],
    clock_jumps: IntCounter,
    disk_reserve_refusals: IntCounter,
}

const RECORDS: &str = "/logs/{name}/records";

impl Metrics {
    /// All counters at zero; the metrics of the storage never change.
    pub(crate) fn new(storage: &StorageHealth) -> Metrics {
        let registry = Registry::new();
        register_storage(&registry, storage);
        let requests = IntCounterVec::new(
            Opts::new(
                "styx_http_requests_total",
                "HTTP requests answered, by method, route and status",
            ),
            &["method", "route", "status"],
        );
        let requests = register(&registry, requests);
        let connections = IntGauge::new("styx_connections", "Open connections");
        let connections_max = IntGauge::new(
            "styx_connections_max",
            "Limit of open connections: max_connections, or less if the system allows too few \
             open files",
        );
        let closed_idle = IntCounter::new(
            "styx_connections_closed_idle_total",
            "Idle connections closed to make room because max_connections were open",
        );
        let refused = IntCounter::new(
            "styx_connections_refused_total",
            "Connections refused because max_connections were open",
        );
        let in_flight_bytes = IntGauge::new(
            "styx_in_flight_bytes",
            "Bytes of requests in memory, at most max_in_flight_bytes",
        );
        let streams = Opts::new(
            "styx_streams",
            "Open connections that were upgraded to a WebSocket, styx/0 or styx/1",
        );
        let streams = register(&registry, IntGaugeVec::new(streams, &["protocol"]));
        let answer_bytes =
            IntGauge::new("styx_answer_bytes", "Bytes of answers in memory that wait to be sent");
        let clock_offset = Gauge::new(
            "styx_clock_offset_seconds",
            "Seconds by which the system clock is ahead of the timestamps of new records since it \
             jumped, negative if it is behind; 0 if it did not jump",
        );
        let disk_reserve_reached = IntGauge::new(
            "styx_disk_reserve_reached",
            "1 while appends are refused because less than min_free_disk is free",
        );
        let build = IntGaugeVec::new(
            Opts::new("styx_build_info", "Always 1; the label is the server's version"),
            &["version"],
        );
        register(&registry, build).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // This cannot fail: the registry has no other collector of the process.
        let _ = registry.register(Box::new(ProcessCollector::for_self()));
        Metrics {
            reads: requests.with_label_values(&["GET", RECORDS, "200"]),
            writes: requests.with_label_values(&["POST", RECORDS, "200"]),
            requests,
            connections: register(&registry, connections),
            connections_max: register(&registry, connections_max),
            connections_closed_idle: register(&registry, closed_idle),
            connections_refused: register(&registry, refused),
            in_flight_bytes: register(&registry, in_flight_bytes),
            answer_bytes: register(&registry, answer_bytes),
            streams,
            clock_offset: register(&registry, clock_offset),
            disk_reserve_reached: register(&registry, disk_reserve_reached),
            logs: Mutex::new(LogMetrics::new(&registry)),
            registry,
        }
    }

    /// Adds a counter of another module.
    pub(crate) fn add(&self, counter: IntCounterVec) {
        register(&self.registry, Ok(counter));
    }

    /// The gauge of open connections that were upgraded to this protocol.
    pub(crate) fn streams(&self, protocol: &str) -> IntGauge {
        self.streams.with_label_values(&[protocol])
    }

    /// Counts an answered request. `route` is the path with `{name}` for a log's
    /// name; `None` if the path is unknown.
    pub(crate) fn request(&self, method: &Method, route: Option<&'static str>, status: StatusCode) {
        let route = route.unwrap_or_default();
        if status == StatusCode::OK && route == RECORDS {
            match *method {
                Method::GET => return self.reads.inc(),
                Method::POST => return self.writes.inc(),
                _ => {}
            }
        }
        // A client can invent any number of methods.
        let known = [
            Method::GET,
            Method::POST,
            Method::DELETE,
            Method::PUT,
            Method::HEAD,
            Method::OPTIONS,
            Method::PATCH,
        ];
        let method = if known.contains(method) { method.as_str() } else { "other" };
        self.requests.with_label_values(&[method, route, status.as_str()]).inc();
    }

    /// Everything, in Prometheus' text format. Numbers of single logs are only of those for which
    /// `is_visible` returns true.
    pub(crate) fn text(&self, sessions: &Sessions, is_visible: impl Fn(&str) -> bool) -> Vec<u8> {
        self.in_flight_bytes
            .set(i64::try_from(sessions.request_budget().bytes()).unwrap_or(i64::MAX));
        self.answer_bytes
            .set(i64::try_from(sessions.response_budget().bytes()).unwrap_or(i64::MAX));
        let (mut list, mut stats) = (sessions.list(), sessions.stats());
        list.retain(|info| is_visible(&info.name));
        stats.retain(|(name, _)| is_visible(name));
        // The lock may be poisoned: every number behind it is set again here.
        let logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        logs.reset();
        let clock = sessions.clock_stats();
        self.clock_offset.set(clock.offset_us as f64 / 1e6);
        logs.clock_jumps.reset();
        logs.clock_jumps.inc_by(clock.jumps);
        let reserve = sessions.disk_reserve_stats();
        self.disk_reserve_reached.set(reserve.is_reached.into());
        logs.disk_reserve_refusals.reset();
        logs.disk_reserve_refusals.inc_by(reserve.refusals);
        let scrubbed = sessions.scrub_stats();
        let totals = [scrubbed.bytes, scrubbed.passes, scrubbed.problems];
        for (counter, total) in logs.scrub.iter().zip(totals) {
            counter.reset();
            counter.inc_by(total);
        }
        for info in &list {
            logs.record_count.with_label_values(&[&info.name]).set(info.record_count as f64);
            logs.file_size.with_label_values(&[&info.name]).set(info.file_size as f64);
            let status = info.status.to_string();
            logs.status.with_label_values(&[&info.name, &status]).set(1);
        }
        for (name, stats) in &stats {
            logs.set(name, stats);
        }
        // Still locked: another caller may see other logs.
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!("cannot encode the metrics: {error}");
        }
        text
    }
}

impl LogMetrics {
    fn new(registry: &Registry) -> LogMetrics {
        let gauge = |name: &str, help: &str| {
            register(registry, GaugeVec::new(Opts::new(name, help), &["log"]))
        };
        let counter = |name: &str, help: &str| {
            register(registry, IntCounterVec::new(Opts::new(name, help), &["log"]))
        };
        let plain = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        let number = |name: &str, help: &str| {
            register(registry, IntGaugeVec::new(Opts::new(name, help), &["log"]))
        };
        LogMetrics {
            scrub: [
                plain(
                    "styx_scrub_bytes_total",
                    "Bytes of finished segments that the scrub has read",
                ),
                plain("styx_scrub_passes_total", "Times that the scrub has read all logs"),
                plain("styx_scrub_problems_total", "Damaged segments that the scrub has found"),
            ],
            clock_jumps: plain(
                "styx_clock_jumps_total",
                "Times that the system clock has jumped by more than a minute",
            ),
            disk_reserve_refusals: plain(
                "styx_disk_reserve_refusals_total",
                "Commits, new logs and restores refused because less than min_free_disk is free",
            ),
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

    fn reset(&self) {
        self.record_count.reset();
        self.file_size.reset();
        self.counters.iter().for_each(IntCounterVec::reset);
        self.gauges.iter().for_each(IntGaugeVec::reset);
        self.status.reset();
    }

    fn set(&self, name: &str, stats: &LogStats) {
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

fn register_storage(registry: &Registry, found: &StorageHealth) {
    let help = "1 if acknowledged records may be lost on this storage, for this reason; checked at the start";
    let weak = IntGaugeVec::new(Opts::new("styx_storage_weak", help), &["reason"]);
    let weak = register(registry, weak);
    for (reason, is_weak) in found.reasons() {
        weak.with_label_values(&[reason]).set(is_weak.into());
    }
    if let Some(seconds) = found.sync_seconds {
        let help = "Seconds to write and sync 4 KiB, the median of a few attempts at the start";
        register(registry, Gauge::new("styx_storage_sync_seconds", help)).set(seconds);
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect("the names in this file are valid");
    registry.register(Box::new(collector.clone())).expect("no two names in this file are the same");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_method_route_and_status() {
        let metrics = Metrics::new(&StorageHealth::default());
        let brew: Method = "BREW".parse().expect("a method");
        metrics.request(&Method::GET, Some(RECORDS), StatusCode::OK);
        metrics.request(&Method::GET, Some(RECORDS), StatusCode::NOT_FOUND);
        metrics.request(&brew, None, StatusCode::NOT_FOUND);
        let mut text = Vec::new();
        TextEncoder::new().encode(&metrics.registry.gather(), &mut text).expect("text");
        let text = String::from_utf8(text).expect("text");
        for line in [
            "{method=\"GET\",route=\"/logs/{name}/records\",status=\"200\"} 1",
            "{method=\"GET\",route=\"/logs/{name}/records\",status=\"404\"} 1",
            "{method=\"other\",route=\"\",status=\"404\"} 1",
            "process_open_fds",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
