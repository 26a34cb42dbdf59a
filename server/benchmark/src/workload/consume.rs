//! `consume`: one consumer reads a log as fast as it can, repeatedly. The log is in the
//! page cache.
//!
//! ```text
//! prefilled log per kind of payload ─▶ a first pass checks every record
//!                                   └▶ the measured passes of each round
//! ```

use std::time::{Duration, Instant};

use super::prefilled_log::PrefilledLog;
use super::{Harness, read_back};
use crate::Error;
use crate::environment::Server;
use crate::outcome::{Bound, Figure, Outcome, Protocol, Unit};
use crate::payload::{PayloadKind, RecordChecker, Templates};
use crate::plan::Settings;
use crate::statistics::Rounds;
use crate::wire::connection::Endpoint;
use crate::wire::http;
use crate::wire::record_sink::{RecordCounter, RecordSink};
use crate::wire::stream::StreamProtocol;

pub(super) fn run(
    harness: &mut Harness,
    protocol: Protocol,
    kind: PayloadKind,
) -> Result<Outcome, Error> {
    let prefilled = PrefilledLog::with_large_blocks(
        &mut harness.prefilled,
        &harness.server,
        kind,
        harness.settings,
    )?;
    let (server, settings) = (&harness.server, harness.settings);
    let mut checker = RecordChecker::new(&prefilled.templates, 1);
    read(server, protocol, prefilled.log.name(), &mut checker)?;
    let checked = read_back::expect(prefilled.records, checker.checked())?;
    // The server leaves records in the page cache when they are read for the third time.
    for _ in 0..2 {
        let mut counter = RecordCounter::new(Duration::MAX);
        read(server, protocol, prefilled.log.name(), &mut counter)?;
    }
    let mut rates = Vec::new();
    for _ in 0..settings.rounds {
        rates.push(round(server, protocol, prefilled, settings)?);
    }
    Ok(Outcome {
        workload: "consume",
        protocol: Some(protocol),
        payload: Some(kind),
        load: "1 consumer, warm page cache".to_owned(),
        figures: Rounds::of(rates)
            .map(|rounds| Figure {
                name: "records",
                unit: Unit::Records,
                rounds,
                record_bytes: Some(wire_bytes(protocol, &prefilled.templates)),
                bound: Some(Bound::Loop),
            })
            .into_iter()
            .collect(),
        written: prefilled.records,
        checked,
        notes: Vec::new(),
    })
}

/// Reads the log until the time is over, and returns the rate.
fn round(
    server: &Server,
    protocol: Protocol,
    prefilled: &PrefilledLog,
    settings: Settings,
) -> Result<f64, Error> {
    let (mut records, mut time) = (0, Duration::ZERO);
    // The time to the first record does not count, and may be longer than a pass. The
    // deadline bounds the round in that case.
    let deadline = Instant::now() + settings.seconds * 5;
    while time < settings.seconds && (records == 0 || Instant::now() < deadline) {
        let mut counter = RecordCounter::new(settings.seconds - time);
        read(server, protocol, prefilled.log.name(), &mut counter)?;
        let wrong_bytes = match prefilled.templates.kind() {
            PayloadKind::Random(len) => counter.payload_bytes != counter.records * len as u64,
            PayloadKind::Json => false,
        };
        if wrong_bytes || counter.records > prefilled.records {
            return Err(Error::Failed(format!(
                "{} records with {} bytes were read from a log of {} records",
                counter.records, counter.payload_bytes, prefilled.records
            )));
        }
        let (counted, took) = counter.counted();
        records += counted;
        time += took;
    }
    Ok(records as f64 / time.as_secs_f64())
}

/// Reads the log from its start to its end, or until the sink needs no more.
pub(super) fn read(
    server: &Server,
    protocol: Protocol,
    log: &str,
    sink: &mut impl RecordSink,
) -> Result<(), Error> {
    match protocol {
        Protocol::Styx1 => read_back::read(server, log, sink),
        Protocol::Styx0 => StreamProtocol::Styx0.consume(&Endpoint::to(server)?, log, sink),
        Protocol::WebSocket => StreamProtocol::WebSocket.consume(&Endpoint::to(server)?, log, sink),
        Protocol::Http => http::consume(&Endpoint::to(server)?, log, sink),
    }
}

/// Bytes of a record on the wire. JSON lines are compressed on the wire: for those, the
/// bytes of the payload.
pub(super) fn wire_bytes(protocol: Protocol, templates: &Templates) -> f64 {
    let framing = match (protocol, templates.kind()) {
        (_, PayloadKind::Json) => 0.0,
        (Protocol::Styx1, _) => 8.0,
        (Protocol::Styx0, _) => 6.0,
        (Protocol::WebSocket, PayloadKind::Random(len)) => match len {
            0..126 => 2.0,
            126..0x1_0000 => 4.0,
            _ => 10.0,
        },
        (Protocol::Http, _) => 4.0,
    };
    templates.payload_bytes() + framing
}
