//! `beside-readers`: records are sent at a constant rate, as in `paced` over styx/1: alone,
//! beside four consumers that read another log from the disk, and beside four threads that
//! only use the processor.
//!
//! ```text
//! large log ─▶ four consumers, from its start, again and again; its pages are dropped before
//!                each read
//! new log   ◀─ one record at a time; measured: due ─▶ ack
//! ```
//! Consumers need processor time as well. On a machine with few cores a record waits for it as
//! it does beside the four busy threads. What they do to the disk and in the server is the
//! difference between the two. The consumers and the producer have clients of their own, so that
//! no ack waits while a thread handles what a consumer receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::paced::{self, PacedLoad};
use super::prefilled_log::PrefilledLog;
use super::produce::joined;
use super::{Harness, read_back, size};
use crate::Error;
use crate::environment::{Server, TemporaryLog};
use crate::latency::{Latencies, P50, P99};
use crate::outcome::{Bound, Figure, Outcome, Protocol, Unit};
use crate::payload::{PayloadKind, Templates};
use crate::statistics::Rounds;
use crate::wire::record_sink::{RecordCounter, RecordSink};

const OTHERS: usize = 4;
/// The payloads of the log that is read.
const READ_KIND: PayloadKind = PayloadKind::Random(1000);
/// The size of that log if no other is asked for: more than the server's memory of the newest
/// records.
const LOG_BYTES: u64 = 2 << 30;
const LOG_BYTES_QUICK: u64 = 1 << 20;

/// The latencies of each round.
#[derive(Debug, Default)]
struct Measured {
    alone: Vec<Latencies>,
    beside_readers: Vec<Latencies>,
    beside_busy_threads: Vec<Latencies>,
    /// Records per second that the readers got together.
    read: Vec<f64>,
}

pub(super) fn run(harness: &mut Harness) -> Result<Outcome, Error> {
    // Frees its space on the disk and in the page cache.
    harness.prefilled = None;
    let (server, settings) = (&harness.server, harness.settings);
    let by_default = if settings.quick { LOG_BYTES_QUICK } else { LOG_BYTES };
    let bytes = settings.log_bytes.unwrap_or_else(|| size::on_disk(&harness.directory, by_default));
    let filled = PrefilledLog::with_bytes(server, READ_KIND, bytes)?;
    let templates = Arc::new(Templates::new(paced::KIND));
    let load = PacedLoad::of(settings);
    let (mut measured, mut checked) = (Measured::default(), 0);
    let mut paced = |measured: &mut Vec<Latencies>| {
        let log = TemporaryLog::create(server)?;
        let latencies = paced::styx1(server, log.name(), &templates, load)?;
        read_back::expect_acked(load.records - load.warm_up, latencies.count())?;
        measured.push(latencies);
        checked += read_back::check(server, log.name(), &templates, 1, load.records)?;
        Ok::<_, Error>(())
    };
    for _ in 0..settings.rounds {
        harness.flush_file_system();
        paced(&mut measured.alone)?;
        let read = beside(
            |stop| read_cold(server, &filled, stop),
            || paced(&mut measured.beside_readers),
        )?;
        measured.read.push(read.iter().sum());
        let busy = |stop: &AtomicBool| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
            Ok(())
        };
        let _ = beside(busy, || paced(&mut measured.beside_busy_threads))?;
    }
    let written = load.records * 3 * settings.rounds as u64;
    let read = read_back::check(server, filled.log.name(), &filled.templates, 1, filled.records)?;
    Ok(Outcome {
        workload: "beside-readers",
        protocol: Some(Protocol::Styx1),
        payload: Some(paced::KIND),
        load: format!(
            "1 producer, {} records/s; {OTHERS} consumers of a log of {} in records of 1 kB",
            load.rate,
            size::format(bytes)
        ),
        figures: figures(&measured),
        written: written + filled.records,
        checked: checked + read,
        notes: Vec::new(),
    })
}

fn figures(measured: &Measured) -> Vec<Figure> {
    let figure = |name, unit, bound, values| {
        let rounds = Rounds::of(values)?;
        Some(Figure { name, unit, rounds, record_bytes: None, bound })
    };
    let Measured { alone, beside_readers: beside, beside_busy_threads: busy, read } = measured;
    let latency = |name, rounds: &[Latencies], quantile| {
        let values = rounds.iter().map(|round| round.at(quantile)).collect();
        figure(name, Unit::Seconds, Some(Bound::SyncAndTrip), values)
    };
    let ratio = |name, rounds: &[Latencies], base: &[Latencies]| {
        let pairs = rounds.iter().zip(base);
        let ratio = |(one, base): (&Latencies, &Latencies)| {
            one.at(P99) / base.at(P99).max(f64::MIN_POSITIVE)
        };
        figure(name, Unit::Ratio, None, pairs.map(ratio).collect())
    };
    [
        latency("alone p50", alone, P50),
        latency("alone p99", alone, P99),
        latency("readers p50", beside, P50),
        latency("readers p99", beside, P99),
        latency("busy p50", busy, P50),
        latency("busy p99", busy, P99),
        ratio("readers / alone p99", beside, alone),
        ratio("readers / busy p99", beside, busy),
        figure("consumers", Unit::Records, None, read.clone()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Runs `load` beside threads that do `work` until it is over. Returns their results.
fn beside<T: Send>(
    work: impl Fn(&AtomicBool) -> Result<T, Error> + Sync,
    load: impl FnOnce() -> Result<(), Error>,
) -> Result<Vec<T>, Error> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..OTHERS).map(|_| scope.spawn(|| work(&stop))).collect();
        let loaded = load();
        stop.store(true, Ordering::Relaxed);
        let results = threads.into_iter().map(|thread| joined(thread.join())).collect();
        loaded.and(results)
    })
}

/// Reads the log from the disk again and again until it is told to stop. Returns the records
/// per second.
fn read_cold(server: &Server, filled: &PrefilledLog, stop: &AtomicBool) -> Result<f64, Error> {
    let mut sink = Stoppable { counter: RecordCounter::new(Duration::MAX), stop };
    while !stop.load(Ordering::Relaxed) {
        server.own()?.drop_page_cache()?;
        read_back::read_with(&server.consumers, filled.log.name(), &mut sink)?;
    }
    let (records, time) = sink.counter.counted();
    Ok(records as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE))
}

/// Counts until it is told to stop.
struct Stoppable<'a> {
    counter: RecordCounter,
    stop: &'a AtomicBool,
}

impl RecordSink for Stoppable<'_> {
    fn accept<'p>(&mut self, payloads: impl Iterator<Item = &'p [u8]>) -> Result<bool, Error> {
        self.counter.accept(payloads)?;
        Ok(!self.stop.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_the_p99_of_the_same_round() {
        let round = |milliseconds| {
            let mut latencies = Latencies::new().expect("a histogram");
            latencies.record(Duration::from_millis(milliseconds), 1);
            latencies
        };
        let measured = Measured {
            alone: vec![round(1), round(2), round(10)],
            beside_readers: vec![round(2), round(6), round(40)],
            beside_busy_threads: vec![round(4), round(6), round(20)],
            read: vec![1.0, 2.0, 3.0],
        };
        let shown = figures(&measured);
        let median = |name| {
            let figure = shown.iter().find(|figure| figure.name == name).expect("it is there");
            (figure.rounds.median() * 100.0).round() / 100.0
        };
        assert_eq!(median("readers / alone p99"), 3.0);
        assert_eq!(median("readers / busy p99"), 1.0);
        assert_eq!(median("consumers"), 2.0);
        assert_eq!(shown.len(), 9);
    }

    #[test]
    fn threads_stop_when_the_load_has_failed() {
        let until_told = |stop: &AtomicBool| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            Ok(())
        };
        let failed = beside(until_told, || Err(Error::Failed("no ack".to_owned())));
        assert!(matches!(failed, Err(Error::Failed(text)) if text == "no ack"));
        assert_eq!(beside(until_told, || Ok(())).expect("no error").len(), OTHERS);
    }
}
