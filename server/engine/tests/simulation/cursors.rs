//! Cursors on the simulated disk: whatever fails, an answered cursor is never lost, never goes
//! back, and is never a position that nobody set.

use std::collections::BTreeMap;
use std::sync::Arc;

use styx_engine::{Catalog, CursorCondition, Error, Log};
use styx_protocol::{CursorName, LogConfig, Position, Records};

use crate::clock::ManualClock;
use crate::disk::{Disk, ErrorKind, Fault};
use crate::run::{name, options};

/// The known states of one cursor.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Notes {
    /// The state that was last answered or read: the position, or `None` without a cursor, and the
    /// highest version.
    known: (Option<u64>, u64),
    /// Changes after that whose outcome is unknown.
    uncertain: Vec<Option<u64>>,
}

#[derive(Debug, Default)]
struct History {
    cursors: BTreeMap<CursorName, Notes>,
    created: bool,
    failed: usize,
}

impl History {
    fn noted(&mut self, cursor: &str) -> (CursorName, &mut Notes) {
        let name: CursorName = cursor.parse().expect("a name");
        (name.clone(), self.cursors.entry(name).or_default())
    }

    fn set(&mut self, log: &Log, cursor: &str, position: u64) {
        let (name, notes) = self.noted(cursor);
        match log.set_cursor(&name, Position(position), CursorCondition::None) {
            Ok(set) => {
                assert!(set.version > notes.known.1, "a version is used once");
                *notes = Notes { known: (Some(position), set.version), uncertain: Vec::new() };
            }
            Err(_) => {
                notes.uncertain.push(Some(position));
                self.failed += 1;
            }
        }
    }

    fn delete(&mut self, log: &Log, cursor: &str) {
        let (name, notes) = self.noted(cursor);
        match log.delete_cursor(&name, CursorCondition::None) {
            Ok(()) => *notes = Notes { known: (None, notes.known.1), uncertain: Vec::new() },
            Err(_) => {
                notes.uncertain.push(None);
                self.failed += 1;
            }
        }
    }

    /// Reads every cursor. What was read once must be read again after any crash.
    fn read(&mut self, log: &Log, what: &str) {
        for (name, notes) in &mut self.cursors {
            let now = match log.cursor(name) {
                Ok(cursor) => (Some(cursor.position.0), cursor.version),
                Err(Error::CursorNotFound { .. }) => (None, notes.known.1),
                Err(_) => continue,
            };
            let is_allowed = now.0 == notes.known.0 || notes.uncertain.contains(&now.0);
            assert!(is_allowed, "{what}: {name} is {now:?}, but {notes:?} is known");
            assert!(now.1 >= notes.known.1, "{what}: {name} is {now:?}, but {notes:?} is known");
            notes.known = now;
            notes.uncertain.clear();
        }
    }
}

fn scenario(disk: &Disk, clock: &Arc<ManualClock>) -> History {
    let mut history = History::default();
    let Ok(catalog) = Catalog::open(options(disk, clock)) else { return history };
    let Ok(log) = catalog.create(&name(), LogConfig::default()) else { return history };
    history.created = true;
    for _ in 0..3 {
        let _ = log.append(Records::one(b"x"));
        while catalog.step() {}
    }
    let end = log.end_position().0;
    for position in 0..=end {
        history.set(&log, "a", position);
        history.read(&log, "while it runs");
        history.set(&log, "b", end - position);
    }
    history.delete(&log, "b");
    history.read(&log, "while it runs");
    history.set(&log, "c", 0);
    let _ = log.backup(&mut Vec::new());
    history
}

#[test]
fn no_failing_call_loses_or_invents_a_cursor() {
    let clock = Arc::new(ManualClock::default());
    let disk = Disk::new(0);
    let history = scenario(&disk, &clock);
    assert_eq!(history.failed, 0);
    let calls = disk.calls();
    let error = |kind, permanent| Fault::Error { kind, permanent };
    let faults = [
        Fault::PowerCut,
        error(ErrorKind::Io, false),
        error(ErrorKind::Io, true),
        error(ErrorKind::NoSpace, false),
        error(ErrorKind::Short, false),
        error(ErrorKind::Interrupted, false),
    ];
    let mut failed = 0;
    for fault in faults {
        for call in 0..calls {
            for power_cut in [None, Some(0), Some(50), Some(100)] {
                let what = format!("{fault:?} at call {call}, {power_cut:?}");
                let clock = Arc::new(ManualClock::default());
                let disk = Disk::new(call);
                disk.fail_after(call, fault);
                let mut history = scenario(&disk, &clock);
                failed += history.failed;
                // What the first start after the crash reads must survive the second crash.
                for crash in [power_cut, Some(0)] {
                    disk.clear_fault();
                    disk.restart(crash);
                    let catalog = Catalog::open(options(&disk, &clock)).expect(&what);
                    let log = match catalog.log(&name()) {
                        Ok(log) => log,
                        Err(Error::LogNotFound { .. }) if !history.created => break,
                        Err(error) => panic!("{what}: {error}"),
                    };
                    log.cursors().unwrap_or_else(|error| panic!("{what}: {error}"));
                    history.read(&log, &what);
                    history.set(&log, "a", 0);
                    history.read(&log, &what);
                }
            }
        }
    }
    assert!(failed > 500, "{failed}");
}

#[test]
fn a_failed_directory_sync_ends_the_cursors_but_not_the_log() {
    let clock = Arc::new(ManualClock::default());
    let disk = Disk::new(0);
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let log = catalog.create(&name(), LogConfig::default()).expect("created");
    let mut history = History::default();
    history.set(&log, "a", 0);
    let before = disk.calls();
    history.set(&log, "a", 0);
    // The last call of a change syncs the directory.
    let calls = disk.calls() - before;
    disk.fail_after(calls - 1, Fault::Error { kind: ErrorKind::Io, permanent: false });
    history.set(&log, "a", 0);
    assert_eq!(history.failed, 1);
    let before = disk.calls();
    let error = log.cursors().expect_err("which table is durable is not known");
    assert!(error.to_string().contains("restart the server"), "{error}");
    history.set(&log, "a", 0);
    assert_eq!((history.failed, disk.calls()), (2, before), "nothing is tried again");
    drop(log.append(Records::one(b"x")).expect("the log works"));
    while catalog.step() {}
    assert_eq!(log.end_position(), Position(1));
}
