//! `open`: how long a server takes after a kill -9 until every log can be used:
//! with nothing, with one long segment that was never finished, and with as many
//! bytes in finished ones.

use std::sync::Arc;
use std::time::Instant;

use styx_client::LogConfig;

use super::produce::BATCH_BYTES;
use super::{Bench, read_back};
use crate::benchmark::outcome::{Figure, Outcome, Unit};
use crate::benchmark::payload::{Framing, Kind, Maker, Templates};
use crate::benchmark::place::Server;
use crate::benchmark::statistics::Rounds;
use crate::failure::Failure;

const KIND: Kind = Kind::Random(1000);
const BYTES: u64 = 1 << 30;
const BYTES_QUICK: u64 = 4 << 20;
const GIB: f64 = (1_u64 << 30) as f64;
const LOG: &str = "opened";

pub(super) fn run(bench: &Bench) -> Result<Outcome, Failure> {
    let bytes = if bench.settings.quick { BYTES_QUICK } else { BYTES };
    let config = |segment: u64| LogConfig {
        segment_max_size: i64::try_from(segment).unwrap_or(i64::MAX),
        ..LogConfig::default()
    };
    let empty = measure(bench, None)?;
    let tail = measure(bench, Some((bytes, config(16 * bytes))))?;
    let sealed = measure(bench, Some((bytes, config(bytes / 64))))?;
    let gibibytes = tail.bytes as f64 / GIB;
    let per_gib = tail.seconds.iter().map(|seconds| seconds / gibibytes).collect();
    let figure = |name, unit, figures| {
        Some(Figure { name, unit, rounds: Rounds::of(figures)?, record_bytes: None, bound: None })
    };
    Ok(Outcome {
        workload: "open",
        protocol: None,
        payload: Some(KIND),
        load: format!("kill -9 with {} MiB", bytes >> 20),
        figures: [
            figure("no log", Unit::Seconds, empty.seconds),
            figure("unfinished segment", Unit::SecondsPerGib, per_gib),
            figure("finished segments", Unit::Seconds, sealed.seconds),
        ]
        .into_iter()
        .flatten()
        .collect(),
        written: tail.written + sealed.written,
        checked: tail.checked + sealed.checked,
        notes: Vec::new(),
    })
}

#[derive(Default)]
struct Opened {
    seconds: Vec<f64>,
    bytes: u64,
    written: u64,
    checked: u64,
}

/// Fills a log, kills its server, and times the next one, round after round.
fn measure(bench: &Bench, log: Option<(u64, LogConfig)>) -> Result<Opened, Failure> {
    let data = bench.data();
    let duties = &bench.server.duties;
    let mut opened = Opened::default();
    let mut server = Server::alone(&data, duties)?;
    let templates = Arc::new(Templates::new(KIND));
    if let Some((bytes, config)) = log {
        server.client.create_log(LOG, config, false)?;
        let producer = server.client.producer(LOG).open()?;
        let mut maker = Maker::new(&templates, 0, Framing::Bare);
        while opened.bytes < bytes {
            let batch = maker.batch(BATCH_BYTES);
            opened.bytes += batch.bytes().len() as u64;
            producer.append_many(batch.payloads())?;
        }
        producer.close()?;
        opened.written = maker.made();
    }
    for _ in 0..bench.settings.rounds {
        // Its end is a kill -9.
        drop(server);
        let begun = Instant::now();
        server = Server::alone(&data, duties)?;
        if let Some(alone) = &server.alone {
            alone.wait_until_open(&server.client)?;
        }
        opened.seconds.push(begun.elapsed().as_secs_f64());
    }
    if opened.written > 0 {
        opened.checked = read_back::check(&server, LOG, &templates, 1, opened.written)?;
    }
    drop(server);
    // The disk may be small.
    let _ = std::fs::remove_dir_all(&data);
    Ok(opened)
}
