//! An older server refuses what a newer version wrote, and names the format: the committed files,
//! with the version of `log.toml` raised.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use styx_tests::cli::{run, styx};
use styx_tests::legacy::pack;
use styx_tests::{Request, Scratch, Settings, TestServer};

use super::Golden;

const GOLDEN: Golden = Golden("v1");

const NEWER: &str = "in format 3 by a newer version of Styx: run that version or a newer one";

/// A `log.toml` as a newer version would begin it, with a key that this version does not know.
fn newer(manifest: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(manifest).expect("text");
    let (_, body) = text.split_once('\n').expect("a line with the checksum");
    let body = body.replacen("version = 1", "version = 3\nshards = 3", 1);
    format!("checksum = \"{:08x}\"\n{body}", crc32fast::hash(body.as_bytes())).into_bytes()
}

fn raise(path: &Path) {
    let manifest = std::fs::read(path).expect("read");
    std::fs::write(path, newer(&manifest)).expect("written");
}

#[test]
fn a_log_of_a_newer_version_is_refused_by_name_and_others_are_served() {
    let scratch = Arc::new(Scratch::new("newer-log"));
    GOLDEN.unpack_data(scratch.path());
    let manifest = scratch.join("data/producers/log.toml");
    let before = std::fs::read(&manifest).expect("read");
    raise(&manifest);
    let data = scratch.join("data").display().to_string();
    let report = run(styx(&["verify", &data]), b"");
    let said = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(said.contains("producers: not checked") && said.contains(NEWER), "{said}");
    assert!(!said.contains("damaged"), "{said}");
    assert!(report.stderr.contains("needs a newer version of Styx"), "{}", report.stderr);
    assert_eq!(report.code, 1);

    let mut server = Settings::default().start_in(scratch).expect("it starts");
    assert_eq!(server.info("producers")["status"], "unknown");
    server.expect_log(NEWER);
    for request in [
        Request::post("/logs/producers/records").typed("application/octet-stream", "x"),
        Request::get("/logs/producers/records?whence=start&count=1"),
    ] {
        let refused = server.ask(&request).expect_error(503, "log_not_available");
        assert!(refused.shown().contains(NEWER), "{}", refused.shown());
    }
    let refused = server.ask(&Request::post("/logs/producers/truncate"));
    assert!(refused.shown().contains(NEWER), "{}", refused.shown());
    assert_eq!(server.append("empty", "x"), 1);

    // The newer version finds what it wrote.
    assert_eq!(server.stop().status.code(), Some(0));
    assert!(std::fs::read(&manifest).expect("read") == newer(&before));
    std::fs::write(&manifest, before).expect("written");
    server.restart();
    assert_eq!(server.info("producers")["record_count"], 47);
}

#[test]
fn a_data_directory_of_a_newer_version_is_refused_by_name() {
    let scratch = Arc::new(Scratch::new("newer-data"));
    GOLDEN.unpack_data(scratch.path());
    scratch.write("data/.format", "3\n");
    let refusal = Settings::default().start_in(Arc::clone(&scratch)).expect_err("refused");
    assert!(refusal.output.contains(NEWER), "{}", refusal.output);
    assert_eq!(refusal.status.and_then(|status| status.code()), Some(1));
    let data = scratch.join("data").display().to_string();
    let report = run(styx(&["verify", &data]), b"");
    assert!(report.code == 1 && report.stderr.contains(NEWER), "{}", report.stderr);
}

#[test]
fn a_backup_of_a_newer_version_is_refused_by_name() {
    let server = TestServer::start();
    let archive = GOLDEN.file("backup-producers.tar.gz");
    let mut tar = tar::Archive::new(GzDecoder::new(archive.as_slice()));
    let mut files = Vec::new();
    for entry in tar.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("read");
        files.push((name, bytes));
    }
    assert_eq!(files[0].0, "log.toml");
    files[0].1 = newer(&files[0].1);
    // A newer version may have files that this one does not know.
    files.insert(1, ("0/shards".to_owned(), vec![1]));
    let refused = server.restore("b", pack(&files)).expect_error(400, "invalid_params");
    assert!(refused.shown().contains(NEWER), "{}", refused.shown());
    let _ = server.ask(&Request::get("/logs/b")).expect_error(404, "log_not_found");
}
