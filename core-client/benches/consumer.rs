//! Taking batches from a peer that sends its log as fast as it is read.
//! `cargo bench --package styx-client --bench consumer`.
//!
//! Opening the consumer is not measured. The client's thread, the peer and the caller's
//! thread share the machine's cores.

#[path = "peer/mod.rs"]
mod peer;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use styx_client::blocking::{Client, Consumer};

/// Records of each run.
const RECORDS: u64 = 200_000;
/// Bytes of records in a block: those of single requests, and a producer's default.
const BLOCK_BYTES: [usize; 2] = [4 << 10, 256 << 10];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("consumer");
    group.throughput(Throughput::Elements(RECORDS));
    for (block_bytes, payload_bytes) in BLOCK_BYTES.into_iter().flat_map(|b| [(b, 10), (b, 100)]) {
        let blocks = peer::blocks(RECORDS, block_bytes, payload_bytes);
        let client = Client::builder(&peer::sending(&blocks, RECORDS)).build();
        let client = client.expect("valid options");
        let id =
            |what: &str| BenchmarkId::new(format!("{what} blocks of {block_bytes}"), payload_bytes);
        group.bench_function(id("next_batch"), |bencher| {
            bencher.iter_custom(|runs| time(&client, runs, next_batch));
        });
        group.bench_function(id("next_record"), |bencher| {
            bencher.iter_custom(|runs| time(&client, runs, next_record));
        });
    }
    group.finish();
    criterion.final_summary();
}

fn time(client: &Client, runs: u64, read: impl Fn(&mut Consumer) -> u64) -> Duration {
    let mut time = Duration::ZERO;
    for _ in 0..runs {
        let mut consumer = client.consumer("measured").open().expect("the peer accepts");
        let begun = Instant::now();
        assert_eq!(read(&mut consumer), RECORDS);
        time += begun.elapsed();
    }
    time
}

fn next_batch(consumer: &mut Consumer) -> u64 {
    let mut records = 0;
    while let Some(batch) = consumer.next_batch().expect("no error") {
        batch.payloads().for_each(|payload| {
            black_box(payload);
        });
        records += batch.len() as u64;
    }
    records
}

fn next_record(consumer: &mut Consumer) -> u64 {
    let mut records = 0;
    while let Some(record) = consumer.next_record().expect("no error") {
        black_box(record.payload());
        records += 1;
    }
    records
}
