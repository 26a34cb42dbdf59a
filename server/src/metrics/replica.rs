//! [`ReplicaMetrics`]: the numbers of a read replica. They exist only on one.

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

use super::register;
use crate::session::ReplicaStats;

/// See the module. Everything is set again at each scrape.
#[derive(Debug)]
pub(super) struct ReplicaMetrics {
    logs: IntGauge,
    refreshes: IntCounter,
    failures: IntCounter,
    age_seconds: Gauge,
}

impl ReplicaMetrics {
    pub(super) fn new(registry: &Registry) -> ReplicaMetrics {
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help));
        ReplicaMetrics {
            logs: register(
                registry,
                IntGauge::new("styx_replica_logs", "Logs of the archive that the replica serves"),
            ),
            refreshes: counter(
                "styx_replica_refreshes_total",
                "Requests of the replica for manifests and for the list of logs",
            ),
            failures: counter(
                "styx_replica_refresh_failures_total",
                "Those of these requests that failed, or whose result could not be used",
            ),
            age_seconds: register(
                registry,
                Gauge::new(
                    "styx_replica_refresh_age_seconds",
                    "Time since the last refresh of the replica that was successful",
                ),
            ),
        }
    }

    pub(super) fn set(&self, stats: &ReplicaStats) {
        self.logs.set(i64::try_from(stats.logs).unwrap_or(i64::MAX));
        for (counter, total) in
            [(&self.refreshes, stats.refreshes), (&self.failures, stats.failures)]
        {
            counter.reset();
            counter.inc_by(total);
        }
        self.age_seconds.set(stats.age_seconds);
    }
}
