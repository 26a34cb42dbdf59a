//! Tests of ages: segments roll and expire at the right time, and a jump of the wall clock changes
//! no age.

use std::sync::Arc;
use std::time::Duration;

use styx_engine::{Append, Catalog, Log, Producer};
use styx_protocol::{LogConfig, Records};

use crate::clock::ManualClock;
use crate::disk::Disk;
use crate::run::{name, options};

/// Appends a record and commits it.
fn append(catalog: &Catalog, log: &Log) {
    let ticket = log.append(Records::one(b"record")).expect("queued");
    while catalog.step() {}
    drop(ticket);
}

/// Advances the clock and runs the maintainer.
fn pass(catalog: &Catalog, clock: &ManualClock, seconds: u64) {
    clock.advance(Duration::from_secs(seconds));
    catalog.step();
}

#[test]
fn a_segment_rolls_and_expires_by_the_age_of_its_records() {
    let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
    let config = LogConfig { segment_max_age: 10, log_max_age: 100, ..LogConfig::default() };
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let log = catalog.create(&name(), config).expect("created");
    let segments = |log: &Log| log.stats().segments;
    // An empty segment never rolls, whatever its age.
    pass(&catalog, &clock, 50);
    append(&catalog, &log);
    pass(&catalog, &clock, 5);
    append(&catalog, &log);
    assert_eq!(segments(&log), 1);
    for years in [9, -9, 0] {
        clock.set_wall_offset(years * 31_000_000_000_000);
        pass(&catalog, &clock, 1);
        assert_eq!(segments(&log), 1, "{years} years off");
    }
    pass(&catalog, &clock, 4);
    assert_eq!(segments(&log), 2, "its first record is 12 s old");
    append(&catalog, &log);
    for years in [9, -9, 0] {
        clock.set_wall_offset(years * 31_000_000_000_000);
        pass(&catalog, &clock, 1);
        assert_eq!(log.start_position().0, 0, "{years} years off");
    }
    // Retention uses the age of a segment's newest record, which was appended at 55 s.
    pass(&catalog, &clock, 89);
    assert_eq!(log.start_position().0, 0);
    pass(&catalog, &clock, 5);
    assert_eq!(log.start_position().0, 2);
    // The newest segment never expires, and a restart does not change this.
    drop(catalog);
    disk.restart(None);
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let log = catalog.log(&name()).expect("the log exists");
    assert_eq!((log.start_position().0, log.end_position().0), (2, 3));
}

/// Regression test. On a machine that starts with a wrong time, the wall clock may jump by years.
/// Then all other producers looked unused for a week and were forgotten. Their retries were
/// appended again.
#[test]
fn a_jump_of_the_wall_clock_forgets_no_producer() {
    let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let log = catalog.create(&name(), LogConfig::default()).expect("created");
    let send = |log: &Log, catalog: &Catalog, id: u64, sequence: u64| {
        let producer = Some(Producer { id, epoch: None, sequence });
        let records = Records::one(b"record");
        let append = Append::Records { records, expected: None, producer };
        let _ticket = log.append(append).expect("queued");
        while catalog.step() {}
    };
    send(&log, &catalog, 1, 0);
    for years in [3, -3, 0] {
        clock.set_wall_offset(years * 31_000_000_000_000);
        send(&log, &catalog, 2, 0);
        send(&log, &catalog, 1, 0);
        assert_eq!(log.end_position().0, 2, "{years} years off");
    }
    // A producer is forgotten after a week of steady time.
    clock.advance(Duration::from_secs(7 * 24 * 3600 + 1));
    send(&log, &catalog, 2, 1);
    assert_eq!(log.producer(1), None);
}
