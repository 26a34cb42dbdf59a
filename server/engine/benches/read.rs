//! Measures reads of a whole log: as records and as stored blocks, from memory and from the file.
//! Run it with `cargo bench --package styx-engine --bench read`.

mod scene;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use styx_engine::{Found, Reader};
use styx_protocol::{LogConfig, Position};

use scene::Scene;

/// The size of the log's records in bytes.
const LOG_BYTES: usize = 16 << 20;

/// The maximum size of one read in bytes.
const READ_BYTES: usize = 1 << 20;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for payload_bytes in [10, 100] {
        for (place, tail_bytes_max) in [("memory", 4 * LOG_BYTES), ("file", 0)] {
            let scene = Scene::new(LogConfig::default(), tail_bytes_max);
            scene.fill(LOG_BYTES, payload_bytes);
            let id = |what: &str| BenchmarkId::new(format!("{what} from {place}"), payload_bytes);
            let reader =
                || scene.log.reader(Position::ORIGIN).expect("the log begins at the origin");
            let mut group = criterion.benchmark_group("read");
            group.throughput(Throughput::Elements(scene.log.end_position().0));
            group.bench_function(id("records"), |bencher| bencher.iter(|| records(reader())));
            group.bench_function(id("blocks"), |bencher| bencher.iter(|| blocks(reader())));
            group.finish();
        }
    }
    criterion.final_summary();
}

/// Reads each record, like the front ends that send single records.
fn records(mut reader: Reader) {
    while let Found::Some(batch) = reader.read(READ_BYTES).expect("an intact log") {
        batch.records().for_each(|record| {
            black_box(record);
        });
    }
}

/// Reads stored blocks, as the server sends them to a styx/1 consumer.
fn blocks(mut reader: Reader) {
    while let Found::Some(blocks) = reader.blocks(READ_BYTES).expect("an intact log") {
        blocks.parts().for_each(|part| {
            black_box(part);
        });
    }
}
