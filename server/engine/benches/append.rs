//! Measures appends from the queue to the result: blocks, and single records, that share a commit.
//! Run it with `cargo bench --package styx-engine --bench append`.

mod scene;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use styx_engine::Append;
use styx_protocol::{LogConfig, Records};

use scene::{BLOCK_BYTES, Scene, block};

/// Blocks in a commit.
const BLOCKS: usize = 4;

/// Single records in a commit, as if each came from another connection.
const SINGLE: usize = 64;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for payload_bytes in [10, 100] {
        let blocks = vec![block(BLOCK_BYTES, payload_bytes); BLOCKS];
        measure(&mut criterion, "blocks", payload_bytes, &blocks);
        let single = Records::one(&vec![b'x'; payload_bytes]).into();
        measure(&mut criterion, "single records", payload_bytes, &vec![single; SINGLE]);
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, what: &str, payload_bytes: usize, appends: &[Append]) {
    let records: u64 = appends.iter().map(|append| u64::from(append.count())).sum();
    let config = LogConfig { segment_max_size: 64 << 20, ..LogConfig::default() };
    let scene = Scene::new(config, 4 << 20);
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(records));
    group.bench_function(BenchmarkId::new(what, payload_bytes), |bencher| {
        let prepare = || {
            // Remove all segments except the newest, so that the log always fits in memory.
            scene.log.trim(scene.log.end_position()).expect("the end is a valid position");
            appends.to_vec()
        };
        bencher.iter_batched(prepare, |appends| scene.append(appends), BatchSize::PerIteration);
    });
    group.finish();
}
