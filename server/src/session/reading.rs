//! [`Reading`]: how far one read of a log is. [`Followers`]: the reads that follow a log.
//!
//! ```text
//! RecordReader, BlockReader ─▶ Reading ─ settle ─▶ the log's counters of reads
//!                                 └ follower ────▶ Followers ─▶ /status
//! ```
//! What was read counts when the reader asks for more, waits or ends, because before that its
//! caller may go back. Blocks count when they were sent. Invariant: a follower is listed from its first read to the end of its reader.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use styx_engine::Log;
use styx_protocol::{LogId, Position};

use crate::transport::PeerAddress;

/// The reads that follow a log, of all logs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Followers(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    last_key: u64,
    followers: HashMap<u64, Arc<Follower>>,
}

/// A read that waits for new records at the end of its log.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) log_id: LogId,
    pub(crate) protocol: &'static str,
    /// The name of its token.
    pub(crate) principal: Arc<str>,
    pub(crate) peer: Option<PeerAddress>,
    /// When it began, in µs since the epoch.
    pub(crate) since_us: u64,
    position: AtomicU64,
}

/// Who follows, for the list of followers.
#[derive(Debug, Clone)]
pub(crate) struct FollowedBy {
    pub(crate) protocol: &'static str,
    /// The name of its token.
    pub(crate) principal: Arc<str>,
    pub(crate) peer: Option<PeerAddress>,
}

/// The followers of a log, in numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FollowerCount {
    pub(crate) count: u64,
    /// The position of the follower that is farthest behind.
    pub(crate) position_min: Position,
}

impl Follower {
    /// The position after the last record that it has taken.
    pub(crate) fn position(&self) -> Position {
        Position(self.position.load(Ordering::Relaxed))
    }
}

impl Followers {
    /// The followers of a log, the oldest first.
    pub(crate) fn of(&self, log: LogId) -> Vec<Arc<Follower>> {
        let listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_log = listed.followers.values().filter(|follower| follower.log_id == log);
        let mut of_log: Vec<_> = of_log.cloned().collect();
        drop(listed);
        of_log.sort_by_key(|follower| follower.since_us);
        of_log
    }

    /// The numbers of all logs that have followers.
    pub(crate) fn counts(&self) -> HashMap<LogId, FollowerCount> {
        let mut counts = HashMap::new();
        let listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for follower in listed.followers.values() {
            let position = follower.position();
            let count = counts
                .entry(follower.log_id)
                .or_insert(FollowerCount { count: 0, position_min: position });
            count.count += 1;
            count.position_min = count.position_min.min(position);
        }
        counts
    }

    fn add(&self, follower: &Arc<Follower>) -> u64 {
        let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listed.last_key += 1;
        let key = listed.last_key;
        listed.followers.insert(key, Arc::clone(follower));
        key
    }

    fn remove(&self, key: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).followers.remove(&key);
    }
}

/// How far one read of a log is.
#[derive(Debug)]
pub(super) struct Reading {
    log: Log,
    followers: Followers,
    listed: Option<(u64, Arc<Follower>)>,
    /// Records before this position are counted.
    settled: Position,
    /// The position after the records that were taken.
    position: Position,
    /// The result of the last read: its records from `settled` on, and their bytes.
    found: u64,
    found_bytes: u64,
}

impl Reading {
    pub(super) fn new(log: &Log, followers: &Followers, from: Position) -> Reading {
        Reading {
            log: log.clone(),
            followers: followers.clone(),
            listed: None,
            settled: from,
            position: from,
            found: 0,
            found_bytes: 0,
        }
    }

    /// Lists the read as a follower.
    pub(super) fn follow(&mut self, by: FollowedBy) {
        let FollowedBy { protocol, principal, peer } = by;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let follower = Arc::new(Follower {
            log_id: self.log.id(),
            protocol,
            principal,
            peer,
            since_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            position: AtomicU64::new(self.position.0),
        });
        self.listed = Some((self.followers.add(&follower), follower));
    }

    /// Notes what a read has found, up to `next`.
    pub(super) fn took(&mut self, next: Position, bytes: u64) {
        self.settle();
        self.found = next.since(self.settled);
        self.found_bytes = bytes;
        self.position = next;
    }

    /// Notes that the caller continues at this position.
    pub(super) fn back_to(&mut self, position: Position) {
        self.position = self.position.min(position);
    }

    /// Counts what was taken.
    pub(super) fn settle(&mut self) {
        let records = self.position.since(self.settled);
        if records > 0 {
            // Of a batch that was used in part, the bytes count in proportion.
            let bytes = match records == self.found {
                true => self.found_bytes,
                false => {
                    let bytes = u128::from(self.found_bytes) * u128::from(records);
                    u64::try_from(bytes / u128::from(self.found.max(1))).unwrap_or(u64::MAX)
                }
            };
            self.log.count_read(records, bytes);
            self.settled = self.position;
            if let Some((_, follower)) = &self.listed {
                follower.position.store(self.position.0, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.settle();
        if let Some((key, _)) = self.listed.take() {
            self.followers.remove(key);
        }
    }
}
