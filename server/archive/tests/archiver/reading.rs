//! Reads of archived segments: chunks, shared requests, the cache, and stores that hang.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use styx_archive::fetch::{Fetch, Settings};
use styx_archive::keys;
use styx_engine::archive::{Entry, Kept, StoreError};
use styx_engine::{Found, Place};
use styx_protocol::{LogId, Position};
use tokio::runtime::Runtime;

use crate::archiving::{Server, append, wait_for_archived, wait_until};
use crate::s3::{Fault, S3};
use crate::stores::run;

const CHUNK: u64 = 1 << 20;

/// A segment of some chunks in the store, and reads of it.
struct Scene {
    s3: S3,
    fetch: Fetch,
    entry: Entry,
    bytes: Bytes,
    runtime: Runtime,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new(chunks: u64) -> Scene {
        Scene::with(chunks, |_| {})
    }

    fn with(chunks: u64, change: impl FnOnce(&mut Settings)) -> Scene {
        let bytes: Bytes = (0..chunks * CHUNK - 5).map(|i| (i / 7 % 251) as u8).collect();
        let entry = Entry {
            base: Position(7),
            end: Position(8),
            bytes: bytes.len() as u64,
            record_bytes: 1,
            first_timestamp_us: 1,
            last_timestamp_us: 1,
            seal_crc: 1,
            file_crc: crc32c::crc32c(&bytes),
            epoch: 1,
            home: LogId(9),
        };
        let s3 = S3::start();
        s3.put(&keys::segment(&entry), &bytes, Duration::ZERO);
        let mut settings = Settings {
            cache_bytes: 32 * CHUNK,
            memory_bytes: 4 * CHUNK,
            deadline: Duration::from_secs(20),
        };
        change(&mut settings);
        let runtime = Runtime::new().expect("a runtime");
        let directory = tempfile::tempdir().expect("temporary directory");
        let handle = runtime.handle().clone();
        let fetch = Fetch::new(s3.store(), handle, directory.path(), &settings).expect("the cache");
        Scene { s3, fetch, entry, bytes, runtime, _directory: directory }
    }

    fn fetch(&self, from: u64, to: u64, ahead: u64) -> Result<Kept, StoreError> {
        self.runtime.block_on(self.fetch.fetch(&self.entry, from..to, ahead))
    }

    fn cached(&self, from: u64, to: u64) -> Option<Vec<u8>> {
        let mut buffer = vec![0; (to - from) as usize];
        self.fetch.read_cached(&self.entry, from, &mut buffer).then_some(buffer)
    }

    fn check(&self, from: u64, to: u64) {
        let expected = &self.bytes[from as usize..to as usize];
        assert!(self.cached(from, to).expect("cached") == expected, "{from}..{to}");
    }

    fn requests(&self) -> usize {
        self.s3.requests(Method::GET, ".seg")
    }
}

#[test]
fn fetched_ranges_are_read_from_the_cache() {
    let scene = Scene::new(3);
    assert_eq!(scene.cached(10, 20), None);
    let _kept = scene.fetch(10, 20, 0).expect("fetched");
    scene.check(10, 20);
    scene.check(0, CHUNK);
    assert_eq!(scene.requests(), 1, "one request for one chunk");
    assert_eq!(scene.cached(CHUNK - 1, CHUNK + 1), None);
    let end = scene.entry.bytes;
    let _kept = scene.fetch(CHUNK - 1, end, 0).expect("fetched");
    scene.check(CHUNK - 1, end);
    scene.check(0, end);
    assert_eq!(scene.requests(), 2, "adjacent chunks are one request");
    let stats = scene.fetch.stats();
    assert_eq!((stats.hits, stats.misses), (4, 3));
}

#[test]
fn readers_of_the_same_chunk_share_one_request() {
    let scene = Scene::new(1);
    scene.s3.order(Method::GET, ".seg", 1, Fault::Delay(200));
    scene.runtime.block_on(async {
        let fetches = (0..100).map(|i| scene.fetch.fetch(&scene.entry, i..i + 10, 0));
        for fetched in futures_util::future::join_all(fetches).await {
            fetched.expect("fetched");
        }
    });
    assert_eq!(scene.requests(), 1);
}

#[test]
fn bytes_ahead_are_fetched_without_a_wait() {
    let scene = Scene::new(6);
    let _kept = scene.fetch(0, 100, 2 * CHUNK).expect("fetched");
    crate::archiving::wait_until("the chunks ahead are cached", || {
        scene.cached(2 * CHUNK - 100, 2 * CHUNK).is_some()
    });
    scene.check(0, 2 * CHUNK);
    assert!(scene.requests() >= 3);
}

/// Otherwise nothing would be on its way while the reader reads what it has.
#[test]
fn reader_in_order_never_waits_for_a_chunk_that_nobody_has_requested() {
    let scene = Scene::with(40, |settings| settings.cache_bytes = 64 * CHUNK);
    let _kept = scene.fetch(0, 100, CHUNK).expect("fetched");
    for chunk in 1..39 {
        crate::archiving::wait_until("the chunk comes without being asked for", || {
            scene.cached(chunk * CHUNK, chunk * CHUNK + 10).is_some()
        });
        if chunk >= 8 {
            crate::archiving::wait_until("many chunks ahead are requested", || {
                scene.requests() as u64 > (chunk + 15).min(39)
            });
        }
    }
    assert_eq!(scene.requests(), 40, "each chunk was requested once");
}

#[test]
fn adjacent_chunks_fit_into_the_smallest_memory() {
    let scene = Scene::with(9, |settings| settings.memory_bytes = CHUNK);
    let end = scene.entry.bytes;
    let _kept = scene.fetch(0, end, 0).expect("fetched");
    scene.check(0, end);
    assert_eq!(scene.requests(), 3, "four chunks are one request");
}

#[test]
fn cache_stays_within_its_size_and_keeps_what_is_in_use() {
    let scene = Scene::new(80);
    let kept = scene.fetch(0, CHUNK, 0).expect("fetched");
    for chunk in 1..80 {
        let end = ((chunk + 1) * CHUNK).min(scene.entry.bytes);
        let _kept = scene.fetch(chunk * CHUNK, end, 0).expect("fetched");
        scene.check(chunk * CHUNK, end);
    }
    scene.check(0, CHUNK);
    let cached = (0..79).filter(|chunk| scene.cached(chunk * CHUNK, chunk * CHUNK + 1).is_some());
    assert_eq!(cached.count() + 1, 32);
    drop(kept);
}

/// A record can have up to 1 GiB, and the cache 32 MiB.
#[test]
fn block_that_is_larger_than_the_cache_is_read_and_its_space_is_given_back() {
    let scene = Scene::with(100, |settings| settings.memory_bytes = CHUNK);
    let small = scene.fetch(99 * CHUNK, 99 * CHUNK + 10, 0).expect("fetched");
    for _ in 0..2 {
        // Two readers at the same time.
        let large = [0, 1].map(|_| scene.fetch(3, 90 * CHUNK, 0).expect("fetched"));
        scene.check(3, 90 * CHUNK);
        let [first, second] = large;
        drop(first);
        scene.check(3, 90 * CHUNK);
        drop(second);
        assert_eq!(scene.cached(3, 90 * CHUNK), None);
    }
    assert!(scene.fetch.disk_bytes().expect("a file") <= 32 * CHUNK);
    scene.check(99 * CHUNK, 99 * CHUNK + 10);
    drop(small);
    // The cache works as before.
    for chunk in 0..60 {
        let _kept = scene.fetch(chunk * CHUNK, (chunk + 1) * CHUNK, 0).expect("fetched");
        scene.check(chunk * CHUNK, (chunk + 1) * CHUNK);
    }
    assert!(scene.fetch.disk_bytes().expect("a file") <= 32 * CHUNK);
}

#[test]
fn distrusted_bytes_are_fetched_again() {
    let scene = Scene::new(2);
    let _kept = scene.fetch(0, 2 * CHUNK - 5, 0).expect("fetched");
    scene.fetch.distrust(&scene.entry, 10..20);
    assert_eq!(scene.cached(10, 20), None);
    scene.check(CHUNK, CHUNK + 10);
    let _kept = scene.fetch(10, 20, 0).expect("fetched");
    scene.check(0, CHUNK);
    assert_eq!(scene.requests(), 2);
}

#[test]
fn missing_and_short_objects_are_told_apart_from_an_absent_store() {
    let scene = Scene::new(2);
    let key = keys::segment(&scene.entry);
    scene.s3.change(&key, |object| object.bytes = object.bytes.slice(..100));
    let short = scene.fetch(0, 10, 0).expect_err("too short");
    assert!(matches!(short, StoreError::Damaged(_)), "{short}");
    scene.s3.remove(&key);
    assert_eq!(scene.fetch(0, 10, 0).expect_err("missing"), StoreError::Missing);
    assert_eq!(scene.fetch.stats().missing, 1);
    scene.s3.set_away(true);
    let away = scene.fetch(0, 10, 0).expect_err("away");
    assert!(matches!(away, StoreError::Unavailable(_)), "{away}");
}

#[test]
fn failed_chunk_is_requested_again_by_the_next_reader() {
    let scene = Scene::new(1);
    scene.s3.set_away(true);
    scene.fetch(0, 10, 0).expect_err("away");
    scene.s3.set_away(false);
    let _kept = scene.fetch(0, 10, 0).expect("fetched");
    scene.check(0, 10);
}

#[test]
fn reader_of_a_store_that_hangs_fails_after_the_deadline() {
    let scene = Scene::with(1, |settings| settings.deadline = Duration::from_millis(100));
    scene.s3.order(Method::GET, ".seg", 1000, Fault::Delay(60_000));
    let error = scene.fetch(0, 10, 0).expect_err("no answer");
    assert!(error.to_string().contains("no answer for 100ms"), "{error}");
}

/// The engine polls the future on executors of its own, and drops it when a reader is gone.
#[test]
fn fetch_goes_on_without_a_runtime_and_without_its_reader() {
    let scene = Scene::new(2);
    let fetched = scene.fetch.fetch(&scene.entry, 0..10, 0);
    let _kept = futures_executor(fetched).expect("fetched");
    scene.check(0, 10);
    drop(scene.fetch.fetch(&scene.entry, CHUNK..CHUNK + 10, 0));
    crate::archiving::wait_until("cached", || scene.cached(CHUNK, CHUNK + 10).is_some());
}

/// Polls a future on this thread, which belongs to no runtime.
fn futures_executor<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(result) => return result,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn missing_index_comes_from_the_store_or_is_rebuilt() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let s3 = S3::start();
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.create("log");
    append(&log, 35);
    wait_for_archived(&log, 30);
    let path = |base: u64| directory.path().join(format!("log/0/{base:020}.idx"));
    wait_until("evicted", || {
        log.segments().iter().take(2).all(|segment| segment.place == Place::Remote)
    });
    drop(log);
    server.stop();
    let [first, second] = [0, 10].map(|base| {
        let bytes = std::fs::read(path(base)).expect("an index");
        std::fs::remove_file(path(base)).expect("removed");
        bytes
    });
    let is_second = |key: &String| key.contains(&format!("/{:020}-", 10)) && key.ends_with(".idx");
    s3.remove(&s3.keys().into_iter().find(is_second).expect("an index"));
    let server = Server::on_s3(directory.path(), &s3);
    let log = server.log("log");
    let check = |position| {
        let mut reader = log.reader(Position(position)).expect("a reader");
        loop {
            match reader.record().expect("readable") {
                Found::Some(record) => break assert_eq!(record.position, Position(position)),
                Found::NeedsStore(fetch) => reader.keep(run(fetch).expect("fetched")),
                other => panic!("{other:?}"),
            }
        }
    };
    check(5);
    assert_eq!(std::fs::read(path(0)).expect("from the store"), first);
    check(15);
    wait_until("the index is rebuilt", || std::fs::read(path(10)).is_ok_and(|it| it == second));
    drop(log);
    server.stop();
}
