//! [`Stats`]: numbers of the archive, for metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Inner;
use crate::collect::Collected;
use crate::fetch::Fetch;
use crate::store::{OUTCOMES, Store, VERBS};

/// Numbers since the start, and the current state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// The age of the oldest record in a sealed segment that is not archived, in seconds. 0 if all
    /// are archived.
    pub lag_seconds: f64,
    /// The bytes of sealed segments that are not archived.
    pub lag_bytes: u64,
    /// Requests: verb, outcome and number. Attempts inside one request are not counted.
    pub requests: Vec<(&'static str, &'static str, u64)>,
    /// Bytes of uploaded objects.
    pub bytes_sent: u64,
    /// Bytes of objects that were read.
    pub bytes_received: u64,
    /// Reads that found their bytes in the cache.
    pub cache_hits: u64,
    /// Chunks that were read from the store.
    pub cache_misses: u64,
    /// Segments that were archived.
    pub segments: u64,
    /// Logs that another server archives.
    pub fenced: u64,
    /// Logs that cannot be archived, for example because a segment is damaged.
    pub halted: u64,
    /// Requests for archived segments whose object does not exist.
    pub missing: u64,
    /// Ranges that came from the store and had wrong checksums.
    pub damaged: u64,
    /// Segments that the last scrub of the store found missing or different, and whose files are no
    /// longer on the disk. They are lost.
    pub lost: u64,
    /// Segments that the manifest named although the log's list did not, because of a crash, and
    /// segments that were uploaded again because their object was missing or different.
    pub healed: u64,
    /// Superfluous objects that the weekly collection removed from the store: the kind, and their
    /// number.
    pub collected: [(&'static str, u64); 3],
    /// Whether the last request of an upload was successful.
    pub is_available: bool,
    /// The reason of the last failure, until the next success.
    pub last_error: Option<String>,
}

/// The numbers that are counted here.
#[derive(Debug)]
pub(super) struct Totals {
    segments: AtomicU64,
    distrusted: AtomicU64,
    healed: AtomicU64,
    lost: AtomicU64,
    /// Objects of expired segments, orphans, and objects of deleted logs.
    collected: [AtomicU64; 3],
    is_available: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Default for Totals {
    fn default() -> Totals {
        Totals {
            segments: AtomicU64::new(0),
            distrusted: AtomicU64::new(0),
            healed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            collected: [const { AtomicU64::new(0) }; 3],
            is_available: AtomicBool::new(true),
            last_error: Mutex::new(None),
        }
    }
}

impl Totals {
    pub(super) fn archived(&self, segments: u64) {
        self.segments.fetch_add(segments, Ordering::Relaxed);
        self.is_available.store(true, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn healed(&self, segments: u64) {
        self.healed.fetch_add(segments, Ordering::Relaxed);
    }

    pub(super) fn set_lost(&self, segments: u64) {
        self.lost.store(segments, Ordering::Relaxed);
    }

    pub(super) fn collected(&self, done: &Collected) {
        let kinds = [done.garbage, done.orphans, done.deleted];
        for (total, kind) in self.collected.iter().zip(kinds) {
            total.fetch_add(kind.objects, Ordering::Relaxed);
        }
    }

    pub(super) fn distrusted(&self) {
        self.distrusted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, why: &str) {
        self.is_available.store(false, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }
}

/// The current numbers.
pub(super) fn collect(inner: &Inner) -> Stats {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (fenced, halted, lag) = inner.logs.totals();
    let totals = &inner.totals;
    let [garbage, orphans, deleted] = totals.collected.each_ref().map(load);
    Stats {
        lag_seconds: age_seconds(lag.oldest_us),
        lag_bytes: lag.bytes,
        segments: load(&totals.segments),
        fenced,
        halted,
        damaged: load(&totals.distrusted),
        lost: load(&totals.lost),
        healed: load(&totals.healed),
        collected: [("garbage", garbage), ("orphan", orphans), ("deleted", deleted)],
        is_available: totals.is_available.load(Ordering::Relaxed),
        last_error: totals.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        ..of_reads(&inner.store, &inner.fetch)
    }
}

/// The numbers of requests and of the cache.
pub(crate) fn of_reads(store: &Store, fetch: &Fetch) -> Stats {
    let (counts, reads) = (store.counts(), fetch.stats());
    let requests = VERBS.iter().flat_map(|(verb, name)| {
        OUTCOMES
            .iter()
            .map(move |(outcome, result)| (*name, *result, counts.requests(*verb, *outcome)))
    });
    Stats {
        requests: requests.collect(),
        bytes_sent: counts.bytes_sent(),
        bytes_received: counts.bytes_received(),
        cache_hits: reads.hits,
        cache_misses: reads.misses,
        missing: reads.missing,
        collected: [("garbage", 0), ("orphan", 0), ("deleted", 0)],
        ..Stats::default()
    }
}

/// How long ago a timestamp was; 0 for none.
fn age_seconds(timestamp_us: u64) -> f64 {
    if timestamp_us == 0 {
        return 0.0;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.as_micros().saturating_sub(u128::from(timestamp_us));
    age as f64 / 1e6
}
