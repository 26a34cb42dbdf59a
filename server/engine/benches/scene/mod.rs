//! [`Scene`]: a log to measure, in its own directory, without threads and with a manual clock.
//!
//! The files are in memory if possible, because the benchmarks measure the engine and not the disk.
//! Invariant: there are no other threads; [`Catalog::step`] commits on the measuring thread.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use styx_engine::clock::Clock;
use styx_engine::{Append, Catalog, Log, Options, Ticket};
use styx_protocol::block::{Block, Origin, build};
use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::record::Builder;
use styx_protocol::{LogConfig, LogName};
use tempfile::TempDir;

/// The size of a block's records in bytes: the default of a producer.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;

/// The time of the first append, in µs since the Unix epoch.
pub(crate) const BEGIN_US: u64 = 1_700_000_000_000_000;

/// A log, its catalog and its clock. Dropping it removes the directory.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) catalog: Catalog,
    pub(crate) log: Log,
    pub(crate) clock: Arc<ManualClock>,
    directory: TempDir,
    options: Options,
}

/// A clock that changes only when the benchmark advances it.
#[derive(Debug, Default)]
pub(crate) struct ManualClock(AtomicU64);

impl ManualClock {
    /// Advances both clocks by `us` microseconds.
    pub(crate) fn advance(&self, us: u64) {
        self.0.fetch_add(us, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn wall_us(&self) -> u64 {
        BEGIN_US + self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

impl Scene {
    /// Creates an empty log that keeps `tail_bytes_max` bytes of recent commits in memory.
    pub(crate) fn new(config: LogConfig, tail_bytes_max: usize) -> Scene {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = directory.expect("a temporary directory");
        let clock = Arc::new(ManualClock::default());
        let options = Options {
            committers_max: 0,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            tail_bytes_max,
            tail_bytes_total_max: tail_bytes_max,
            ..Options::new(directory.path())
        };
        let catalog = Catalog::open(options.clone()).expect("an empty data directory");
        let log = catalog.create(&name(), config).expect("a new log");
        Scene { catalog, log, clock, directory, options }
    }

    /// Appends everything in one commit and waits until it is durable.
    pub(crate) fn append(&self, appends: Vec<Append>) {
        let queued = appends.into_iter().map(|append| {
            self.log.append(append).expect("the log is healthy and its queue has space")
        });
        let tickets: Vec<Ticket> = queued.collect();
        while self.catalog.step() {}
        for ticket in tickets {
            ticket.wait().expect("the append is durable");
        }
    }

    /// Appends blocks until the log has `bytes` bytes of records.
    pub(crate) fn fill(&self, bytes: usize, payload_bytes: usize) {
        for _ in 0..bytes / BLOCK_BYTES {
            self.append(vec![block(BLOCK_BYTES, payload_bytes)]);
        }
    }

    /// Closes the catalog. Each call of the returned function opens it again.
    pub(crate) fn closed(self) -> impl FnMut() -> Log {
        let Scene { catalog, log, directory, options, .. } = self;
        drop(log);
        drop(catalog);
        move || {
            let _directory = &directory;
            let catalog = Catalog::open(options.clone()).expect("the catalog is closed");
            catalog.log(&name()).expect("an intact log")
        }
    }
}

fn name() -> LogName {
    "measured".parse().expect("a name")
}

/// Builds a block of `records_bytes` bytes of records, without a producer.
pub(crate) fn block(records_bytes: usize, payload_bytes: usize) -> Append {
    let payload = vec![b'x'; payload_bytes];
    let mut builder = Builder::new();
    for _ in 0..records_bytes / (RECORD_HEADER_BYTES + payload_bytes) {
        assert!(builder.push(&payload), "the records fit in one block");
    }
    let block = build(&builder.take(), Origin::default());
    let (block, _) = Block::parse(block, u64::MAX).expect("a valid block");
    block.into_checked(1 << 20).expect("a valid block").into()
}
