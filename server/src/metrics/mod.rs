//! [`Metrics`]: the metrics for Prometheus.
//!
//! ```text
//! requests, connections ─▶ counted as they happen ─┐
//! engine: Measurements ─▶ histograms ──────────────┼─▶ text, at a scrape
//! logs ─▶ totals, and logs if there are few ───────┘
//! ```
//!
//! Invariant: the number of series does not grow with the number of logs beyond a limit
//! ([`PerLogMetrics`]), unless the configuration asks for that.

#[cfg(feature = "archive")]
mod archive;
mod histograms;
mod logs;
#[cfg(feature = "archive")]
mod replica;
mod totals;

use std::sync::{Arc, Mutex, OnceLock};

use http::{Method, StatusCode};
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

#[cfg(feature = "archive")]
use self::archive::ArchiveMetrics;
use self::histograms::Histograms;
use self::logs::LogMetrics;
#[cfg(feature = "archive")]
use self::replica::ReplicaMetrics;
use self::totals::Totals;
use crate::certificates::Certificates;
use crate::config::PerLogMetrics;
use crate::session::{DiskSpace, Measurements, Sessions, StorageHealth};

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
    /// The size and the free bytes of the data directory's file system; NaN if they are unknown.
    disk: [Gauge; 2],
    certificate: OnceLock<(IntGauge, Arc<Certificates>)>,
    #[cfg(feature = "archive")]
    archive: OnceLock<ArchiveMetrics>,
    #[cfg(feature = "archive")]
    replica: OnceLock<ReplicaMetrics>,
    per_log: PerLogMetrics,
    has_per_log: IntGauge,
    /// Set and read under the lock, so that two scrapes do not mix.
    logs: Mutex<(LogMetrics, Totals)>,
}

const RECORDS: &str = "/logs/{name}/records";

impl Metrics {
    /// All counters at zero; the metrics of the storage never change.
    pub(crate) fn new(
        storage: &StorageHealth,
        measurements: Arc<Measurements>,
        per_log: PerLogMetrics,
    ) -> Metrics {
        let registry = Registry::new();
        register_storage(&registry, storage);
        let histograms = registry.register(Box::new(Histograms::new(measurements)));
        histograms.expect("no two names in this module are the same");
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
        let disk_size =
            Gauge::new("styx_disk_size_bytes", "Bytes of the file system of the data directory");
        let disk_free = Gauge::new(
            "styx_disk_free_bytes",
            "Free bytes of the file system of the data directory",
        );
        let has_per_log = IntGauge::new(
            "styx_metrics_per_log",
            "1 if each log has series of its own, 0 if there are only totals; see metrics.per_log",
        );
        let build = IntGaugeVec::new(
            Opts::new("styx_build_info", "Always 1; the label is the server's version"),
            &["version"],
        );
        register(&registry, build).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        // This cannot fail: the registry has no other collector of the process.
        let _ = registry.register(Box::new(ProcessCollector::for_self()));
        let metrics = Metrics {
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
            disk: [register(&registry, disk_size), register(&registry, disk_free)],
            certificate: OnceLock::new(),
            #[cfg(feature = "archive")]
            archive: OnceLock::new(),
            #[cfg(feature = "archive")]
            replica: OnceLock::new(),
            per_log,
            has_per_log: register(&registry, has_per_log),
            logs: Mutex::new((LogMetrics::new(&registry), Totals::new(&registry))),
            registry,
        };
        metrics.set_disk_space(storage.space);
        metrics
    }

    /// Sets what is known about the file system of the data directory.
    pub(crate) fn set_disk_space(&self, space: Option<DiskSpace>) {
        let bytes = space.map(|space| [space.size_bytes, space.free_bytes]);
        let bytes = bytes.map_or([f64::NAN; 2], |bytes| bytes.map(|bytes| bytes as f64));
        self.disk.iter().zip(bytes).for_each(|(gauge, bytes)| gauge.set(bytes));
    }

    /// Shows when the certificate of the server expires, also after it was replaced. Call it at
    /// most once.
    pub(crate) fn show_certificate(&self, certificates: Arc<Certificates>) {
        let expiry = IntGauge::new(
            "styx_certificate_expiry_timestamp_seconds",
            "Time at which the certificate of the server expires, in seconds since the Unix epoch",
        );
        let _ = self.certificate.set((register(&self.registry, expiry), certificates));
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
        let (list, stats) = (sessions.list(), sessions.stats());
        let has_per_log = self.per_log.applies_to(list.len());
        self.has_per_log.set(has_per_log.into());
        if let Some((expiry, certificates)) = self.certificate.get() {
            expiry.set(certificates.expires_at());
        }
        // The lock may be poisoned: every number behind it is set again here.
        let both = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (logs, totals) = &*both;
        self.clock_offset.set(sessions.clock_stats().offset_us as f64 / 1e6);
        self.disk_reserve_reached.set(sessions.disk_reserve_stats().is_reached.into());
        totals.set(sessions, &list, &stats);
        #[cfg(feature = "archive")]
        if let Some(stats) = sessions.archive_stats() {
            self.archive.get_or_init(|| ArchiveMetrics::new(&self.registry)).set(&stats);
        }
        #[cfg(feature = "archive")]
        if let Some(stats) = sessions.replica_stats() {
            self.replica.get_or_init(|| ReplicaMetrics::new(&self.registry)).set(&stats);
        }
        logs.reset();
        if has_per_log {
            let infos = list.iter().filter(|info| is_visible(&info.name));
            infos.for_each(|info| logs.set_info(info));
            let stats = stats.iter().filter(|(name, _)| is_visible(name));
            stats.for_each(|(name, stats)| logs.set_stats(name, stats));
        }
        // Still locked: another caller may see other logs.
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!("cannot encode the metrics: {error}");
        }
        text
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
    fn requests_and_appends_are_in_the_text() {
        let measurements = Arc::new(Measurements::default());
        measurements.appends.add(3000);
        let metrics =
            Metrics::new(&StorageHealth::default(), measurements, PerLogMetrics::default());
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
            "styx_append_duration_seconds_bucket{le=\"0.002048\"} 0\n",
            "styx_append_duration_seconds_bucket{le=\"0.004096\"} 1\n",
            "styx_append_duration_seconds_bucket{le=\"+Inf\"} 1\n",
            "styx_append_duration_seconds_sum 0.003\n",
            "styx_append_duration_seconds_count 1\n",
            "styx_commit_bytes_bucket{le=\"64\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
