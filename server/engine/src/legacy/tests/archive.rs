//! Tests of archives: a valid archive is restored completely, and any other one leaves nothing
//! behind.
#![allow(clippy::disallowed_methods, reason = "tests inspect real files")]

use std::fs;
use std::path::Path;

use styx_protocol::Position;
use tempfile::TempDir;

use super::fixtures::{self, config, gzip, index, records, segment, tar};
use super::{Files, TIME_S, assert_intact, files, name, open, payloads};
use crate::{Catalog, Error, Log};

struct Data {
    directory: TempDir,
    catalog: Catalog,
}

impl Data {
    fn new() -> Data {
        // These tests sync thousands of times but do not test syncs, so they use memory.
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let directory = directory.expect("a directory");
        let catalog = open(directory.path());
        Data { directory, catalog }
    }

    fn restore(&self, archive: &[u8]) -> Result<Log, Error> {
        let restored = self.catalog.restore(&name("a"), &mut &archive[..]);
        if restored.is_err() {
            let left = fs::read_dir(self.directory.path()).expect("listed");
            let left: Vec<_> = left.map(|entry| entry.expect("an entry").file_name()).collect();
            assert_eq!(left, [".lock"], "nothing is left behind");
        }
        restored
    }

    #[track_caller]
    fn assert_refused(&self, why: &str, archive: &[u8]) {
        match self.restore(archive) {
            Err(Error::BadArchive { message }) => assert!(message.contains(why), "{message}"),
            other => panic!("{why}: {other:?}"),
        }
    }
}

#[test]
fn a_restored_archive_accepts_appends() {
    let data = Data::new();
    let log = data.restore(&gzip(&tar(&files()))).expect("restored");
    assert_intact(&log);
    let append = styx_protocol::Records::one(b"twelve");
    assert_eq!(log.append_durably(append).expect("appended").end, Position(13));
    drop(log);
    assert!(data.catalog.close(std::time::Duration::from_secs(30)));
    let catalog = open(data.directory.path());
    let log = catalog.log(&name("a")).expect("opened");
    assert_eq!(payloads(&log)[5], b"twelve");
    let mut archive = Vec::new();
    log.backup(&mut archive).expect("backed up");
    let other = Data::new();
    let again = other.restore(&archive).expect("a backup is restored");
    assert_eq!((payloads(&again).len(), again.start_position()), (6, Position(7)));
}

#[test]
fn every_flipped_byte_is_detected() {
    let data = Data::new();
    let tar = tar(&files());
    let mut accepted = Vec::new();
    for at in 0..tar.len() {
        let mut flipped = tar.clone();
        flipped[at] ^= 1 << (at % 8);
        if let Ok(log) = data.restore(&gzip(&flipped)) {
            assert_intact(&log);
            drop(log);
            data.catalog.delete(&name("a")).expect("deleted");
            accepted.push(at);
        }
    }
    // Flips are accepted only in the padding and the final zeros of the tar, and in a header's
    // checksum, where a digit can be written in two ways.
    let header = |at: &&usize| {
        let begin = **at / 512 * 512;
        let checksum = begin + 148..begin + 156;
        tar[begin..].get(257..262) == Some(b"ustar") && !checksum.contains(*at)
    };
    assert_eq!(accepted.iter().find(header), None, "a flip in the header of an entry was accepted");
    for (_, bytes) in files().iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let found = tar
            .windows(bytes.len())
            .position(|window| window == bytes)
            .expect("the tar contains the file");
        let within = |at: &&usize| (found..found + bytes.len()).contains(*at);
        assert_eq!(accepted.iter().find(within), None, "a flip in {bytes:?} was accepted");
    }
}

#[test]
fn every_truncation_is_detected() {
    let data = Data::new();
    let files = files();
    let tar = tar(&files);
    let end = tar.len() - 1024;
    for cut in 0..end {
        assert!(data.restore(&gzip(&tar[..cut])).is_err(), "cut at {cut} of {end}");
    }
    let archive = gzip(&tar);
    for cut in 0..archive.len() {
        assert!(data.restore(&archive[..cut]).is_err(), "cut at {cut} of the gzip");
    }
    for gone in 0..files.len() {
        let mut files = files.clone();
        let (name, _) = files.remove(gone);
        assert!(data.restore(&gzip(&fixtures::tar(&files))).is_err(), "without {name}");
    }
    assert_intact(&data.restore(&archive).expect("the unchanged archive is restored"));
}

#[test]
fn entries_out_of_place_are_refused() {
    let data = Data::new();
    let with = |change: &dyn Fn(&mut Files)| {
        let mut files = files();
        change(&mut files);
        gzip(&tar(&files))
    };
    data.assert_refused("out of order", &with(&|files| files.insert(2, files[1].clone())));
    data.assert_refused("out of order", &with(&|files| files.swap(1, 2)));
    data.assert_refused("one is missing", &with(&|files| drop(files.remove(2))));
    data.assert_refused("is there twice", &with(&|files| files.push(files[6].clone())));
    data.assert_refused("has no segment", &with(&|files| files[5].0 = segment(9, 0, 0, "index")));
    data.assert_refused("does not belong", &with(&|files| files.push(files[0].clone())));
    data.assert_refused("does not belong", &with(&|files| files.push(("lock".into(), Vec::new()))));
    data.assert_refused(
        "does not belong",
        &with(&|files| files.push(("log.toml".into(), Vec::new()))),
    );
    data.assert_refused("tar -czf ARCHIVE config segment-*", &with(&|files| files.swap(0, 1)));
    data.assert_refused("tar -czf ARCHIVE config segment-*", &with(&|files| files.swap(1, 2)));
    data.assert_refused("tar -czf ARCHIVE config segment-*", &with(&|files| files.swap(2, 3)));
    data.assert_refused(
        "does not belong",
        &with(&|files| files[1].0 = format!("x/{}", files[1].0)),
    );
    data.assert_refused("no segments", &with(&|files| files.truncate(1)));
    data.assert_refused("cut off", &with(&|files| files.truncate(4)));
    data.assert_refused(
        "one is missing",
        &with(&|files| files[2].0 = segment(11, 81, 0, "records")),
    );
    let further = |files: &mut Files| files[2].0 = files[2].0.replace("73-", "74-");
    data.assert_refused("one is missing", &with(&further));
    data.assert_refused("69 bytes", &with(&|files| files[0].1.push(0)));
    data.assert_refused(
        "beyond the end of its segment",
        &with(&|files| files[4].1 = index(&[(10, 81)])),
    );
    data.assert_refused("checksum", &with(&|files| files[4].1 = index(&[(8, 50), (7, 40)])));
    data.assert_refused("cut off", &with(&|files| files[4].1.truncate(39)));
    let interleaved = with(&|files| files[1..].sort());
    assert_intact(&data.restore(&interleaved).expect("each index may follow its records"));
}

#[test]
fn an_archive_that_was_packed_again_is_restored() {
    let data = Data::new();
    let mut files = files();
    files[4..].reverse();
    files.insert(0, ("._config".into(), b"AppleDouble".to_vec()));
    for (name, _) in &mut files {
        *name = format!("old/{name}");
    }
    let tar = tar(&files);
    let (first, second) = tar.split_at(1000);
    let archive = [gzip(first), gzip(second), vec![0; 10_000]].concat();
    assert_intact(&data.restore(&archive).expect("restored"));
}

#[test]
fn records_are_checked_against_the_configuration_and_their_checksums() {
    let data = Data::new();
    let one = |bytes: Vec<u8>, max: i64| {
        let config = config([max, -1, -1, -1, -1, -1, -1, -1]).to_vec();
        let (records, index) = (segment(0, 0, 0, "records"), segment(0, 0, 0, "index"));
        gzip(&tar(&[("config".into(), config), (records, bytes), (index, Vec::new())]))
    };
    data.assert_refused("max_record_size", &one(records(&[[b'x'; 57]]), 64));
    data.assert_refused("-1 bytes", &one(vec![0xff; 64], 64));
    data.assert_refused(
        "position 1: the record fails",
        &one([records(&["x"]), vec![0; 8]].concat(), 64),
    );
    data.assert_refused(
        "byte 9, position 1: the record is cut",
        &one([records(&["x"]), vec![0; 7]].concat(), 64),
    );
    let zeros = records(&[vec![0; (1 << 20) - 7], vec![1; 3 << 20], Vec::new()]);
    let log = data.restore(&one(zeros, -1)).expect("records larger than a block");
    let lengths: Vec<_> = payloads(&log).iter().map(Vec::len).collect();
    assert_eq!(lengths, [(1 << 20) - 7, 3 << 20, 0]);
    assert_eq!(log.timestamps(), Some((0, 0)));
}

#[test]
fn a_future_time_is_replaced_by_now() {
    let data = Data::new();
    let mut files = files();
    for kind in ["records", "index"] {
        let at = if kind == "records" { 3 } else { 6 };
        let (_, until) = files[at].0.split_at(29);
        let offset = until[..20].parse().expect("digits");
        files[at].0 = segment(12, offset, i64::MAX as u64, kind);
    }
    let log = data.restore(&gzip(&tar(&files))).expect("restored");
    log.append_durably(styx_protocol::Records::one(b"now")).expect("appended");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now");
    let (_, last) = log.timestamps().expect("it has records");
    assert!(u128::from(last) <= now.as_micros(), "{last}");
}

#[test]
fn timestamps_never_decrease() {
    let data = Data::new();
    let mut files = files();
    for at in [2, 5] {
        let later = format!("{:020}", TIME_S + 60);
        files[at].0 = files[at].0.replace(&later, &format!("{:020}", TIME_S - 60));
    }
    let log = data.restore(&gzip(&tar(&files))).expect("restored");
    assert_eq!(log.timestamps(), Some((TIME_S * 1_000_000, TIME_S * 1_000_000)));
}
