//! [`LogRow`], [`LogState`]: the numbers of logs for `GET /status`.
//!
//! Counters are read when they are asked for, so appends and reads pay nothing for them. All of it
//! may wait for the disk: cursors are read from their files at the first call.

use serde::Serialize;
use styx_engine::{Log, SegmentInfo};
use styx_protocol::{CursorInfo, LogConfig, LogInfo, LogStatus};

use super::reading::{Follower, FollowerCount};
use super::{OpenLog, Sessions, cursors};

/// A log in the list.
#[derive(Debug, Serialize)]
pub(crate) struct LogRow {
    pub(crate) name: String,
    pub(crate) status: LogStatus,
    record_count: u64,
    file_size: u64,
    start_position: u64,
    end_position: u64,
    disk_bytes: u64,
    segments: u64,
    queue_bytes: u64,
    commits: u64,
    records_appended: u64,
    bytes_written: u64,
    records_read: u64,
    bytes_read: u64,
    followers: u64,
    /// Records between the follower that is farthest behind and the end.
    follower_lag: u64,
    /// `None` if the file of the cursors cannot be read.
    cursors: Option<u64>,
    /// Records between the cursor that is farthest behind and the end.
    cursor_lag: Option<u64>,
}

/// Everything about one log, besides its row.
#[derive(Debug, Serialize)]
pub(crate) struct LogState {
    log_id: String,
    config: LogConfig,
    timestamp_first: Option<u64>,
    timestamp_last: Option<u64>,
    segments: Vec<Segment>,
    cursors: Option<Vec<Cursor>>,
    followers: Vec<Following>,
}

#[derive(Debug, Serialize)]
struct Segment {
    start_position: u64,
    end_position: u64,
    disk_bytes: u64,
    timestamp_first: Option<u64>,
    timestamp_last: Option<u64>,
    is_finished: bool,
}

#[derive(Debug, Serialize)]
struct Cursor {
    #[serde(flatten)]
    cursor: CursorInfo,
    /// `None` if the cursor is older than the log.
    lag: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Following {
    protocol: &'static str,
    principal: String,
    peer: Option<String>,
    since: u64,
    position: u64,
    lag: u64,
}

impl Sessions {
    /// The logs for which `is_wanted` returns true, sorted by name; blocks.
    pub(crate) fn log_rows(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<LogRow> {
        let followers = self.followers.counts();
        let infos = self.catalog.list().into_iter().filter(|info| is_wanted(&info.name));
        let mut logs = self.catalog.logs().into_iter().peekable();
        let rows = infos.map(|info| {
            // Both lists are sorted by name. A log that is not open is only in the first.
            while logs.next_if(|log| log.name().as_str() < info.name.as_str()).is_some() {}
            let log = logs.next_if(|log| log.name().as_str() == info.name);
            let count = log.as_ref().and_then(|log| followers.get(&log.id()));
            LogRow::new(info, log.as_ref(), count)
        });
        rows.collect()
    }

    /// The free space of the data directory's file system in bytes; blocks.
    pub(crate) fn free_disk_bytes(&self) -> Option<u64> {
        self.catalog.free_bytes()
    }
}

impl OpenLog {
    /// Everything about the log, besides its row; blocks.
    pub(crate) fn state(&self) -> LogState {
        let log = &self.log;
        let (times, end) = (log.timestamps(), log.end_position());
        let cursors = log.cursors().ok().map(|cursors| {
            let lag = |cursor: &styx_engine::Cursor| {
                (cursor.log_id == log.id()).then(|| end.since(cursor.position))
            };
            let cursors = cursors.into_iter();
            cursors.map(|c| Cursor { lag: lag(&c), cursor: cursors::info(c) }).collect()
        });
        let followers = self.followers.of(log.id());
        LogState {
            log_id: log.id().to_string(),
            config: log.config(),
            timestamp_first: times.map(|(first, _)| first),
            timestamp_last: times.map(|(_, last)| last),
            segments: log.segments().iter().map(Segment::new).collect(),
            cursors,
            followers: followers.iter().map(|follower| Following::new(follower, log)).collect(),
        }
    }

    /// The log's row; blocks.
    pub(crate) fn row(&self) -> LogRow {
        let counts = self.followers.counts();
        LogRow::new(self.log.info(), Some(&self.log), counts.get(&self.log.id()))
    }
}

impl LogRow {
    fn new(info: LogInfo, log: Option<&Log>, followers: Option<&FollowerCount>) -> LogRow {
        let stats = log.map(Log::stats).unwrap_or_default();
        let cursors = log.and_then(|log| log.cursor_lag().ok());
        let behind =
            |position: styx_protocol::Position| info.end_position.saturating_sub(position.0);
        LogRow {
            status: info.status,
            record_count: info.record_count,
            file_size: info.file_size,
            start_position: info.start_position,
            end_position: info.end_position,
            disk_bytes: stats.disk_bytes,
            segments: stats.segments,
            queue_bytes: stats.queue_bytes,
            commits: stats.commits,
            records_appended: stats.records_appended,
            bytes_written: stats.bytes_written,
            records_read: stats.records_read,
            bytes_read: stats.bytes_read,
            followers: followers.map_or(0, |followers| followers.count),
            follower_lag: followers.map_or(0, |followers| behind(followers.position_min)),
            cursors: cursors.map(|cursors| cursors.count as u64),
            cursor_lag: cursors.map(|cursors| cursors.records_max),
            name: info.name,
        }
    }
}

impl Segment {
    fn new(segment: &SegmentInfo) -> Segment {
        let time = |us| (segment.end > segment.start).then_some(us);
        Segment {
            start_position: segment.start.0,
            end_position: segment.end.0,
            disk_bytes: segment.disk_bytes,
            timestamp_first: time(segment.first_timestamp_us),
            timestamp_last: time(segment.last_timestamp_us),
            is_finished: segment.is_finished,
        }
    }
}

impl Following {
    fn new(follower: &Follower, log: &Log) -> Following {
        let position = follower.position();
        Following {
            protocol: follower.protocol,
            principal: follower.principal.to_string(),
            peer: follower.peer.map(|peer| peer.to_string()),
            since: follower.since_us,
            position: position.0,
            lag: log.end_position().since(position),
        }
    }
}
