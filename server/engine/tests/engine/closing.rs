//! Closing and deleting a log while other threads change its files: nothing changes a file of the log
//! after it was closed or deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_engine::{Catalog, Error, Log, Options};
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::support::gate::{Call, Gate, GatedStorage};
use crate::support::{name, open, read_all};

const RECORDS: u64 = 45;
const START: Position = Position(30);

/// A log of several segments on a storage with a gate.
struct Scene {
    gate: Arc<Gate>,
    catalog: Catalog,
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> (Scene, Log) {
        let directory = tempfile::tempdir().expect("a directory");
        let gate = Arc::<Gate>::default();
        let storage = Arc::new(GatedStorage::new(&gate));
        let options = Options { storage, ..Options::new(directory.path()) };
        let catalog = Catalog::open(options).expect("opened");
        catalog.wait_until_open();
        let scene = Scene { gate, catalog, directory };
        let log = scene.fill();
        (scene, log)
    }

    /// Creates the log, and fills it.
    fn fill(&self) -> Log {
        let config = LogConfig { segment_max_count: 10, ..LogConfig::default() };
        let log = self.catalog.create(&name("log"), config).expect("created");
        for number in 0..RECORDS {
            let record = Records::one(&number.to_be_bytes());
            log.append_durably(record).expect("appended");
        }
        log
    }
}

/// Checks that the log has all records from a position on.
#[track_caller]
fn check(log: &Log, start: Position) {
    assert_eq!((log.status(), log.start_position()), (LogStatus::Ok, start));
    let expected: Vec<_> = (start.0..RECORDS).map(|number| number.to_be_bytes()).collect();
    assert_eq!(read_all(log), expected);
}

#[test]
fn close_waits_for_a_trim_in_progress() {
    for call in [Call::Identity, Call::Remove] {
        let (Scene { gate, catalog, directory }, log) = Scene::new();
        gate.close(call);
        let trimming = std::thread::spawn(move || log.trim(START));
        gate.wait_until_blocking();
        assert!(!catalog.close(Duration::from_millis(100)), "{call:?}: closed during the trim");
        let locked = Catalog::open(Options::new(directory.path()));
        assert!(matches!(locked, Err(Error::DataDirectory { .. })), "{locked:?}");
        gate.open(&[]);
        trimming.join().expect("no panic").expect("trimmed");
        let end = Instant::now() + Duration::from_secs(30);
        let catalog = loop {
            match Catalog::open(Options::new(directory.path())) {
                Ok(catalog) => break catalog,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        catalog.wait_until_open();
        check(&catalog.log(&name("log")).expect("open"), START);
    }
}

#[test]
fn trim_that_began_before_a_deletion_removes_nothing_of_the_next_log_with_the_name() {
    for call in [Call::Identity, Call::Remove] {
        let (scene, log) = Scene::new();
        scene.gate.close(call);
        std::thread::scope(|scope| {
            let trimming = scope.spawn(move || log.trim(START));
            scene.gate.wait_until_blocking();
            let next = scope.spawn(|| {
                scene.catalog.delete(&name("log")).expect("deleted");
                scene.fill();
            });
            // The deletion and the next log are not ready before the trim, unless they do not wait.
            let end = Instant::now() + Duration::from_millis(300);
            while !next.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
            scene.gate.open(&[]);
            // Whether the trim removed anything of the deleted log does not matter.
            drop(trimming.join().expect("no panic"));
            next.join().expect("no panic");
        });
        check(&scene.catalog.log(&name("log")).expect("open"), Position(0));
        let Scene { catalog, directory, .. } = scene;
        assert!(catalog.close(Duration::from_secs(30)));
        check(&open(directory.path()).log(&name("log")).expect("open"), Position(0));
    }
}
