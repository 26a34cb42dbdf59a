//! Tests of a wall clock that is wrong: for a moment, while the server starts, or at any value. It
//! must not stop retention, remove records too early, or cause a panic.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use styx_engine::clock::ClockStats;
use styx_engine::{Catalog, Found, Log, Seek};
use styx_protocol::{LogConfig, Position, Records};

use crate::clock::{BASE_US, ManualClock};
use crate::disk::Disk;
use crate::run::{name, options};
use crate::world::read_all;

const YEAR_US: i64 = 365 * 86_400_000_000;

/// Each record has a segment of its own, which expires after 100 s.
fn config() -> LogConfig {
    LogConfig { segment_max_count: 1, log_max_age: 100, ..LogConfig::default() }
}

fn open(disk: &Disk, clock: &Arc<ManualClock>) -> (Catalog, Log) {
    let catalog = Catalog::open(options(disk, clock)).expect("opened");
    let log = catalog.log(&name()).or_else(|_| catalog.create(&name(), config())).expect("a log");
    (catalog, log)
}

fn append(catalog: &Catalog, log: &Log) {
    let ticket = log.append(Records::one(b"record")).expect("queued");
    while catalog.step() {}
    drop(ticket);
}

/// Advances the clock and runs the maintainer; returns the start position.
fn pass(catalog: &Catalog, log: &Log, clock: &ManualClock, seconds: u64) -> u64 {
    clock.advance(Duration::from_secs(seconds));
    catalog.step();
    log.start_position().0
}

/// A disk with a log of three records, which were appended while the wall clock had this offset.
fn written_with_offset(offset_us: i64) -> (Disk, Arc<ManualClock>) {
    let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
    clock.set_wall_offset(offset_us);
    let (catalog, log) = open(&disk, &clock);
    for _ in 0..3 {
        append(&catalog, &log);
    }
    let (_, last) = log.timestamps().expect("it has records");
    assert_eq!(last, BASE_US.saturating_add_signed(offset_us));
    drop((catalog, log));
    disk.restart(None);
    clock.set_wall_offset(0);
    (disk, clock)
}

fn set_modified(disk: &Disk, us: u64) {
    for position in 0..3 {
        let path = format!("/data/log/0/{position:020}.seg");
        disk.set_modified(Path::new(&path), us);
    }
}

#[test]
fn a_clock_that_is_a_year_off_for_a_moment_changes_no_timestamp_and_stops_no_retention() {
    for jump in [YEAR_US, -YEAR_US] {
        for restarts in [false, true] {
            let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
            let (mut catalog, mut log) = open(&disk, &clock);
            for offset in [0, jump, 0] {
                clock.set_wall_offset(offset);
                append(&catalog, &log);
            }
            assert_eq!(log.timestamps(), Some((BASE_US, BASE_US)));
            assert_eq!(catalog.clock_stats(), ClockStats { offset_us: 0, jumps: 1 });
            assert_eq!(log.seek(Seek::Time(BASE_US + 1)).expect("resolved"), Position(3));
            if restarts {
                drop((catalog, log));
                disk.restart(None);
                (catalog, log) = open(&disk, &clock);
            }
            assert_eq!(pass(&catalog, &log, &clock, 100), 0, "{jump}, {restarts}");
            assert_eq!(pass(&catalog, &log, &clock, 1), 2, "{jump}, {restarts}");
        }
    }
}

#[test]
fn records_expire_on_time_while_the_clock_is_off_and_after_it_is_followed() {
    for jump in [YEAR_US, -YEAR_US] {
        let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
        let (catalog, log) = open(&disk, &clock);
        append(&catalog, &log);
        clock.set_wall_offset(jump);
        append(&catalog, &log);
        append(&catalog, &log);
        assert_eq!(pass(&catalog, &log, &clock, 100), 0, "{jump}");
        assert_eq!(pass(&catalog, &log, &clock, 1), 2, "{jump}");
        // New records follow the clock after 10 minutes.
        pass(&catalog, &log, &clock, 600);
        append(&catalog, &log);
        append(&catalog, &log);
        let (_, last) = log.timestamps().expect("it has records");
        let followed = (BASE_US + 701_000_000).saturating_add_signed(jump);
        assert_eq!(last, followed.max(BASE_US), "timestamps never decrease");
        assert_eq!(catalog.clock_stats(), ClockStats { offset_us: 0, jumps: 1 });
        assert_eq!(pass(&catalog, &log, &clock, 100), 3, "{jump}");
        assert_eq!(pass(&catalog, &log, &clock, 1), 4, "{jump}");
    }
}

/// The clock was a year ahead when the server started, so the timestamps are in the future.
#[test]
fn segments_with_timestamps_in_the_future_expire_by_their_modification_time() {
    let (disk, clock) = written_with_offset(YEAR_US);
    set_modified(&disk, BASE_US);
    let (catalog, log) = open(&disk, &clock);
    assert_eq!(pass(&catalog, &log, &clock, 100), 0);
    assert_eq!(pass(&catalog, &log, &clock, 1), 2);
}

#[test]
fn segments_of_unknown_age_are_as_old_as_the_server_has_known_them() {
    for modified in [None, Some(0), Some(BASE_US + YEAR_US.unsigned_abs()), Some(u64::MAX)] {
        for offset in [YEAR_US, -20 * YEAR_US, -100 * YEAR_US] {
            let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
            clock.set_wall_offset(offset);
            let (catalog, log) = open(&disk, &clock);
            for _ in 0..3 {
                append(&catalog, &log);
            }
            drop((catalog, log));
            disk.restart(None);
            clock.set_wall_offset(0);
            if let Some(us) = modified {
                set_modified(&disk, us);
            }
            clock.advance(Duration::from_secs(1000));
            let (catalog, log) = open(&disk, &clock);
            assert_eq!(pass(&catalog, &log, &clock, 100), 0, "{modified:?}, {offset}");
            assert_eq!(pass(&catalog, &log, &clock, 1), 2, "{modified:?}, {offset}");
        }
    }
}

/// A machine without a battery starts in the past, and its clock is set a minute later.
#[test]
fn segments_expire_by_their_timestamps_if_the_clock_is_set_after_the_start() {
    let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let config = LogConfig { log_max_age: 1000, ..config() };
    let log = catalog.create(&name(), config).expect("created");
    for _ in 0..3 {
        append(&catalog, &log);
    }
    drop((catalog, log));
    disk.restart(None);
    clock.advance(Duration::from_secs(700));
    clock.set_wall_offset(-YEAR_US);
    let (catalog, log) = open(&disk, &clock);
    assert_eq!(pass(&catalog, &log, &clock, 1), 0, "their age is not known");
    clock.set_wall_offset(0);
    assert_eq!(pass(&catalog, &log, &clock, 1), 0, "the clock has just jumped");
    assert_eq!(pass(&catalog, &log, &clock, 601), 2, "they are 1,303 s old");
}

#[test]
fn a_segment_rolls_by_age_whatever_the_clock_says() {
    for (offset, later) in [(YEAR_US, 0), (0, YEAR_US), (0, -YEAR_US), (-100 * YEAR_US, 0)] {
        let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
        let config = LogConfig { segment_max_age: 10, ..LogConfig::default() };
        clock.set_wall_offset(offset);
        let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
        let log = catalog.create(&name(), config).expect("created");
        append(&catalog, &log);
        clock.set_wall_offset(later);
        pass(&catalog, &log, &clock, 10);
        assert_eq!(log.stats().segments, 1, "{offset}, {later}");
        pass(&catalog, &log, &clock, 1);
        assert_eq!(log.stats().segments, 2, "{offset}, {later}");
        // After a restart too, at the latest when the server has run for so long.
        append(&catalog, &log);
        drop((catalog, log));
        disk.restart(None);
        let (catalog, log) = open(&disk, &clock);
        pass(&catalog, &log, &clock, 11);
        assert_eq!(log.stats().segments, 3, "{offset}, {later}");
    }
}

#[test]
fn no_value_of_the_clock_is_an_error() {
    let end_of_9999 = 253_402_300_799_999_999;
    let values = [0, 1, 1_000_000, BASE_US, end_of_9999, i64::MAX as u64, u64::MAX - 1];
    for first in values {
        for second in values {
            let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
            clock.stop_wall_at(first);
            let config = LogConfig { segment_max_age: 5, log_max_age: 1 << 53, ..config() };
            let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
            let log = catalog.create(&name(), config).expect("created");
            append(&catalog, &log);
            clock.stop_wall_at(second);
            append(&catalog, &log);
            use_everything(&catalog, &log, &clock);
            drop((catalog, log));
            disk.restart(None);
            let (catalog, log) = open(&disk, &clock);
            use_everything(&catalog, &log, &clock);
            clock.stop_wall_at(first);
            use_everything(&catalog, &log, &clock);
            assert_eq!(log.end_position(), Position(14), "{first}, {second}");
        }
    }
}

/// Appends four records, and calls whatever depends on the time.
fn use_everything(catalog: &Catalog, log: &Log, clock: &ManualClock) {
    for seconds in [1, 700] {
        let begun = log.begin_producer(7, None).expect("queued");
        append(catalog, log);
        append(catalog, log);
        drop(begun);
        pass(catalog, log, clock, seconds);
    }
    let _ = catalog.clock_stats();
    let (first, last) = log.timestamps().expect("it has records");
    assert!(first <= last && last <= 253_402_300_799_999_999, "{first}, {last}");
    for time in [0, first, last, i64::MAX as u64, u64::MAX] {
        log.seek(Seek::Time(time)).expect("every time can be asked for");
    }
    let records = read_all(log).expect("every record can be read");
    assert_eq!(records.len() as u64, log.end_position().0 - log.start_position().0);
    let mut archive = Vec::new();
    log.backup(&mut archive).expect("backed up");
    let copy = "copy".parse().expect("a name");
    let restored = catalog.restore(&copy, &mut archive.as_slice()).expect("restored");
    assert!(matches!(restored.record(log.start_position()), Ok(Found::Some(_))));
    catalog.delete(&copy).expect("deleted");
}
