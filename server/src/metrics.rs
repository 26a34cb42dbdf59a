//! [`Metrics`]: what Prometheus is told.
//!
//! Requests and connections are counted as they happen. What is said about logs
//! is looked up when it is asked for, so that appends pay nothing for it.

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
    /// The two that are counted most, without a look-up.
    reads: IntCounter,
    writes: IntCounter,
    /// Connections open now.
    pub(crate) connections: IntGauge,
    /// Connections turned away because there were too many.
    pub(crate) connections_refused: IntCounter,
    in_flight_bytes: IntGauge,
    answer_bytes: IntGauge,
    streams: IntGaugeVec,
    /// Filled and read under the lock, so that two scrapes do not mix.
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
}

const RECORDS: &str = "/logs/{name}/records";

impl Metrics {
    /// Nothing counted yet; what was found of the storage stays as it is.
    pub(crate) fn new(storage: &StorageHealth) -> Metrics {
        let registry = Registry::new();
        register_storage(&registry, storage);
        let requests = IntCounterVec::new(
            Opts::new("styx_http_requests_total", "Requests by method, route and status"),
            &["method", "route", "status"],
        );
        let requests = register(&registry, requests);
        let connections = IntGauge::new("styx_connections", "Connections open now");
        let refused = IntCounter::new(
            "styx_connections_refused_total",
            "Connections turned away because there were too many",
        );
        let in_flight_bytes =
            IntGauge::new("styx_in_flight_bytes", "Bytes of request bodies in memory now");
        let streams = Opts::new("styx_streams", "Connections that speak another protocol now");
        let streams = register(&registry, IntGaugeVec::new(streams, &["protocol"]));
        let answer_bytes =
            IntGauge::new("styx_answer_bytes", "Bytes of answers that wait to be sent now");
        let build = IntGaugeVec::new(Opts::new("styx_build_info", "1"), &["version"]);
        register(&registry, build).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // A second collector of the same process cannot meet this registry.
        let _ = registry.register(Box::new(ProcessCollector::for_self()));
        Metrics {
            reads: requests.with_label_values(&["GET", RECORDS, "200"]),
            writes: requests.with_label_values(&["POST", RECORDS, "200"]),
            requests,
            connections: register(&registry, connections),
            connections_refused: register(&registry, refused),
            in_flight_bytes: register(&registry, in_flight_bytes),
            answer_bytes: register(&registry, answer_bytes),
            streams,
            logs: Mutex::new(LogMetrics::new(&registry)),
            registry,
        }
    }

    /// Connections that were upgraded to this protocol and are open.
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

    /// Everything, in Prometheus' text format.
    pub(crate) fn text(&self, sessions: &Sessions) -> Vec<u8> {
        self.in_flight_bytes
            .set(i64::try_from(sessions.request_budget().bytes()).unwrap_or(i64::MAX));
        self.answer_bytes
            .set(i64::try_from(sessions.response_budget().bytes()).unwrap_or(i64::MAX));
        let (list, stats) = (sessions.list(), sessions.stats());
        // A poisoned lock guards nothing but numbers that are set anew here.
        let logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        logs.reset();
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
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!("metrics cannot be written: {error}");
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
                plain("styx_scrub_bytes_total", "Bytes of finished segments read again"),
                plain("styx_scrub_passes_total", "Times all logs were read again"),
                plain("styx_scrub_problems_total", "Damaged segments found by that"),
            ],
            record_count: gauge("log_record_count", "Records in the log"),
            file_size: gauge("log_file_size", "Bytes of records in the log"),
            counters: [
                counter("styx_log_commits_total", "Groups written and synced since the start"),
                counter("styx_log_records_appended_total", "Records appended since the start"),
                counter("styx_log_bytes_written_total", "Bytes written for records"),
            ],
            gauges: [
                number("styx_log_queue_bytes", "Bytes that wait to be committed"),
                number("styx_log_disk_bytes", "Bytes of the log's segments on disk"),
                number("styx_log_segments", "Segments of the log"),
            ],
            status: register(
                registry,
                IntGaugeVec::new(
                    Opts::new("styx_log_status", "1: ok, corrupt, tainted, scanning or unknown"),
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
    let help = "1 when acknowledged records may be lost on this storage, as seen at the start";
    let weak = IntGaugeVec::new(Opts::new("styx_storage_weak", help), &["reason"]);
    let weak = register(registry, weak);
    for (reason, is_weak) in found.reasons() {
        weak.with_label_values(&[reason]).set(is_weak.into());
    }
    if let Some(seconds) = found.sync_seconds {
        let help = "Writing and syncing 4 KiB, the median of a few at the start";
        register(registry, Gauge::new("styx_storage_sync_seconds", help)).set(seconds);
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect("the names in this file are valid");
    registry.register(Box::new(collector.clone())).expect("and no two are the same");
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
