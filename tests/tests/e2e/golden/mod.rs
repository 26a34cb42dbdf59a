//! Frozen formats: what this version wrote is committed in `tests/golden/v1`, and every later build
//! must read it.
//!
//! | file | content |
//! |---|---|
//! | `data.tar.gz` | a data directory |
//! | `backup-LOG.tar.gz` | a backup of one of its logs |
//! | `expected.json` | what is in each log: configuration, blocks, records |
//! | `transcripts.json` | streams of styx/1 between the Rust client and a server, with both sides |
//! | `http.json` | answers of the server that a client needs besides the streams |
//!
//! [`write`](mod@write) writes them; the tests read only the committed files.

mod data_directory;
mod description;
mod fake_server;
mod newer;
mod replay_to_client;
mod replay_to_server;
mod transcript;
mod write;

use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;
use styx_tests::binary;

/// The folder with the files.
fn folder() -> PathBuf {
    binary::workspace().join("tests/golden/v1")
}

/// A committed file.
#[track_caller]
fn golden(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A committed file of JSON.
#[track_caller]
fn golden_json(name: &str) -> Value {
    serde_json::from_slice(&golden(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Unpacks the data directory as `data` in this directory.
fn unpack_data(into: &Path) {
    let archive = golden("data.tar.gz");
    let mut tar = tar::Archive::new(GzDecoder::new(archive.as_slice()));
    tar.unpack(into).unwrap_or_else(|e| panic!("{}: {e}", into.display()));
}

/// The committed backups, by the name of their log.
fn backups() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("the folder exists") {
        let file = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let log = file.strip_prefix("backup-").and_then(|rest| rest.strip_suffix(".tar.gz"));
        if let Some(log) = log {
            all.push((log.to_owned(), golden(&file)));
        }
    }
    assert!(!all.is_empty(), "there are backups");
    all.sort();
    all
}
