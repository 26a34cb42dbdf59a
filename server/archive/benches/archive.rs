//! Measures the archive against bare requests to the same store, in turn in the same run. The store
//! is `versitygw`, on this machine and this disk:
//! `STYX_TEST_VERSITYGW=FILE cargo bench --package styx-archive --bench archive`
//!
//! Each figure is the median of five rounds, with their range. Every record that is read is counted.

#[path = "../tests/archiver/versitygw.rs"]
mod versitygw;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use styx_archive::store::{SINGLE_BYTES_MAX, Store, Verb};
use styx_archive::{Archiver, Settings, keys};
use styx_engine::archive::{Entry, LocalLimits, SealedSegment};
use styx_engine::{Attached, Catalog, Found, Log, Options};
use styx_protocol::record::Builder;
use styx_protocol::{LogConfig, LogId, LogName, Position, Records};
use tokio::runtime::Runtime;

use versitygw::Versitygw;

const ROUNDS: usize = 5;

/// Bytes of the files of each segment.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Sealed segments of the log.
const SEGMENTS: u64 = 8;

/// Bytes of a record.
const RECORD_BYTES: usize = 1000;

/// Records of an append.
const APPEND_RECORDS: usize = 512;

/// As the fetch does at most.
const CHUNK_BYTES: u64 = 1 << 20;
const CHUNKS_AT_ONCE: usize = 16;

/// As the archiver does by default.
const UPLOADS: usize = 2;

/// Random reads of a round.
const LOOKUPS: u64 = 200;

/// Entries of the log that is opened.
const OPENED_SEGMENTS: u64 = 100_000;

fn main() {
    let Some(server) = Versitygw::start() else {
        eprintln!(
            "set STYX_TEST_VERSITYGW to the program versitygw, which cargo xtask test builds"
        );
        return;
    };
    let runtime = Runtime::new().expect("a runtime");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores, with the store; {SEGMENTS} segments of {} MiB", SEGMENT_BYTES >> 20);
    let mut rounds: Vec<Round> = Vec::new();
    for round in 0..ROUNDS {
        rounds.push(measure(&server, &runtime, round));
    }
    let figures: [Figure; 9] = [
        ("upload, MB/s", |round| round.upload),
        ("bare parts, MB/s", |round| round.bare_upload),
        ("upload : bare parts", |round| round.upload / round.bare_upload),
        ("cold read, MB/s", |round| round.cold),
        ("bare ranges, MB/s", |round| round.bare_ranges),
        ("cold read : bare ranges", |round| round.cold / round.bare_ranges),
        ("warm read : local read", |round| round.warm / round.local),
        ("requests for a random read", |round| round.requests_per_lookup),
        ("requests of PUT for a segment of 100 records", |round| round.puts_per_small_segment),
    ];
    for (name, figure) in figures {
        show(name, rounds.iter().map(figure).collect());
    }
    show("open 100,000 segments, s", (0..ROUNDS).map(|_| open_many()).collect());
}

/// A name, and how it follows from a round.
type Figure = (&'static str, fn(&Round) -> f64);

/// Rates in MB/s.
struct Round {
    upload: f64,
    bare_upload: f64,
    local: f64,
    cold: f64,
    warm: f64,
    bare_ranges: f64,
    requests_per_lookup: f64,
    puts_per_small_segment: f64,
}

fn measure(versitygw: &Versitygw, runtime: &Runtime, round: usize) -> Round {
    let directory = tempfile::tempdir().expect("temporary directory");
    let prefix = format!("s3://bucket/round-{round}");
    fill(directory.path());
    let bare = versitygw.store();

    let archive = Archive::open(directory.path(), &prefix, versitygw);
    archive.archiver.probe(Duration::from_secs(30)).expect("reliable");
    let log = archive.log();
    read_all(&log);
    let local = read_all(&log).0;
    let segments: Vec<_> = log.unarchived();
    let sealed_bytes: u64 = segments.iter().map(|segment| segment.bytes()).sum();
    let contents: Vec<Bytes> = segments.iter().map(read_segment).collect();

    // The order changes with each round.
    let upload = || {
        let started = Instant::now();
        archive.archiver.start(archive.catalog.clone());
        let end = segments.last().expect("a segment").end();
        while log.archived_position() != Some(end) {
            std::thread::sleep(Duration::from_millis(2));
        }
        rate(sealed_bytes, started)
    };
    let bare_upload = || {
        let started = Instant::now();
        runtime.block_on(put_bare(&bare, &contents));
        rate(sealed_bytes, started)
    };
    let (upload, bare_upload) = match round % 2 {
        0 => {
            let bare_upload = bare_upload();
            (upload(), bare_upload)
        }
        _ => (upload(), bare_upload()),
    };
    drop(contents);
    // The newest sealed segment stays on the disk.
    log.evict(&LocalLimits { bytes_max: Some(0), age_max: None }).expect("evicted");
    let remote: Vec<Entry> = log.archived_entries();
    let remote = &remote[..remote.len() - 1];
    let remote_bytes: u64 = remote.iter().map(|entry| entry.bytes).sum();

    let cold = || read_all(&log).1;
    let bare_ranges = || {
        let started = Instant::now();
        runtime.block_on(get_bare(&archive.store(), remote));
        rate(remote_bytes, started)
    };
    let (cold, bare_ranges) = match round % 2 {
        0 => {
            let bare_ranges = bare_ranges();
            (cold(), bare_ranges)
        }
        _ => (cold(), bare_ranges()),
    };
    let warm = read_all(&log).1;
    drop(log);
    archive.close();

    // A new cache.
    let archive = Archive::open(directory.path(), &prefix, versitygw);
    let requests_per_lookup = look_up(&archive, remote);
    archive.close();
    let puts_per_small_segment = archive_small_segments(versitygw, round);
    Round {
        upload,
        bare_upload,
        local,
        cold,
        warm,
        bare_ranges,
        requests_per_lookup,
        puts_per_small_segment,
    }
}

/// A catalog with an archive.
struct Archive {
    archiver: Archiver,
    catalog: Catalog,
}

impl Archive {
    fn open(directory: &Path, url: &str, versitygw: &Versitygw) -> Archive {
        let archiver = Archiver::open(Settings {
            url: url.to_owned(),
            store: versitygw.options(),
            max_lag: Duration::from_secs(3600),
            local_bytes_max: None,
            local_age_max: None,
            uploads: UPLOADS,
            read_cache_bytes: 1 << 30,
            read_memory_bytes: 64 << 20,
            collect_grace: None,
            cache_directory: directory.to_owned(),
        });
        let archiver = archiver.expect("open the archive");
        let mut options = Options::new(directory);
        options.depot = Some(archiver.depot());
        let catalog = Catalog::open(options).expect("open the catalog");
        catalog.wait_until_open();
        Archive { archiver, catalog }
    }

    fn log(&self) -> Log {
        self.catalog.log(&name()).expect("the log is open")
    }

    fn store(&self) -> Store {
        self.archiver.store().clone()
    }

    fn close(self) {
        assert!(self.archiver.stop(Duration::from_secs(10)), "the archiver stops");
        assert!(self.catalog.close(Duration::from_secs(10)), "the catalog closes");
    }
}

fn name() -> LogName {
    "log".parse().expect("a name")
}

/// Creates the log, and leaves it closed.
fn fill(directory: &Path) {
    let catalog = Catalog::open(Options::new(directory)).expect("open the catalog");
    let config = LogConfig { segment_max_size: SEGMENT_BYTES as i64, ..LogConfig::default() };
    let log = catalog.create(&name(), config).expect("created");
    let (mut builder, mut random) = (Builder::new(), 1_u64);
    while (log.end_position().0 as usize * RECORD_BYTES) < (SEGMENTS * SEGMENT_BYTES) as usize {
        let mut payload = [0; RECORD_BYTES];
        for _ in 0..APPEND_RECORDS {
            payload.fill_with(|| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 24) as u8
            });
            assert!(builder.push(&payload), "the records fit in one append");
        }
        log.append_durably(builder.take()).expect("appended");
    }
    assert!(catalog.close(Duration::from_secs(10)), "the catalog closes");
}

fn read_segment(segment: &SealedSegment) -> Bytes {
    let mut bytes = vec![0; segment.bytes() as usize];
    let mut at = 0;
    while at < bytes.len() {
        at += segment.read_at(&mut bytes[at..], at as u64).expect("read");
    }
    bytes.into()
}

/// Reads all blocks. Returns the rate of the whole log in MB/s, and that of its segments in the
/// store, which come first.
fn read_all(log: &Log) -> (f64, f64) {
    let started = Instant::now();
    let mut reader = log.reader(log.start_position()).expect("a reader");
    let (mut records, mut bytes) = (0, 0);
    let (mut remote_bytes, mut remote_seconds) = (0, 0.0);
    loop {
        match reader.blocks(CHUNK_BYTES as usize).expect("readable") {
            Found::Some(blocks) => {
                records += blocks.next().0 - blocks.first().0;
                bytes += blocks.len_bytes() as u64;
                if reader.reads_remote() {
                    remote_bytes = bytes;
                    remote_seconds = started.elapsed().as_secs_f64();
                }
            }
            Found::AtEnd => break,
            Found::NeedsStore(fetch) => {
                let kept = fetch.wait().expect("fetched");
                reader.keep(kept);
            }
            Found::NeedsDisk => unreachable!("the call waits for the disk"),
        }
    }
    assert_eq!(records, log.end_position().0 - log.start_position().0, "every record was read");
    (rate(bytes, started), remote_bytes as f64 / 1e6 / remote_seconds)
}

async fn put_bare(store: &Store, contents: &[Bytes]) {
    let uploads = stream::iter(contents.iter().enumerate()).map(|(segment, content)| async move {
        let crc = crc32c::crc32c(content);
        let content = content.clone();
        let read = move |range: std::ops::Range<u64>| {
            Ok(content.slice(range.start as usize..range.end as usize))
        };
        let length = contents[segment].len() as u64;
        assert!(length > SINGLE_BYTES_MAX, "it is sent in parts");
        store.put_in_parts(&format!("{segment}"), length, crc, read).await.expect("put");
    });
    uploads.buffer_unordered(UPLOADS).collect::<()>().await;
}

async fn get_bare(store: &Store, entries: &[Entry]) {
    let chunks = entries.iter().flat_map(|entry| {
        let starts = (0..entry.bytes).step_by(CHUNK_BYTES as usize);
        starts.map(|start| (keys::segment(entry), start..entry.bytes.min(start + CHUNK_BYTES)))
    });
    let reads = stream::iter(chunks).map(|(key, range)| async move {
        let wanted = range.end - range.start;
        let read = store.get_range(&key, range).await.expect("read");
        assert_eq!(read.len() as u64, wanted);
    });
    reads.buffer_unordered(CHUNKS_AT_ONCE).collect::<()>().await;
}

/// Requests for each of some reads of one record, each in another chunk.
fn look_up(archive: &Archive, entries: &[Entry]) -> f64 {
    let log = archive.log();
    let before = archive.store().counts().all(Verb::Get);
    let end = entries.last().expect("an entry").end.0;
    for lookup in 0..LOOKUPS {
        let position = Position(end / LOOKUPS * lookup);
        let mut reader = log.reader(position).expect("a reader");
        loop {
            match reader.record().expect("readable") {
                Found::Some(record) => break assert_eq!(record.payload.len(), RECORD_BYTES),
                Found::NeedsStore(fetch) => reader.keep(fetch.wait().expect("fetched")),
                other => panic!("{other:?}"),
            }
        }
    }
    (archive.store().counts().all(Verb::Get) - before) as f64 / LOOKUPS as f64
}

/// Requests of PUT for each of ten segments of 100 records.
fn archive_small_segments(versitygw: &Versitygw, round: usize) -> f64 {
    let directory = tempfile::tempdir().expect("temporary directory");
    let archive = Archive::open(directory.path(), &format!("s3://bucket/small-{round}"), versitygw);
    archive.archiver.probe(Duration::from_secs(30)).expect("reliable");
    archive.archiver.start(archive.catalog.clone());
    let config = LogConfig { segment_max_count: 100, ..LogConfig::default() };
    let log = archive.catalog.create(&name(), config).expect("created");
    let append = |until: u64| {
        while log.end_position().0 < until {
            log.append_durably(Records::one(b"small")).expect("appended");
        }
        while log.archived_position() != Some(Position(until - 1)) {
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    append(101);
    let before = archive.store().counts().all(Verb::Put);
    for segment in 2..=11 {
        append(segment * 100 + 1);
    }
    let puts = archive.store().counts().all(Verb::Put) - before;
    drop(log);
    archive.close();
    puts as f64 / 10.0
}

/// Seconds in which a catalog opens a log with many segments in the store.
fn open_many() -> f64 {
    let directory = tempfile::tempdir().expect("temporary directory");
    let entries = (0..OPENED_SEGMENTS).map(|segment| Entry {
        base: Position(segment * 10),
        end: Position(segment * 10 + 10),
        bytes: 1000,
        record_bytes: 10,
        first_timestamp_us: segment + 1,
        last_timestamp_us: segment + 1,
        seal_crc: 1,
        file_crc: 1,
        epoch: 1,
        home: LogId(1),
    });
    let attached = Attached {
        entries: entries.collect(),
        open_epoch: 1,
        config: LogConfig::default(),
        ..Attached::default()
    };
    let catalog = Catalog::open(Options::new(directory.path())).expect("open the catalog");
    catalog.attach(&name(), &attached, []).expect("attached");
    assert!(catalog.close(Duration::from_secs(10)), "the catalog closes");
    let started = Instant::now();
    let catalog = Catalog::open(Options::new(directory.path())).expect("open the catalog");
    catalog.wait_until_open();
    let seconds = started.elapsed().as_secs_f64();
    let log = catalog.log(&name()).expect("the log is open");
    assert_eq!(log.end_position(), Position(OPENED_SEGMENTS * 10));
    drop(log);
    assert!(catalog.close(Duration::from_secs(10)), "the catalog closes");
    seconds
}

/// MB/s since a time.
fn rate(bytes: u64, since: Instant) -> f64 {
    bytes as f64 / 1e6 / since.elapsed().as_secs_f64()
}

fn show(name: &str, mut figures: Vec<f64>) {
    figures.sort_by(f64::total_cmp);
    let median = figures[figures.len() / 2];
    let (least, most) = (figures[0], figures[figures.len() - 1]);
    println!("{name}: {median:.2} ({least:.2} to {most:.2})");
}
