//! `followers`: what a follower costs that has nothing to read: memory of the
//! server, with ten thousand of them. In the end each gets a record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_protocol::frame::{self, Event};

use super::fan_out::check_block;
use super::memory::{Fresh, per};
use super::{Bench, read_back};
use crate::benchmark::outcome::{Figure, Outcome, Protocol, Unit};
use crate::benchmark::payload::{Checker, Framing, Kind, Maker, Templates};
use crate::benchmark::place::{Log, descriptors};
use crate::benchmark::statistics::Rounds;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::flock::{self, Flock};
use crate::failure::Failure;

const KIND: Kind = Kind::Random(100);
const FOLLOWERS: u64 = 10_000;
const FOLLOWERS_QUICK: u64 = 50;
/// Descriptors that a process needs for other things.
const DESCRIPTORS_SPARE: u64 = 200;
/// How long memory is given to come to rest.
const REST: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_millis(100);

pub(super) fn run(bench: &Bench) -> Result<Outcome, Failure> {
    let wanted = if bench.settings.quick { FOLLOWERS_QUICK } else { FOLLOWERS };
    let limit = descriptors::limit();
    let followers = wanted.min(limit.saturating_sub(DESCRIPTORS_SPARE));
    let mut notes = Vec::new();
    if followers < wanted {
        notes.push(format!(
            "{followers} followers instead of {wanted}: a process may open {limit} files here; \
             raise that (ulimit -n)"
        ));
    }
    let templates = Arc::new(Templates::new(KIND));
    let (mut bytes, mut checked) = (Vec::new(), 0);
    for _ in 0..bench.settings.rounds {
        let (each, records) = round(bench, followers, &templates)?;
        bytes.push(each);
        checked += records;
    }
    let written = followers * bytes.len() as u64;
    read_back::expect(written, checked)?;
    let figure = |rounds| Figure {
        name: "memory of each",
        unit: Unit::Bytes,
        rounds,
        record_bytes: None,
        bound: None,
    };
    Ok(Outcome {
        workload: "followers",
        protocol: Some(Protocol::Styx1),
        payload: None,
        load: format!("{followers} idle followers"),
        figures: Rounds::of(bytes).map(figure).into_iter().collect(),
        written,
        checked,
        notes,
    })
}

fn round(bench: &Bench, followers: u64, templates: &Arc<Templates>) -> Result<(f64, u64), Failure> {
    let fresh = Fresh::start(bench)?;
    let log = Log::create(&fresh.server)?;
    let route = Route::to(&fresh.server)?;
    let before = fresh.resident_bytes()?;
    let mut flock = Flock::new()?;
    for _ in 0..followers {
        flock.join(flock::follow(&route, log.name())?, frame::Route::ServerToConsumer)?;
    }
    let begun = Instant::now();
    while begun.elapsed() < REST {
        flock.hear(WAIT, |_, _| Ok(None))?;
    }
    let after = fresh.resident_bytes()?;
    let producer = fresh.server.client.producer(log.name()).open()?;
    producer.send(Maker::new(templates, 0, Framing::Bare).batch(1).bytes())?;
    let mut checked = 0;
    while checked < followers {
        flock.hear(WAIT, |_, event| {
            if let Event::Block(bytes) = event {
                let mut checker = Checker::new(templates, 1);
                check_block(bytes, &mut checker)?;
                checked += checker.checked();
            }
            Ok(None)
        })?;
    }
    producer.close()?;
    Ok((per(before, after, followers), checked))
}
