//! Deletion and trims on the simulated disk: a log that is being deleted is complete or gone, whatever kills
//! the server during the deletion, and whatever interrupts the start after that.

use std::sync::Arc;

use styx_engine::{Catalog, Error};
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::clock::ManualClock;
use crate::disk::{Disk, Fault};
use crate::run::{name, options};
use crate::world::read_all;

/// Regression test. A start removed the files of a log whose deletion was killed before its new name
/// was synced. A power cut then brought the log back under its old name, without these files.
#[test]
fn interrupted_deletion_leaves_a_complete_log_or_none() {
    let (mut complete, mut gone) = (0, 0);
    for (kill, cut, seed) in (0..12)
        .flat_map(|kill| (0..20).flat_map(move |cut| (0..4).map(move |seed| (kill, cut, seed))))
    {
        let disk = Disk::new(kill * 1_000 + cut * 10 + seed);
        let clock = Arc::<ManualClock>::default();
        let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
        let log = catalog.create(&name(), LogConfig::default()).expect("created");
        drop(log.append(Records::one(b"x")).expect("the log works"));
        while catalog.step() {}

        disk.fail_after(kill, Fault::PowerCut);
        let is_deleted = catalog.delete(&name()).is_ok();
        drop((log, catalog));
        // The process was killed: the page cache is kept.
        disk.restart(None);
        disk.fail_after(cut, Fault::PowerCut);
        drop(Catalog::open(options(&disk, &clock)));
        disk.restart(Some(50));

        let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
        match catalog.log(&name()) {
            Ok(log) => {
                assert!(!is_deleted, "kill {kill}, cut {cut}, seed {seed}");
                assert_eq!(read_all(&log), Ok(vec![b"x".to_vec()]));
                complete += 1;
            }
            Err(Error::LogNotFound { .. }) => gone += 1,
            Err(error) => panic!("kill {kill}, cut {cut}, seed {seed}: {error}"),
        }
    }
    assert!(complete > 0 && gone > 0, "{complete} complete, {gone} gone");
}

/// Regression test. A trim was killed before its watermark was synced. The next start read the new
/// watermark from the page cache and removed the segments before it. A power cut then lost the
/// watermark but not the removals, so the log was corrupt.
#[test]
fn interrupted_trim_leaves_a_whole_log() {
    let mut starts = [0; 2];
    for (kill, cut, seed) in (0..8)
        .flat_map(|kill| (0..16).flat_map(move |cut| (0..8).map(move |seed| (kill, cut, seed))))
    {
        let what = format!("kill {kill}, cut {cut}, seed {seed}");
        let disk = Disk::new(kill * 1_000 + cut * 10 + seed);
        let clock = Arc::<ManualClock>::default();
        let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
        let config = LogConfig { segment_max_count: 1, ..LogConfig::default() };
        let log = catalog.create(&name(), config).expect("created");
        for _ in 0..4 {
            drop(log.append(Records::one(b"x")).expect("the log works"));
            while catalog.step() {}
        }
        disk.fail_after(kill, Fault::PowerCut);
        let _ = log.trim(Position(2));
        drop((log, catalog));
        // The process was killed: the page cache is kept.
        disk.restart(None);
        disk.fail_after(cut, Fault::PowerCut);
        drop(Catalog::open(options(&disk, &clock)));
        disk.restart(Some(50));

        let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
        let log = catalog.log(&name()).expect("open");
        assert_eq!(log.status(), LogStatus::Ok, "{what}");
        let start = log.start_position().0;
        assert!(start == 0 || start == 2, "{what}: {start}");
        assert_eq!(read_all(&log).expect("read").len() as u64, 4 - start, "{what}");
        starts[usize::from(start > 0)] += 1;
    }
    assert!(starts.iter().all(|count| *count > 0), "{starts:?}");
}
