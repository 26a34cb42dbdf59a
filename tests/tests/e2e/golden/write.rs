//! Writes the files in [`FOLDER`]. CONTRIBUTING.md says how, and when that is allowed.
//!
//! To add a log, add a function to [`LOGS`]. Times, ids and salts differ between two runs, so all
//! files are written together.

use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use styx_client::blocking::Client;
use styx_protocol::Codec;
use styx_protocol::block::{Origin, build_with};
use styx_protocol::frame::Route;
use styx_tests::api::write_lines;
use styx_tests::styx1::{block_of, open, produce, produce_request, records};
use styx_tests::{Request, TestServer, wait};

use super::Golden;
use super::description::describe;
use super::transcript::{Recorder, Transcript};

/// The folder that is written.
const FOLDER: Golden = Golden("v1");

/// A file of more bytes does not belong into the repository.
const FILE_BYTES_MAX: usize = 100 << 10;

/// The producer that appended to the log `producers`, and its last block.
pub(super) const PRODUCER: u64 = 7001;
/// The number of records in each of its blocks, and the number of its blocks.
pub(super) const PRODUCER_BLOCKS: [u64; 2] = [5, 9];

/// The log with cursors.
pub(super) const CURSORS: &str = "cursors";

/// The name of a log, a function that creates and fills it, and whether its backup is a file too.
type GoldenLog = (&'static str, fn(&TestServer, &str), bool);

const LOGS: [GoldenLog; 8] = [
    ("lines", write_lines_in_segments, false),
    ("codecs", write_every_codec, true),
    ("producers", write_with_producers, true),
    ("retained", write_beyond_retention, true),
    ("large", write_a_large_record, true),
    (CURSORS, write_cursors, true),
    ("empty", |server, log| server.create(log), true),
    (LONG_NAME, write_one_record, false),
];

/// The longest name of a log: 255 bytes.
const LONG_NAME: &str = concat!(
    "long-name-0123456789-0123456789-0123456789-0123456789-012345678",
    "_long-name-0123456789-0123456789-0123456789-0123456789-012345678",
    "_long-name-0123456789-0123456789-0123456789-0123456789-012345678",
    "_long-name-0123456789-0123456789-0123456789-0123456789-012345678",
);

fn write_one_record(server: &TestServer, log: &str) {
    server.create(log);
    let _ = server.append(log, "one");
}

fn write_lines_in_segments(server: &TestServer, log: &str) {
    server.create_with(log, "segment_max_count=40&index_after_size=64");
    for request in 0..10 {
        let line = |i: i32| format!("line {} of the log\n", request * 10 + i);
        let lines: String = (0..10).map(line).collect();
        let _ = server.ask(&write_lines(log, &lines)).expect(200);
    }
}

/// Blocks without a producer, with every codec.
fn write_every_codec(server: &TestServer, log: &str) {
    server.create(log);
    let request = produce_request(log, "").header("X-Styx-Features", "lz4, zstd");
    let mut stream = open(server, &request, Route::ServerToProducer);
    for codec in Codec::ALL {
        let payload = |i: usize| format!("{codec} {i} {}", "abc".repeat(i)).into_bytes();
        let records = records(&(0..20).map(payload).collect::<Vec<_>>());
        stream.send_blocks(&[build_with(codec, None, &records, Origin::default())]);
    }
    assert_eq!(stream.acked(60).len(), 1);
    stream.end(false);
    stream.is_closed();
}

/// The payloads of a block of [`PRODUCER`].
pub(super) fn payloads_of(block: u64) -> Vec<String> {
    (0..PRODUCER_BLOCKS[0]).map(|i| format!("record {i} of block {block}")).collect()
}

/// Segments with two idempotent producers, of which one has a second epoch.
fn write_with_producers(server: &TestServer, log: &str) {
    server.create_with(log, "segment_max_count=20");
    let mut stream = produce(server, log, &format!("producer={PRODUCER}"));
    let epoch = stream.head.number("X-Styx-Epoch") as u32;
    let [count, blocks] = PRODUCER_BLOCKS;
    for block in 0..blocks {
        stream.send_blocks(&[block_of(PRODUCER, epoch, block * count, &payloads_of(block))]);
        let _ = stream.acked((block + 1) * count);
    }
    stream.end(false);
    stream.is_closed();
    for epoch in 1..=2 {
        let mut stream = produce(server, log, &format!("producer={}", PRODUCER + 1));
        assert_eq!(stream.head.number("X-Styx-Epoch"), u64::from(epoch));
        let sequence = u64::from(epoch) - 1;
        stream.send_blocks(&[block_of(PRODUCER + 1, epoch, sequence, &["of another producer"])]);
        let _ = stream.acked(1);
        stream.end(false);
        stream.is_closed();
    }
}

fn write_beyond_retention(server: &TestServer, log: &str) {
    server.create_with(log, "segment_max_count=10&log_max_count=20");
    for i in 0..10 {
        let payloads: Vec<_> = (0..10).map(|j| format!("record {}", 10 * i + j)).collect();
        let _ = server.append_all(log, &payloads);
    }
    let start = || server.info(log)["start_position"].as_u64();
    wait::until_true("retention", Duration::from_secs(30), || start() >= Some(70));
}

/// A record that is larger than a block of several records may be, between two small ones.
fn write_a_large_record(server: &TestServer, log: &str) {
    server.create_with(log, "max_record_size=4194304");
    let large: Vec<u8> = (0..(3 << 19)).map(|i: u32| (i >> 12) as u8).collect();
    for payload in [b"before".to_vec(), large, b"after".to_vec()] {
        let _ = server.append(log, payload);
    }
}

/// A request that sets a cursor of the log [`CURSORS`].
pub(super) fn set_cursor(cursor: &str, position: u64) -> Request {
    let target = format!("/logs/{CURSORS}/cursors/{cursor}");
    let body = json!({ "position": position }).to_string();
    Request::new("PUT", &target).typed("application/json", body)
}

/// Cursors that were moved, deleted and left behind by a truncation.
fn write_cursors(server: &TestServer, log: &str) {
    server.create(log);
    let _ = server.append_all(log, &["of the log before it was truncated"]);
    let _ = server.ask(&set_cursor("left-behind", 1)).expect(200);
    let _ = server.ask(&Request::post(&format!("/logs/{log}/truncate"))).expect(200);
    let payloads: Vec<_> = (0..10).map(|i| format!("record {i}")).collect();
    let _ = server.append_all(log, &payloads);
    for (cursor, position) in [("billing", 4), ("audit", 10), ("billing", 7), ("gone", 2)] {
        let _ = server.ask(&set_cursor(cursor, position)).expect(200);
    }
    let _ = server.ask(&Request::delete(&format!("/logs/{log}/cursors/gone"))).expect(200);
}

#[test]
#[ignore = "it replaces committed files; CONTRIBUTING.md says when that is allowed"]
fn write_the_golden_files() {
    std::fs::create_dir_all(FOLDER.path()).expect("the folder can be created");
    write_data_and_backups();
    write_transcripts();
}

fn write_data_and_backups() {
    let mut server = TestServer::start();
    let mut logs = serde_json::Map::new();
    for (log, fill, has_backup) in LOGS {
        fill(&server, log);
        if has_backup {
            save(&format!("backup-{log}.tar.gz"), &server.backup(log));
        }
    }
    // After a restart the newest blocks were read from the disk, and retention is done.
    assert_eq!(server.stop().status.code(), Some(0));
    server.restart();
    for (log, _, _) in LOGS {
        logs.insert(log.to_owned(), describe(&server, log));
    }
    assert_eq!(server.stop().status.code(), Some(0));
    save("data.tar.gz", &pack(&server.data()));
    let version = env!("CARGO_PKG_VERSION");
    save_json("expected.json", &json!({ "written_by": version, "logs": logs }));
}

/// A producer of each codec and a consumer, through a proxy that records both sides.
fn write_transcripts() {
    let server = TestServer::with_log("orders");
    let recorder = Recorder::start(server.address());
    let client = Client::connect(&format!("styx://{}", recorder.address())).expect("it listens");
    let mut transcripts: Vec<Value> = Vec::new();
    let mut recorded = |name: &str| {
        let Transcript { steps, .. } = recorder.take();
        transcripts.push(Transcript { name: name.to_owned(), steps }.to_json());
    };
    for codec in Codec::ALL {
        let producer = client.producer("orders").compression(codec).open().expect("opened");
        let _ = producer.send(format!("first with {codec}").as_bytes()).expect("durable");
        let payload = |i| format!("record {i} with {codec} {}", "abc".repeat(10)).into_bytes();
        let batch = producer.append_many((0..50).map(payload)).expect("accepted");
        let _ = batch.position().expect("durable");
        producer.close().expect("closed");
        recorded(&format!("produce-{codec}"));
    }
    let mut consumer = client.consumer("orders").open().expect("opened");
    let mut count = 0;
    while let Some(batch) = consumer.next_batch().expect("read") {
        count += batch.len();
    }
    assert_eq!(count, 51 * Codec::ALL.len());
    drop(consumer);
    recorded("consume");
    save_json("transcripts.json", &json!(transcripts));
    let answers = ["/version", "/logs", "/logs/orders", "/logs/orders?details=true"];
    let answer = |target: &&str| {
        let mut connection = server.connect();
        let request = Request::get(target).header("Connection", "close");
        connection.send(&request.bytes()).expect("sent");
        let bytes = connection.until_close().expect("an answer");
        json!({ "target": target, "answer": String::from_utf8(bytes).expect("text") })
    };
    save_json("http.json", &json!(answers.iter().map(answer).collect::<Vec<_>>()));
}

fn save(name: &str, bytes: &[u8]) {
    assert!(bytes.len() <= FILE_BYTES_MAX, "{name} has {} bytes", bytes.len());
    std::fs::write(FOLDER.path().join(name), bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
}

fn save_json(name: &str, value: &Value) {
    // A block, a record or a step on each line.
    let text = serde_json::to_string(value).expect("JSON");
    save(name, (text.replace("},{", "},\n{") + "\n").as_bytes());
}

/// A data directory as `data` in an archive: sorted, without times, users and the lock.
fn pack(data: &Path) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    tar.mode(tar::HeaderMode::Deterministic);
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("listed").map(|entry| entry.expect("one"));
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths.iter().filter(|path| !path.ends_with(".lock")) {
            let within = path.strip_prefix(data).expect("it is below");
            match path.is_dir() {
                true => folders.push(path.clone()),
                false => {
                    tar.append_path_with_name(path, Path::new("data").join(within)).expect("added");
                }
            }
        }
    }
    tar.into_inner().and_then(GzEncoder::finish).expect("memory")
}
