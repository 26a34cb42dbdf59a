//! [`Histograms`]: the engine's measurements, as histograms of Prometheus.
//!
//! The engine counts values in buckets of its own, and this collector converts them at a scrape.
//! Bounds and sums of durations become seconds.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};

use crate::session::{HistogramSnapshot, Measurements};

/// See the module.
pub(super) struct Histograms {
    measurements: Arc<Measurements>,
    descriptions: Vec<Desc>,
}

/// A histogram of the engine.
struct Row {
    name: &'static str,
    help: &'static str,
    /// How many units of the engine are one unit of the metric.
    divisor: f64,
    snapshot: fn(&Measurements) -> HistogramSnapshot,
}

/// The engine counts microseconds.
const SECONDS: f64 = 1e6;
const BYTES: f64 = 1.0;

const ROWS: [Row; 5] = [
    Row {
        name: "styx_append_duration_seconds",
        help: "Time of an append, from the log's queue to its ack; one append may have many records",
        divisor: SECONDS,
        snapshot: |measurements| measurements.appends.snapshot(),
    },
    Row {
        name: "styx_commit_queue_seconds",
        help: "Time that an append waits in the log's queue until a commit takes it",
        divisor: SECONDS,
        snapshot: |measurements| measurements.queue.snapshot(),
    },
    Row {
        name: "styx_commit_bytes",
        help: "Bytes of a commit, with the headers of its blocks",
        divisor: BYTES,
        snapshot: |measurements| measurements.commit_bytes.snapshot(),
    },
    Row {
        name: "styx_fsync_duration_seconds",
        help: "Time of the fsync of a commit",
        divisor: SECONDS,
        snapshot: |measurements| measurements.syncs.snapshot(),
    },
    Row {
        name: "styx_read_duration_seconds",
        help: "Time to read a batch of records or blocks from memory or disk, without sending it",
        divisor: SECONDS,
        snapshot: |measurements| measurements.reads.snapshot(),
    },
];

impl Histograms {
    pub(super) fn new(measurements: Arc<Measurements>) -> Histograms {
        let description = |row: &Row| {
            let (name, help) = (row.name.to_owned(), row.help.to_owned());
            Desc::new(name, help, Vec::new(), HashMap::new()).expect("the names above are valid")
        };
        Histograms { measurements, descriptions: ROWS.iter().map(description).collect() }
    }
}

impl Collector for Histograms {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        ROWS.iter().map(|row| row.family(&self.measurements)).collect()
    }
}

impl Row {
    fn family(&self, measurements: &Measurements) -> MetricFamily {
        let snapshot = (self.snapshot)(measurements);
        let mut count = 0;
        let buckets = snapshot.buckets.iter().map(|(bound, values)| {
            count += values;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(self.scaled(*bound));
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count + snapshot.above);
        histogram.set_sample_sum(self.scaled(snapshot.sum));
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        family
    }

    fn scaled(&self, value: u64) -> f64 {
        value as f64 / self.divisor
    }
}
