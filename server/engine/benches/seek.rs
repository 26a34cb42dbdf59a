//! Measures index look-ups: a position by time, and a record by position. Run it with
//! `cargo bench --package styx-engine --bench seek`.
//!
//! The cases use the newest segment's index in memory (`memory`), the index files of a few sealed
//! segments (`files`), and those of more segments than stay open (`many-files`). No reader keeps a
//! file open between two look-ups.

mod scene;

use criterion::{BenchmarkId, Criterion, Throughput};
use styx_engine::Seek;
use styx_protocol::{LogConfig, Position};

use scene::{BEGIN_US, Scene, block};

/// Blocks in the log. Each has its own commit, 1 ms after the one before.
const BLOCKS: u64 = 8192;

/// The size of a block's records in bytes. It is also the index interval, so every block has an
/// index entry.
const BLOCK_BYTES: usize = 4 << 10;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (place, segment_max_size) in
        [("memory", 1 << 30), ("files", 4 << 20), ("many-files", 64 << 10)]
    {
        let index_after_size = BLOCK_BYTES as i64;
        let config = LogConfig { segment_max_size, index_after_size, ..LogConfig::default() };
        let scene = Scene::new(config, 0);
        for _ in 0..BLOCKS {
            scene.append(vec![block(BLOCK_BYTES, 100)]);
            scene.clock.advance(1000);
        }
        measure(&mut criterion, place, &scene);
    }
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, place: &str, scene: &Scene) {
    let end = scene.log.end_position().0;
    let mut group = criterion.benchmark_group("seek");
    group.throughput(Throughput::Elements(1));
    let mut step = 0u64;
    // A pseudorandom sequence, so that successive look-ups are in different places.
    let mut next = |within: u64| {
        step = step.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (step >> 16) % within
    };
    group.bench_function(BenchmarkId::new("time", place), |bencher| {
        bencher.iter(|| {
            let time = BEGIN_US + next(BLOCKS * 1000);
            scene.log.seek(Seek::Time(time)).expect("every time has a position")
        });
    });
    group.bench_function(BenchmarkId::new("record", place), |bencher| {
        bencher.iter(|| scene.log.record(Position(next(end))).expect("the record is in the log"));
    });
    group.finish();
}
