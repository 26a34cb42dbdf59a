//! Samples for tests.

use super::sample::{Details, Disk, LogSample, Sample};

/// A log with a size and a lag that depend on its number.
pub(super) fn log(name: &str, number: u64) -> LogSample {
    LogSample {
        name: name.to_owned(),
        status: "ok".to_owned(),
        record_count: 100 * number,
        end_position: 100 * number,
        disk_bytes: 4096 * number,
        segments: 1,
        records_appended: 0,
        followers: 1,
        follower_lag: 10 - number.min(10),
        cursors: Some(2),
        cursor_lag: Some(0),
        ..LogSample::default()
    }
}

/// Three logs, `second` seconds after the start. Each second, `a` gets 10 records and `b` 1,000, and
/// 50 of `c` are read.
pub(super) fn sample(second: u64) -> Sample {
    let mut logs = vec![log("a-orders", 1), log("b-events", 2), log("c-idle", 3)];
    logs[0].records_appended = 10 * second;
    logs[1].records_appended = 1000 * second;
    logs[1].bytes_written = 64_000 * second;
    logs[2].records_read = 50 * second;
    logs[2].bytes_read = 5000 * second;
    let connections = super::sample::Connections { open: 12, max: 10_000, ..Default::default() };
    Sample {
        version: "1.2.3".to_owned(),
        time: 1_767_225_600_000_000 + second * 1_000_000,
        uptime_us: second * 1_000_000,
        connections,
        streams: [("styx/1".to_owned(), 3), ("websocket".to_owned(), 0)].into(),
        disk: Disk { free_bytes: Some(5 << 30), ..Disk::default() },
        logs,
        ..Sample::default()
    }
}

/// The answer for one log.
pub(super) fn details(name: &str) -> Box<Sample> {
    let details = Details { log_id: "0f".repeat(16), ..Details::default() };
    Box::new(Sample { logs: vec![log(name, 1)], details: Some(details), ..sample(1) })
}
