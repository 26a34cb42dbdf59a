//! `lagging`: a consumer starts far behind a producer that keeps writing at half its full
//! rate. Measures whether and when the consumer catches up, and whether it slows the
//! producer down.
//!
//! ```text
//! log A   full rate ── half rate, alone
//! log B   backlog at full rate ─┬─ half rate ─────────────────────────▶
//!                               └─ consumer, from the start ──┤ caught up
//! ```
//! Consumer and producer have clients of their own, so they share no thread. The consumer has
//! caught up when it has read everything that was durable before its
//! last read began. The producer keeps its pace until then, and at least for the
//! measured time, but at most for [`TIME_MAX`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use styx_client::Start;
use styx_client::blocking::Producer;
use styx_client::consumer::Polled;

use super::produce::{BATCH_BYTES, joined};
use super::window::Window;
use super::{Harness, read_back, size};
use crate::Error;
use crate::environment::{Server, TemporaryLog};
use crate::latency::Pace;
use crate::outcome::{Bound, Figure, Outcome, Protocol, Unit};
use crate::payload::{Framing, PayloadKind, RecordGenerator, Templates};
use crate::plan::Settings;
use crate::statistics::Rounds;
use crate::wire::record_sink::{RecordCounter, RecordSink};

const KIND: PayloadKind = PayloadKind::Random(1000);
/// Bytes of a record on the wire and on the disk.
const RECORD_BYTES: f64 = 1008.0;
/// How long a consumer may take to catch up.
const TIME_MAX: Duration = Duration::from_secs(20);
/// How long a read waits before the consumer looks whether it should stop.
const POLL: Duration = Duration::from_millis(10);

/// The result of one round. Rates are records per second.
#[derive(Debug)]
struct Round {
    alone: f64,
    beside: f64,
    reading: Reading,
    written: u64,
}

/// What the consumer measured.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The time from opening the consumer until it had caught up. `None` if it did not.
    caught_up: Option<Duration>,
    /// Records per second until then, or until it stopped.
    rate: f64,
}

pub(super) fn run(harness: &mut Harness, backlog: u64) -> Result<Outcome, Error> {
    // Frees its space on the disk and in the page cache.
    harness.prefilled = None;
    let settings = harness.settings;
    let backlog = size::on_disk(&harness.directory, backlog);
    let templates = Arc::new(Templates::new(KIND));
    let (mut rounds, mut checked) = (Vec::new(), 0);
    for _ in 0..settings.rounds {
        harness.flush_file_system();
        let log = TemporaryLog::create(&harness.server)?;
        let round = round(harness, log.name(), &templates, backlog)?;
        checked += read_back::check(&harness.server, log.name(), &templates, 1, round.written)?;
        rounds.push(round);
    }
    Ok(Outcome {
        workload: "lagging",
        protocol: Some(Protocol::Styx1),
        payload: Some(KIND),
        load: format!("1 producer at half rate, 1 consumer {} behind", size::format(backlog)),
        figures: figures(&rounds),
        written: rounds.iter().map(|round| round.written).sum(),
        checked,
        notes: vec![summary(&rounds)],
    })
}

fn figures(rounds: &[Round]) -> Vec<Figure> {
    let figure = |name, unit, bound, of: &dyn Fn(&Round) -> Option<f64>| {
        let is_rate = unit == Unit::Records;
        Some(Figure {
            name,
            unit,
            rounds: Rounds::of(rounds.iter().filter_map(of).collect())?,
            record_bytes: is_rate.then_some(RECORD_BYTES),
            bound,
        })
    };
    let caught_up = |round: &Round| Some(round.reading.caught_up?.as_secs_f64());
    let ratio = |round: &Round| Some(round.beside / round.alone.max(f64::MIN_POSITIVE));
    let read = Some(Bound::ReadOrLoop);
    [
        figure("caught up after", Unit::Seconds, None, &caught_up),
        figure("consumer", Unit::Records, read, &|round| Some(round.reading.rate)),
        figure("producer alone", Unit::Records, Some(Bound::Disk), &|round| Some(round.alone)),
        figure("producer beside", Unit::Records, Some(Bound::Disk), &|round| Some(round.beside)),
        figure("beside / alone", Unit::Ratio, None, &ratio),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn summary(rounds: &[Round]) -> String {
    let caught_up = rounds.iter().filter(|round| round.reading.caught_up.is_some()).count();
    format!(
        "the consumer caught up within {} s in {caught_up} of {} rounds",
        TIME_MAX.as_secs(),
        rounds.len()
    )
}

fn round(
    harness: &Harness,
    log: &str,
    templates: &Arc<Templates>,
    backlog: u64,
) -> Result<Round, Error> {
    let (server, settings) = (&harness.server, harness.settings);
    let (batches, alone) = half_rate(server, templates, settings)?;
    harness.flush_file_system();
    let producer = server.client.producer(log).open()?;
    let mut generator = RecordGenerator::new(templates, 0, Framing::Raw);
    let mut bytes = 0;
    while bytes < backlog {
        bytes += append(&producer, &mut generator)?;
    }
    producer.flush()?;

    let (begun, from) = (Instant::now(), producer.durable_sequence());
    let (has_caught_up, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (reading, beside) = std::thread::scope(|scope| {
        let consumer = scope.spawn(|| read(server, log, &producer, &has_caught_up, &stop));
        let pace = Pace::begin(batches);
        let is_over = || {
            let time = begun.elapsed();
            let enough = has_caught_up.load(Ordering::Relaxed) && time >= settings.seconds;
            enough || time >= TIME_MAX || consumer.is_finished()
        };
        let mut produced = Ok(0);
        for index in 0.. {
            if is_over() || produced.is_err() {
                break;
            }
            pace.wait_for(index);
            produced = append(&producer, &mut generator);
        }
        let records = producer.durable_sequence() - from;
        let beside = records as f64 / begun.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        let reading = joined(consumer.join())?;
        produced.map(|_| (reading, beside))
    })?;
    producer.close()?;
    Ok(Round { alone, beside, reading, written: generator.made() })
}

/// Half of the full rate, in batches per second, and the records per second that a
/// producer achieves at this pace without a consumer.
fn half_rate(
    server: &Server,
    templates: &Arc<Templates>,
    settings: Settings,
) -> Result<(u32, f64), Error> {
    let log = TemporaryLog::create(server)?;
    let producer = server.client.producer(log.name()).open()?;
    let mut generator = RecordGenerator::new(templates, 0, Framing::Raw);
    let (mut window, mut appended) = (Window::begin(settings), 0_u64);
    while !window.is_over(|| producer.durable_sequence()) {
        append(&producer, &mut generator)?;
        appended += 1;
    }
    producer.flush()?;
    let records_of_batch = generator.made() as f64 / appended.max(1) as f64;
    let batches = (window.rate() / records_of_batch / 2.0).max(1.0) as u32;
    let (mut window, pace) = (Window::begin(settings), Pace::begin(batches));
    for index in 0.. {
        if window.is_over(|| producer.durable_sequence()) {
            break;
        }
        pace.wait_for(index);
        append(&producer, &mut generator)?;
    }
    producer.close()?;
    Ok((batches, window.rate()))
}

/// Appends a batch, and returns the bytes of its payloads.
fn append(producer: &Producer, generator: &mut RecordGenerator) -> Result<u64, Error> {
    let batch = generator.batch(BATCH_BYTES);
    producer.append_many(batch.payloads())?;
    Ok(batch.bytes().len() as u64)
}

/// Reads until it is told to stop.
fn read(
    server: &Server,
    log: &str,
    producer: &Producer,
    has_caught_up: &AtomicBool,
    stop: &AtomicBool,
) -> Result<Reading, Error> {
    let mut counter = RecordCounter::new(Duration::MAX);
    let mut consumer = server.consumers.consumer(log).start(Start::Start).follow(true).open()?;
    let mut reading = None;
    while !stop.load(Ordering::Relaxed) {
        let durable = producer.durable_sequence();
        match consumer.poll(POLL)? {
            Polled::Batch(batch) => drop(counter.accept(batch.payloads())?),
            Polled::Nothing => {}
            Polled::End => return Err(Error::Failed(format!("the read of {log} ended"))),
        }
        if reading.is_none() && counter.records >= durable {
            let time = counter.since_made();
            let rate = counter.records as f64 / time.as_secs_f64();
            reading = Some(Reading { caught_up: Some(time), rate });
            has_caught_up.store(true, Ordering::Relaxed);
        }
    }
    consumer.close();
    let rate = counter.records as f64 / counter.since_made().as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(reading.unwrap_or(Reading { caught_up: None, rate }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_did_not_catch_up_have_no_time_and_are_told() {
        let round = |caught_up| Round {
            alone: 100.0,
            beside: 90.0,
            reading: Reading { caught_up, rate: 300.0 },
            written: 1,
        };
        let rounds = [round(Some(Duration::from_secs(2))), round(None), round(None)];
        let shown: Vec<_> = figures(&rounds)
            .iter()
            .map(|figure| (figure.name, figure.rounds.all().len(), figure.rounds.median()))
            .collect();
        assert_eq!(
            shown,
            [
                ("caught up after", 1, 2.0),
                ("consumer", 3, 300.0),
                ("producer alone", 3, 100.0),
                ("producer beside", 3, 90.0),
                ("beside / alone", 3, 0.9)
            ]
        );
        assert_eq!(summary(&rounds), "the consumer caught up within 20 s in 1 of 3 rounds");
        assert_eq!(figures(&rounds[1..]).len(), 4, "no time");
    }
}
