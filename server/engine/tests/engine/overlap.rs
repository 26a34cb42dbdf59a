//! Tests of overlapping groups: a group is planned while the group before it is being written. It
//! is planned on the changes of that group, is committed after it, and fails if it fails.

use std::io;
use std::sync::Arc;

use styx_engine::{Appended, Catalog, Error, Found, Log, Options, Producer, Ticket};
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::support::gate::{Call, Gate, GatedStorage};
use crate::support::{self, name, reopen};

/// A log whose groups overlap whenever possible, on a storage with a gate.
struct Scene {
    gate: Arc<Gate>,
    log: Log,
    catalog: Catalog,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let gate = Arc::<Gate>::default();
        let storage = Arc::new(GatedStorage::new(&gate));
        let catalog = Catalog::open(Options {
            storage,
            overlap_bytes_min: 1,
            ..Options::new(directory.path())
        })
        .expect("opened");
        let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
        Scene { gate, log, catalog, directory }
    }

    fn append(&self, records: Records, sequence: Option<u64>) -> Ticket {
        let producer = sequence.map(|sequence| Producer { id: 7, epoch: None, sequence });
        let append = styx_engine::Append::Records { records, expected: None, producer };
        self.log.append(append).expect("queued")
    }

    /// Queues two appends. The first one is blocked in this call, and the second one is planned.
    /// With the same sequence number it repeats the first one.
    fn overlapping(&self, call: Call, sequences: [Option<u64>; 2]) -> [Ticket; 2] {
        self.gate.close(call);
        let first = self.append(large(b'1'), sequences[0]);
        self.gate.wait_until_blocking();
        let repeats = sequences[0].is_some() && sequences[0] == sequences[1];
        let second = self.append(large(if repeats { b'1' } else { b'2' }), sequences[1]);
        while self.log.stats().queue_bytes > 0 {
            std::thread::yield_now();
        }
        assert_eq!(self.log.end_position(), Position(0), "nothing is published before its sync");
        [first, second]
    }

    /// Opens the catalog again and returns the content of the log.
    fn reopened(self) -> Vec<u8> {
        let Scene { log, catalog, directory, .. } = self;
        drop(log);
        let (_catalog, log) = reopen(catalog, directory.path());
        assert_eq!(log.status(), LogStatus::Ok);
        read_all(&log)
    }
}

/// A record that is so large that the engine reserves space for it.
fn large(byte: u8) -> Records {
    Records::one(&[byte; 100_000])
}

/// Reads the first byte of each record.
fn read_all(log: &Log) -> Vec<u8> {
    support::read_all(log).iter().map(|payload| payload[0]).collect()
}

fn added(base: u64) -> Appended {
    Appended { base: Position(base), end: Position(base + 1), count: 1, repeated: 0 }
}

#[test]
fn a_group_planned_during_a_write_is_committed_after_it() {
    let scene = Scene::new();
    let [first, second] = scene.overlapping(Call::Sync, [None, None]);
    scene.gate.open(&[]);
    assert_eq!(first.wait().expect("durable"), added(0));
    assert_eq!(second.wait().expect("durable"), added(1));
    assert_eq!(scene.log.stats().commits, 2);
    assert_eq!(read_all(&scene.log), b"12");
    assert_eq!(scene.reopened(), b"12");
}

#[test]
fn a_group_planned_on_a_failed_one_fails_too() {
    let scene = Scene::new();
    let [first, second] = scene.overlapping(Call::Sync, [None, None]);
    scene.gate.open(&[io::ErrorKind::Other]);
    for ticket in [first, second] {
        let result = ticket.wait();
        assert!(matches!(result, Err(Error::OutcomeUnknown { .. })), "{result:?}");
    }
    assert_eq!((scene.log.status(), scene.log.end_position()), (LogStatus::Tainted, Position(0)));
    // The first record may have reached the disk, but the second one was never written.
    assert!([&b""[..], b"1"].contains(&&scene.reopened()[..]));
}

#[test]
fn a_group_planned_on_one_without_space_fails_and_appends_continue() {
    let scene = Scene::new();
    let [first, second] = scene.overlapping(Call::Reserve, [Some(0), Some(1)]);
    // The engine first tries to reserve additional space, and then only what it needs.
    scene.gate.open(&[io::ErrorKind::StorageFull; 2]);
    for ticket in [first, second] {
        let result = ticket.wait();
        assert!(matches!(result, Err(Error::StorageFull { .. })), "{result:?}");
    }
    assert_eq!(scene.log.status(), LogStatus::Ok);
    assert!(scene.log.producer(7).is_none(), "a failed append does not change the producers table");
    for (sequence, byte) in (0..).zip(b'3'..=b'5') {
        let result = scene.append(large(byte), Some(sequence)).wait();
        assert_eq!(result.expect("durable"), added(sequence));
    }
    assert_eq!(read_all(&scene.log), b"345");
    assert_eq!(scene.reopened(), b"345");
}

#[test]
fn an_append_repeated_while_it_is_written_is_stored_once() {
    let scene = Scene::new();
    let [first, again] = scene.overlapping(Call::Sync, [Some(0), Some(0)]);
    assert!(scene.log.producer(7).is_none(), "an append that is not durable is not visible");
    scene.gate.open(&[]);
    assert_eq!(first.wait().expect("durable"), added(0));
    let again = again.wait().expect("durable");
    assert_eq!((again.end, again.count, again.repeated), (Position(1), 0, 1));
    assert_eq!(scene.reopened(), b"1");
}

#[test]
fn an_append_repeated_after_a_failure_is_not_called_repeated() {
    let scene = Scene::new();
    let [first, again] = scene.overlapping(Call::Sync, [Some(0), Some(0)]);
    scene.gate.open(&[io::ErrorKind::Other]);
    for ticket in [first, again] {
        let result = ticket.wait();
        assert!(matches!(result, Err(Error::OutcomeUnknown { .. })), "{result:?}");
    }
}

#[test]
fn overlapping_groups_keep_the_order_of_each_producer_across_rolls() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = || Options {
        overlap_bytes_min: 1,
        direct_bytes_min: 3000,
        ..Options::new(directory.path())
    };
    let catalog = Catalog::open(options()).expect("opened");
    let config = LogConfig { segment_max_count: 1000, ..LogConfig::default() };
    let log = catalog.create(&name("log"), config).expect("created");
    const PRODUCERS: u64 = 4;
    const APPENDS: u64 = 300;
    std::thread::scope(|scope| {
        for id in 1..=PRODUCERS {
            let log = &log;
            scope.spawn(move || {
                let mut tickets = Vec::new();
                let mut sequence = 0;
                for append in 0..APPENDS {
                    let numbers = sequence..sequence + append % 30;
                    let records = support::records(numbers.map(|number| format!("{id} {number}")));
                    let producer = Some(Producer { id, epoch: None, sequence });
                    sequence += u64::from(records.count());
                    let append = styx_engine::Append::Records { records, expected: None, producer };
                    tickets.push(log.append(append).expect("queued"));
                }
                let mut end = Position(0);
                for ticket in tickets {
                    let appended = ticket.wait().expect("durable");
                    assert!(
                        appended.count == 0 || appended.base >= end,
                        "the records of a producer are in order"
                    );
                    end = end.max(appended.end);
                }
            });
        }
    });
    assert!(log.stats().segments > 5);
    let check = |log: &Log| {
        let mut next = [0; PRODUCERS as usize + 1];
        let mut reader = log.reader(log.start_position()).expect("a reader");
        while let Found::Some(batch) = reader.read(1 << 20).expect("read") {
            for record in batch.records() {
                let text = std::str::from_utf8(&record.payload).expect("text");
                let (id, sequence) = text.split_once(' ').expect("two numbers");
                let next = &mut next[id.parse::<usize>().expect("a number")];
                assert_eq!(sequence, next.to_string());
                *next += 1;
            }
        }
        assert_eq!(next.iter().sum::<u64>(), log.end_position().0);
    };
    check(&log);
    drop(log);
    assert!(catalog.close(std::time::Duration::from_secs(30)));
    drop(catalog);
    let catalog = Catalog::open(options()).expect("opened");
    catalog.wait_until_open();
    check(&catalog.log(&name("log")).expect("open"));
}
