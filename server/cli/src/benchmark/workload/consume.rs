//! `consume`: one consumer reads as fast as records come, again and again, from
//! a log that lies in the page cache.
//!
//! ```text
//! stock: a log for each kind of payload ─▶ a first pass checks every record
//!                                       └▶ passes that count, round after round
//! ```

use std::time::{Duration, Instant};

use super::stock::Stock;
use super::{Bench, read_back};
use crate::benchmark::outcome::{Bound, Figure, Outcome, Protocol, Unit};
use crate::benchmark::payload::{Checker, Kind, Templates};
use crate::benchmark::place::Server;
use crate::benchmark::plan::Settings;
use crate::benchmark::statistics::Rounds;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::http;
use crate::benchmark::wire::stream::Stream;
use crate::benchmark::wire::visitor::{Counter, Visitor};
use crate::failure::Failure;

pub(super) fn run(bench: &mut Bench, protocol: Protocol, kind: Kind) -> Result<Outcome, Failure> {
    let stock = Stock::of(&mut bench.stock, &bench.server, kind, bench.settings)?;
    let (server, settings) = (&bench.server, bench.settings);
    let mut checker = Checker::new(&stock.templates, 1);
    read(server, protocol, stock.log.name(), &mut checker)?;
    let checked = read_back::expect(stock.records, checker.checked())?;
    let mut rates = Vec::new();
    for _ in 0..settings.rounds {
        rates.push(round(server, protocol, stock, settings)?);
    }
    Ok(Outcome {
        workload: "consume",
        protocol: Some(protocol),
        payload: Some(kind),
        load: "1 consumer, warm".to_owned(),
        figures: Rounds::of(rates)
            .map(|rounds| Figure {
                name: "records",
                unit: Unit::Records,
                rounds,
                record_bytes: Some(wire_bytes(protocol, &stock.templates)),
                bound: Some(Bound::Loop),
            })
            .into_iter()
            .collect(),
        written: stock.records,
        checked,
        notes: Vec::new(),
    })
}

/// Passes over the log until the time is over, and their rate.
fn round(
    server: &Server,
    protocol: Protocol,
    stock: &Stock,
    settings: Settings,
) -> Result<f64, Failure> {
    let (mut records, mut time) = (0, Duration::ZERO);
    // Getting to the first record counts for nothing, and may take longer than a pass.
    let last = Instant::now() + settings.seconds * 5;
    while time < settings.seconds && (records == 0 || Instant::now() < last) {
        let mut counter = Counter::new(settings.seconds - time);
        read(server, protocol, stock.log.name(), &mut counter)?;
        let wrong_bytes = match stock.templates.kind() {
            Kind::Random(len) => counter.payload_bytes != counter.records * len as u64,
            Kind::Json => false,
        };
        if wrong_bytes || counter.records > stock.records {
            return Err(Failure::Failed(format!(
                "{} records of {} bytes in all were read of {}",
                counter.records, counter.payload_bytes, stock.records
            )));
        }
        let (counted, took) = counter.counted();
        records += counted;
        time += took;
    }
    Ok(records as f64 / time.as_secs_f64())
}

fn read(
    server: &Server,
    protocol: Protocol,
    log: &str,
    visitor: &mut impl Visitor,
) -> Result<(), Failure> {
    match protocol {
        Protocol::Styx1 => read_back::read(server, log, visitor),
        Protocol::Styx0 => Stream::Styx0.consume(&Route::to(server)?, log, visitor),
        Protocol::WebSocket => Stream::WebSocket.consume(&Route::to(server)?, log, visitor),
        Protocol::Http => http::consume(&Route::to(server)?, log, visitor),
    }
}

/// Bytes of a record on the wire; of JSON lines, which come compressed, those of
/// the payload.
fn wire_bytes(protocol: Protocol, templates: &Templates) -> f64 {
    let framing = match (protocol, templates.kind()) {
        (_, Kind::Json) => 0.0,
        (Protocol::Styx1, _) => 8.0,
        (Protocol::Styx0, _) => 6.0,
        (Protocol::WebSocket, Kind::Random(len)) => match len {
            0..126 => 2.0,
            126..0x1_0000 => 4.0,
            _ => 10.0,
        },
        (Protocol::Http, _) => 4.0,
    };
    templates.payload_bytes() + framing
}
