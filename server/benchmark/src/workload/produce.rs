//! `produce`: records are appended as fast as they become durable.
//!
//! | protocol | load |
//! |---|---|
//! | styx/1 | the client core: one producer, batches with `append_many`, no wait for single acks |
//! | styx/0, WebSocket | one connection; a second thread reads the acks |
//! | HTTP | 4 connections, each with one body of binary-records in flight |

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use styx_client::Codec;

use super::window::Window;
use super::{Harness, read_back};
use crate::Error;
use crate::environment::{Server, TemporaryLog};
use crate::outcome::{Bound, Figure, Outcome, Protocol, Unit};
use crate::payload::{Framing, PayloadKind, RecordGenerator, Templates};
use crate::plan::Settings;
use crate::statistics::Rounds;
use crate::wire::connection::Endpoint;
use crate::wire::http::Poster;
use crate::wire::stream::StreamProtocol;

/// Bytes of payloads in one call of `append_many`, and of messages in one write.
pub(super) const BATCH_BYTES: usize = 128 << 10;
/// Bytes of a body over HTTP. With its framing it fits in one block.
const BODY_BYTES: usize = 512 << 10;
const HTTP_CONNECTIONS: u16 = 4;
/// Bytes of a record on the disk in addition to its payload.
const RECORD_HEADER_BYTES: f64 = 8.0;

/// The result of one round.
struct Round {
    rate: f64,
    written: u64,
}

pub(super) fn run(
    harness: &Harness,
    protocol: Protocol,
    kind: PayloadKind,
) -> Result<Outcome, Error> {
    let (server, settings) = (&harness.server, harness.settings);
    let templates = Arc::new(Templates::new(kind));
    let producers = if protocol == Protocol::Http { HTTP_CONNECTIONS } else { 1 };
    let (mut rates, mut written, mut checked) = (Vec::new(), 0, 0);
    for _ in 0..settings.rounds {
        harness.flush_file_system();
        let log = TemporaryLog::create(server)?;
        let round = match protocol {
            Protocol::Styx1 => styx1(server, log.name(), &templates, settings),
            Protocol::Styx0 => {
                stream(StreamProtocol::Styx0, server, log.name(), &templates, settings)
            }
            Protocol::WebSocket => {
                stream(StreamProtocol::WebSocket, server, log.name(), &templates, settings)
            }
            Protocol::Http => http(server, log.name(), &templates, settings),
        }?;
        checked +=
            read_back::check(server, log.name(), &templates, producers.into(), round.written)?;
        written += round.written;
        rates.push(round.rate);
    }
    let framing = if kind == PayloadKind::Json { 0.0 } else { RECORD_HEADER_BYTES };
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

fn load(protocol: Protocol, kind: PayloadKind) -> String {
    match (protocol, kind) {
        (Protocol::Http, _) => format!("{HTTP_CONNECTIONS} connections, bodies of 512 KiB"),
        (Protocol::Styx1, PayloadKind::Json) => {
            "1 producer, append_many of 128 KiB, lz4".to_owned()
        }
        (Protocol::Styx1, _) => "1 producer, append_many of 128 KiB".to_owned(),
        _ => "1 connection, acks read on a second thread".to_owned(),
    }
}

fn styx1(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    settings: Settings,
) -> Result<Round, Error> {
    let producer = server.client.producer(log).compression(codec(templates.kind())).open()?;
    let mut generator = RecordGenerator::new(templates, 0, Framing::Raw);
    let mut window = Window::begin(settings);
    while !window.is_over(|| producer.durable_sequence()) {
        producer.append_many(generator.batch(BATCH_BYTES).payloads())?;
    }
    producer.close()?;
    Ok(Round { rate: window.rate(), written: generator.made() })
}

/// JSON lines are compressed. Random bytes do not compress.
pub(super) fn codec(kind: PayloadKind) -> Codec {
    match kind {
        PayloadKind::Json => Codec::Lz4,
        PayloadKind::Random(_) => Codec::None,
    }
}

fn stream(
    stream: StreamProtocol,
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    settings: Settings,
) -> Result<Round, Error> {
    let (mut to, mut acks) = stream.producer(&Endpoint::to(server)?, log)?;
    let mut generator = RecordGenerator::new(templates, 0, stream.framing());
    let durable = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&durable);
    let reader = std::thread::spawn(move || -> Result<u64, Error> {
        while let Some(count) = acks.next()? {
            seen.store(count, Ordering::Relaxed);
        }
        Ok(acks.durable())
    });
    let mut window = Window::begin(settings);
    let mut sent = Ok(());
    while sent.is_ok() && !window.is_over(|| durable.load(Ordering::Relaxed)) {
        sent = to.write_all(generator.batch(BATCH_BYTES).bytes());
    }
    let finished = stream.finish(&mut to);
    // The server's error comes first, because a failed write is only its consequence.
    let acked = joined(reader.join())?;
    sent.map_err(|error| Error::Failed(format!("sending records: {error}")))?;
    finished?;
    read_back::expect_acked(generator.made(), acked)?;
    Ok(Round { rate: window.rate(), written: acked })
}

fn http(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    settings: Settings,
) -> Result<Round, Error> {
    let endpoint = Endpoint::to(server)?;
    let durable = AtomicU64::new(0);
    let rates = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..HTTP_CONNECTIONS)
            .map(|number| {
                let (endpoint, durable) = (&endpoint, &durable);
                scope.spawn(move || -> Result<f64, Error> {
                    let mut poster = Poster::new(endpoint, log)?;
                    let mut generator =
                        RecordGenerator::new(templates, number, Framing::BinaryRecords);
                    let mut window = Window::begin(settings);
                    while !window.is_over(|| durable.load(Ordering::Relaxed)) {
                        let before = generator.made();
                        poster.post(generator.batch(BODY_BYTES).bytes())?;
                        durable.fetch_add(generator.made() - before, Ordering::Relaxed);
                    }
                    Ok(window.rate())
                })
            })
            .collect();
        threads.into_iter().map(|thread| joined(thread.join())).collect::<Result<Vec<_>, _>>()
    })?;
    // Each thread measured the total rate, at nearly the same time.
    let rate = rates.iter().sum::<f64>() / rates.len() as f64;
    Ok(Round { rate, written: durable.into_inner() })
}

/// The result of a thread. A panic becomes an error.
pub(super) fn joined<T>(result: std::thread::Result<Result<T, Error>>) -> Result<T, Error> {
    result.unwrap_or_else(|_| Err(Error::Failed("a thread panicked".to_owned())))
}
