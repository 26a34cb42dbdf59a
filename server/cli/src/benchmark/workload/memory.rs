//! `memory`: what an empty server takes, and what each log that nobody uses adds
//! to it. Each round has a server of its own, that has done nothing before.

use std::sync::Arc;
use std::time::Duration;

use super::{Bench, read_back};
use crate::benchmark::outcome::{Figure, Outcome, Unit};
use crate::benchmark::payload::{Framing, Kind, Maker, Templates};
use crate::benchmark::place::{Log, Server};
use crate::benchmark::statistics::Rounds;
use crate::failure::Failure;

const KIND: Kind = Kind::Random(100);
const LOGS: u64 = 1000;
const LOGS_QUICK: u64 = 10;
/// How long memory is given to come to rest.
const REST: Duration = Duration::from_millis(500);

/// A server that has done nothing yet.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) server: Server,
}

impl Fresh {
    pub(super) fn start(bench: &Bench) -> Result<Fresh, Failure> {
        let server = Server::alone(&bench.data(), &bench.server.duties)?;
        // The first request makes it complete.
        server.client.list_logs()?;
        std::thread::sleep(REST);
        Ok(Fresh { server })
    }

    pub(super) fn resident_bytes(&self) -> Result<u64, Failure> {
        match &self.server.alone {
            Some(alone) => alone.resident_bytes(),
            None => Err(Failure::Failed("the memory of another server is not known".to_owned())),
        }
    }
}

/// Bytes that each of `count` things added.
pub(super) fn per(before: u64, after: u64, count: u64) -> f64 {
    after.saturating_sub(before) as f64 / count.max(1) as f64
}

pub(super) fn run(bench: &Bench) -> Result<Outcome, Failure> {
    let count = if bench.settings.quick { LOGS_QUICK } else { LOGS };
    let templates = Arc::new(Templates::new(KIND));
    let (mut empty, mut each, mut checked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..bench.settings.rounds {
        let fresh = Fresh::start(bench)?;
        let before = fresh.resident_bytes()?;
        let mut logs = Vec::new();
        for _ in 0..count {
            let log = Log::create(&fresh.server)?;
            let producer = fresh.server.client.producer(log.name()).idempotent(false).open()?;
            producer.send(Maker::new(&templates, 0, Framing::Bare).batch(1).bytes())?;
            producer.close()?;
            logs.push(log);
        }
        std::thread::sleep(REST);
        let after = fresh.resident_bytes()?;
        empty.push(before as f64);
        each.push(per(before, after, count));
        for log in &logs {
            checked += read_back::check(&fresh.server, log.name(), &templates, 1, 1)?;
        }
    }
    let written = count * empty.len() as u64;
    let figure = |name, figures| {
        Some(Figure {
            name,
            unit: Unit::Bytes,
            rounds: Rounds::of(figures)?,
            record_bytes: None,
            bound: None,
        })
    };
    Ok(Outcome {
        workload: "memory",
        protocol: None,
        payload: None,
        load: format!("a new server, then {count} idle logs"),
        figures: [figure("empty server", empty), figure("each idle log", each)]
            .into_iter()
            .flatten()
            .collect(),
        written,
        checked,
        notes: Vec::new(),
    })
}
