//! The output of `--once`: the same numbers as JSON or as a table.

use serde::Serialize;

use super::format::{bytes, count};
use super::rates::Rates;
use super::sample::{Connections, Disk, Memory, Sample, Warning};
use super::state::{Row, State};
use crate::table;

/// The object of `--once --format json`.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    version: &'a str,
    time: u64,
    uptime_us: u64,
    connections: Connections,
    streams: &'a std::collections::BTreeMap<String, u64>,
    memory: Memory,
    disk: Disk,
    warnings: &'a [Warning],
    /// Of all logs, whatever the filter is.
    total: Rates,
    logs: Vec<LogReport<'a>>,
}

#[derive(Debug, Serialize)]
struct LogReport<'a> {
    name: &'a str,
    status: &'a str,
    record_count: u64,
    start_position: u64,
    end_position: u64,
    disk_bytes: u64,
    segments: u64,
    queue_bytes: u64,
    #[serde(flatten)]
    rates: Rates,
    followers: u64,
    follower_lag: u64,
    cursors: Option<u64>,
    cursor_lag: Option<u64>,
}

/// The numbers of a state that has taken two samples.
pub(super) fn report<'a>(server: &'a Sample, state: &'a State) -> Report<'a> {
    Report {
        version: &server.version,
        time: server.time,
        uptime_us: server.uptime_us,
        connections: server.connections,
        streams: &server.streams,
        memory: server.memory,
        disk: server.disk,
        warnings: &server.warnings,
        total: state.meter.total(),
        logs: state.visible().map(log).collect(),
    }
}

fn log(row: &Row) -> LogReport<'_> {
    let Row { log, rates } = row;
    LogReport {
        name: &log.name,
        status: &log.status,
        record_count: log.record_count,
        start_position: log.start_position,
        end_position: log.end_position,
        disk_bytes: log.disk_bytes,
        segments: log.segments,
        queue_bytes: log.queue_bytes,
        rates: *rates,
        followers: log.followers,
        follower_lag: log.follower_lag,
        cursors: log.cursors,
        cursor_lag: log.cursor_lag,
    }
}

/// The table of `--once`. Warnings are not in it: they go to standard error.
pub(super) fn table(state: &State) -> String {
    const HEADER: [&str; 9] = [
        "NAME",
        "STATUS",
        "APPEND/s",
        "WRITTEN/s",
        "READ/s",
        "READ BYTES/s",
        "SIZE",
        "FOLLOWERS",
        "LAG",
    ];
    let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
    rows.extend(state.visible().map(|row| {
        let (log, rates) = (&row.log, row.rates);
        vec![
            log.name.clone(),
            log.status.clone(),
            count(rates.appended),
            bytes(rates.written_bytes),
            count(rates.read),
            bytes(rates.read_bytes),
            bytes(log.disk_bytes as f64),
            log.followers.to_string(),
            row.lag().to_string(),
        ]
    }));
    table::rows(&rows)
}
