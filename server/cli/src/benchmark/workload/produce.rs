//! `produce`: records are appended as fast as they become durable.
//!
//! | protocol | load |
//! |---|---|
//! | styx/1 | the client core: one producer, batches with `append_many`, nobody waits for single acks |
//! | styx/0, WebSocket | one connection, messages one behind the other, acks read beside |
//! | HTTP | a few connections, each with one body of binary-records in flight |

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use styx_client::Codec;

use super::window::Window;
use super::{Bench, read_back};
use crate::benchmark::outcome::{Bound, Figure, Outcome, Protocol, Unit};
use crate::benchmark::payload::{Framing, Kind, Maker, Templates};
use crate::benchmark::place::{Log, Server};
use crate::benchmark::plan::Settings;
use crate::benchmark::statistics::Rounds;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::http::Poster;
use crate::benchmark::wire::stream::Stream;
use crate::failure::Failure;

/// Bytes of payloads in one call of `append_many`, and of messages in one write.
pub(super) const BATCH_BYTES: usize = 128 << 10;
/// Bytes of a body over HTTP; with its framing it is one block at most.
const BODY_BYTES: usize = 512 << 10;
const HTTP_CONNECTIONS: u16 = 4;
/// A record on the disk costs so many bytes beside its payload.
const RECORD_HEADER_BYTES: f64 = 8.0;

/// What one round gave.
struct Round {
    rate: f64,
    written: u64,
}

pub(super) fn run(bench: &Bench, protocol: Protocol, kind: Kind) -> Result<Outcome, Failure> {
    let (server, settings) = (&bench.server, bench.settings);
    let templates = Arc::new(Templates::new(kind));
    let producers = if protocol == Protocol::Http { HTTP_CONNECTIONS } else { 1 };
    let (mut rates, mut written, mut checked) = (Vec::new(), 0, 0);
    for _ in 0..settings.rounds {
        bench.settle();
        let log = Log::create(server)?;
        let round = match protocol {
            Protocol::Styx1 => styx1(server, log.name(), &templates, settings),
            Protocol::Styx0 => stream(Stream::Styx0, server, log.name(), &templates, settings),
            Protocol::WebSocket => {
                stream(Stream::WebSocket, server, log.name(), &templates, settings)
            }
            Protocol::Http => http(server, log.name(), &templates, settings),
        }?;
        checked +=
            read_back::check(server, log.name(), &templates, producers.into(), round.written)?;
        written += round.written;
        rates.push(round.rate);
    }
    let framing = if kind == Kind::Json { 0.0 } else { RECORD_HEADER_BYTES };
    let figure = |rounds| Figure {
        name: "records",
        unit: Unit::Records,
        rounds,
        record_bytes: Some(templates.payload_bytes() + framing),
        bound: Some(Bound::Disk),
    };
    Ok(Outcome {
        workload: "produce",
        protocol: Some(protocol),
        payload: Some(kind),
        load: load(protocol, kind),
        figures: Rounds::of(rates).map(figure).into_iter().collect(),
        written,
        checked,
        notes: Vec::new(),
    })
}

fn load(protocol: Protocol, kind: Kind) -> String {
    match (protocol, kind) {
        (Protocol::Http, _) => format!("{HTTP_CONNECTIONS} connections, bodies of 512 KiB"),
        (Protocol::Styx1, Kind::Json) => "1 producer, append_many of 128 KiB, lz4".to_owned(),
        (Protocol::Styx1, _) => "1 producer, append_many of 128 KiB".to_owned(),
        _ => "1 connection, acks read beside".to_owned(),
    }
}

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

fn stream(
    stream: Stream,
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    settings: Settings,
) -> Result<Round, Failure> {
    let (mut to, mut acks) = stream.producer(&Route::to(server)?, log)?;
    let mut maker = Maker::new(templates, 0, stream.framing());
    let durable = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&durable);
    let reader = std::thread::spawn(move || -> Result<u64, Failure> {
        while let Some(count) = acks.next()? {
            seen.store(count, Ordering::Relaxed);
        }
        Ok(acks.durable())
    });
    let mut window = Window::begin(settings);
    let mut sent = Ok(());
    while sent.is_ok() && !window.is_over(|| durable.load(Ordering::Relaxed)) {
        sent = to.write_all(maker.batch(BATCH_BYTES).bytes());
    }
    let finished = stream.finish(&mut to);
    // What the server said matters more than that it then hung up.
    let acked = joined(reader.join())?;
    sent.map_err(|error| Failure::Failed(format!("sending records: {error}")))?;
    finished?;
    read_back::expect_acked(maker.made(), acked)?;
    Ok(Round { rate: window.rate(), written: acked })
}

fn http(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    settings: Settings,
) -> Result<Round, Failure> {
    let route = Route::to(server)?;
    let durable = AtomicU64::new(0);
    let rates = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..HTTP_CONNECTIONS)
            .map(|number| {
                let (route, durable) = (&route, &durable);
                scope.spawn(move || -> Result<f64, Failure> {
                    let mut poster = Poster::new(route, log)?;
                    let mut maker = Maker::new(templates, number, Framing::BinaryRecords);
                    let mut window = Window::begin(settings);
                    while !window.is_over(|| durable.load(Ordering::Relaxed)) {
                        let before = maker.made();
                        poster.post(maker.batch(BODY_BYTES).bytes())?;
                        durable.fetch_add(maker.made() - before, Ordering::Relaxed);
                    }
                    Ok(window.rate())
                })
            })
            .collect();
        threads.into_iter().map(|thread| joined(thread.join())).collect::<Result<Vec<_>, _>>()
    })?;
    // Each saw the rate of all, in nearly the same time.
    let rate = rates.iter().sum::<f64>() / rates.len() as f64;
    Ok(Round { rate, written: durable.into_inner() })
}

/// What a thread gave.
pub(super) fn joined<T>(result: std::thread::Result<Result<T, Failure>>) -> Result<T, Failure> {
    result.unwrap_or_else(|_| Err(Failure::Failed("a thread panicked".to_owned())))
}
