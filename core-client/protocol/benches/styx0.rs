//! styx/0: decoding messages from received bytes, and encoding them from records.
//! `cargo bench --package styx-protocol --bench styx0`.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BenchmarkId, Criterion, Throughput};
use styx_protocol::record::Builder;
use styx_protocol::styx0::{Message, MessageDecoder, encode_record, encode_records};

/// Records of each run.
const RECORDS: usize = 2000;

/// Longer than any payload here.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for payload_bytes in [10, 100] {
        measure(&mut criterion, payload_bytes);
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, payload_bytes: usize) {
    let payload = vec![b'x'; payload_bytes];
    let (mut sent, mut builder) = (BytesMut::new(), Builder::new());
    for _ in 0..RECORDS {
        encode_record(&payload, &mut sent);
        assert!(builder.push(&payload), "less than a block");
    }
    let records = builder.take();
    let mut group = criterion.benchmark_group("styx0");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function(BenchmarkId::new("decode", payload_bytes), |bencher| {
        bencher.iter(|| decode(&sent));
    });
    group.bench_function(BenchmarkId::new("encode", payload_bytes), |bencher| {
        bencher.iter(|| {
            let mut out = BytesMut::new();
            encode_records(black_box(&records), u64::MAX, &mut out);
            out
        });
    });
    group.finish();
}

fn decode(sent: &[u8]) {
    let mut decoder = MessageDecoder::new(PAYLOAD_BYTES_MAX);
    decoder.push(sent);
    while let Some(message) = decoder.next().expect("good messages") {
        if let Message::Record(payload) = message {
            black_box(payload);
        }
    }
}
