//! Encoding records and appending them later, to a peer that acks at once.
//! `cargo bench --package styx-client --bench encoded`. Compare with `--bench producer`,
//! whose runs have the same records.

#[path = "peer/mod.rs"]
mod peer;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use styx_client::bindings::Encoded;
use styx_client::blocking::{Client, Producer};
use styx_client::{Error, Kind};

/// Records of each run.
const RECORDS: usize = 20_000;
/// Records of each batch: 256 KiB and 1 MiB of records of 100 bytes.
const BATCHES: [usize; 2] = [2_427, 9_709];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let client = Client::builder(&peer::acking()).build().expect("valid options");
    let producer = client.producer("measured").open().expect("the peer accepts");
    for payload_bytes in [10, 100] {
        for batch in BATCHES {
            measure(&mut criterion, &producer, payload_bytes, batch);
        }
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, producer: &Producer, payload_bytes: usize, batch: usize) {
    let payloads = vec![vec![b'x'; payload_bytes]; RECORDS];
    let data = vec![b'x'; payload_bytes * batch];
    let ends: Vec<u32> = (1..=batch).map(|record| (record * payload_bytes) as u32).collect();
    let mut group = criterion.benchmark_group("encoded");
    group.throughput(Throughput::Elements(RECORDS as u64));
    let id = |what: &str| BenchmarkId::new(format!("{what} of {batch}"), payload_bytes);
    group.bench_function(id("extend_packed"), |bencher| {
        bencher.iter(|| {
            for payloads in payloads.chunks(batch) {
                let mut encoded = Encoded::new();
                let bytes = payloads.len() * payload_bytes;
                encoded.extend_packed(&data[..bytes], &ends[..payloads.len()]).expect("good ends");
                black_box(encoded);
            }
        });
    });
    group.bench_function(id("append_encoded"), |bencher| {
        bencher.iter_custom(|runs| {
            let begun = Instant::now();
            for payloads in (0..runs).flat_map(|_| payloads.chunks(batch)) {
                let mut encoded = Encoded::new();
                let bytes = payloads.len() * payload_bytes;
                encoded.extend_packed(&data[..bytes], &ends[..payloads.len()]).expect("good ends");
                append(producer, &mut encoded).expect("accepted");
            }
            producer.flush().expect("acked");
            begun.elapsed()
        });
    });
    group.bench_function(id("push and append_encoded"), |bencher| {
        bencher.iter_custom(|runs| {
            let begun = Instant::now();
            for payloads in (0..runs).flat_map(|_| payloads.chunks(batch)) {
                let mut encoded = Encoded::new();
                payloads.iter().try_for_each(|payload| encoded.push(payload)).expect("small");
                append(producer, &mut encoded).expect("accepted");
            }
            producer.flush().expect("acked");
            begun.elapsed()
        });
    });
    group.finish();
}

/// As a package of another language appends: without waiting, then waiting for room.
fn append(producer: &Producer, encoded: &mut Encoded) -> Result<(), Error> {
    loop {
        match producer.try_append_encoded(encoded) {
            Err(error) if error.kind() == Kind::WouldBlock => {
                let _ = producer.wait_room(Duration::from_millis(50));
            }
            done => return done.map(drop),
        }
    }
}
