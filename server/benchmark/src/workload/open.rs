//! `open`: the time from the start of a server after a kill -9 until all logs are open.
//! It is measured without a log, with one long unfinished segment, and with the same
//! number of bytes in finished segments.

use std::sync::Arc;
use std::time::Instant;

use styx_client::LogConfig;

use super::produce::BATCH_BYTES;
use super::{Harness, read_back};
use crate::Error;
use crate::environment::Server;
use crate::outcome::{Figure, Outcome, Unit};
use crate::payload::{Framing, PayloadKind, RecordGenerator, Templates};
use crate::statistics::Rounds;

const KIND: PayloadKind = PayloadKind::Random(1000);
const BYTES: u64 = 1 << 30;
const BYTES_QUICK: u64 = 4 << 20;
const GIB: f64 = (1_u64 << 30) as f64;
const LOG: &str = "opened";

pub(super) fn run(harness: &Harness) -> Result<Outcome, Error> {
    let bytes = if harness.settings.quick { BYTES_QUICK } else { BYTES };
    let config = |segment: u64| LogConfig {
        segment_max_size: i64::try_from(segment).unwrap_or(i64::MAX),
        ..LogConfig::default()
    };
    let empty = measure(harness, None)?;
    let tail = measure(harness, Some((bytes, config(16 * bytes))))?;
    let sealed = measure(harness, Some((bytes, config(bytes / 64))))?;
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
struct OpenTimes {
    seconds: Vec<f64>,
    bytes: u64,
    written: u64,
    checked: u64,
}

/// Fills a log. Each round kills its server and measures how long the next one takes.
fn measure(harness: &Harness, log: Option<(u64, LogConfig)>) -> Result<OpenTimes, Error> {
    let data = harness.new_data_directory();
    let cleanup = &harness.server.cleanup;
    let mut opened = OpenTimes::default();
    let mut server = Server::start_child(&data, cleanup)?;
    let templates = Arc::new(Templates::new(KIND));
    if let Some((bytes, config)) = log {
        server.client.create_log(LOG, config, false)?;
        let producer = server.client.producer(LOG).open()?;
        let mut generator = RecordGenerator::new(&templates, 0, Framing::Raw);
        while opened.bytes < bytes {
            let batch = generator.batch(BATCH_BYTES);
            opened.bytes += batch.bytes().len() as u64;
            producer.append_many(batch.payloads())?;
        }
        producer.close()?;
        opened.written = generator.made();
    }
    for _ in 0..harness.settings.rounds {
        // Dropping a child server kills it with SIGKILL.
        drop(server);
        let begun = Instant::now();
        server = Server::start_child(&data, cleanup)?;
        if let Some(child) = &server.child {
            child.wait_until_open(&server.client)?;
        }
        opened.seconds.push(begun.elapsed().as_secs_f64());
    }
    if opened.written > 0 {
        opened.checked = read_back::check(&server, LOG, &templates, 1, opened.written)?;
    }
    drop(server);
    // Frees the space now, because the disk may be small.
    let _ = std::fs::remove_dir_all(&data);
    Ok(opened)
}
