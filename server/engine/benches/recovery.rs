//! Measures recovery: opening a log reads its whole newest segment, block by block. Run it with
//! `cargo bench --package styx-engine --bench recovery`.

mod scene;

use criterion::{BenchmarkId, Criterion, Throughput};
use styx_protocol::LogConfig;

use scene::{Scene, block};

/// The size of the segment's records in bytes.
const SEGMENT_BYTES: usize = 64 << 20;

/// The sizes of a block's records in bytes: that of small commits, and the default of a producer.
const BLOCK_BYTES: [usize; 2] = [1 << 10, scene::BLOCK_BYTES];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for block_bytes in BLOCK_BYTES {
        let scene = Scene::new(LogConfig::default(), 0);
        let blocks = vec![block(block_bytes, 100); (1 << 20) / block_bytes];
        (0..SEGMENT_BYTES >> 20).for_each(|_| scene.append(blocks.clone()));
        let disk_bytes = scene.log.stats().disk_bytes;
        let mut open = scene.closed();
        let mut group = criterion.benchmark_group("recovery");
        group.throughput(Throughput::Bytes(disk_bytes)).sample_size(20);
        group.bench_function(BenchmarkId::new("blocks", block_bytes), |bencher| {
            bencher.iter(&mut open);
        });
        group.finish();
    }
    criterion.final_summary();
}
