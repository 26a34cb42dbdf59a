//! Tests of a single log: positions, retention, recovery, damage, restore and repair.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use styx_engine::{Append, AppendError, Catalog, Error, Found, Log, Options, Producer, Seek};
use styx_protocol::block::Header;
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogConfig, LogStatus, Position, Records, record};

use crate::support::{WakeCount, close, name, open, read_all};

fn append(log: &Log, payload: &[u8]) -> u64 {
    log.append_durably(Records::one(payload)).expect("appended").end.0
}

pub(crate) fn newest_segment(directory: &Path, log: &str) -> PathBuf {
    let mut segments: Vec<_> = std::fs::read_dir(directory.join(log).join("0"))
        .expect("list")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    segments.sort();
    segments.pop().expect("a segment")
}

#[test]
fn concurrent_appenders_each_get_the_positions_of_their_own_records() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config = LogConfig { segment_max_count: 100, ..LogConfig::default() };
    let log = catalog.create(&name("many"), config).expect("created");
    let batches: Vec<(u64, Vec<Vec<u8>>)> = std::thread::scope(|scope| {
        let appenders: Vec<_> = (0..8)
            .map(|appender: u32| {
                let log = log.clone();
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    for n in 0..60u32 {
                        let mut builder = record::Builder::new();
                        let size = n % 7 + 1;
                        let payloads: Vec<_> =
                            (0..size).map(|i| format!("{appender} {n} {i}").into_bytes()).collect();
                        for payload in &payloads {
                            assert!(builder.push(payload));
                        }
                        let appended = log.append_durably(builder.take()).expect("appended");
                        mine.push((appended.end.0 - u64::from(size), payloads));
                    }
                    mine
                })
            })
            .collect();
        appenders.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let all = read_all(&log);
    assert_eq!(all.len(), batches.iter().map(|(_, payloads)| payloads.len()).sum::<usize>());
    for (first, payloads) in batches {
        let first = usize::try_from(first).expect("it fits");
        assert_eq!(all[first..first + payloads.len()], payloads);
    }
}

#[test]
fn a_follower_sees_every_record_once_and_in_order_across_rolls_and_retention() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config = LogConfig { segment_max_count: 50, ..LogConfig::default() };
    let log = catalog.create(&name("follow"), config).expect("created");
    let writing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let mut reader = log.reader(Position::ORIGIN).expect("a reader");
        let follower = scope.spawn(move || {
            let mut next = 0u64;
            while next < 2000 {
                match reader.read(100).expect("read") {
                    Found::Some(batch) => {
                        for record in batch.records() {
                            assert_eq!(record.position.0, next);
                            assert_eq!(record.payload, next.to_be_bytes().as_slice());
                            next += 1;
                        }
                    }
                    _ => reader.wait().wait(),
                }
            }
        });
        scope.spawn(|| {
            for n in 0..2000u64 {
                append(&log, &n.to_be_bytes());
            }
            writing.store(false, Ordering::Release);
        });
        follower.join().expect("no panic");
    });
    log.trim(Position(1000)).expect("trimmed");
    assert_eq!(log.start_position(), Position(1000));
    assert!(matches!(log.reader(Position(999)), Err(Error::OutOfRange { .. })));
    assert_eq!(read_all(&log).len(), 1000);
}

#[test]
fn retention_keeps_whole_segments_within_the_limits() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config = LogConfig { segment_max_count: 10, log_max_count: 35, ..LogConfig::default() };
    let log = catalog.create(&name("few"), config).expect("created");
    for n in 0..100u64 {
        append(&log, &n.to_be_bytes());
    }
    let wanted = Position(70);
    for _ in 0..400 {
        if log.start_position() == wanted {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(log.start_position(), wanted);
    close(catalog);
    let catalog = open(directory.path());
    let log = catalog.log(&name("few")).expect("open");
    assert_eq!(log.start_position(), wanted);
    assert_eq!(log.seek(Seek::Start(5)).expect("inside"), Position(75));
}

/// A direct write fills whole pages. Small commits before and after it are not aligned.
#[test]
fn a_large_commit_is_aligned_to_pages() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options { direct_bytes_min: 100_000, ..Options::new(directory.path()) };
    let catalog = Catalog::open(options).expect("opened");
    catalog.wait_until_open();
    let log = catalog.create(&name("pages"), LogConfig::default()).expect("created");
    let payloads: Vec<Vec<u8>> = [7, 200_000, 150_000, 9, 300_001, 5]
        .iter()
        .zip(b"abcdef")
        .map(|(len, byte)| vec![*byte; *len])
        .collect();
    let mut ends = Vec::new();
    for payload in &payloads {
        append(&log, payload);
        ends.push(log.stats().disk_bytes);
    }
    assert_ne!(ends[0] % 4096, 0, "a small commit is not aligned");
    assert_eq!([ends[1] % 4096, ends[2] % 4096, ends[4] % 4096], [0; 3]);
    assert!(
        ends[2] - ends[1] < 150_000 + 4096 + 200,
        "only one filler is between two large commits"
    );
    assert!(read_all(&log) == payloads);
    close(catalog);
    let catalog = open(directory.path());
    assert!(read_all(&catalog.log(&name("pages")).expect("a log")) == payloads);
}

#[test]
fn a_large_commit_stays_in_memory_for_followers() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options {
        direct_bytes_min: 100_000,
        tail_bytes_max: 100_000,
        direct_tail_bytes_max: 500_000,
        ..Options::new(directory.path())
    };
    let catalog = Catalog::open(options).expect("opened");
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    append(&log, &[b'x'; 400_000]);
    // A direct write bypasses the page cache, so only the tail can have the record.
    let found = log.try_record(Position(0)).expect("read");
    assert!(matches!(found, Found::Some(_)), "{found:?}");
    append(&log, &[b'y'; 90_000]);
    let found = log.try_record(Position(1)).expect("read");
    assert!(matches!(found, Found::Some(_)), "{found:?}");
}

/// The tail budget counts whole huge pages, even if a group needs only a part of them.
#[test]
fn the_tail_budget_counts_whole_huge_pages() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options {
        direct_bytes_min: 100_000,
        direct_tail_bytes_max: 6 << 20,
        ..Options::new(directory.path())
    };
    let catalog = Catalog::open(options).expect("opened");
    let log = catalog
        .create(&name("log"), LogConfig { max_record_size: 2 << 20, ..LogConfig::default() })
        .expect("created");
    for n in 0..4 {
        append(&log, &[n; 1_200_000]);
    }
    // There is memory for three groups of one huge page (2 MiB) each.
    let is_in_memory = |n| log.reader(Position(n)).expect("a reader").is_in_memory();
    assert_eq!([0, 1, 2, 3].map(is_in_memory), [false, true, true, true]);
    assert!(read_all(&log) == [0, 1, 2, 3].map(|n| vec![n; 1_200_000]));
}

#[test]
fn a_torn_tail_is_noted_and_cut_off_but_never_corrupt() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let log = catalog.create(&name("torn"), LogConfig::default()).expect("created");
    append(&log, b"whole");
    close(catalog);
    let path = newest_segment(directory.path(), "torn");
    let mut bytes = std::fs::read(&path).expect("read");
    let whole = bytes.len();
    bytes.extend_from_slice(b"STYX and then the power went");
    bytes.extend_from_slice(&[0; 5000]);
    std::fs::write(&path, bytes).expect("written");

    let catalog = open(directory.path());
    let log = catalog.log(&name("torn")).expect("open");
    assert_eq!(log.status(), LogStatus::Ok);
    assert_eq!(read_all(&log), [b"whole".to_vec()]);
    assert_eq!(append(&log, b"more"), 2);
    let aside = std::fs::read(directory.path().join("torn/0/torn-tail"))
        .expect("the torn tail is kept in a file");
    assert_eq!(aside, b"STYX and then the power went");
    assert_eq!(&std::fs::read(&path).expect("read")[whole..whole + 4], b"STYX");
}

#[test]
fn damage_below_the_watermark_is_reported_and_nothing_is_cut() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let log = catalog.create(&name("rot"), LogConfig::default()).expect("created");
    catalog.create(&name("fine"), LogConfig::default()).expect("created");
    for n in 0..10u8 {
        append(&log, &[n; 100]);
    }
    close(catalog);
    let path = newest_segment(directory.path(), "rot");
    let mut bytes = std::fs::read(&path).expect("read");
    let len = bytes.len();
    bytes[len - 300] ^= 1;
    std::fs::write(&path, &bytes).expect("written");

    let catalog = open(directory.path());
    let log = catalog.log(&name("rot")).expect("the log exists");
    assert_eq!(log.status(), LogStatus::Corrupt);
    assert!(matches!(
        log.append(Records::one(b"x")),
        Err(AppendError::Refused(Error::NotAvailable { status: LogStatus::Corrupt, .. }))
    ));
    let Ok(Found::Some(record)) = log.record(Position(7)) else {
        panic!("cannot read the intact record 7")
    };
    assert_eq!(record.payload, [7; 100].as_slice());
    assert!(matches!(
        log.record(Position(8)),
        Err(Error::CorruptRecord { position: Position(8), .. })
    ));
    assert_eq!(log.info().end_position, 10);
    assert_eq!(std::fs::read(&path).expect("read"), bytes, "nothing was cut off");
    assert_eq!(catalog.log(&name("fine")).expect("open").status(), LogStatus::Ok);
    close(catalog);

    let report = styx_engine::verify::verify(directory.path(), &mut |_| {}).expect("verified");
    assert!(!report.is_good());
    let log = report.logs.iter().find(|log| log.name == "rot").expect("listed");
    assert!(log.problems.iter().any(|problem| problem.message.contains("known to be durable")));

    let catalog = open(directory.path());
    let log = catalog.truncate(&name("rot")).expect("a corrupt log can be truncated");
    assert_eq!(append(&log, b"anew"), 1);
    catalog.delete(&name("rot")).expect("deleted");
}

/// Regression test. Readers made no progress at a block with valid checksums whose header counts
/// one record but whose body is empty. They got an empty result again and again.
#[test]
fn a_block_with_fewer_records_than_its_header_says_is_reported_as_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let log = catalog.create(&name("forged"), LogConfig::default()).expect("created");
    append(&log, b"one");
    drop(log);
    close(catalog);
    let path = newest_segment(directory.path(), "forged");
    let bytes = std::fs::read(&path).expect("read");
    let (filler, filler_crc) = Header::decode(&bytes).expect("a filler");
    let (one, one_crc) = Header::decode(&bytes[BLOCK_HEADER_BYTES..]).expect("a block");
    assert_eq!((filler.count, one.count, one.prev_crc), (0, 1, filler_crc));
    let end = 2 * BLOCK_HEADER_BYTES + one.body_size as usize;
    let (body_size, raw_size, body_crc) = (0, 0, 0);
    let (base_position, prev_crc) = (1, one_crc);
    let forged = Header { body_size, raw_size, body_crc, base_position, prev_crc, ..one };
    std::fs::write(&path, [&bytes[..end], &forged.encode().0].concat()).expect("written");

    let catalog = open(directory.path());
    let log = catalog.log(&name("forged")).expect("the log exists");
    let mut reader = log.reader(Position::ORIGIN).expect("a reader");
    let Ok(Found::Some(batch)) = reader.read(1 << 20) else {
        panic!("cannot read the intact record 0")
    };
    assert_eq!(batch.next(), Position(1));
    let read = reader.read(1 << 20);
    assert!(
        matches!(&read, Err(Error::CorruptRecord { position: Position(1), offset, .. })
            if *offset == end as u64),
        "{read:?}"
    );
}

#[test]
fn a_missing_watermark_or_segment_is_damage_not_an_empty_log() {
    for missing in ["watermark", "00000000000000000000.seg"] {
        let directory = tempfile::tempdir().expect("a directory");
        let catalog = open(directory.path());
        let log = catalog.create(&name("gone"), LogConfig::default()).expect("created");
        append(&log, b"record");
        close(catalog);
        std::fs::remove_file(directory.path().join("gone/0").join(missing)).expect("removed");
        let catalog = open(directory.path());
        let log = catalog.log(&name("gone")).expect("the log exists");
        assert_eq!(log.status(), LogStatus::Corrupt, "{missing}");
    }
}

#[test]
fn a_missing_index_is_rebuilt_from_the_blocks() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config = LogConfig { segment_max_count: 10, ..LogConfig::default() };
    let log = catalog.create(&name("index"), config).expect("created");
    for n in 0..35u8 {
        append(&log, &[n; 50]);
    }
    let before = log.info();
    close(catalog);
    let folder = directory.path().join("index/0");
    std::fs::remove_file(folder.join("00000000000000000000.idx")).expect("removed");
    std::fs::write(folder.join("00000000000000000010.idx"), b"nonsense").expect("written");
    let catalog = open(directory.path());
    let log = catalog.log(&name("index")).expect("open");
    assert_eq!(log.info(), before);
    assert_eq!(read_all(&log).len(), 35);
    assert!(folder.join("00000000000000000000.idx").exists());
}

#[test]
fn idempotence_survives_rolls_trims_and_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config = LogConfig { segment_max_count: 2, ..LogConfig::default() };
    let log = catalog.create(&name("once"), config).expect("created");
    let send = |log: &Log, sequence: u64, epoch: Option<u32>| {
        log.append_durably(Append::Records {
            records: Records::one(&sequence.to_be_bytes()),
            expected: None,
            producer: Some(Producer { id: 9, epoch, sequence }),
        })
    };
    for sequence in 0..7 {
        assert_eq!(send(&log, sequence, Some(1)).expect("appended").count, 1);
    }
    log.trim(Position(6)).expect("trimmed");
    close(catalog);
    let catalog = open(directory.path());
    let log = catalog.log(&name("once")).expect("open");
    for sequence in 0..7 {
        let again = send(&log, sequence, Some(1)).expect("accepted");
        assert_eq!((again.count, again.end.0), (0, sequence + 1));
    }
    assert!(matches!(send(&log, 9, None), Err(Error::SequenceGap { expected: 7, .. })));
    assert_eq!(send(&log, 7, Some(2)).expect("appended").end, Position(8));
    assert!(matches!(send(&log, 8, Some(1)), Err(Error::ProducerFenced { current: 2, .. })));
}

#[test]
fn a_directory_in_use_or_of_styx_0x_is_refused_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let again = Catalog::open(Options::new(directory.path()));
    let Err(Error::DataDirectory { message }) = again else { panic!("{again:?}") };
    assert!(message.contains(&std::process::id().to_string()), "{message}");
    close(catalog);

    let old = directory.path().join("old");
    std::fs::create_dir(&old).expect("created");
    std::fs::write(old.join("config"), [0; 68]).expect("written");
    std::fs::write(old.join("segment-0-0-0-records"), b"").expect("written");
    let refused = Catalog::open(Options::new(directory.path()));
    let Err(Error::DataDirectory { message }) = refused else { panic!("{refused:?}") };
    assert!(message.contains("0.x") && message.contains("styx import"), "{message}");
    assert!(old.join("config").exists());
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let log = catalog.create(&name("source"), LogConfig::default()).expect("created");
    append(&log, b"record");
    let mut good = Vec::new();
    log.backup(&mut good).expect("backed up");
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&good[..]), &mut unpacked)
        .expect("unpacked");
    let pack = |tar: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, tar).expect("packed");
        packed.finish().expect("packed")
    };
    let restore = |archive: &[u8]| {
        let restored = catalog.restore(&name("copy"), &mut &archive[..]);
        let leftovers = std::fs::read_dir(directory.path())
            .expect("list")
            .filter(|entry| {
                let name = entry.as_ref().expect("an entry").file_name();
                name != "source" && name != ".lock" && name != "copy"
            })
            .count();
        assert_eq!(leftovers, 0);
        restored
    };
    assert!(matches!(restore(b"no archive"), Err(Error::BadArchive { .. })));
    assert!(matches!(restore(&good[..good.len() / 2]), Err(Error::BadArchive { .. })));
    assert!(matches!(restore(&pack(&vec![0; 1 << 20])), Err(Error::BadArchive { .. })));
    // Flip bytes of the tar headers, the watermark and the segment.
    for at in (0..unpacked.len()).step_by(61) {
        let mut flipped = unpacked.clone();
        flipped[at] ^= 0x20;
        if let Ok(log) = restore(&pack(&flipped)) {
            // This is allowed only for padding and for unused bytes of tar headers.
            assert_eq!(read_all(&log), [b"record".to_vec()], "byte {at}");
            catalog.delete(&name("copy")).expect("deleted");
        }
    }
    let log = restore(&good).expect("the unchanged archive is still restored");
    assert_eq!(read_all(&log), [b"record".to_vec()]);
}

#[test]
fn a_backup_that_was_packed_again_is_restored_if_each_file_is_there_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let config = LogConfig { segment_max_count: 20, ..LogConfig::default() };
    let log = catalog.create(&name("source"), config).expect("created");
    for n in 0..50u8 {
        append(&log, &[n; 50]);
    }
    let mut backup = Vec::new();
    log.backup(&mut backup).expect("backed up");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&backup[..]));
    let entries = archive.entries().expect("a tar");
    let files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).expect("its bytes");
            (path, bytes)
        })
        .collect();
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, bytes).expect("packed");
        packed.finish().expect("packed")
    };
    let restore = |folder: &str, files: &[(String, Vec<u8>)]| {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            let path = format!("{folder}{path}");
            tar.append_data(&mut header, path, bytes.as_slice()).expect("packed");
        }
        let tar = tar.into_inner().expect("packed");
        let (first, second) = tar.split_at(tar.len() / 2);
        let archive = [gzip(first), gzip(second), vec![0; 10_000]].concat();
        catalog.restore(&name("copy"), &mut &archive[..])
    };
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&backup[..]), &mut unpacked)
        .expect("unpacked");
    let entries_end = unpacked.len() - 1024;
    let cut = catalog.restore(&name("copy"), &mut &gzip(&unpacked[..entries_end])[..]);
    assert!(matches!(cut, Err(Error::BadArchive { .. })), "without the end of the tar: {cut:?}");

    let expected = read_all(&log);
    let check = |folder: &str, files: &[(String, Vec<u8>)]| {
        let copy = restore(folder, files).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        assert_eq!(read_all(&copy), expected, "{folder:?}");
        drop(copy);
        catalog.delete(&name("copy")).expect("deleted");
    };
    let long_name = format!("{}/", "x".repeat(150));
    for folder in ["", "orders/", long_name.as_str()] {
        for first in 0..files.len() {
            let mut files = files.clone();
            files.rotate_left(first);
            check(folder, &files);
            files.reverse();
            check(folder, &files);
        }
    }
    for (at, (path, _)) in files.iter().enumerate() {
        let mut twice = files.clone();
        twice.push(files[at].clone());
        let error = restore("", &twice).expect_err("a file is there twice");
        assert!(matches!(error, Error::BadArchive { .. }), "{path} twice: {error}");
        let mut without = files.clone();
        without.remove(at);
        match restore("", &without) {
            Ok(_) if path.ends_with(".producers") => {
                catalog.delete(&name("copy")).expect("deleted");
            }
            restored => {
                assert!(matches!(restored, Err(Error::BadArchive { .. })), "{path}: {restored:?}");
            }
        }
    }
}

#[test]
fn a_repair_keeps_one_unbroken_range_and_sets_the_damaged_log_aside() {
    use styx_engine::repair::{Keep, Mode, Range, repair};
    for (keep, kept) in [(Keep::Longest, 0..30), (Keep::First, 0..30), (Keep::Last, 31..60)] {
        let directory = tempfile::tempdir().expect("a directory");
        let catalog = open(directory.path());
        let config = LogConfig { segment_max_count: 20, ..LogConfig::default() };
        let log = catalog.create(&name("broken"), config).expect("created");
        for n in 0..60u8 {
            append(&log, &[n; 50]);
        }
        let (id, times) = (log.id(), log.timestamps());
        close(catalog);
        let nothing = repair(directory.path(), &name("broken"), keep, Mode::DryRun, &mut |_| {});
        assert!(matches!(nothing, Err(Error::DataDirectory { .. })), "{nothing:?}");
        // Damage record 30, in the middle of the second segment.
        let path = directory.path().join("broken/0/00000000000000000020.seg");
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[96 + 10 * (96 + 58) + 120] ^= 4;
        std::fs::write(&path, &bytes).expect("written");

        let dry_run = repair(directory.path(), &name("broken"), keep, Mode::DryRun, &mut |_| {})
            .expect("a dry run");
        assert_eq!(dry_run.set_aside, None);
        assert_eq!(std::fs::read(&path).expect("read"), bytes, "a dry run changes nothing");
        let report = repair(directory.path(), &name("broken"), keep, Mode::Repair, &mut |_| {})
            .expect("repaired");
        let range = |from: u64, to: u64| Range { start: Position(from), end: Position(to) };
        assert_eq!(report.whole, [range(0, 30), range(31, 60)]);
        assert_eq!(report.kept, range(kept.start, kept.end));
        let aside = report.set_aside.expect("set aside").join("0/00000000000000000020.seg");
        assert_eq!(std::fs::read(aside).expect("read"), bytes);

        let catalog = open(directory.path());
        let log = catalog.log(&name("broken")).expect("open");
        assert_eq!(log.status(), LogStatus::Ok);
        assert_ne!(log.id(), id);
        assert_eq!(log.start_position(), Position(kept.start));
        let held: Vec<_> =
            kept.clone().map(|n| vec![u8::try_from(n).expect("it fits"); 50]).collect();
        assert_eq!(read_all(&log), held);
        assert!(log.timestamps() >= times.map(|(first, _)| (first, first)));
        assert_eq!(append(&log, b"more"), kept.end + 1);
    }
}

/// The damaged log was renamed to its whole name with a prefix and a number. For long names the
/// file system refused this, after the repaired log was written.
#[test]
fn a_log_with_the_longest_name_can_be_repaired() {
    use styx_engine::repair::{Keep, Mode, repair};
    for length in [229, 230, 255] {
        let directory = tempfile::tempdir().expect("a directory");
        let broken = name(&"n".repeat(length));
        let catalog = open(directory.path());
        let config = LogConfig { segment_max_count: 20, ..LogConfig::default() };
        let log = catalog.create(&broken, config).expect("created");
        for n in 0..60u8 {
            append(&log, &[n; 50]);
        }
        close(catalog);
        // Damage record 30, in the middle of the second segment.
        let path = directory.path().join(broken.as_str()).join("0/00000000000000000020.seg");
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[96 + 10 * (96 + 58) + 120] ^= 4;
        std::fs::write(&path, &bytes).expect("written");

        repair(directory.path(), &broken, Keep::First, Mode::Repair, &mut |_| {})
            .expect("repaired");
        let entries = std::fs::read_dir(directory.path()).expect("list");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        let [aside, lock, log] = &names[..] else { panic!("{names:?}") };
        assert!(aside.starts_with(&format!(".damaged-{}-", "n".repeat(64))), "{aside}");
        assert_eq!((lock.as_str(), log.as_str()), (".lock", broken.as_str()));
        let catalog = open(directory.path());
        assert_eq!(read_all(&catalog.log(&broken).expect("open")).len(), 30);
    }
}

#[test]
fn closed_resolves_with_the_reason_and_is_not_woken_by_commits() {
    let directory = tempfile::tempdir().expect("a directory");
    let catalog = open(directory.path());
    let log = catalog.create(&name("short"), LogConfig::default()).expect("created");
    assert!(log.check_appendable().is_ok());
    let woken = Arc::new(WakeCount::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    let (mut closed, mut dropped) = (log.closed(), log.closed());
    assert!(Pin::new(&mut closed).poll(&mut context).is_pending());
    assert!(Pin::new(&mut dropped).poll(&mut context).is_pending());
    drop(dropped);
    append(&log, b"a commit");
    assert_eq!(woken.get(), 0, "a commit does not wake it");
    catalog.delete(&name("short")).expect("deleted");
    assert_eq!(woken.get(), 1);
    let why = Pin::new(&mut closed).poll(&mut context);
    assert!(matches!(why, Poll::Ready(Error::LogRemoved { .. })), "{why:?}");
    assert!(matches!(log.check_appendable(), Err(Error::LogRemoved { .. })));
}
