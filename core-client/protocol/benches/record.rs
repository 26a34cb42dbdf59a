//! Records: encoding payloads, and parsing with or without checking checksums. `cargo bench --package styx-protocol --bench record`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use styx_protocol::Records;
use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::record::Builder;

/// Bytes of records in each run: a producer's default block.
const RUN_BYTES: usize = 256 << 10;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for payload_bytes in [10, 100, 1000] {
        measure(&mut criterion, payload_bytes);
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, payload_bytes: usize) {
    let count = RUN_BYTES / (RECORD_HEADER_BYTES + payload_bytes);
    let payload = vec![b'x'; payload_bytes];
    let records = encode(&payload, count);
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(BenchmarkId::new("encode", payload_bytes), |bencher| {
        bencher.iter(|| encode(black_box(&payload), count));
    });
    group.bench_function(BenchmarkId::new("parse", payload_bytes), |bencher| {
        bencher.iter(|| Records::parse(records.bytes().clone()).expect("good records"));
    });
    group.bench_function(BenchmarkId::new("parse_lengths", payload_bytes), |bencher| {
        bencher.iter(|| Records::parse_lengths(records.bytes().clone()).expect("good records"));
    });
    group.finish();
}

fn encode(payload: &[u8], count: usize) -> Records {
    let mut builder = Builder::new();
    for _ in 0..count {
        assert!(builder.push(payload), "less than a block");
    }
    builder.take()
}
