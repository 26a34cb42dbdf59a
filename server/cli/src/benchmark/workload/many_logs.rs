//! `logs`: a thousand producers, each with one append in flight, once to one log
//! and once to a log each. What separates the two is what many logs cost.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use styx_protocol::block::Origin;
use styx_protocol::frame::{self, Event};

use super::window::Window;
use super::{Bench, read_back};
use crate::benchmark::outcome::{Figure, Outcome, Protocol, Unit};
use crate::benchmark::payload::{Kind, Stamp, Templates};
use crate::benchmark::place::Log;
use crate::benchmark::plan::Settings;
use crate::benchmark::statistics::Rounds;
use crate::benchmark::wire::connection::Route;
use crate::benchmark::wire::flock::{Flock, STYX1, encode_record};
use crate::failure::Failure;

const KIND: Kind = Kind::Random(100);
const PRODUCERS: u16 = 1000;
const PRODUCERS_QUICK: u16 = 20;
const WAIT: Duration = Duration::from_millis(100);

pub(super) fn run(bench: &Bench) -> Result<Outcome, Failure> {
    let (server, settings) = (&bench.server, bench.settings);
    let templates = Arc::new(Templates::new(KIND));
    let producers = if settings.quick { PRODUCERS_QUICK } else { PRODUCERS };
    let one = Log::create(server)?;
    let many = (0..producers).map(|_| Log::create(server)).collect::<Result<Vec<_>, _>>()?;
    let mut to_one = Load::new(bench, &templates, vec![one.name(); usize::from(producers)])?;
    let mut to_many = Load::new(bench, &templates, many.iter().map(Log::name).collect())?;
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

/// Producers and what they have appended.
struct Load<'b> {
    route: Route,
    settings: Settings,
    templates: Arc<Templates>,
    /// The log of each producer.
    logs: Vec<&'b str>,
    /// The index of each producer's next record.
    next: Vec<u64>,
    rates: Vec<f64>,
}

/// A producer on one connection.
struct Member {
    origin: Origin,
    stamp: Stamp,
}

impl<'b> Load<'b> {
    fn new(
        bench: &Bench,
        templates: &Arc<Templates>,
        logs: Vec<&'b str>,
    ) -> Result<Load<'b>, Failure> {
        Ok(Load {
            route: Route::to(&bench.server)?,
            settings: bench.settings,
            templates: Arc::clone(templates),
            next: vec![0; logs.len()],
            logs,
            rates: Vec::new(),
        })
    }

    /// Everybody connects, and appends one record after the other.
    fn round(&mut self, round: usize) -> Result<(), Failure> {
        let (mut flock, mut members) = (Flock::new()?, Vec::new());
        for (at, (log, index)) in self.logs.iter().zip(&self.next).enumerate() {
            // A new one in each round: its sequence starts at 0.
            let id = (u64::from(std::process::id()) << 32) + (round << 16) as u64 + at as u64 + 1;
            let request = format!("POST /logs/{log}/records?producer={id}");
            let opened = self.route.upgrade(&request, STYX1)?;
            let epoch = opened.number("x-styx-epoch").and_then(|epoch| u32::try_from(epoch).ok());
            let producer_epoch = epoch
                .ok_or_else(|| Failure::Failed("a 101 to a producer has no epoch".to_owned()))?;
            let origin = Origin { producer_id: id, producer_epoch, ..Origin::default() };
            let producer = u16::try_from(at).unwrap_or(u16::MAX);
            members.push(Member { origin, stamp: Stamp { producer, index: *index } });
            flock.join(opened, frame::Route::ServerToProducer)?;
        }
        let mut window = Window::begin(self.settings);
        for (at, member) in members.iter_mut().enumerate() {
            flock.send(at, &member.append(&self.templates))?;
        }
        let (mut acked, mut waiting) = (0, members.len());
        while waiting > 0 {
            flock.hear(WAIT, |at, event| {
                let (Event::Ack(_), Some(member)) = (event, members.get_mut(at)) else {
                    return Ok(None);
                };
                acked += 1;
                if window.is_over(|| acked) {
                    waiting -= 1;
                    return Ok(None);
                }
                Ok(Some(member.append(&self.templates)))
            })?;
        }
        self.rates.push(window.rate());
        self.next = members.iter().map(|member| member.stamp.index).collect();
        Ok(())
    }

    fn acked(&self) -> u64 {
        self.next.iter().sum()
    }
}

impl Member {
    /// A frame with a block of the next record.
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
