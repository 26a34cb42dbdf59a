//! Tests of all kinds of damage to a small log. The engine must not return wrong bytes or crash,
//! and must report every lost record before the watermark.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use styx_engine::storage::Storage as _;
use styx_engine::{AppendError, Catalog, Error, Found};
use styx_protocol::{LogConfig, LogStatus, Position, Records};

use crate::clock::ManualClock;
use crate::disk::Disk;
use crate::run::{name, options};

const RECORDS: u64 = 14;

fn payload(position: u64) -> Vec<u8> {
    format!("record {position} {}", "y".repeat(usize::try_from(position).expect("it fits"))).into()
}

/// Creates a log with two sealed segments and a newest one, all before the watermark, and another
/// log.
fn small_log() -> (Disk, Arc<ManualClock>) {
    let (disk, clock) = (Disk::new(1), Arc::new(ManualClock::default()));
    let catalog = Catalog::open(options(&disk, &clock)).expect("opened");
    let config = LogConfig { segment_max_count: 5, ..LogConfig::default() };
    let log = catalog.create(&name(), config).expect("created");
    for position in 0..RECORDS {
        let ticket = log.append(Records::one(&payload(position))).expect("queued");
        while catalog.step() {}
        drop(ticket);
    }
    let other = catalog.create(&"other".parse().expect("a name"), config).expect("created");
    let ticket = other.append(Records::one(b"other")).expect("queued");
    while catalog.step() {}
    drop(ticket);
    clock.advance(Duration::from_millis(100));
    catalog.step();
    drop(catalog);
    (disk.copy(), clock)
}

fn files(disk: &Disk) -> Vec<PathBuf> {
    let folder = Path::new("/data/log/0");
    let names = disk.list(folder).expect("listed");
    names.iter().map(|entry| folder.join(&entry.name)).collect()
}

/// Opens the damaged copy and reads every position. A read may report damage, but must not return a
/// wrong record. If a record is missing, the log must be corrupt.
fn check(disk: &Disk, clock: &Arc<ManualClock>, what: &str) {
    let catalog = Catalog::open(options(disk, clock)).expect(what);
    let other = catalog.log(&"other".parse().expect("a name")).expect(what);
    assert!(matches!(other.record(Position(0)), Ok(Found::Some(_))), "{what}: another log");
    let log = match catalog.log(&name()) {
        Ok(log) => log,
        Err(Error::NotAvailable { .. }) => return,
        Err(error) => panic!("{what}: {error}"),
    };
    let mut missing = 0;
    for position in 0..RECORDS {
        match log.record(Position(position)) {
            Ok(Found::Some(record)) => {
                assert_eq!(record.payload, payload(position), "{what}: wrong bytes at {position}");
            }
            Ok(_) => missing += 1,
            Err(Error::CorruptRecord { next, .. }) => {
                missing += 1;
                assert!(next.is_none_or(|next| next.0 > position), "{what}: {next:?}");
            }
            Err(_) => missing += 1,
        }
    }
    assert!(
        missing == 0 || log.status() == LogStatus::Corrupt,
        "{what}: {missing} records are missing, but the log is {}",
        log.status()
    );
    if log.status() == LogStatus::Ok {
        assert_eq!(log.end_position().0, RECORDS, "{what}");
    }
}

/// Damages a file of a copy of the disk, and checks the copy.
fn damaged(
    disk: &Disk,
    clock: &Arc<ManualClock>,
    path: &Path,
    what: &str,
    damage: impl FnOnce(&mut Vec<u8>),
) {
    let copy = disk.copy();
    copy.damage(path, damage).expect("the file exists");
    check(&copy, clock, &format!("{} {what}", path.display()));
}

#[test]
fn any_flipped_bit_is_detected_or_harmless() {
    let (disk, clock) = small_log();
    for path in files(&disk) {
        let len = disk.bytes(&path).expect("the file exists").len();
        // Skip most of the zeros that the engine does not read: those after the fields of a
        // watermark's slot, and those after the blocks of the newest segment.
        let bytes = || (0..len).filter(|at| len < 3000 || *at < 1200 || at % 4096 < 48);
        let flip = |bit: u8| {
            for at in bytes() {
                damaged(&disk, &clock, &path, &format!("byte {at}, bit {bit}"), |bytes| {
                    bytes[at] ^= 1 << bit;
                });
            }
        };
        std::thread::scope(|scope| {
            for bit in 0..8 {
                scope.spawn(move || flip(bit));
            }
        });
    }
}

#[test]
fn a_cut_or_zeroed_file_is_detected() {
    let (disk, clock) = small_log();
    for path in files(&disk) {
        let len = disk.bytes(&path).expect("the file exists").len().min(3000);
        for to in (0..len).step_by(7) {
            damaged(&disk, &clock, &path, &format!("cut to {to}"), |bytes| bytes.truncate(to));
        }
        for from in (0..len).step_by(64) {
            damaged(&disk, &clock, &path, &format!("zeros from {from}"), |bytes| {
                let to = (from + 512).min(bytes.len());
                bytes[from..to].fill(0);
            });
        }
    }
}

#[test]
fn lost_swapped_and_spliced_files_are_detected() {
    let (disk, clock) = small_log();
    let files = files(&disk);
    for path in &files {
        let copy = disk.copy();
        copy.remove_file(path).expect("removed");
        check(&copy, &clock, &format!("without {}", path.display()));
        for other in &files {
            let copy = disk.copy();
            let bytes = disk.bytes(other).expect("the file exists");
            copy.damage(path, |old| *old = bytes).expect("the file exists");
            check(&copy, &clock, &format!("{} as {}", other.display(), path.display()));
        }
    }
    let segments: Vec<_> =
        files.iter().filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
    for target in &segments {
        for source in &segments {
            let bytes = disk.bytes(source).expect("the file exists");
            for from in (0..bytes.len().min(900)).step_by(50) {
                for at in (0..900).step_by(90) {
                    let what = format!("{} bytes {from}.. at {at}", source.display());
                    damaged(&disk, &clock, target, &what, |old| {
                        for (i, byte) in bytes[from..].iter().take(200).enumerate() {
                            if let Some(old) = old.get_mut(at + i) {
                                *old = *byte;
                            }
                        }
                    });
                }
            }
        }
    }
}

#[test]
fn records_after_damage_can_be_read() {
    let (disk, clock) = small_log();
    let path = Path::new("/data/log/0/00000000000000000005.seg");
    let index = path.with_extension("idx");
    // The offset of the segment's third block, after the filler and the block of record 5.
    let block_at = 96 + 96 + 8 + payload(5).len();
    for lost_index in [false, true] {
        let copy = disk.copy();
        copy.damage(path, |bytes| bytes[block_at + 30] ^= 1).expect("the file exists");
        if lost_index {
            copy.remove_file(&index).expect("removed");
        }
        let catalog = Catalog::open(options(&copy, &clock)).expect("opened");
        let log = catalog.log(&name()).expect("the log exists");
        for position in (0..RECORDS).filter(|position| *position != 6) {
            let Ok(Found::Some(record)) = log.record(Position(position)) else {
                panic!("cannot read the intact record {position} (lost index: {lost_index})")
            };
            assert_eq!(record.payload, payload(position));
        }
        let refused = log.record(Position(6));
        assert!(
            matches!(refused, Err(Error::CorruptRecord { next: Some(Position(7)), .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn the_scrub_finds_every_flipped_bit_of_a_sealed_segment() {
    let (disk, clock) = small_log();
    let sealed: Vec<_> = files(&disk)
        .into_iter()
        .filter(|path| {
            path.ends_with("00000000000000000000.seg") || path.ends_with("00000000000000000005.seg")
        })
        .collect();
    assert_eq!(sealed.len(), 2);
    let catalog = Catalog::open(options(&disk.copy(), &clock)).expect("opened");
    assert_eq!(catalog.scrub(), []);
    assert!(catalog.scrub_stats().bytes > 1000);
    for path in sealed {
        for at in 0..disk.bytes(&path).expect("the file exists").len() {
            let copy = disk.copy();
            copy.damage(&path, |bytes| bytes[at] ^= 1 << (at % 8)).expect("the file exists");
            let catalog = Catalog::open(options(&copy, &clock)).expect("opened");
            let found = catalog.scrub();
            let log = catalog.log(&name()).expect("the log exists");
            assert_eq!(log.status(), LogStatus::Corrupt, "byte {at}");
            let refused = log.append(Records::one(b"x"));
            assert!(
                matches!(refused, Err(AppendError::Refused(Error::NotAvailable { .. }))),
                "byte {at}"
            );
            // Recovery already finds a damaged seal, so the scrub may report no problem.
            assert!(found.iter().all(|problem| problem.file == path), "byte {at}: {found:?}");
        }
    }
}
