//! Files that a newer version wrote are refused by the name of their format. They are neither
//! damaged nor ignored, and nothing is changed because of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use styx_engine::repair::{Keep, Mode, repair};
use styx_engine::verify::verify;
use styx_engine::{Catalog, Error, Found, Options};
use styx_protocol::block::{Block, Origin, build};
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{Code, LogConfig, LogStatus, Position};
use tempfile::TempDir;

use crate::support::{close, name, open, read_all, records};

const PRODUCER: u64 = 77;
const REFUSED: &str = "by a newer version of Styx: run that version or a newer one";

/// A data directory with one log `log`, which has several segments and a producer.
struct Scene(TempDir);

impl Scene {
    fn new() -> Scene {
        let root = tempfile::tempdir().expect("a directory");
        let catalog = open(root.path());
        let config = LogConfig { segment_max_count: 2, ..LogConfig::default() };
        let log = catalog.create(&name("log"), config).expect("created");
        for sequence in 0..6 {
            let origin = Origin { producer_id: PRODUCER, sequence, ..Origin::default() };
            let block = build(&records([format!("record {sequence}")]), origin);
            let (block, _) = Block::parse(block, 1 << 20).expect("a block");
            log.append_durably(block.into_checked(1 << 20).expect("checked")).expect("durable");
        }
        drop(log);
        close(catalog);
        Scene(root)
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    /// The files of a kind, ascending.
    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let all = content(&self.log()).into_keys();
        all.filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
    }

    /// Checks that the log cannot be opened, and that no command changes it.
    #[track_caller]
    fn is_refused(&self, file: &Path, format: &str) {
        let before = content(&self.log());
        let message = format!("{} was written {format} {REFUSED}", file.display());
        let catalog = open(self.0.path());
        let error = catalog.log(&name("log")).expect_err("refused");
        assert!(error.to_string().contains(&message), "{error}");
        assert_eq!(error.code(), Code::LogNotAvailable);
        let info = catalog.info(&name("log")).expect("listed");
        assert_eq!(info.status, LogStatus::Unknown);
        close(catalog);
        self.is_not_damaged(&message);
        assert_eq!(content(&self.log()), before, "nothing was changed");
    }

    /// Checks that `verify` and `repair` refuse it with this message.
    #[track_caller]
    fn is_not_damaged(&self, message: &str) {
        let report = verify(self.0.path(), &mut |_| {}).expect("read");
        assert!(!report.is_good());
        assert_eq!(report.logs[0].problems, []);
        assert_eq!(report.logs[0].newer.as_ref().expect("newer").to_string(), message);
        let repaired =
            repair(self.0.path(), &name("log"), Keep::Longest, Mode::Repair, &mut |_| {});
        let error = repaired.expect_err("refused");
        assert!(error.to_string().contains(message), "{error}");
    }
}

/// The files below a directory, without the indexes: they are a cache.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("listed").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            all.extend(content(&path));
        } else if path.extension().is_none_or(|extension| extension != "idx") {
            all.insert(path.clone(), fs::read(path).expect("read"));
        }
    }
    all
}

/// Replaces bytes of a file, and the CRC at `crc_at` over `covered`.
fn patch(file: &Path, at: usize, bytes: &[u8], crc_at: usize, covered: Range<usize>) {
    let mut content = fs::read(file).expect("read");
    content[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32fast::hash(&content[covered]);
    content[crc_at..crc_at + 4].copy_from_slice(&crc.to_be_bytes());
    fs::write(file, content).expect("written");
}

/// Replaces bytes of the header of block `number` of a segment.
fn patch_block(file: &Path, number: usize, at: usize, bytes: &[u8]) {
    let content = fs::read(file).expect("read");
    let mut block = 0;
    for _ in 0..number {
        let size = content[block + 16..block + 20].first_chunk().expect("4 bytes");
        block += BLOCK_HEADER_BYTES + u32::from_be_bytes(*size) as usize;
    }
    patch(file, block + at, bytes, block + 4, block + 8..block + BLOCK_HEADER_BYTES);
}

fn patch_manifest(text: &str) -> String {
    let (_, body) = text.split_once('\n').expect("a checksum line");
    let body = body.replace("version = 1", "version = 3");
    format!("checksum = \"{:08x}\"\n{body}", crc32fast::hash(body.as_bytes()))
}

#[test]
fn a_log_with_a_newer_manifest_is_refused_and_not_truncated() {
    let scene = Scene::new();
    let file = scene.log().join("log.toml");
    let text = fs::read_to_string(&file).expect("read");
    fs::write(&file, patch_manifest(&text)).expect("written");
    scene.is_refused(&file, "in format 3");

    let before = content(&scene.log());
    let catalog = open(scene.0.path());
    let error = catalog.truncate(&name("log")).expect_err("its configuration would be lost");
    assert!(matches!(error, Error::NewerFormat(_)), "{error}");
    assert_eq!(content(&scene.log()), before);
    close(catalog);
    fs::write(&file, text).expect("written");
    let catalog = open(scene.0.path());
    assert_eq!(read_all(&catalog.log(&name("log")).expect("open")).len(), 6);
}

/// Bug: a slot of a newer version was ignored, so the older slot decided whether the end of the log
/// is damaged or a torn tail.
#[test]
fn a_log_with_a_newer_slot_of_its_watermark_is_refused() {
    for slot in [0, 4096] {
        let scene = Scene::new();
        let file = scene.log().join("0/watermark");
        patch(&file, slot, &2u32.to_be_bytes(), slot + 32, slot..slot + 32);
        scene.is_refused(&file, "in format 2");
    }
}

/// Bug: the snapshot was called damaged and ignored, so producers could append again what the log
/// already had.
#[test]
fn a_log_with_a_newer_snapshot_of_producers_is_refused() {
    let scene = Scene::new();
    let file = scene.files("producers").pop().expect("the log has rolled");
    let len = fs::read(&file).expect("read").len();
    patch(&file, 8, &2u32.to_be_bytes(), 4, 8..len);
    scene.is_refused(&file, "in format 2");
}

#[test]
fn a_log_with_a_newer_block_is_refused() {
    let newer: [(usize, &[u8], &str); 3] = [
        (8, &[2], "with block format 2"),
        (9, &[7], "with block codec 7"),
        (10, &[0, 8], "with block flags 0x0008"),
    ];
    for (at, bytes, format) in newer {
        let scene = Scene::new();
        let newest = scene.files("seg").pop().expect("segments");
        patch_block(&newest, 0, at, bytes);
        scene.is_refused(&newest, format);
    }
}

/// Bug: a newer block in a finished segment was called damage, and the log `corrupt`.
#[test]
fn a_finished_segment_with_a_newer_block_is_refused_when_its_index_is_rebuilt() {
    let scene = Scene::new();
    let segment = scene.files("seg").remove(1);
    patch_block(&segment, 1, 9, &[7]);
    fs::remove_file(segment.with_extension("idx")).expect("removed");
    scene.is_refused(&segment, "with block codec 7");
}

/// Bug: a read, the scrub, `verify` and `repair` called such a block damaged.
#[test]
fn a_newer_block_that_the_index_hides_is_not_damage() {
    let scene = Scene::new();
    let segment = scene.files("seg").remove(0);
    patch_block(&segment, 2, 8, &[2]);
    let message = format!("{} was written with block format 2 {REFUSED}", segment.display());
    let catalog = open(scene.0.path());
    let log = catalog.log(&name("log")).expect("its other segments are known");
    let mut reader = log.reader(Position::ORIGIN).expect("a reader");
    let Ok(Found::Some(batch)) = reader.read(1 << 20) else { panic!("the first record is known") };
    assert_eq!(batch.count(), 1);
    let error = reader.read(1 << 20).expect_err("the second one is not");
    assert_eq!((error.to_string(), error.code()), (message.clone(), Code::LogNotAvailable));
    assert_eq!(catalog.scrub(), []);
    assert_eq!(log.status(), LogStatus::Ok);
    let mut reader = log.reader(Position(2)).expect("a reader");
    assert!(matches!(reader.read(1 << 20), Ok(Found::Some(_))));
    drop((reader, log));
    close(catalog);
    scene.is_not_damaged(&message);
}

#[test]
fn a_newer_index_is_rebuilt() {
    let scene = Scene::new();
    let file = scene.files("seg").remove(0).with_extension("idx");
    let before = fs::read(&file).expect("read");
    patch(&file, 8, &2u32.to_be_bytes(), 4, 8..64);
    let catalog = open(scene.0.path());
    assert_eq!(read_all(&catalog.log(&name("log")).expect("open")).len(), 6);
    assert!(fs::read(&file).expect("read") == before);
}

#[test]
fn a_data_directory_of_a_newer_version_is_refused() {
    let scene = Scene::new();
    let file = scene.0.path().join(".format");
    let refused = |content: &str, format: &str| {
        fs::write(&file, content).expect("written");
        let error = Catalog::open(Options::new(scene.0.path())).expect_err("refused").to_string();
        let expected = format!(
            "the data directory {} was written in format {format} {REFUSED}",
            scene.0.path().display()
        );
        assert_eq!(error, expected);
        assert_eq!(verify(scene.0.path(), &mut |_| {}).expect_err("refused").to_string(), expected);
    };
    refused("2\n", "2");
    refused(&"x".repeat(1000), "unknown");
    fs::write(&file, "1\n").expect("written");
    close(open(scene.0.path()));
}

/// The files in an archive.
fn unpack(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let entries = tar.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("read");
        (entry.path().expect("a path").display().to_string(), bytes)
    });
    entries.collect()
}

fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes.as_slice()).expect("memory");
    }
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).expect("memory")
}

/// Bug: a newer watermark was "neither of the two slots is valid", and a newer snapshot of producers
/// was restored and then ignored.
#[test]
fn an_archive_of_a_newer_version_is_refused_by_its_format() {
    let scene = Scene::new();
    let catalog = open(scene.0.path());
    let mut archive = Vec::new();
    catalog.log(&name("log")).expect("open").backup(&mut archive).expect("a backup");
    let files = unpack(&archive);
    let restored = |change: &dyn Fn(&str, &Path)| {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        let mut files = files.clone();
        for (name, bytes) in &mut files {
            fs::write(&file, &bytes).expect("written");
            change(name, &file);
            *bytes = fs::read(&file).expect("read");
        }
        catalog.restore(&name("restored"), &mut pack(&files).as_slice())
    };
    let refused = |file: &str, format: &str, change: &dyn Fn(&Path)| {
        let changed = |name: &str, path: &Path| {
            if name.ends_with(file) {
                change(path);
            }
        };
        let error = restored(&changed).expect_err("refused").to_string();
        assert!(error.contains(&format!("written {format} {REFUSED}")), "{error}");
        assert!(error.contains(file), "{error}");
        assert!(!scene.0.path().join("restored").exists());
    };
    refused("log.toml", "in format 3", &|path| {
        fs::write(path, patch_manifest(&fs::read_to_string(path).expect("text"))).expect("written");
    });
    refused("watermark", "in format 2", &|path| {
        patch(path, 4096, &2u32.to_be_bytes(), 4096 + 32, 4096..4096 + 32);
    });
    refused(".producers", "in format 2", &|path| {
        let len = fs::read(path).expect("read").len();
        patch(path, 8, &2u32.to_be_bytes(), 4, 8..len);
    });
    refused("2.seg", "with block codec 7", &|path| patch_block(path, 1, 9, &[7]));
    assert_eq!(read_all(&restored(&|_, _| {}).expect("restored")).len(), 6);
}
