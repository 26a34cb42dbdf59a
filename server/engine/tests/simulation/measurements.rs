//! Tests of the measurements of appends, commits and reads, on a clock that only the test moves.

use std::sync::Arc;
use std::time::Duration;

use styx_engine::{Catalog, Found, Histogram};
use styx_protocol::{LogConfig, Position, Records};

use crate::clock::ManualClock;
use crate::disk::Disk;
use crate::run::{name, options};

/// The number of values, and their sum.
fn total(histogram: &Histogram) -> (u64, u64) {
    let snapshot = histogram.snapshot();
    (snapshot.count(), snapshot.sum)
}

#[test]
fn appends_are_measured_from_the_queue_to_the_result() {
    let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let log = catalog.create(&name(), LogConfig::default()).expect("created");
    let measurements = catalog.measurements();
    let before = total(&measurements.commit_bytes);
    let mut tickets = vec![log.append(Records::one(b"first")).expect("queued")];
    clock.advance(Duration::from_millis(7));
    tickets.push(log.append(Records::one(b"second")).expect("queued"));
    clock.advance(Duration::from_millis(3));
    assert_eq!(total(&measurements.queue), (0, 0), "no group has taken them");
    while catalog.step() {}
    for ticket in tickets {
        ticket.wait().expect("durable");
    }
    assert_eq!(total(&measurements.queue), (2, 13_000));
    assert_eq!(total(&measurements.appends), (2, 13_000));
    assert_eq!(total(&measurements.syncs), (before.0 + 1, 0), "one group, and a fast disk");
    assert_eq!(measurements.records_appended(), 2);
    let (commits, bytes) = total(&measurements.commit_bytes);
    assert_eq!((commits, bytes), (log.stats().commits, log.stats().bytes_written));
    // The numbers outlive the log.
    catalog.delete(&name()).expect("deleted");
    assert_eq!(measurements.records_appended(), 2);
}

#[test]
fn a_refused_append_has_waited_but_is_no_durable_append() {
    let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let log = catalog.create(&name(), LogConfig::default()).expect("created");
    let append = styx_engine::Append::Records {
        records: Records::one(b"record"),
        expected: Some(Position(5)),
        producer: None,
    };
    let ticket = log.append(append).expect("queued");
    while catalog.step() {}
    assert!(ticket.wait().is_err(), "the log does not end there");
    let measurements = catalog.measurements();
    assert_eq!(total(&measurements.queue).0, 1);
    assert_eq!(total(&measurements.appends).0, 0);
    assert_eq!(measurements.records_appended(), 0);
}

#[test]
fn reads_that_find_something_are_measured() {
    let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let log = catalog.create(&name(), LogConfig::default()).expect("created");
    let measurements = catalog.measurements();
    let mut reader = log.reader(Position::ORIGIN).expect("a reader");
    assert!(matches!(reader.try_read(1024), Ok(Found::AtEnd)));
    assert_eq!(total(&measurements.reads), (0, 0), "there is nothing to read");
    let ticket = log.append(Records::one(b"record")).expect("queued");
    while catalog.step() {}
    ticket.wait().expect("durable");
    assert!(matches!(reader.try_read(1024), Ok(Found::Some(_))));
    assert!(matches!(log.record(Position::ORIGIN), Ok(Found::Some(_))));
    let mut reader = log.reader(Position::ORIGIN).expect("a reader");
    assert!(matches!(reader.blocks(1024), Ok(Found::Some(_))));
    assert_eq!(total(&measurements.reads), (3, 0));
}
