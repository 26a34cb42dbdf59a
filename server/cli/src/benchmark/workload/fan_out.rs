//! `fan-out`: one producer at a constant rate, and many followers; how long each
//! record takes to each of them, from when it was meant to be sent. Every
//! follower's records are checked as they come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use styx_protocol::block::Block;
use styx_protocol::frame::{self, Event};
use styx_protocol::record;

use super::paced::Load;
use super::produce::joined;
use super::{Bench, read_back};
use crate::benchmark::latency::{self, Latencies, Pace};
use crate::benchmark::outcome::{Bound, Outcome, Protocol};
use crate::benchmark::payload::{Checker, Framing, Kind, Maker, Templates};
use crate::benchmark::place::Log;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::flock::{self, Flock};
use crate::failure::Failure;

const KIND: Kind = Kind::Random(100);
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// How long one wait for events is.
const WAIT: Duration = Duration::from_millis(100);

pub(super) fn run(bench: &Bench, followers: usize) -> Result<Outcome, Failure> {
    let templates = Arc::new(Templates::new(KIND));
    let load = Load::of(bench.settings);
    let (mut rounds, mut delivered) = (Vec::new(), 0);
    for _ in 0..bench.settings.rounds {
        bench.settle();
        let (latencies, records) = round(bench, followers, &templates, load)?;
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
    bench: &Bench,
    followers: usize,
    templates: &Arc<Templates>,
    load: Load,
) -> Result<(Latencies, u64), Failure> {
    let log = Log::create(&bench.server)?;
    let route = Route::to(&bench.server)?;
    let mut flock = Flock::new()?;
    for _ in 0..followers {
        flock.join(flock::follow(&route, log.name())?, frame::Route::ServerToConsumer)?;
    }
    let producer = bench.server.client.producer(log.name()).open()?;
    let mut maker = Maker::new(templates, 0, Framing::Bare);
    let pace = Pace::begin(load.rate);
    let sender = std::thread::spawn(move || -> Result<(), Failure> {
        Pace::sharpen();
        for index in 0..load.records {
            pace.wait_for(index);
            producer.append(maker.batch(1).bytes())?;
        }
        Ok(producer.close()?)
    });
    let mut latencies = Latencies::new()?;
    let mut checkers: Vec<Checker> = (0..followers).map(|_| Checker::new(templates, 1)).collect();
    let mut waiting = followers;
    let mut sender = Some(sender);
    while waiting > 0 {
        // One that failed says why.
        if let Some(done) = sender.take_if(|sender| sender.is_finished()) {
            joined(done.join())?;
        }
        flock.hear(WAIT, |member, event| {
            let (Event::Block(bytes), Some(checker)) = (event, checkers.get_mut(member)) else {
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
    Ok((latencies, checkers.iter().map(Checker::checked).sum()))
}

/// Checks the records of one block.
pub(super) fn check_block(bytes: Bytes, checker: &mut Checker) -> Result<(), Failure> {
    let wrong =
        |what: &dyn std::fmt::Display| Failure::Failed(format!("a follower's block: {what}"));
    let (block, _) = Block::parse(bytes, RECORD_BYTES_MAX).map_err(|error| wrong(&error))?;
    if block.header().is_marker() {
        return Ok(());
    }
    let records = block.raw().map_err(|error| wrong(&error))?;
    let mut offset = 0;
    while offset < records.len() {
        let (start, end) = record::check(&records, offset).map_err(|error| wrong(&error))?;
        let payload = records.get(start..end).unwrap_or_default();
        checker.check(payload).map_err(Failure::Failed)?;
        offset = end;
    }
    Ok(())
}
