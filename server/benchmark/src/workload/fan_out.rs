//! `fan-out`: one producer at a constant rate, and many followers. Measures the latency
//! from the time a record is due until each follower has it. Every record of every
//! follower is checked when it arrives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use styx_protocol::block::Block;
use styx_protocol::frame::{self, Event};
use styx_protocol::record;

use super::paced::PacedLoad;
use super::produce::joined;
use super::{Harness, read_back};
use crate::Error;
use crate::environment::TemporaryLog;
use crate::latency::{self, Latencies, Pace};
use crate::outcome::{Bound, Outcome, Protocol};
use crate::payload::{Framing, PayloadKind, RecordChecker, RecordGenerator, Templates};
use crate::wire::connection::Endpoint;
use crate::wire::styx1_connections::{self, Styx1Connections};

const KIND: PayloadKind = PayloadKind::Random(100);
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// The longest wait for events.
const WAIT: Duration = Duration::from_millis(100);

pub(super) fn run(harness: &Harness, followers: usize) -> Result<Outcome, Error> {
    let templates = Arc::new(Templates::new(KIND));
    let load = PacedLoad::of(harness.settings);
    let (mut rounds, mut delivered) = (Vec::new(), 0);
    for _ in 0..harness.settings.rounds {
        harness.flush_file_system();
        let (latencies, records) = round(harness, followers, &templates, load)?;
        rounds.push(latencies);
        delivered += records;
    }
    let written = load.records * followers as u64 * rounds.len() as u64;
    read_back::expect(written, delivered)?;
    Ok(Outcome {
        workload: "fan-out",
        protocol: Some(Protocol::Styx1),
        payload: Some(KIND),
        load: format!("followers: {followers}; {} records/s", load.rate),
        figures: latency::figures(&rounds, Bound::SyncAndTrip),
        written,
        checked: delivered,
        notes: Vec::new(),
    })
}

fn round(
    harness: &Harness,
    followers: usize,
    templates: &Arc<Templates>,
    load: PacedLoad,
) -> Result<(Latencies, u64), Error> {
    let log = TemporaryLog::create(&harness.server)?;
    let endpoint = Endpoint::to(&harness.server)?;
    let mut connections = Styx1Connections::new()?;
    for _ in 0..followers {
        let follower = styx1_connections::follow(&endpoint, log.name())?;
        connections.add(follower, frame::Route::ServerToConsumer)?;
    }
    let producer = harness.server.client.producer(log.name()).open()?;
    let mut generator = RecordGenerator::new(templates, 0, Framing::Raw);
    let pace = Pace::begin(load.rate);
    let sender = std::thread::spawn(move || -> Result<(), Error> {
        Pace::use_precise_timers();
        for index in 0..load.records {
            pace.wait_for(index);
            producer.append(generator.batch(1).bytes())?;
        }
        Ok(producer.close()?)
    });
    let mut latencies = Latencies::new()?;
    let mut checkers: Vec<RecordChecker> =
        (0..followers).map(|_| RecordChecker::new(templates, 1)).collect();
    let mut waiting = followers;
    let mut sender = Some(sender);
    while waiting > 0 {
        // If the sender failed, its error ends the round.
        if let Some(done) = sender.take_if(|sender| sender.is_finished()) {
            joined(done.join())?;
        }
        connections.poll(WAIT, |number, event| {
            let (Event::Block(bytes), Some(checker)) = (event, checkers.get_mut(number)) else {
                return Ok(None);
            };
            let first = checker.checked();
            check_block(bytes, checker)?;
            let now = Instant::now();
            for index in first.max(load.warm_up)..checker.checked() {
                latencies.record(now.saturating_duration_since(pace.due(index)), 1);
            }
            if first < load.records && checker.checked() >= load.records {
                waiting -= 1;
            }
            Ok(None)
        })?;
    }
    if let Some(sender) = sender {
        joined(sender.join())?;
    }
    Ok((latencies, checkers.iter().map(RecordChecker::checked).sum()))
}

/// Checks the records of one block.
pub(super) fn check_block(bytes: Bytes, checker: &mut RecordChecker) -> Result<(), Error> {
    let wrong = |what: &dyn std::fmt::Display| Error::Failed(format!("a follower's block: {what}"));
    let (block, _) = Block::parse(bytes, RECORD_BYTES_MAX).map_err(|error| wrong(&error))?;
    if block.header().is_marker() {
        return Ok(());
    }
    let records = block.raw().map_err(|error| wrong(&error))?;
    let mut offset = 0;
    while offset < records.len() {
        let (start, end) = record::check(&records, offset).map_err(|error| wrong(&error))?;
        let payload = records.get(start..end).unwrap_or_default();
        checker.check(payload).map_err(Error::Failed)?;
        offset = end;
    }
    Ok(())
}
