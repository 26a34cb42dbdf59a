//! `followers`: the server's memory per idle follower, with 10,000 followers. At the end
//! each follower receives one record.

use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_protocol::frame::{self, Event};

use super::fan_out::check_block;
use super::memory::{FreshServer, per};
use super::{Harness, read_back};
use crate::Error;
use crate::environment::{TemporaryLog, descriptors};
use crate::outcome::{Figure, Outcome, Protocol, Unit};
use crate::payload::{Framing, PayloadKind, RecordChecker, RecordGenerator, Templates};
use crate::statistics::Rounds;
use crate::wire::connection::Endpoint;
use crate::wire::styx1_connections::{self, Styx1Connections};

const KIND: PayloadKind = PayloadKind::Random(100);
const FOLLOWERS: u64 = 10_000;
const FOLLOWERS_QUICK: u64 = 50;
/// Descriptors that a process needs for other things.
const DESCRIPTORS_SPARE: u64 = 200;
/// How long to wait until the memory of the server is stable.
const SETTLE_TIME: Duration = Duration::from_secs(1);
const WAIT: Duration = Duration::from_millis(100);

pub(super) fn run(harness: &Harness) -> Result<Outcome, Error> {
    let wanted = if harness.settings.quick { FOLLOWERS_QUICK } else { FOLLOWERS };
    let limit = descriptors::limit();
    let followers = wanted.min(limit.saturating_sub(DESCRIPTORS_SPARE));
    let mut notes = Vec::new();
    if followers < wanted {
        notes.push(format!(
            "{followers} followers instead of {wanted}: a process may open {limit} files here; \
             raise the limit (ulimit -n)"
        ));
    }
    let templates = Arc::new(Templates::new(KIND));
    let (mut bytes, mut checked) = (Vec::new(), 0);
    for _ in 0..harness.settings.rounds {
        let (each, records) = round(harness, followers, &templates)?;
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

fn round(
    harness: &Harness,
    followers: u64,
    templates: &Arc<Templates>,
) -> Result<(f64, u64), Error> {
    let fresh = FreshServer::start(harness)?;
    let log = TemporaryLog::create(&fresh.server)?;
    let endpoint = Endpoint::to(&fresh.server)?;
    let before = fresh.resident_bytes()?;
    let mut connections = Styx1Connections::new()?;
    for _ in 0..followers {
        let follower = styx1_connections::follow(&endpoint, log.name())?;
        connections.add(follower, frame::Route::ServerToConsumer)?;
    }
    let begun = Instant::now();
    while begun.elapsed() < SETTLE_TIME {
        connections.poll(WAIT, |_, _| Ok(None))?;
    }
    let after = fresh.resident_bytes()?;
    let producer = fresh.server.client.producer(log.name()).open()?;
    producer.send(RecordGenerator::new(templates, 0, Framing::Raw).batch(1).bytes())?;
    let mut checked = 0;
    while checked < followers {
        connections.poll(WAIT, |_, event| {
            if let Event::Block(bytes) = event {
                let mut checker = RecordChecker::new(templates, 1);
                check_block(bytes, &mut checker)?;
                checked += checker.checked();
            }
            Ok(None)
        })?;
    }
    producer.close()?;
    Ok((per(before, after, followers), checked))
}
