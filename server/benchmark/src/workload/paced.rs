//! `paced`: records are sent at a constant rate, one by one. Measures the latency from
//! the time a record is *due* to its ack. A load that waits for a slow ack before it
//! sends the next record would hide the wait of the following records (coordinated
//! omission).
//!
//! ```text
//! sender  waits until record i is due ─▶ sends it, even if others are unacked
//! acks    ◀─ record i is durable: now - due(i)
//! ```
//! Before each round, the same records are sent at the same rate to a thread that only
//! writes, syncs and answers ([`SyncEcho`]). That is the least latency at this rate.
//!
//! Over HTTP a connection has one request in flight. Records that are due while it is
//! in flight wait, and their wait counts.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use super::produce::joined;
use super::{Harness, read_back};
use crate::Error;
use crate::environment::{Server, TemporaryLog};
use crate::latency::{self, Latencies, Pace};
use crate::machine::SyncEcho;
use crate::outcome::{Bound, Outcome, Protocol};
use crate::payload::{Framing, PayloadKind, RecordGenerator, Templates};
use crate::plan::Settings;
use crate::wire::connection::Endpoint;
use crate::wire::http::Poster;
use crate::wire::stream::StreamProtocol;

pub(super) const KIND: PayloadKind = PayloadKind::Random(100);

/// The load of one round, at a constant rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacedLoad {
    pub(super) rate: u32,
    /// The number of records at the start that do not count.
    pub(super) warm_up: u64,
    /// The number of records including the warm-up.
    pub(super) records: u64,
}

impl PacedLoad {
    pub(super) fn of(settings: Settings) -> PacedLoad {
        let rate = f64::from(settings.rate);
        let warm_up = (settings.warm_up.as_secs_f64() * rate) as u64;
        // Three times the seconds of a rate, because percentiles need more records.
        let counted = ((3.0 * settings.seconds.as_secs_f64() * rate) as u64).max(10);
        PacedLoad { rate: settings.rate, warm_up, records: warm_up + counted }
    }
}

pub(super) fn run(harness: &Harness, protocol: Protocol) -> Result<Outcome, Error> {
    let (server, settings) = (&harness.server, harness.settings);
    let templates = Arc::new(Templates::new(KIND));
    let load = PacedLoad::of(settings);
    let (mut rounds, mut baselines, mut checked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..settings.rounds {
        harness.flush_file_system();
        baselines.push(baseline(&harness.directory, &templates, load)?);
        let log = TemporaryLog::create(server)?;
        let latencies = match protocol {
            Protocol::Styx1 => styx1(server, log.name(), &templates, load),
            Protocol::Styx0 => stream(StreamProtocol::Styx0, server, log.name(), &templates, load),
            Protocol::WebSocket => {
                stream(StreamProtocol::WebSocket, server, log.name(), &templates, load)
            }
            Protocol::Http => http(server, log.name(), &templates, load),
        }?;
        read_back::expect_acked(load.records - load.warm_up, latencies.count())?;
        rounds.push(latencies);
        checked += read_back::check(server, log.name(), &templates, 1, load.records)?;
    }
    let mut figures = latency::figures(&rounds, Bound::SyncAndTrip);
    figures.extend(latency::baseline_figures(&baselines));
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

/// The same load without a server. A third of the records is enough for its percentiles.
fn baseline(
    directory: &Path,
    templates: &Arc<Templates>,
    load: PacedLoad,
) -> Result<Latencies, Error> {
    let failed = |error| Error::Failed(format!("{}: {error}", directory.display()));
    let mut generator = RecordGenerator::new(templates, 0, Framing::Raw);
    let record_bytes = generator.batch(1).bytes().len();
    let mut echo = SyncEcho::start(directory, record_bytes).map_err(failed)?;
    let mut latencies = Latencies::new()?;
    let pace = Pace::begin(load.rate);
    Pace::use_precise_timers();
    for index in 0..load.warm_up + (load.records - load.warm_up) / 3 {
        pace.wait_for(index);
        echo.send(generator.batch(1).bytes()).map_err(failed)?;
        if index >= load.warm_up {
            latencies.record(pace.due(index).elapsed(), 1);
        }
    }
    Ok(latencies)
}

pub(super) fn styx1(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    load: PacedLoad,
) -> Result<Latencies, Error> {
    let producer = server.client.producer(log).open()?;
    let mut generator = RecordGenerator::new(templates, 0, Framing::Raw);
    let (sent, to_be_acked) = mpsc::channel::<styx_client::blocking::Ack>();
    let pace = Pace::begin(load.rate);
    let waiter = std::thread::spawn(move || -> Result<Latencies, Error> {
        let mut latencies = Latencies::new()?;
        for (index, ack) in (0..).zip(to_be_acked) {
            ack.position()?;
            if index >= load.warm_up {
                latencies.record(pace.due(index).elapsed(), 1);
            }
        }
        Ok(latencies)
    });
    Pace::use_precise_timers();
    for index in 0..load.records {
        pace.wait_for(index);
        let ack = producer.append(generator.batch(1).bytes())?;
        // If the other thread has ended, joining it below returns its error.
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
    stream: StreamProtocol,
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    load: PacedLoad,
) -> Result<Latencies, Error> {
    let (mut to, mut acks) = stream.producer(&Endpoint::to(server)?, log)?;
    let mut generator = RecordGenerator::new(templates, 0, stream.framing());
    let pace = Pace::begin(load.rate);
    let reader = std::thread::spawn(move || -> Result<Latencies, Error> {
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
    Pace::use_precise_timers();
    let mut sent = Ok(());
    for index in 0..load.records {
        pace.wait_for(index);
        sent = to.write_all(generator.batch(1).bytes());
        if sent.is_err() {
            break;
        }
    }
    let finished = stream.finish(&mut to);
    let latencies = joined(reader.join())?;
    sent.map_err(|error| Error::Failed(format!("sending records: {error}")))?;
    finished?;
    Ok(latencies)
}

fn http(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    load: PacedLoad,
) -> Result<Latencies, Error> {
    let mut poster = Poster::new(&Endpoint::to(server)?, log)?;
    let mut generator = RecordGenerator::new(templates, 0, Framing::Raw);
    let mut latencies = Latencies::new()?;
    let pace = Pace::begin(load.rate);
    Pace::use_precise_timers();
    for index in 0..load.records {
        pace.wait_for(index);
        poster.post_one(generator.batch(1).bytes())?;
        if index >= load.warm_up {
            latencies.record(pace.due(index).elapsed(), 1);
        }
    }
    Ok(latencies)
}
