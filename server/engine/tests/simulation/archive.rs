//! Tests of a fault at every file call while a log is archived, evicted and trimmed.
//!
//! Whichever call fails, and whatever a power cut keeps, every record is readable after a restart,
//! and nothing is missing that the list of archived segments does not name.

use std::sync::Arc;
use std::time::Duration;

use styx_engine::archive::LocalLimits;
use styx_engine::{Catalog, Error, Log, Options};
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::clock::ManualClock;
use crate::disk::{Disk, ErrorKind, Fault};
use crate::run::{name, options};
use crate::support::depot::MemoryDepot;
use crate::world::read_all;

const SEGMENT_RECORDS: u64 = 3;

fn payload(position: u64) -> Vec<u8> {
    format!("record {position} {}", "z".repeat(50)).into_bytes()
}

struct Scene {
    disk: Disk,
    clock: Arc<ManualClock>,
    depot: MemoryDepot,
}

impl Scene {
    fn open(&self) -> Catalog {
        let depot = Some(Arc::new(self.depot.clone()) as _);
        let options = Options { depot, ..options(&self.disk, &self.clock) };
        Catalog::open(options).expect("opened")
    }

    fn append(&self, catalog: &Catalog, log: &Log, records: u64) -> Result<(), Error> {
        for _ in 0..records {
            let position = log.end_position().0;
            let ticket = log.append(Records::one(&payload(position)));
            let ticket = ticket.map_err(|error| match error {
                styx_engine::AppendError::Refused(error) => error,
                styx_engine::AppendError::QueueFull(_) => unreachable!("one append"),
            })?;
            while catalog.step() {}
            ticket.wait()?;
        }
        Ok(())
    }

    /// What the archiver does, until the first error.
    fn archive(&self, catalog: &Catalog, log: &Log) -> Result<(), Error> {
        let everything = LocalLimits { bytes_max: Some(0), age_max: None };
        for _ in 0..3 {
            let segments = log.unarchived();
            let entries: Result<Vec<_>, _> =
                segments.iter().map(|segment| self.depot.upload(log, segment)).collect();
            log.record_archived(&entries?)?;
            log.evict(&everything)?;
            self.append(catalog, log, 4)?;
        }
        log.trim(Position(7))?;
        self.append(catalog, log, 4)?;
        log.record_archived(&[])?;
        log.evict(&everything).map(drop)
    }

    /// All records up to the end can be read.
    fn check(&self, acked: u64, what: &str) {
        let catalog = self.open();
        let log = catalog.log(&name()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(log.status(), LogStatus::Ok, "{what}");
        assert!(log.end_position().0 >= acked, "{what}: {} of {acked}", log.end_position());
        let (start, end) = (log.start_position().0, log.end_position().0);
        assert!(start == 0 || start == 6, "{what}: {start}");
        let held = read_all(&log).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(held == (start..end).map(payload).collect::<Vec<_>>(), "{what}");
        self.append(&catalog, &log, 4).unwrap_or_else(|error| panic!("{what}: {error}"));
        self.archive(&catalog, &log).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(log.stats().remote_bytes > 0, "{what}: archiving goes on");
        // Nothing was evicted because of an entry that is only in the page cache.
        let (start, end) = (log.start_position().0, log.end_position().0);
        drop((log, catalog));
        self.disk.restart(Some(0));
        let catalog = self.open();
        let log = catalog.log(&name()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(log.status(), LogStatus::Ok, "{what}, after another power cut");
        assert_eq!((log.start_position().0, log.end_position().0), (start, end), "{what}");
        let held = read_all(&log).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(held == (start..end).map(payload).collect::<Vec<_>>(), "{what}");
    }
}

fn fault(fault: Fault, calls: u64, restart: Option<u64>) -> bool {
    let scene = Scene {
        disk: Disk::new(calls * 7 + restart.unwrap_or(1)),
        clock: Arc::default(),
        depot: MemoryDepot::default(),
    };
    let what = format!("{fault:?} at call {calls}, restart {restart:?}");
    let catalog = scene.open();
    let config = LogConfig { segment_max_count: SEGMENT_RECORDS as i64, ..LogConfig::default() };
    let log = catalog.create(&name(), config).expect("created");
    scene.append(&catalog, &log, 10).expect("appended");
    scene.clock.advance(Duration::from_millis(100));
    catalog.step();
    let before = scene.disk.calls();
    scene.disk.fail_after(calls, fault);
    let archived = scene.archive(&catalog, &log);
    let acked = log.end_position().0;
    let is_over = archived.is_ok() && scene.disk.calls() - before <= calls;
    if fault != Fault::PowerCut && log.status() == LogStatus::Ok {
        // A failed call of the archiver disturbs neither appends nor reads, and can be repeated.
        scene.disk.clear_fault();
        let (start, end) = (log.start_position().0, log.end_position().0);
        let held = read_all(&log).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(held == (start..end).map(payload).collect::<Vec<_>>(), "{what}");
        scene.archive(&catalog, &log).unwrap_or_else(|error| panic!("{what}, again: {error}"));
    }
    drop((log, catalog));
    scene.disk.clear_fault();
    scene.disk.restart(restart);
    scene.check(acked, &what);
    is_over
}

#[test]
fn a_fault_at_any_call_of_the_archiver_loses_no_record() {
    let once = |kind| Fault::Error { kind, permanent: false };
    let forever = |kind| Fault::Error { kind, permanent: true };
    for kind in [
        Fault::PowerCut,
        once(ErrorKind::Io),
        once(ErrorKind::NoSpace),
        once(ErrorKind::Short),
        forever(ErrorKind::Io),
        forever(ErrorKind::NoSpace),
    ] {
        for restart in [None, Some(0), Some(50), Some(95)] {
            let calls = (0..).find(|calls| fault(kind, *calls, restart)).expect("it ends");
            assert!(calls > 50, "{kind:?}: only {calls} calls");
        }
    }
}
