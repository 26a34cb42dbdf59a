//! Cursors: durable, named positions in a log.

use std::fs;
use std::path::Path;

use styx_engine::{Cursor, CursorCondition, Error, Log};
use styx_protocol::cursor::CURSORS_MAX;
use styx_protocol::{CursorName, LogConfig, Position, Records};

use crate::support::{close, name, open, reopen};

fn cursor(text: &str) -> CursorName {
    text.parse().expect("a cursor name")
}

fn log_with(directory: &Path, records: u64) -> (styx_engine::Catalog, Log) {
    let catalog = open(directory);
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    append(&log, records);
    (catalog, log)
}

fn append(log: &Log, records: u64) {
    for _ in 0..records {
        log.append_durably(Records::one(b"x")).expect("appended");
    }
}

fn set(log: &Log, cursor_name: &str, position: u64) -> Cursor {
    let set = log.set_cursor(&cursor(cursor_name), Position(position), CursorCondition::None);
    set.expect("set")
}

#[test]
fn cursors_are_set_listed_deleted_and_survive_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 5);
    assert_eq!(log.cursors().expect("none"), []);
    let missing = log.cursor(&cursor("a")).expect_err("missing");
    assert!(matches!(missing, Error::CursorNotFound { .. }), "{missing}");
    let b = set(&log, "b", 5);
    let a = set(&log, "a", 0);
    assert_eq!((b.version, a.version, b.replaced, b.log_id), (1, 2, 0, log.id()));
    assert!(b.updated_us > 0);
    let moved = set(&log, "b", 3);
    assert_eq!((moved.version, moved.replaced, moved.position), (3, 1, Position(3)));
    let (catalog, log) = reopen(catalog, directory.path());
    assert_eq!(log.cursors().expect("listed"), [a, moved.clone()]);
    assert_eq!(log.cursor(&cursor("b")).expect("set"), moved);
    log.delete_cursor(&cursor("b"), CursorCondition::None).expect("deleted");
    let missing = log.delete_cursor(&cursor("b"), CursorCondition::None).expect_err("missing");
    assert!(matches!(missing, Error::CursorNotFound { .. }), "{missing}");
    let (catalog, log) = reopen(catalog, directory.path());
    assert_eq!(log.cursors().expect("listed").len(), 1);
    // The version of the deleted cursor is not used again.
    assert_eq!(set(&log, "b", 3).version, 4);
    close(catalog);
}

#[test]
fn a_condition_that_does_not_hold_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 5);
    let try_set = |condition| log.set_cursor(&cursor("a"), Position(1), condition);
    for condition in [CursorCondition::Present, CursorCondition::Version(1)] {
        let taken = try_set(condition).expect_err("there is no cursor");
        assert!(matches!(taken, Error::CursorTaken { now: None, .. }), "{taken}");
    }
    let first = try_set(CursorCondition::Absent).expect("created");
    let second = try_set(CursorCondition::Version(first.version)).expect("changed");
    for condition in [CursorCondition::Absent, CursorCondition::Version(first.version)] {
        let Err(Error::CursorTaken { now: Some(now), .. }) = try_set(condition) else {
            panic!("{condition:?} does not hold")
        };
        assert_eq!(*now, second);
        let deleted = log.delete_cursor(&cursor("a"), condition).expect_err("not deleted");
        assert!(matches!(deleted, Error::CursorTaken { .. }), "{deleted}");
    }
    let third = try_set(CursorCondition::Present).expect("changed");
    assert_eq!((second.replaced, third.replaced), (first.version, second.version));
    log.delete_cursor(&cursor("a"), CursorCondition::Version(third.version)).expect("deleted");
    close(catalog);
}

#[test]
fn a_position_after_the_durable_end_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 2);
    let refused = log.set_cursor(&cursor("a"), Position(3), CursorCondition::None);
    let refused = refused.expect_err("after the end");
    assert_eq!(refused.code(), styx_protocol::Code::InvalidParams);
    assert!(refused.to_string().contains("position 3 is after the end"), "{refused}");
    assert_eq!(log.cursors().expect("listed"), []);
    close(catalog);
}

#[test]
fn a_cursor_of_a_truncated_log_is_reported_until_it_is_set_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 5);
    let old = set(&log, "a", 4);
    set(&log, "b", 4);
    let new = catalog.truncate(&name("log")).expect("truncated");
    for error in [
        log.cursor(&cursor("a")).expect_err("the old handle is closed"),
        log.set_cursor(&cursor("a"), Position(0), CursorCondition::None).expect_err("closed"),
        new.cursor(&cursor("a")).expect_err("a cursor of the old log"),
        new.set_cursor(&cursor("a"), Position(0), CursorCondition::Version(old.version))
            .expect_err("a cursor of the old log"),
    ] {
        assert_eq!(error.code(), styx_protocol::Code::LogChanged, "{error}");
    }
    assert_eq!(new.cursors().expect("listed")[0], old);
    let set = set(&new, "a", 0);
    assert_eq!((set.log_id, set.version), (new.id(), old.version + 2));
    assert_eq!(new.cursor(&cursor("a")).expect("set again"), set);
    new.delete_cursor(&cursor("b"), CursorCondition::None).expect("deleted without a condition");
    close(catalog);
}

#[test]
fn a_deleted_log_takes_its_cursors_along() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 5);
    set(&log, "a", 4);
    catalog.delete(&name("log")).expect("deleted, with no foreign file left");
    let error = log.set_cursor(&cursor("a"), Position(0), CursorCondition::None);
    assert_eq!(error.expect_err("deleted").code(), styx_protocol::Code::LogNotFound);
    assert!(!directory.path().join("log").exists());
    let log = catalog.create(&name("log"), LogConfig::default()).expect("created");
    assert_eq!(log.cursors().expect("listed"), []);
    close(catalog);
}

#[test]
fn a_backup_has_the_cursors_and_a_restored_log_continues_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 5);
    set(&log, "old", 5);
    let log = catalog.truncate(&name("log")).expect("truncated");
    append(&log, 5);
    let kept = set(&log, "a", 5);
    let mut archive = Vec::new();
    log.backup(&mut archive).expect("a backup");
    let copy = catalog.restore(&name("copy"), &mut archive.as_slice()).expect("restored");
    let cursors = copy.cursors().expect("listed");
    assert_eq!(cursors, [Cursor { log_id: copy.id(), ..kept.clone() }]);
    assert_eq!(
        copy.set_cursor(&kept.name, Position(5), CursorCondition::None).expect("set").version,
        3
    );
    let report = catalog_report(directory.path(), catalog);
    assert!(report.is_good(), "{report:?}");
}

/// Closes the catalog and verifies its directory.
fn catalog_report(
    directory: &Path,
    catalog: styx_engine::Catalog,
) -> styx_engine::verify::VerifyReport {
    close(catalog);
    styx_engine::verify::verify(directory, &mut |_| {}).expect("verified")
}

#[test]
fn a_damaged_file_stops_only_the_cursors() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 5);
    set(&log, "a", 4);
    let path = directory.path().join("log/cursors");
    let mut bytes = fs::read(&path).expect("the file");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    close(catalog);
    fs::write(&path, &bytes).expect("damaged");
    let catalog = open(directory.path());
    let log = catalog.log(&name("log")).expect("the log is served");
    append(&log, 1);
    for error in [
        log.cursors().expect_err("damaged"),
        log.cursor(&cursor("a")).expect_err("damaged"),
        log.set_cursor(&cursor("a"), Position(0), CursorCondition::None).expect_err("damaged"),
        log.delete_cursor(&cursor("a"), CursorCondition::None).expect_err("damaged"),
    ] {
        let text = error.to_string();
        assert!(text.contains("log/cursors") && text.contains("fails its checksum"), "{text}");
    }
    assert_eq!(fs::read(&path).expect("the file"), bytes, "the damaged file is not replaced");
    let mut archive = Vec::new();
    log.backup(&mut archive).expect("a backup without cursors");
    let copy = catalog.restore(&name("copy"), &mut archive.as_slice()).expect("restored");
    assert_eq!(copy.cursors().expect("listed"), []);
    let report = catalog_report(directory.path(), catalog);
    let problems: Vec<_> = report.logs.iter().flat_map(|log| &log.problems).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].file, path);
    // Without the file, the log begins without cursors, also without a restart.
    let catalog = open(directory.path());
    let log = catalog.log(&name("log")).expect("open");
    assert!(log.cursors().is_err());
    fs::remove_file(&path).expect("removed");
    assert_eq!(log.cursors().expect("no cursors"), []);
    close(catalog);
}

#[test]
fn verify_reports_a_cursor_after_the_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 5);
    set(&log, "a", 5);
    let other = catalog.create(&name("other"), LogConfig::default()).expect("created");
    append(&other, 5);
    close(catalog);
    // The same log, before its last records: only verify can notice it.
    let segments = |log: &str| directory.path().join(log).join("0");
    let (log_segments, shorter) = (segments("log"), segments("shorter"));
    fs::create_dir_all(&shorter).expect("created");
    let catalog = open(&directory.path().join("shorter-data"));
    let short = catalog.create(&name("log"), LogConfig::default()).expect("created");
    append(&short, 3);
    close(catalog);
    fs::remove_dir_all(&log_segments).expect("removed");
    fs::rename(directory.path().join("shorter-data/log/0"), &log_segments).expect("replaced");
    fs::remove_dir_all(directory.path().join("shorter")).expect("removed");
    fs::remove_dir_all(directory.path().join("shorter-data")).expect("removed");
    let report = styx_engine::verify::verify(directory.path(), &mut |_| {}).expect("verified");
    let problems: Vec<_> = report.logs.iter().flat_map(|log| &log.problems).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("the cursor a has position 5"), "{problems:?}");
}

#[test]
fn a_log_has_a_limited_number_of_cursors() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 1);
    // A file with all of them is written by hand, because each change syncs.
    set(&log, "a", 1);
    close(catalog);
    let path = directory.path().join("log/cursors");
    let bytes = fs::read(&path).expect("the file");
    let entry = &bytes[24..bytes.len() - 2];
    let mut full = bytes[..12].to_vec();
    full.extend(u32::try_from(CURSORS_MAX).expect("few").to_be_bytes());
    full.extend(&bytes[16..24]);
    for number in 0..CURSORS_MAX {
        full.extend(entry);
        full.push(4);
        full.extend(format!("{number:04}").as_bytes());
    }
    let crc = crc32fast::hash(&full[8..]);
    full[4..8].copy_from_slice(&crc.to_be_bytes());
    fs::write(&path, full).expect("written");
    let catalog = open(directory.path());
    let log = catalog.log(&name("log")).expect("open");
    assert_eq!(log.cursors().expect("listed").len(), CURSORS_MAX);
    let refused = log.set_cursor(&cursor("one-more"), Position(0), CursorCondition::None);
    assert!(matches!(refused, Err(Error::TooManyCursors { .. })), "{refused:?}");
    set(&log, "0007", 0);
    log.delete_cursor(&cursor("0000"), CursorCondition::None).expect("deleted");
    set(&log, "one-more", 0);
    close(catalog);
}

#[test]
fn changes_from_many_threads_get_different_versions() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 1);
    let versions: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let log = &log;
                scope.spawn(move || {
                    let name = format!("cursor-{thread}");
                    (0..8).map(|_| set(log, &name, 1).version).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut sorted = versions.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=32).collect::<Vec<_>>());
    close(catalog);
}

/// The same archive, with other content of the file with the cursors.
fn with_cursors(archive: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut old = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut new = tar::Builder::new(out);
    for entry in old.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("read");
        if path == Path::new("cursors") {
            change(&mut bytes);
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        new.append_data(&mut header, path, bytes.as_slice()).expect("written");
    }
    new.into_inner().expect("written").finish().expect("compressed")
}

#[test]
fn a_restore_refuses_damaged_and_impossible_cursors() {
    let directory = tempfile::tempdir().expect("a directory");
    let (catalog, log) = log_with(directory.path(), 3);
    set(&log, "a", 3);
    let mut archive = Vec::new();
    log.backup(&mut archive).expect("a backup");
    let restore = |archive: &[u8]| catalog.restore(&name("copy"), &mut &*archive);
    let beyond = with_cursors(&archive, |bytes| {
        // The position of the first cursor.
        bytes[47] = 4;
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    });
    let damaged = with_cursors(&archive, |bytes| bytes[47] = 4);
    let cut = with_cursors(&archive, |bytes| bytes.truncate(30));
    for (archive, part) in [
        (beyond, "the cursor a has position 4, but the log ends at 3"),
        (damaged, "fails its checksum"),
        (cut, "fails its checksum"),
    ] {
        let refused = restore(&archive).expect_err(part).to_string();
        assert!(refused.contains(part), "{refused}");
        assert!(!directory.path().join("copy").exists());
    }
    assert_eq!(
        restore(&with_cursors(&archive, |_| ())).expect("intact").cursors().expect("listed").len(),
        1
    );
    close(catalog);
}
