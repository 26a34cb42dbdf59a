//! Blocks: building them as a producer does, with every codec; checking them as a server
//! does (header, body, each record) and as a consumer does (header, body).
//! `cargo bench --package styx-protocol --bench block`.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use styx_protocol::Records;
use styx_protocol::block::{Block, Codec, Origin, build_with};
use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::record::Builder;

/// Bytes of records in each block: a producer's default.
const RECORDS_BYTES: usize = 256 << 10;

/// Longer than any record here.
const RECORD_BYTES_MAX: usize = 1 << 20;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for payload_bytes in [10, 100, 1000] {
        let records = records(payload_bytes);
        Codec::ALL.into_iter().for_each(|codec| measure(&mut criterion, codec, &records));
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, codec: Codec, records: &Records) {
    let block = build_with(codec, None, records, Origin::default());
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Bytes(records.bytes().len() as u64));
    let id = |what: &str| BenchmarkId::new(format!("{what} {codec}"), records.longest());
    group.bench_function(id("build"), |bencher| {
        bencher.iter(|| build_with(codec, None, records, Origin::default()));
    });
    group.bench_function(id("check"), |bencher| {
        bencher.iter(|| parsed(&block).into_checked(RECORD_BYTES_MAX).expect("a good block"));
    });
    group.bench_function(id("open"), |bencher| {
        bencher.iter(|| parsed(&block).records().expect("a good block"));
    });
    group.finish();
}

fn parsed(block: &Bytes) -> Block {
    Block::parse(block.clone(), RECORD_BYTES_MAX as u64).expect("a good block").0
}

/// Lines similar to those of a program's log: half of each is the same.
fn records(payload_bytes: usize) -> Records {
    let mut builder = Builder::new();
    for i in 0..RECORDS_BYTES / (RECORD_HEADER_BYTES + payload_bytes) {
        let number = i.wrapping_mul(0x9E37_79B9) as u32;
        let line = format!("{number:08x} the request was answered with {number:08x} bytes; ");
        let payload: Vec<u8> = line.bytes().cycle().take(payload_bytes).collect();
        assert!(builder.push(&payload), "less than a block");
    }
    builder.take()
}
