//! Deletion on the simulated disk: a log that is being deleted is complete or gone, whatever kills
//! the server during the deletion, and whatever interrupts the start after that.

use std::sync::Arc;

use styx_engine::{Catalog, Error};
use styx_protocol::{LogConfig, Records};

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
