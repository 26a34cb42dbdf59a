//! `produce`: one producer appends as fast as its records become durable.

use std::sync::Arc;

use styx_client::Codec;

use super::window::Window;
use super::{Bench, read_back};
use crate::benchmark::outcome::{Bound, Figure, Outcome, Protocol, Unit};
use crate::benchmark::payload::{Framing, Kind, Maker, Templates};
use crate::benchmark::place::{Log, Server};
use crate::benchmark::plan::Settings;
use crate::benchmark::statistics::Rounds;
use crate::failure::Failure;

/// Bytes of payloads in one call of `append_many`.
pub(super) const BATCH_BYTES: usize = 128 << 10;
/// A record on the disk costs so many bytes beside its payload.
const RECORD_HEADER_BYTES: f64 = 8.0;

/// What one round gave.
struct Round {
    rate: f64,
    written: u64,
}

pub(super) fn run(bench: &Bench, protocol: Protocol, kind: Kind) -> Result<Outcome, Failure> {
    let templates = Arc::new(Templates::new(kind));
    let (mut rates, mut written, mut checked) = (Vec::new(), 0, 0);
    for _ in 0..bench.settings.rounds {
        let log = Log::create(&bench.server)?;
        let round = match protocol {
            Protocol::Styx1 => styx1(&bench.server, log.name(), &templates, bench.settings)?,
            _ => return Err(Failure::Failed(format!("{protocol} is not there yet"))),
        };
        checked += read_back::check(&bench.server, log.name(), &templates, 1, round.written)?;
        written += round.written;
        rates.push(round.rate);
    }
    let payload_bytes = templates.payload_bytes();
    let compressed = kind == Kind::Json;
    let record_bytes = payload_bytes + if compressed { 0.0 } else { RECORD_HEADER_BYTES };
    let load = match compressed {
        true => "1 producer, lz4, batches of 128 KiB",
        false => "1 producer, batches of 128 KiB",
    };
    Ok(Outcome {
        workload: "produce",
        protocol: Some(protocol),
        payload: Some(kind),
        load: load.to_owned(),
        figures: Rounds::of(rates)
            .map(|rounds| Figure {
                name: "records",
                unit: Unit::Records,
                rounds,
                record_bytes: Some(record_bytes),
                bound: Some(Bound::Disk),
            })
            .into_iter()
            .collect(),
        written,
        checked,
        notes: Vec::new(),
    })
}

/// A program that wants speed: the client core, batches with `append_many`, and
/// nobody waits for single acks.
fn styx1(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    settings: Settings,
) -> Result<Round, Failure> {
    let producer = server.client.producer(log).compression(codec(templates.kind())).open()?;
    let mut maker = Maker::new(templates, 0, Framing::Bare);
    let mut window = Window::begin(settings);
    while !window.is_over(|| producer.durable_sequence()) {
        producer.append_many(maker.batch(BATCH_BYTES).payloads())?;
    }
    producer.close()?;
    Ok(Round { rate: window.rate(), written: maker.made() })
}

/// JSON lines are compressed, random bytes cannot be.
pub(super) fn codec(kind: Kind) -> Codec {
    match kind {
        Kind::Json => Codec::Lz4,
        Kind::Random(_) => Codec::None,
    }
}
