//! `memory`: the memory of an empty server, and the memory that each idle log adds. Each
//! round starts a new server.

use std::sync::Arc;
use std::time::Duration;

use super::{Harness, read_back};
use crate::Error;
use crate::environment::{Server, TemporaryLog};
use crate::outcome::{Figure, Outcome, Unit};
use crate::payload::{Framing, PayloadKind, RecordGenerator, Templates};
use crate::statistics::Rounds;

const KIND: PayloadKind = PayloadKind::Random(100);
const LOGS: u64 = 1000;
const LOGS_QUICK: u64 = 10;
/// How long to wait until the memory of the server is stable.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// A server that has done no work yet.
#[derive(Debug)]
pub(super) struct FreshServer {
    pub(super) server: Server,
}

impl FreshServer {
    pub(super) fn start(harness: &Harness) -> Result<FreshServer, Error> {
        let server = Server::start_child(&harness.new_data_directory(), &harness.server.cleanup)?;
        // The first request makes the server allocate what every server needs.
        server.client.list_logs()?;
        std::thread::sleep(SETTLE_TIME);
        Ok(FreshServer { server })
    }

    pub(super) fn resident_bytes(&self) -> Result<u64, Error> {
        match &self.server.child {
            Some(child) => child.resident_bytes(),
            None => Err(Error::Failed("the memory of a running server is unknown".to_owned())),
        }
    }
}

/// The bytes that each of `count` items added.
pub(super) fn per(before: u64, after: u64, count: u64) -> f64 {
    after.saturating_sub(before) as f64 / count.max(1) as f64
}

pub(super) fn run(harness: &Harness) -> Result<Outcome, Error> {
    let count = if harness.settings.quick { LOGS_QUICK } else { LOGS };
    let templates = Arc::new(Templates::new(KIND));
    let (mut empty, mut each, mut checked) = (Vec::new(), Vec::new(), 0);
    for _ in 0..harness.settings.rounds {
        let fresh = FreshServer::start(harness)?;
        let before = fresh.resident_bytes()?;
        let mut logs = Vec::new();
        for _ in 0..count {
            let log = TemporaryLog::create(&fresh.server)?;
            let producer = fresh.server.client.producer(log.name()).idempotent(false).open()?;
            producer.send(RecordGenerator::new(&templates, 0, Framing::Raw).batch(1).bytes())?;
            producer.close()?;
            logs.push(log);
        }
        std::thread::sleep(SETTLE_TIME);
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
