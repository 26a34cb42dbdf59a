//! Appending one record and a batch at a time, to a peer that acks at once.
//! `cargo bench --package styx-client --bench producer`.
//!
//! A run appends [`RECORDS`] records and, at its end, waits for their acks. The caller's
//! thread, the client's thread and the peer share the machine's cores.

#[path = "peer/mod.rs"]
mod peer;

use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput};
use styx_client::blocking::Client;

/// Records of each run.
const RECORDS: usize = 20_000;
/// Records of each batch: 64 KiB, 256 KiB and 1 MiB of records of 100 bytes.
const BATCHES: [usize; 3] = [606, 2_427, 9_709];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let client = Client::builder(&peer::acking()).build().expect("valid options");
    let producer = client.producer("measured").open().expect("the peer accepts");
    let mut group = criterion.benchmark_group("producer");
    group.throughput(Throughput::Elements(RECORDS as u64));
    for payload_bytes in [10, 100] {
        let payloads = vec![vec![b'x'; payload_bytes]; RECORDS];
        group.bench_function(BenchmarkId::new("append", payload_bytes), |bencher| {
            bencher.iter_custom(|runs| {
                let begun = Instant::now();
                for payload in (0..runs).flat_map(|_| &payloads) {
                    producer.append(payload).expect("accepted");
                }
                producer.flush().expect("acked");
                begun.elapsed()
            });
        });
        for batch in BATCHES {
            let id = BenchmarkId::new(format!("append_many of {batch}"), payload_bytes);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|runs| {
                    let begun = Instant::now();
                    for batch in (0..runs).flat_map(|_| payloads.chunks(batch)) {
                        producer.append_many(batch).expect("accepted");
                    }
                    producer.flush().expect("acked");
                    begun.elapsed()
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
