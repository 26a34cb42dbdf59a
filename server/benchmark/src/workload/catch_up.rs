//! `catch-up`: one consumer reads a log from its start, right after the log was written,
//! and again after its pages were dropped from the page cache.
//!
//! ```text
//! producer ─▶ log ─┬─▶ consumer     "just written": starts after the last ack
//!                  ├─  drop the cached pages of the server's files
//!                  ├─▶ consumer     "dropped": reads from the disk
//!                  └─▶ a last pass checks every record
//! ```
//! The log is larger than what the server keeps in memory of its newest records. As in
//! `consume`, the time starts with the first records, because a server waits for 50 ms
//! before it sends them to a client of styx/0.

use std::time::Duration;

use super::prefilled_log::PrefilledLog;
use super::{Harness, consume, read_back, size};
use crate::Error;
use crate::environment::Server;
use crate::outcome::{Bound, Figure, Outcome, Protocol, Unit};
use crate::payload::PayloadKind;
use crate::statistics::Rounds;
use crate::wire::record_sink::RecordCounter;

/// The size of the log if no other is asked for: more than the server's memory of the
/// newest records.
const LOG_BYTES: u64 = 2 << 30;
const LOG_BYTES_QUICK: u64 = 1 << 20;

pub(super) fn run(
    harness: &mut Harness,
    protocol: Protocol,
    kind: PayloadKind,
) -> Result<Outcome, Error> {
    // Frees its space on the disk and in the page cache.
    harness.prefilled = None;
    let (server, settings) = (&harness.server, harness.settings);
    let by_default = if settings.quick { LOG_BYTES_QUICK } else { LOG_BYTES };
    let bytes = settings.log_bytes.unwrap_or_else(|| size::on_disk(&harness.directory, by_default));
    let (mut just_written, mut dropped) = (Vec::new(), Vec::new());
    let (mut written, mut checked, mut record_bytes) = (0, 0, 0.0);
    for _ in 0..settings.rounds {
        harness.flush_file_system();
        let filled = PrefilledLog::with_bytes(server, kind, bytes)?;
        just_written.push(pass(server, protocol, &filled)?);
        harness.flush_file_system();
        server.own()?.drop_page_cache()?;
        dropped.push(pass(server, protocol, &filled)?);
        let (log, templates) = (filled.log.name(), &filled.templates);
        checked += read_back::check(server, log, templates, 1, filled.records)?;
        written += filled.records;
        record_bytes = consume::wire_bytes(protocol, templates);
    }
    let figure = |name, rates| {
        Some(Figure {
            name,
            unit: Unit::Records,
            rounds: Rounds::of(rates)?,
            record_bytes: Some(record_bytes),
            bound: Some(Bound::ReadOrLoop),
        })
    };
    Ok(Outcome {
        workload: "catch-up",
        protocol: Some(protocol),
        payload: Some(kind),
        load: format!("1 consumer, a log of {}", size::format(bytes)),
        figures: [figure("just written", just_written), figure("dropped", dropped)]
            .into_iter()
            .flatten()
            .collect(),
        written,
        checked,
        notes: Vec::new(),
    })
}

/// Reads the whole log and returns the records per second.
///
/// # Errors
/// Another number of records or bytes was read than was written.
fn pass(server: &Server, protocol: Protocol, filled: &PrefilledLog) -> Result<f64, Error> {
    let mut counter = RecordCounter::new(Duration::MAX);
    consume::read(server, protocol, filled.log.name(), &mut counter)?;
    read_back::expect(filled.records, counter.records)?;
    if counter.payload_bytes != filled.payload_bytes {
        return Err(Error::Failed(format!(
            "{} bytes of payloads were read from a log of {}",
            counter.payload_bytes, filled.payload_bytes
        )));
    }
    let (records, time) = counter.counted();
    Ok(records as f64 / time.as_secs_f64())
}
