//! `consume`: one consumer reads as fast as records come, again and again, from
//! a log that lies in the page cache.
//!
//! ```text
//! stock: a log for each kind of payload ─▶ a first pass checks every record
//!                                       └▶ passes that count, round after round
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::produce::{BATCH_BYTES, codec};
use super::visitor::{Counter, Visitor};
use super::{Bench, read_back};
use crate::benchmark::outcome::{Bound, Figure, Outcome, Protocol, Unit};
use crate::benchmark::payload::{Checker, Framing, Kind, Maker, Templates};
use crate::benchmark::place::{Log, Server};
use crate::benchmark::plan::Settings;
use crate::benchmark::statistics::Rounds;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::http;
use crate::benchmark::wire::stream::Stream;
use crate::failure::Failure;

/// How much there is to read at most.
const STOCK_BYTES: u64 = 512 << 20;
const STOCK_RECORDS: u64 = 4_000_000;
const STOCK_BYTES_QUICK: u64 = 1 << 20;

/// A log to read.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) log: Log,
    pub(super) templates: Arc<Templates>,
    pub(super) records: u64,
}

impl Stock {
    /// The log that is there, or a new one in its place.
    pub(super) fn of<'s>(
        place: &'s mut Option<Stock>,
        server: &Server,
        kind: Kind,
        settings: Settings,
    ) -> Result<&'s Stock, Failure> {
        let there = place.take_if(|stock| stock.templates.kind() == kind);
        // The old log goes first: not two in the page cache.
        *place = None;
        let stock = match there {
            Some(stock) => stock,
            None => Stock::fill(server, kind, settings)?,
        };
        Ok(place.insert(stock))
    }

    fn fill(server: &Server, kind: Kind, settings: Settings) -> Result<Stock, Failure> {
        let templates = Arc::new(Templates::new(kind));
        let log = Log::create(server)?;
        let producer = server.client.producer(log.name()).compression(codec(kind)).open()?;
        let mut maker = Maker::new(&templates, 0, Framing::Bare);
        let bytes_max = if settings.quick { STOCK_BYTES_QUICK } else { STOCK_BYTES };
        let mut bytes = 0;
        while bytes < bytes_max && maker.made() < STOCK_RECORDS {
            let batch = maker.batch(BATCH_BYTES);
            bytes += batch.bytes().len() as u64;
            producer.append_many(batch.payloads())?;
        }
        producer.close()?;
        Ok(Stock { log, templates, records: maker.made() })
    }
}

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
