//! Frozen formats: what an earlier version wrote is committed in `tests/golden`, and every later
//! build must read it. `v1` contains:
//!
//! | file | content |
//! |---|---|
//! | `data.tar.gz` | a data directory |
//! | `backup-LOG.tar.gz` | a backup of one of its logs |
//! | `expected.json` | what is in each log: configuration, blocks, records, cursors |
//! | `transcripts.json` | streams of styx/1 between the Rust client and a server, with both sides |
//! | `http.json` | answers of the server that a client needs besides the streams |
//!
//! [`write`](mod@write) writes such a folder; the tests read only the committed files.

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

use self::transcript::Transcript;

/// The folders in `tests/golden` that this version must read.
const FOLDERS: [&str; 1] = ["v1"];

/// One of these folders.
#[derive(Debug, Clone, Copy)]
struct Golden(&'static str);

impl Golden {
    /// All folders.
    fn all() -> impl Iterator<Item = Golden> {
        FOLDERS.into_iter().map(Golden)
    }

    fn path(self) -> PathBuf {
        binary::workspace().join("tests/golden").join(self.0)
    }

    /// A committed file.
    #[track_caller]
    fn file(self, name: &str) -> Vec<u8> {
        let path = self.path().join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// A committed file of JSON.
    #[track_caller]
    fn json(self, name: &str) -> Value {
        serde_json::from_slice(&self.file(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Unpacks the data directory as `data` in this directory.
    fn unpack_data(self, into: &Path) {
        let archive = self.file("data.tar.gz");
        let mut tar = tar::Archive::new(GzDecoder::new(archive.as_slice()));
        tar.unpack(into).unwrap_or_else(|e| panic!("{}: {e}", into.display()));
    }

    /// The committed backups, by the name of their log.
    fn backups(self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.path()).expect("the folder exists") {
            let file = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            let log = file.strip_prefix("backup-").and_then(|rest| rest.strip_suffix(".tar.gz"));
            if let Some(log) = log {
                all.push((log.to_owned(), self.file(&file)));
            }
        }
        assert!(!all.is_empty(), "there are backups");
        all.sort();
        all
    }

    /// The committed streams, in the order in which they were recorded.
    fn transcripts(self) -> Vec<Transcript> {
        let all = self.json("transcripts.json");
        all.as_array().expect("a list").iter().map(Transcript::of_json).collect()
    }
}
