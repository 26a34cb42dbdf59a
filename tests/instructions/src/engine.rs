//! The engine: appending to a log, and reading durable records.
//!
//! The engine has no threads here: [`Catalog::step`] commits on the calling thread. The
//! clock does not advance, so no timer fires. Files are in memory if possible, to save
//! time. The counts are the same on any file system.

use std::fmt::Debug;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use styx_engine::clock::Clock;
use styx_engine::{Append, Catalog, Found, Log, Options, Reader, Ticket};
use styx_protocol::{LogConfig, Position, Records};
use tempfile::TempDir;

use crate::payloads::{Payloads, RECORDS, parsed};
use crate::{RUNS, Work};

/// Appends in one commit.
const GROUP_APPENDS: usize = 64;

/// Bytes requested by one read.
const READ_BYTES: usize = 1 << 20;

/// How many recent commits stay in memory: all, or none.
#[derive(Debug, Clone, Copy)]
enum Tail {
    All,
    None,
}

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn wall_us(&self) -> u64 {
        1_700_000_000_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A log in its own data directory.
#[derive(Debug)]
struct Fixture {
    catalog: Catalog,
    log: Log,
    _directory: TempDir,
}

impl Fixture {
    fn new(tail: Tail) -> Fixture {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = directory.expect("a temporary directory");
        let tail_bytes_max = match tail {
            Tail::All => 256 << 20,
            Tail::None => 0,
        };
        let catalog = Catalog::open(Options {
            committers_max: 0,
            clock: Arc::new(StoppedClock),
            tail_bytes_max,
            tail_bytes_total_max: tail_bytes_max,
            // Whether a file in memory can be read past the page cache depends on the kernel.
            read_ahead_bytes_max: 0,
            ..Options::new(directory.path())
        });
        let catalog = catalog.expect("an empty data directory");
        let name = "counted".parse().expect("a name");
        let log = catalog.create(&name, LogConfig::default()).expect("a new log");
        Fixture { catalog, log, _directory: directory }
    }

    /// A log with the records of all runs.
    fn filled(tail: Tail, payloads: Payloads) -> Fixture {
        let fixture = Fixture::new(tail);
        blocks_of_runs(payloads).into_iter().for_each(|run| fixture.append(run));
        fixture
    }

    /// Appends everything in one commit.
    fn append(&self, appends: impl IntoIterator<Item = Append>) {
        let queued = appends.into_iter().map(|append| {
            self.log.append(append).expect("the log is healthy and its queue has space")
        });
        let tickets: Vec<Ticket> = queued.collect();
        while self.catalog.step() {}
        for mut ticket in tickets {
            // Polled, as a server does, and not with a thread that waits.
            let answer = Pin::new(&mut ticket).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Ok(appended)) = answer else { panic!("{answer:?} of a commit") };
            black_box(appended);
        }
    }

    fn reader(&self) -> Reader {
        self.log.reader(Position::ORIGIN).expect("the start of the log")
    }
}

/// The checked blocks of all runs, from one producer.
fn blocks_of_runs(payloads: Payloads) -> Vec<Vec<Append>> {
    let run = |run: usize| {
        let blocks = payloads.blocks(7, (run * RECORDS) as u64).into_iter();
        let checked = blocks.map(|block| parsed(block).into_checked(1 << 20));
        checked.map(|checked| checked.expect("a valid block").into()).collect()
    };
    (0..RUNS).map(run).collect()
}

/// Appends blocks of an idempotent producer, which are checked already.
pub(crate) fn append_blocks(payloads: Payloads) -> Work {
    let fixture = Fixture::new(Tail::All);
    let mut runs = blocks_of_runs(payloads).into_iter();
    Box::new(move || fixture.append(runs.next().expect("one for each run")))
}

/// Appends one record each, as over HTTP, many in one commit.
pub(crate) fn append_single(payloads: Payloads) -> Work {
    let fixture = Fixture::new(Tail::All);
    Box::new(move || {
        let mut appends = payloads.each().map(|payload| Append::from(Records::one(payload)));
        for _ in 0..RECORDS.div_ceil(GROUP_APPENDS) {
            fixture.append(appends.by_ref().take(GROUP_APPENDS));
        }
    })
}

/// Reads each record from memory. As the first reader, it also pays for parsing.
pub(crate) fn read_records(payloads: Payloads) -> Work {
    let fixture = Fixture::filled(Tail::All, payloads);
    let mut reader = fixture.reader();
    Box::new(move || {
        let end = fixture.log.end_position();
        let until = run_end(&reader);
        while reader.position() < until {
            let Found::Some(batch) = reader.try_read(READ_BYTES).expect("an intact log") else {
                panic!("{:?} of {end:?} is not in memory", reader.position());
            };
            for record in batch.records() {
                black_box(record);
            }
        }
    })
}

/// Reads stored blocks from memory.
pub(crate) fn read_blocks(payloads: Payloads) -> Work {
    blocks(Fixture::filled(Tail::All, payloads))
}

/// Reads stored blocks from the file, and checks their checksums.
pub(crate) fn read_blocks_from_file(payloads: Payloads) -> Work {
    blocks(Fixture::filled(Tail::None, payloads))
}

fn blocks(fixture: Fixture) -> Work {
    let mut reader = fixture.reader();
    Box::new(move || {
        let end = fixture.log.end_position();
        let until = run_end(&reader);
        while reader.position() < until {
            let Found::Some(blocks) = reader.blocks(READ_BYTES).expect("an intact log") else {
                panic!("{:?} of {end:?} is not there", reader.position());
            };
            for part in blocks.parts() {
                black_box(part);
            }
        }
    })
}

/// The position after the last record of this run.
fn run_end(reader: &Reader) -> Position {
    Position((reader.position().0 / RECORDS as u64 + 1) * RECORDS as u64)
}
