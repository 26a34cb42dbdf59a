//! Compares the engine with a simple model, a vector of records. After any sequence of appends,
//! reads, trims, truncates, backups and reopens, both have the same records and the same state of
//! producers. Followers see every record, and retention removes no more than it may.
//!
//! Each case has one seed. `STYX_SEED=n cargo test -p styx-engine --test model` repeats a case, and
//! `STYX_SEEDS=n` sets the number of seeds.

#![allow(clippy::disallowed_methods, reason = "tests inspect real files")]

mod follower;
mod producers;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use styx_engine::{Append, AppendError, Catalog, Error, Found, Log, Options, Producer, Seek};
use styx_protocol::codec::Codec;
use styx_protocol::{LogConfig, Position, Records};

use self::follower::Follower;
use self::producers::{ProducerNotes, Shape, codecs, shapes};
use self::support::{name, records};

#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<u16>),
    AppendExpecting {
        records: Vec<u16>,
        off_by: u64,
    },
    AppendAs {
        producer: u64,
        back: u64,
        records: Vec<u16>,
    },
    AppendBlock {
        producer: u64,
        epochs_back: u32,
        shape: Shape,
        codec: Codec,
        records: Vec<u16>,
    },
    Begin {
        producer: u64,
        epoch_change: Option<i64>,
    },
    Forget {
        producer: u64,
    },
    Read {
        from: u64,
        bytes_max: usize,
    },
    SeekTime(u64),
    /// Starts another follower at a position that the log still has.
    Follow(u64),
    Trim(u64),
    Truncate,
    Reopen,
    Crash,
    BackupAndRestore,
}

/// The retention of a log and the operations on it.
#[derive(Debug, Clone)]
struct Case {
    /// The number of records to keep; `None` keeps all.
    log_max_count: Option<u64>,
    operations: Vec<Operation>,
}

fn cases() -> impl Strategy<Value = Case> {
    (prop::option::of(15u64..60), operations())
        .prop_map(|(log_max_count, operations)| Case { log_max_count, operations })
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let sizes = || prop::collection::vec(0u16..400, 1..8);
    let one = prop_oneof![
        6 => sizes().prop_map(Operation::Append),
        2 => (sizes(), 0u64..2)
            .prop_map(|(records, off_by)| Operation::AppendExpecting { records, off_by }),
        3 => (1u64..4, 0u64..6, sizes())
            .prop_map(|(producer, back, records)| Operation::AppendAs { producer, back, records }),
        8 => (1u64..4, 0u32..2, shapes(), codecs(), sizes()).prop_map(
            |(producer, epochs_back, shape, codec, records)| {
                Operation::AppendBlock { producer, epochs_back, shape, codec, records }
            }
        ),
        2 => (1u64..4, prop::option::of(-1i64..3))
            .prop_map(|(producer, epoch_change)| Operation::Begin { producer, epoch_change }),
        1 => (1u64..4).prop_map(|producer| Operation::Forget { producer }),
        3 => (any::<u64>(), 1usize..2000)
            .prop_map(|(from, bytes_max)| Operation::Read { from, bytes_max }),
        1 => any::<u64>().prop_map(Operation::SeekTime),
        2 => any::<u64>().prop_map(Operation::Follow),
        1 => any::<u64>().prop_map(Operation::Trim),
        1 => Just(Operation::Truncate),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Crash),
        1 => Just(Operation::BackupAndRestore),
    ];
    prop::collection::vec(one, 1..60)
}

/// The expected content of the log.
#[derive(Debug, Default)]
struct Model {
    start: u64,
    /// All records from position 0 on, including trimmed ones.
    records: Vec<Vec<u8>>,
    producers: HashMap<u64, ProducerNotes>,
    /// How often a producer was forgotten. It changes all ids, so a forgotten id is never used
    /// again.
    forgotten: u64,
    /// The number of payloads so far. It makes each payload unique if it has at least 8 bytes.
    written: u64,
    log_max_count: Option<u64>,
}

impl Model {
    fn payloads(&mut self, sizes: &[u16]) -> Vec<Vec<u8>> {
        let payload = |size: &u16| {
            self.written += 1;
            let mut bytes = self.written.to_be_bytes().to_vec();
            bytes.resize(usize::from(*size), 7);
            bytes
        };
        sizes.iter().map(payload).collect()
    }

    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn id(&self, producer: u64) -> u64 {
        producer + 10 * self.forgotten
    }
}

struct Engine {
    directory: tempfile::TempDir,
    catalog: Option<Catalog>,
    log: Option<Log>,
    followers: Vec<Follower>,
}

/// The maximum number of records in a segment if retention is on.
const SEGMENT_RECORDS_MAX: u64 = 10;

fn config(log_max_count: Option<u64>) -> LogConfig {
    let limits =
        LogConfig { segment_max_size: 3000, index_after_size: 300, ..LogConfig::default() };
    match log_max_count.and_then(|count| i64::try_from(count).ok()) {
        None => limits,
        Some(log_max_count) => {
            LogConfig { segment_max_count: SEGMENT_RECORDS_MAX as i64, log_max_count, ..limits }
        }
    }
}

/// Creates a directory, in memory if possible. Syncs would only take time here; other tests cover
/// them.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory")
}

impl Engine {
    fn new(log_max_count: Option<u64>) -> Engine {
        let directory = directory();
        let mut engine = Engine { directory, catalog: None, log: None, followers: Vec::new() };
        engine.open();
        let log = engine.catalog().create(&name("model"), config(log_max_count)).expect("created");
        engine.log = Some(log);
        engine
    }

    fn open(&mut self) {
        let options = Options {
            committers_max: 2,
            direct_bytes_min: 1500,
            overlap_bytes_min: 1,
            ..Options::new(self.directory.path())
        };
        let catalog = Catalog::open(options).expect("opened");
        catalog.wait_until_open();
        self.log = catalog.log(&name("model")).ok();
        self.catalog = Some(catalog);
    }

    /// Drops the log and the catalog, and checks that the followers end.
    fn drop_handles(&mut self) {
        self.log = None;
        self.catalog = None;
        self.end_followers();
    }

    /// Checks that every follower ends after the log was closed or removed.
    fn end_followers(&mut self) {
        self.followers.drain(..).for_each(Follower::expect_end);
    }

    fn catalog(&self) -> &Catalog {
        self.catalog.as_ref().expect("open")
    }

    fn log(&self) -> &Log {
        self.log.as_ref().expect("open")
    }
}

fn read_all(log: &Log) -> Vec<Vec<u8>> {
    support::read_all_by(log, 700)
}

/// Waits until the maintainer has applied retention, which it does shortly after a commit. After
/// that, the start position does not change.
fn wait_for_retention(log: &Log, model: &Model) {
    let Some(count_max) = model.log_max_count else { return };
    let since = Instant::now();
    while log.info().record_count > count_max {
        let count = log.info().record_count;
        assert!(since.elapsed() < Duration::from_secs(20), "{count} of {count_max} records");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Compares the log with the model.
fn check(engine: &mut Engine, model: &mut Model, totals: &Totals) {
    let count = |total: &AtomicU64, n: usize| total.fetch_add(n as u64, Ordering::Relaxed);
    let log = engine.log();
    wait_for_retention(log, model);
    let info = log.info();
    assert_eq!(info.end_position, model.end());
    assert!(info.start_position >= model.start, "removed records are back");
    if info.start_position > model.start {
        let must_keep = model.log_max_count.expect("nothing else removes anything here");
        // Retention removes whole segments, so it may remove more records than the limit demands.
        let first = model.end().saturating_sub(must_keep);
        assert!(
            info.start_position < first + 2 * SEGMENT_RECORDS_MAX,
            "retention removed too many records"
        );
        count(&totals.retained, 1);
    }
    model.start = info.start_position;
    let kept = &model.records[usize::try_from(model.start).expect("it fits")..];
    assert_eq!(read_all(log), kept);
    let bytes: usize = kept.iter().map(|record| record.len() + 8).sum();
    assert_eq!(info.file_size, bytes as u64);
    assert_eq!(info.record_count, kept.len() as u64);
    model.check_producers(log);
    engine.followers.retain_mut(|follower| follower.catch_up(model));
    count(&totals.followed, engine.followers.len());
}

/// Applies an operation to the log and to the model, and checks its result.
fn apply(engine: &mut Engine, model: &mut Model, operation: &Operation) {
    match operation {
        Operation::Append(sizes) => {
            let payloads = model.payloads(sizes);
            let appended = engine.log().append_durably(records(&payloads)).expect("appended");
            model.records.extend(payloads);
            assert_eq!(appended.end.0, model.end());
        }
        Operation::AppendExpecting { records: sizes, off_by } => {
            let payloads = model.payloads(sizes);
            let expected = Some(Position(model.end() + off_by));
            let append = Append::Records { records: records(&payloads), expected, producer: None };
            let appended = engine.log().append_durably(append);
            if *off_by == 0 {
                assert_eq!(appended.expect("appended").count as usize, payloads.len());
                model.records.extend(payloads);
            } else {
                assert!(matches!(appended, Err(Error::PositionMismatch { .. })), "{appended:?}");
            }
        }
        Operation::AppendAs { producer, back, records: sizes } => {
            let id = model.id(*producer);
            let sent = model.producers.entry(id).or_default().sent().to_vec();
            let back = (*back).min(sent.len() as u64);
            let sequence = sent.len() as u64 - back;
            let mut payloads = sent[usize::try_from(sequence).expect("it fits")..].to_vec();
            payloads.extend(model.payloads(sizes));
            let append = Append::Records {
                records: records(&payloads),
                expected: None,
                producer: Some(Producer { id, epoch: None, sequence }),
            };
            let appended = engine.log().append_durably(append).expect("appended");
            let new = payloads.split_off(usize::try_from(back).expect("it fits"));
            assert_eq!((appended.count as usize, u64::from(appended.repeated)), (new.len(), back));
            assert_eq!(appended.base.0, model.end());
            let (base, body) = (model.end(), records(&new));
            model.producers.entry(id).or_default().appended(base, &new, body.bytes());
            model.records.extend(new);
            assert_eq!(appended.end.0, model.end());
        }
        Operation::AppendBlock { producer, epochs_back, shape, codec, records: sizes } => {
            let (id, new) = (model.id(*producer), model.payloads(sizes));
            let epoch = model.epoch(id).saturating_sub(*epochs_back);
            let notes = model.producers.entry(id).or_default();
            if let Some(draft) = notes.draft(id, epoch, shape, new, *codec) {
                model.send(engine.log(), draft);
            }
        }
        Operation::Begin { producer, epoch_change } => {
            model.begin(engine.log(), model.id(*producer), *epoch_change);
        }
        Operation::Forget { producer } => {
            let id = model.id(*producer);
            engine.log().forget_producer(id).expect("accepted");
            // This request is queued after the first one, so its result shows that both are done.
            engine.log().begin_producer(id + 5, Some(0)).expect("accepted").wait().expect("begun");
            assert_eq!(engine.log().producer(id), None);
            model.forgotten += 1;
            // The model forgets it too: after a crash, the log may or may not know the producer.
            model.producers.remove(&id);
        }
        Operation::Read { from, bytes_max } => {
            let from = from % (model.end() + 2);
            let log = engine.log();
            let inside = (log.start_position().0..=model.end()).contains(&from);
            match log.reader(Position(from)) {
                Ok(mut reader) => {
                    assert!(inside);
                    match reader.read(*bytes_max).expect("read") {
                        Found::Some(batch) => {
                            assert_eq!(batch.first().0, from);
                            for record in batch.records() {
                                let at = usize::try_from(record.position.0).expect("it fits");
                                assert_eq!(record.payload, model.records[at]);
                            }
                        }
                        _ => assert_eq!(from, model.end()),
                    }
                }
                Err(error) => {
                    assert!(!inside);
                    assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
                }
            }
        }
        Operation::SeekTime(pick) => {
            let log = engine.log();
            let Some((first, last)) = log.timestamps() else { return };
            let time = first + pick % (last - first + 2);
            let found = log.seek(Seek::Time(time)).expect("found");
            let stamp = |position: Position| match log.record(position).expect("read") {
                Found::Some(record) => record.timestamp_us,
                _ => u64::MAX,
            };
            assert!(stamp(found) >= time);
            if found > log.start_position() {
                assert!(stamp(Position(found.0 - 1)) < time);
            }
        }
        Operation::Follow(pick) => {
            let from = model.start + pick % (model.end() - model.start + 1);
            let follower = Follower::start(engine.log(), from);
            engine.followers.push(follower);
        }
        Operation::Trim(to) => {
            let to = to % (model.end() + 1);
            engine.log().trim(Position(to)).expect("trimmed");
            let start = engine.log().start_position().0;
            assert!((model.start..=to.max(model.start)).contains(&start), "{start} for {to}");
            model.start = start;
        }
        Operation::Truncate => {
            let old = engine.log().clone();
            engine.log = Some(engine.catalog().truncate(&name("model")).expect("truncated"));
            assert!(matches!(
                old.append(Records::one(b"x")),
                Err(AppendError::Refused(Error::LogRemoved { .. }))
            ));
            assert_ne!(old.id(), engine.log().id());
            engine.end_followers();
            *model = Model {
                written: model.written,
                forgotten: model.forgotten,
                log_max_count: model.log_max_count,
                ..Model::default()
            };
        }
        Operation::Reopen => {
            assert!(engine.catalog().close(Duration::from_secs(30)));
            engine.drop_handles();
            engine.open();
        }
        Operation::Crash => {
            // Copy the files as they are, without closing the catalog.
            let copy = directory();
            copy_tree(engine.directory.path(), copy.path());
            engine.drop_handles();
            engine.directory = copy;
            engine.open();
        }
        Operation::BackupAndRestore => {
            let mut archive = Vec::new();
            engine.log().backup(&mut archive).expect("backed up");
            let id = engine.log().id();
            engine.catalog().delete(&name("model")).expect("deleted");
            engine.end_followers();
            let log = engine.catalog().restore(&name("model"), &mut archive.as_slice());
            engine.log = Some(log.expect("restored"));
            assert_ne!(engine.log().id(), id);
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("list") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            std::fs::create_dir(&target).expect("create");
            copy_tree(&entry.path(), &target);
        } else {
            // A file may vanish between the listing and the copy.
            let _ = std::fs::copy(entry.path(), &target);
        }
    }
}

/// Counts of what the cases covered, so that the test fails if they cover too little.
#[derive(Debug, Default)]
struct Totals {
    retained: AtomicU64,
    followed: AtomicU64,
}

fn run_case(case: &Case, totals: &Totals) {
    let mut engine = Engine::new(case.log_max_count);
    let mut model = Model { log_max_count: case.log_max_count, ..Model::default() };
    for operation in &case.operations {
        apply(&mut engine, &mut model, operation);
        check(&mut engine, &mut model, totals);
    }
}

/// Runs the case of a seed. On a failure, returns the error of the smallest failing case that was
/// found.
fn run_seed(seed: u64, totals: &Totals) -> Result<(), String> {
    let config = Config {
        cases: 1,
        max_shrink_iters: 300,
        max_shrink_time: 15_000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome = TestRunner::new_with_rng(config, rng).run(&cases(), |case| {
        run_case(&case, totals);
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

#[test]
fn the_log_behaves_like_a_vector() {
    let seeds = support::seeds();
    // Cases spend most of their time waiting for retention, so eight run at the same time.
    let (next, totals) = (AtomicU64::new(seeds.start), Totals::default());
    std::thread::scope(|scope| {
        for _ in 0..8.min(seeds.end - seeds.start) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    if let Err(fault) = run_seed(seed, &totals) {
                        // Stop the other threads.
                        next.store(seeds.end, Ordering::Relaxed);
                        panic!(
                            "{fault}\nto repeat it: STYX_SEED={seed} cargo test -p styx-engine --test model"
                        );
                    }
                }
            });
        }
    });
    let count = seeds.end - seeds.start;
    println!("{count} seeds: {totals:?}");
    if count >= 100 {
        let Totals { retained, followed } = totals;
        assert!(retained.into_inner() > count / 5 && followed.into_inner() > count);
    }
}
