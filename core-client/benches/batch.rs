//! The client's batches: assembling them from blocks, and iterating over them.
//! `cargo bench --package styx-client --bench batch`.
//!
//! The client assembles batches on a thread of its own, between reads of a socket. To
//! measure only the assembling, its source is compiled into this program. It does not
//! depend on the rest of the client.

#[path = "../src/batch/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "not all of it is used here")]
mod batch;

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use styx_protocol::block::{Origin, build};
use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::record::Builder;
use styx_protocol::{LogId, Position};

use self::batch::{Assembler, RecordBatch};

/// Records of each run.
const RECORDS: u64 = 20_000;

/// Bytes of records in a block. Blocks of one request are small, so they are merged. A
/// producer's default block is large, so it becomes a batch of its own.
const BLOCK_BYTES: [usize; 2] = [4 << 10, 256 << 10];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for block_bytes in BLOCK_BYTES {
        for payload_bytes in [10, 100] {
            measure(&mut criterion, block_bytes, payload_bytes);
        }
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, block_bytes: usize, payload_bytes: usize) {
    let blocks = blocks(block_bytes, payload_bytes);
    let batches = assembled(&blocks);
    assert_eq!(batches.iter().map(RecordBatch::len).sum::<usize>() as u64, RECORDS);
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(RECORDS));
    let id =
        |what: &str| BenchmarkId::new(format!("{what} blocks of {block_bytes}"), payload_bytes);
    group.bench_function(id("assemble"), |bencher| bencher.iter(|| assembled(&blocks)));
    group.bench_function(id("iterate"), |bencher| {
        bencher.iter(|| {
            for record in batches.iter().flatten() {
                black_box((record.position(), record.timestamp(), record.payload()));
            }
        });
    });
    group.bench_function(id("get"), |bencher| {
        bencher.iter(|| {
            for batch in &batches {
                for at in 0..batch.len() {
                    black_box(batch.get(at).map(|record| (record.timestamp(), record.payload())));
                }
            }
        });
    });
    group.bench_function(id("payloads"), |bencher| {
        bencher.iter(|| {
            batches.iter().flat_map(RecordBatch::payloads).for_each(|payload| {
                black_box(payload);
            })
        });
    });
    group.finish();
}

/// Blocks with positions from 0 on.
fn blocks(block_bytes: usize, payload_bytes: usize) -> Vec<Bytes> {
    let payload = vec![b'x'; payload_bytes];
    let per_block = (block_bytes / (RECORD_HEADER_BYTES + payload_bytes)) as u64;
    let (mut blocks, mut base) = (Vec::new(), 0);
    while base < RECORDS {
        let mut builder = Builder::new();
        for _ in 0..per_block.min(RECORDS - base) {
            assert!(builder.push(&payload), "less than a block");
        }
        let records = builder.take();
        let origin = Origin { expected: Some(Position(base)), ..Origin::default() };
        blocks.push(build(&records, origin));
        base += u64::from(records.count());
    }
    blocks
}

fn assembled(blocks: &[Bytes]) -> Vec<RecordBatch> {
    let mut assembler = Assembler::new(LogId(7), 0, u64::MAX);
    for block in blocks {
        assembler.take(block.clone()).expect("a good block");
    }
    assembler.finish().collect()
}
