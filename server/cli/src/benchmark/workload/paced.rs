//! `paced`: records are sent at a constant rate, one by one; how long each takes
//! to its ack, from when it was *meant* to be sent. A load that waits for a slow
//! answer before it sends the next one would hide what the others had to wait.
//!
//! ```text
//! sender  waits until record i is due ─▶ sends it, whatever is still unacked
//! acks    ◀─ record i is durable: now - due(i)
//! ```
//! Beside each round the same records go, as often a second, to a thread that does
//! nothing but write, sync and answer ([`Echo`]): the least that an ack takes at this
//! rate.
//!
//! Over HTTP a connection has one request in flight: records that are due
//! meanwhile wait, and their waiting counts.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use super::produce::joined;
use super::{Bench, read_back};
use crate::benchmark::latency::{self, Latencies, Pace};
use crate::benchmark::machine::Echo;
use crate::benchmark::outcome::{Bound, Outcome, Protocol};
use crate::benchmark::payload::{Framing, Kind, Maker, Templates};
use crate::benchmark::place::{Log, Server};
use crate::benchmark::plan::Settings;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::http::Poster;
use crate::benchmark::wire::stream::Stream;
use crate::failure::Failure;

const KIND: Kind = Kind::Random(100);

/// A load at a constant rate, in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) rate: u32,
    /// Records before those that count.
    pub(super) warm_up: u64,
    pub(super) records: u64,
}

impl Load {
    pub(super) fn of(settings: Settings) -> Load {
        let rate = f64::from(settings.rate);
        let warm_up = (settings.warm_up.as_secs_f64() * rate) as u64;
        // Percentiles need more of them than a rate does.
        let counted = ((3.0 * settings.seconds.as_secs_f64() * rate) as u64).max(10);
        Load { rate: settings.rate, warm_up, records: warm_up + counted }
    }
}

pub(super) fn run(bench: &Bench, protocol: Protocol) -> Result<Outcome, Failure> {
    let (server, settings) = (&bench.server, bench.settings);
    let templates = Arc::new(Templates::new(KIND));
    let load = Load::of(settings);
    let (mut rounds, mut bares, mut checked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..settings.rounds {
        bench.settle();
        bares.push(bare(&bench.directory, &templates, load)?);
        let log = Log::create(server)?;
        let latencies = match protocol {
            Protocol::Styx1 => styx1(server, log.name(), &templates, load),
            Protocol::Styx0 => stream(Stream::Styx0, server, log.name(), &templates, load),
            Protocol::WebSocket => stream(Stream::WebSocket, server, log.name(), &templates, load),
            Protocol::Http => http(server, log.name(), &templates, load),
        }?;
        read_back::expect_acked(load.records - load.warm_up, latencies.count())?;
        rounds.push(latencies);
        checked += read_back::check(server, log.name(), &templates, 1, load.records)?;
    }
    let mut figures = latency::figures(&rounds, Bound::SyncAndTrip);
    figures.extend(latency::bare_figures(&bares));
    Ok(Outcome {
        workload: "paced",
        protocol: Some(protocol),
        payload: Some(KIND),
        load: format!("1 producer, {} records/s", load.rate),
        figures,
        written: load.records * rounds.len() as u64,
        checked,
        notes: Vec::new(),
    })
}

/// The same without a server; a third of the records will do for its percentiles.
fn bare(directory: &Path, templates: &Arc<Templates>, load: Load) -> Result<Latencies, Failure> {
    let failed = |error| Failure::Failed(format!("{}: {error}", directory.display()));
    let mut maker = Maker::new(templates, 0, Framing::Bare);
    let record_bytes = maker.batch(1).bytes().len();
    let mut echo = Echo::start(directory, record_bytes).map_err(failed)?;
    let mut latencies = Latencies::new()?;
    let pace = Pace::begin(load.rate);
    Pace::sharpen();
    for index in 0..load.warm_up + (load.records - load.warm_up) / 3 {
        pace.wait_for(index);
        echo.ask(maker.batch(1).bytes()).map_err(failed)?;
        if index >= load.warm_up {
            latencies.record(pace.due(index).elapsed(), 1);
        }
    }
    Ok(latencies)
}

fn styx1(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    load: Load,
) -> Result<Latencies, Failure> {
    let producer = server.client.producer(log).open()?;
    let mut maker = Maker::new(templates, 0, Framing::Bare);
    let (sent, to_be_acked) = mpsc::channel::<styx_client::blocking::Ack>();
    let pace = Pace::begin(load.rate);
    let waiter = std::thread::spawn(move || -> Result<Latencies, Failure> {
        let mut latencies = Latencies::new()?;
        for (index, ack) in (0..).zip(to_be_acked) {
            ack.position()?;
            if index >= load.warm_up {
                latencies.record(pace.due(index).elapsed(), 1);
            }
        }
        Ok(latencies)
    });
    Pace::sharpen();
    for index in 0..load.records {
        pace.wait_for(index);
        let ack = producer.append(maker.batch(1).bytes())?;
        // A waiter that has gone says why when it is joined.
        if sent.send(ack).is_err() {
            break;
        }
    }
    drop(sent);
    let latencies = joined(waiter.join())?;
    producer.close()?;
    Ok(latencies)
}

fn stream(
    stream: Stream,
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    load: Load,
) -> Result<Latencies, Failure> {
    let (mut to, mut acks) = stream.producer(&Route::to(server)?, log)?;
    let mut maker = Maker::new(templates, 0, stream.framing());
    let pace = Pace::begin(load.rate);
    let reader = std::thread::spawn(move || -> Result<Latencies, Failure> {
        let (mut latencies, mut durable) = (Latencies::new()?, 0);
        while let Some(count) = acks.next()? {
            let now = Instant::now();
            for index in durable.max(load.warm_up)..count {
                latencies.record(now.saturating_duration_since(pace.due(index)), 1);
            }
            durable = count;
        }
        Ok(latencies)
    });
    Pace::sharpen();
    let mut sent = Ok(());
    for index in 0..load.records {
        pace.wait_for(index);
        sent = to.write_all(maker.batch(1).bytes());
        if sent.is_err() {
            break;
        }
    }
    let finished = stream.finish(&mut to);
    let latencies = joined(reader.join())?;
    sent.map_err(|error| Failure::Failed(format!("sending records: {error}")))?;
    finished?;
    Ok(latencies)
}

fn http(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    load: Load,
) -> Result<Latencies, Failure> {
    let mut poster = Poster::new(&Route::to(server)?, log)?;
    let mut maker = Maker::new(templates, 0, Framing::Bare);
    let mut latencies = Latencies::new()?;
    let pace = Pace::begin(load.rate);
    Pace::sharpen();
    for index in 0..load.records {
        pace.wait_for(index);
        poster.post_one(maker.batch(1).bytes())?;
        if index >= load.warm_up {
            latencies.record(pace.due(index).elapsed(), 1);
        }
    }
    Ok(latencies)
}
