//! `logs`: 1,000 producers with one append in flight each, first to one log and then to
//! one log each. The difference is the cost of many logs.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use styx_protocol::block::Origin;
use styx_protocol::frame::{self, Event};

use super::window::Window;
use super::{Harness, read_back};
use crate::Error;
use crate::environment::TemporaryLog;
use crate::outcome::{Figure, Outcome, Protocol, Unit};
use crate::payload::{PayloadKind, Stamp, Templates};
use crate::plan::Settings;
use crate::statistics::Rounds;
use crate::wire::connection::Endpoint;
use crate::wire::styx1_connections::{STYX1, Styx1Connections, encode_record};

const KIND: PayloadKind = PayloadKind::Random(100);
const PRODUCERS: u16 = 1000;
const PRODUCERS_QUICK: u16 = 20;
const WAIT: Duration = Duration::from_millis(100);

pub(super) fn run(harness: &Harness) -> Result<Outcome, Error> {
    let (server, settings) = (&harness.server, harness.settings);
    let templates = Arc::new(Templates::new(KIND));
    let producers = if settings.quick { PRODUCERS_QUICK } else { PRODUCERS };
    let one = TemporaryLog::create(server)?;
    let many =
        (0..producers).map(|_| TemporaryLog::create(server)).collect::<Result<Vec<_>, _>>()?;
    let mut to_one =
        ProducerGroup::new(harness, &templates, vec![one.name(); usize::from(producers)])?;
    let mut to_many =
        ProducerGroup::new(harness, &templates, many.iter().map(TemporaryLog::name).collect())?;
    let mut ratios = Vec::new();
    for round in 0..settings.rounds {
        to_one.round(round)?;
        to_many.round(round)?;
        let last = |rates: &[f64]| rates.last().copied().unwrap_or_default();
        ratios.push(last(&to_many.rates) / last(&to_one.rates).max(f64::MIN_POSITIVE));
    }
    let all = usize::from(producers);
    let written = to_one.acked() + to_many.acked();
    let mut checked = read_back::check(server, one.name(), &templates, all, to_one.acked())?;
    for (log, index) in many.iter().zip(&to_many.next) {
        checked += read_back::check(server, log.name(), &templates, all, *index)?;
    }
    let rate = |name, unit, rates| {
        Some(Figure { name, unit, rounds: Rounds::of(rates)?, record_bytes: None, bound: None })
    };
    Ok(Outcome {
        workload: "logs",
        protocol: Some(Protocol::Styx1),
        payload: Some(KIND),
        load: format!("{producers} producers, 1 append in flight each"),
        figures: [
            rate("to one log", Unit::Records, to_one.rates),
            rate("to a log each", Unit::Records, to_many.rates),
            rate("their ratio", Unit::Ratio, ratios),
        ]
        .into_iter()
        .flatten()
        .collect(),
        written,
        checked,
        notes: Vec::new(),
    })
}

/// Producers, and the records they have appended.
struct ProducerGroup<'b> {
    endpoint: Endpoint,
    settings: Settings,
    templates: Arc<Templates>,
    /// The log of each producer.
    logs: Vec<&'b str>,
    /// The index of each producer's next record.
    next: Vec<u64>,
    rates: Vec<f64>,
}

/// A producer with its own connection.
struct ProducerConnection {
    origin: Origin,
    stamp: Stamp,
}

impl<'b> ProducerGroup<'b> {
    fn new(
        harness: &Harness,
        templates: &Arc<Templates>,
        logs: Vec<&'b str>,
    ) -> Result<ProducerGroup<'b>, Error> {
        Ok(ProducerGroup {
            endpoint: Endpoint::to(&harness.server)?,
            settings: harness.settings,
            templates: Arc::clone(templates),
            next: vec![0; logs.len()],
            logs,
            rates: Vec::new(),
        })
    }

    /// Connects all producers. Each appends one record after the other.
    fn round(&mut self, round: usize) -> Result<(), Error> {
        let (mut connections, mut producers) = (Styx1Connections::new()?, Vec::new());
        for (at, (log, index)) in self.logs.iter().zip(&self.next).enumerate() {
            // A new id in each round, because the sequence starts at 0 again.
            let id = (u64::from(std::process::id()) << 32) + (round << 16) as u64 + at as u64 + 1;
            let request = format!("POST /logs/{log}/records?producer={id}");
            let opened = self.endpoint.upgrade(&request, STYX1)?;
            let epoch = opened.number("x-styx-epoch").and_then(|epoch| u32::try_from(epoch).ok());
            let producer_epoch = epoch
                .ok_or_else(|| Error::Failed("the server's 101 has no X-Styx-Epoch".to_owned()))?;
            let origin = Origin { producer_id: id, producer_epoch, ..Origin::default() };
            let stamp = Stamp { producer: u16::try_from(at).unwrap_or(u16::MAX), index: *index };
            producers.push(ProducerConnection { origin, stamp });
            connections.add(opened, frame::Route::ServerToProducer)?;
        }
        let mut window = Window::begin(self.settings);
        for (at, producer) in producers.iter_mut().enumerate() {
            connections.send(at, &producer.append(&self.templates))?;
        }
        let (mut acked, mut waiting) = (0, producers.len());
        while waiting > 0 {
            connections.poll(WAIT, |at, event| {
                let (Event::Ack(_), Some(producer)) = (event, producers.get_mut(at)) else {
                    return Ok(None);
                };
                acked += 1;
                if window.is_over(|| acked) {
                    waiting -= 1;
                    return Ok(None);
                }
                Ok(Some(producer.append(&self.templates)))
            })?;
        }
        self.rates.push(window.rate());
        self.next = producers.iter().map(|producer| producer.stamp.index).collect();
        Ok(())
    }

    fn acked(&self) -> u64 {
        self.next.iter().sum()
    }
}

impl ProducerConnection {
    /// A frame with a block that contains the next record.
    fn append(&mut self, templates: &Templates) -> Bytes {
        let mut payload = Vec::new();
        templates.append(self.stamp, &mut payload);
        let mut bytes = BytesMut::new();
        encode_record(&payload, self.origin, &mut bytes);
        self.stamp.index += 1;
        self.origin.sequence += 1;
        bytes.freeze()
    }
}
