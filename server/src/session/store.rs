//! Waiting for the object store, without a thread.
//!
//! ```text
//! read ─▶ NeedsStore ─▶ free the memory for the response ─▶ await the fetch ─▶ read again
//! ```
//!
//! Invariant: a store that does not answer costs its own readers an error after
//! [`STORE_WAIT_MAX`], and everybody else nothing.

use std::time::Duration;

use styx_engine::Fetch;
use styx_engine::archive::Kept;

use super::Error;

/// How long a read waits for one answer of the store.
const STORE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits until the bytes of a read are in the cache. The result keeps them there.
///
/// # Errors
/// The store does not answer or refuses, the log no longer has the records, or they are damaged.
pub(super) async fn fetched(fetch: Fetch) -> Result<Kept, Error> {
    match tokio::time::timeout(STORE_WAIT_MAX, fetch).await {
        Ok(fetched) => Ok(fetched?),
        Err(_) => {
            let cause = format!("it did not answer for {} s", STORE_WAIT_MAX.as_secs());
            Err(styx_engine::Error::StoreUnavailable { cause }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::ops::Range;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};

    use styx_engine::archive::{Depot, Entry, FetchResult, LocalLimits, StoreError};
    use styx_engine::{Catalog, Options};
    use styx_protocol::Whence;
    use styx_protocol::{Code, Codecs, LogConfig, LogId, LogName, Position, ReadParams, Records};

    use super::*;
    use crate::limits::Meter;
    use crate::session::{BlockQuery, Followers, OpenLog, ResponseBudget, StoredBlocks};

    const RECORDS: u64 = 30;

    /// A store in memory. Its cache has what was fetched, until the store hangs.
    #[derive(Debug, Default)]
    struct TestDepot {
        objects: Mutex<HashMap<Position, Vec<u8>>>,
        cached: Mutex<Vec<(Position, Range<u64>)>>,
        hangs: AtomicBool,
    }

    impl TestDepot {
        fn hang(&self, hangs: bool) {
            self.hangs.store(hangs, Ordering::Relaxed);
            self.cached.lock().expect("not poisoned").clear();
        }
    }

    impl Depot for TestDepot {
        fn read_cached(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> bool {
            let end = offset + buffer.len() as u64;
            let cached = self.cached.lock().expect("not poisoned");
            let is_cached = cached.iter().any(|(base, range)| {
                *base == entry.base && range.start <= offset && end <= range.end
            });
            if is_cached {
                let objects = self.objects.lock().expect("not poisoned");
                let from = usize::try_from(offset).expect("it fits");
                buffer.copy_from_slice(&objects[&entry.base][from..from + buffer.len()]);
            }
            is_cached
        }

        fn fetch(&self, entry: &Entry, range: Range<u64>, _: u64) -> FetchResult {
            if self.hangs.load(Ordering::Relaxed) {
                return Box::pin(std::future::pending());
            }
            let is_there = self.objects.lock().expect("not poisoned").contains_key(&entry.base);
            self.cached.lock().expect("not poisoned").push((entry.base, range));
            Box::pin(std::future::ready(match is_there {
                true => Ok(Kept::new(())),
                false => Err(StoreError::Missing),
            }))
        }

        fn fetch_index(&self, _: &LogName, _: LogId, _: &Entry) -> FetchResult {
            Box::pin(std::future::ready(Err(StoreError::Missing)))
        }

        fn distrust(&self, _: &Entry, _: Range<u64>) {}
        fn notice(&self, _: &LogName, _: LogId) {}
        fn removing(&self, _: &LogName, _: LogId, _: u32) {}
        fn kept(&self, _: &LogName, _: LogId) {}
        fn removed(&self, _: &LogName, _: LogId) {}
        fn disk_is_short(&self, _: &LogName, _: LogId) {}
    }

    /// A log of which the first two of three segments are evicted.
    struct Scene {
        depot: Arc<TestDepot>,
        log: OpenLog,
        budget: ResponseBudget,
        _catalog: Catalog,
        directory: PathBuf,
    }

    impl Scene {
        fn new() -> Scene {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("styx-store-{}-{number}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            let depot = Arc::<TestDepot>::default();
            let options = Options {
                depot: Some(Arc::clone(&depot) as _),
                tail_bytes_max: 0,
                ..Options::new(&directory)
            };
            let catalog = Catalog::open(options).expect("opened");
            let config = LogConfig { segment_max_count: 10, ..LogConfig::default() };
            let log = catalog.create(&"log".parse().expect("a name"), config).expect("created");
            for position in 0..RECORDS {
                log.append_durably(Records::one(&payload(position))).expect("appended");
            }
            log.end_segment_older_than(Duration::ZERO).expect("rolled");
            for segment in log.unarchived() {
                let mut bytes = vec![0; usize::try_from(segment.bytes()).expect("it fits")];
                segment.read_at(&mut bytes, 0).expect("read");
                let crc = segment.check(|_| Ok(())).expect("intact");
                let entry = segment.entry(crc, log.open_epoch(), log.id());
                depot.objects.lock().expect("not poisoned").insert(entry.base, bytes);
                log.record_archived(&[entry]).expect("recorded");
            }
            let limits = LocalLimits { bytes_max: Some(0), age_max: None };
            assert_eq!(log.evict(&limits).expect("evicted").segments, 2);
            let log = OpenLog { log, followers: Followers::default(), meter: Meter::default() };
            let budget = ResponseBudget::new(1 << 20);
            Scene { depot, log, budget, _catalog: catalog, directory }
        }

        fn query(codecs: Codecs) -> BlockQuery {
            BlockQuery { until: None, codecs, bytes_max: 1 << 10 }
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    fn payload(position: u64) -> Vec<u8> {
        format!("record {position} {}", "x".repeat(100)).into_bytes()
    }

    fn at_time(time: u64) -> ReadParams {
        let position = i64::try_from(time).expect("it fits");
        ReadParams { whence: Whence::Time, position, ..ReadParams::default() }
    }

    #[tokio::test]
    async fn evicted_records_are_read_by_every_reader() {
        let scene = Scene::new();
        let chunks = scene.budget.chunks();
        for position in [0, 13, 29] {
            let found = scene.log.record(Position(position), &chunks).await.expect("read");
            let (record, _) = found.expect("a record");
            assert_eq!(record.payload, payload(position));
            let time = record.timestamp_us;
            assert!(scene.log.seek(&at_time(time)).await.expect("found").0 <= position);
        }
        let mut reader = scene.log.read(Position(0), 500).expect("a reader");
        let mut next = 0;
        while let Some((batch, _)) = reader.next(&chunks).await.expect("read") {
            for record in batch.records() {
                assert_eq!(record.payload, payload(next));
                next += 1;
            }
        }
        assert_eq!(next, RECORDS);
        for codecs in [Codecs::ALL, Codecs::PLAIN] {
            let query = Scene::query(codecs);
            let mut reader =
                scene.log.read_blocks(Position(0), query, scene.budget.chunks()).expect("a reader");
            let mut spans = 0;
            while let Some(blocks) = reader.next().await.expect("read") {
                spans += u32::from(matches!(blocks, StoredBlocks::Span(_)));
            }
            assert_eq!(reader.position(), Position(RECORDS));
            assert_eq!(spans > 0, codecs == Codecs::ALL, "only local blocks are spans");
        }
    }

    /// The clock is paused, so the 30 s pass as soon as everything waits.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_unavailable_after_30_s_and_holds_no_memory() {
        let scene = Scene::new();
        scene.depot.hang(true);
        let chunks = scene.budget.chunks();
        let unavailable = |error: Error| assert_eq!(error.code, Code::StoreUnavailable, "{error}");
        unavailable(scene.log.record(Position(0), &chunks).await.expect_err("it hangs"));
        unavailable(scene.log.seek(&at_time(1)).await.expect_err("it hangs"));

        let mut reader = scene.log.read(Position(0), 500).expect("a reader");
        let query = Scene::query(Codecs::ALL);
        let mut blocks =
            scene.log.read_blocks(Position(0), query, scene.budget.chunks()).expect("a reader");
        let begun = tokio::time::Instant::now();
        let bytes_meanwhile = async {
            tokio::time::sleep(STORE_WAIT_MAX / 2).await;
            scene.budget.bytes()
        };
        let (read, read_blocks, bytes) =
            tokio::join!(reader.next(&chunks), blocks.next(), bytes_meanwhile);
        unavailable(read.expect_err("it hangs"));
        unavailable(read_blocks.expect_err("it hangs"));
        assert_eq!(bytes, 0, "a waiting read holds no memory for its response");
        assert!(begun.elapsed() >= STORE_WAIT_MAX);

        let local = scene.log.record(Position(25), &chunks).await.expect("read");
        assert_eq!(local.expect("a record").0.payload, payload(25), "local records need no store");
        scene.depot.hang(false);
        assert!(reader.next(&chunks).await.expect("the same reader goes on").is_some());
        assert!(blocks.next().await.expect("the same reader goes on").is_some());
    }
}
