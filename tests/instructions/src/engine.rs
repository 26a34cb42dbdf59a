//! The engine: appends through a log, and reads of what is durable.
//!
//! It has no threads here: [`Catalog::step`] commits on this one. Its clock stands
//! still, so that nothing comes due. Files are in memory where that can be had, for
//! the time it takes; the counts are the same on any file system.

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

/// Appends that meet in one commit.
const GROUP_APPENDS: usize = 64;

/// Bytes asked for by one read.
const READ_BYTES: usize = 1 << 20;

/// Memory for recent commits: all of them, or none.
#[derive(Debug, Clone, Copy)]
enum Tail {
    All,
    None,
}

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn wall_us(&self) -> u64 {
        1_700_000_000_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// One log in a data directory of its own.
#[derive(Debug)]
struct Scene {
    catalog: Catalog,
    log: Log,
    _directory: TempDir,
}

impl Scene {
    fn new(tail: Tail) -> Scene {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = directory.expect("a temporary directory");
        let tail_bytes_max = match tail {
            Tail::All => 256 << 20,
            Tail::None => 0,
        };
        let catalog = Catalog::open(Options {
            committers_max: 0,
            clock: Arc::new(Still),
            tail_bytes_max,
            tail_bytes_total_max: tail_bytes_max,
            ..Options::new(directory.path())
        });
        let catalog = catalog.expect("an empty data directory");
        let name = "counted".parse().expect("a name");
        let log = catalog.create(&name, LogConfig::default()).expect("a new log");
        Scene { catalog, log, _directory: directory }
    }

    /// With the records of every run in it.
    fn filled(tail: Tail, payloads: Payloads) -> Scene {
        let scene = Scene::new(tail);
        blocks_of_runs(payloads).into_iter().for_each(|run| scene.append(run));
        scene
    }

    /// Appends all of these, in one commit.
    fn append(&self, appends: impl IntoIterator<Item = Append>) {
        let queued = appends.into_iter().map(|append| {
            self.log.append(append).expect("the log is healthy and its queue has space")
        });
        let tickets: Vec<Ticket> = queued.collect();
        while self.catalog.step() {}
        for mut ticket in tickets {
            // As a server does, which has no thread wait for it.
            let answer = Pin::new(&mut ticket).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Ok(appended)) = answer else { panic!("{answer:?} of a commit") };
            black_box(appended);
        }
    }

    fn reader(&self) -> Reader {
        self.log.reader(Position::ORIGIN).expect("it begins there")
    }
}

/// Every run's blocks, of one producer, checked.
fn blocks_of_runs(payloads: Payloads) -> Vec<Vec<Append>> {
    let run = |run: usize| {
        let blocks = payloads.blocks(7, (run * RECORDS) as u64).into_iter();
        let checked = blocks.map(|block| parsed(block).into_checked(1 << 20));
        checked.map(|checked| checked.expect("a good block").into()).collect()
    };
    (0..RUNS).map(run).collect()
}

/// An idempotent producer's blocks, checked already.
pub(crate) fn append_blocks(payloads: Payloads) -> Work {
    let scene = Scene::new(Tail::All);
    let mut runs = blocks_of_runs(payloads).into_iter();
    Box::new(move || scene.append(runs.next().expect("one for each run")))
}

/// One record an append, as HTTP brings them, many in a commit.
pub(crate) fn append_single(payloads: Payloads) -> Work {
    let scene = Scene::new(Tail::All);
    Box::new(move || {
        let mut appends = payloads.each().map(|payload| Append::from(Records::one(payload)));
        for _ in 0..RECORDS.div_ceil(GROUP_APPENDS) {
            scene.append(appends.by_ref().take(GROUP_APPENDS));
        }
    })
}

/// The first reader of what is in memory, who has it parsed, and looks at each.
pub(crate) fn read_records(payloads: Payloads) -> Work {
    let scene = Scene::filled(Tail::All, payloads);
    let mut reader = scene.reader();
    Box::new(move || {
        let end = scene.log.end_position();
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

/// Stored blocks from memory.
pub(crate) fn read_blocks(payloads: Payloads) -> Work {
    blocks(Scene::filled(Tail::All, payloads))
}

/// Stored blocks from the file, whose checksums are compared.
pub(crate) fn read_blocks_from_file(payloads: Payloads) -> Work {
    blocks(Scene::filled(Tail::None, payloads))
}

fn blocks(scene: Scene) -> Work {
    let mut reader = scene.reader();
    Box::new(move || {
        let end = scene.log.end_position();
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

/// Where this run's records end.
fn run_end(reader: &Reader) -> Position {
    Position((reader.position().0 / RECORDS as u64 + 1) * RECORDS as u64)
}
