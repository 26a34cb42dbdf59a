//! Tests with handmade archives and directories of 0.x. A valid source becomes a log with the same
//! records; an invalid source leaves nothing behind.
#![allow(clippy::disallowed_methods, reason = "tests inspect real files")]

mod archive;
pub(super) mod fixtures;
mod import;

use std::path::Path;

use styx_protocol::{LogConfig, LogName, Position};

use self::fixtures::{config, index, records, segment};
use crate::{Catalog, Found, Log, Options, Seek};

type Files = Vec<(String, Vec<u8>)>;

const CONFIG: [i64; 8] = [64, 1 << 20, 3, 1 << 30, -1, 1000, -1, -1];
const TIME_S: u64 = 1_700_000_000;

/// Three segments from position 7 on, with three records, two records, and none.
fn files() -> Files {
    let first = records(&["seven", "", "nine"]);
    let second = records(&["ten", "eleven"]);
    let (at, then) = (40 + first.len() as u64, 40 + (first.len() + second.len()) as u64);
    vec![
        ("config".into(), config(CONFIG).to_vec()),
        (segment(7, 40, TIME_S, "records"), first),
        (segment(10, at, TIME_S + 60, "records"), second),
        (segment(12, then, TIME_S + 30, "records"), Vec::new()),
        (segment(7, 40, TIME_S, "index"), index(&[(7, 40), (9, 61)])),
        (segment(10, at, TIME_S + 60, "index"), Vec::new()),
        (segment(12, then, TIME_S + 30, "index"), Vec::new()),
    ]
}

const PAYLOADS: [&str; 5] = ["seven", "", "nine", "ten", "eleven"];

fn name(text: &str) -> LogName {
    text.parse().expect("a name")
}

fn open(directory: &Path) -> Catalog {
    let catalog = Catalog::open(Options::new(directory)).expect("opened");
    catalog.wait_until_open();
    catalog
}

fn payloads(log: &Log) -> Vec<Vec<u8>> {
    let mut reader = log.reader(log.start_position()).expect("a reader");
    let mut all = Vec::new();
    while let Found::Some(batch) = reader.read(64 << 10).expect("read") {
        all.extend(batch.records().map(|record| record.payload.to_vec()));
    }
    all
}

/// Checks that the log contains exactly the records of [`files`].
#[track_caller]
fn assert_intact(log: &Log) {
    assert_eq!(payloads(log), PAYLOADS.map(|payload| payload.as_bytes().to_vec()));
    assert_eq!((log.start_position(), log.end_position()), (Position(7), Position(12)));
    let config = LogConfig {
        max_record_size: 64,
        segment_max_count: 3,
        log_max_count: 1000,
        ..LogConfig::default()
    };
    assert_eq!(log.config(), config);
    assert_eq!(log.info().file_size, 18 + 5 * 8);
    let us = |seconds: u64| seconds * 1_000_000;
    assert_eq!(log.timestamps(), Some((us(TIME_S), us(TIME_S + 60))), "timestamps never decrease");
    let found = log.seek(Seek::Time(us(TIME_S + 1))).expect("found");
    assert_eq!(found, Position(10));
}
