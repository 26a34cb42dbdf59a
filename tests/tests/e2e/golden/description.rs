//! The content of a log as JSON: its configuration, its cursors, every block with the fields that a
//! server must keep, and the length and CRC of every record.

use serde_json::{Value, json};
use styx_protocol::block::Block;
use styx_protocol::frame::{Event, Route};
use styx_tests::styx1::{consume_request, open};
use styx_tests::{Request, TestServer};

/// Describes a log, but for its id, which a restore changes.
#[track_caller]
pub(super) fn describe(server: &TestServer, log: &str) -> Value {
    let details = server.ask(&Request::get(&format!("/logs/{log}?details=true"))).expect(200);
    let details = details.json();
    let (mut blocks, mut records) = (Vec::new(), Vec::new());
    let mut next = details["start_position"].as_u64().expect("a number");
    for block in stored_blocks(server, log) {
        let header = *block.header();
        assert_eq!(header.base_position, next, "{log} has no gap");
        next = header.end_position();
        blocks.push(json!({
            "codec": header.codec.to_string(),
            "flags": header.flags.bits(),
            "count": header.count,
            "raw_size": header.raw_size,
            "body_crc": header.body_crc,
            "timestamp_us": header.timestamp_us,
            "producer_id": header.producer_id,
            "producer_epoch": header.producer_epoch,
            "sequence": header.sequence,
        }));
        for payload in block.checked_records().expect("its records are valid").payloads() {
            records.push(json!([payload.len(), crc32fast::hash(&payload)]));
        }
    }
    assert_eq!(details["end_position"], next, "{log} is read to its end");
    let mut description = json!({ "blocks": blocks, "records_length_and_crc": records });
    for field in ["config", "start_position", "end_position", "record_count", "file_size", "status"]
    {
        description[field] = details[field].clone();
    }
    description["cursors"] = cursors(server, log);
    description
}

/// The log's cursors, but for the log's id. A cursor may be one of the log before it was truncated.
fn cursors(server: &TestServer, log: &str) -> Value {
    let log_id = server.log_id(log);
    let listed = server.ask(&Request::get(&format!("/logs/{log}/cursors"))).expect(200).json();
    let cursor = |cursor: &Value| {
        let mut described = json!({ "is_of_this_log": cursor["log_id"] == log_id });
        for field in ["cursor", "position", "updated", "version"] {
            described[field] = cursor[field].clone();
        }
        described
    };
    listed.as_array().expect("a list").iter().map(cursor).collect()
}

/// The log's blocks with records, compressed as they are stored.
fn stored_blocks(server: &TestServer, log: &str) -> Vec<Block> {
    let request = consume_request(log, "whence=start").header("X-Styx-Features", "lz4, zstd");
    let mut stream = open(server, &request, Route::ServerToConsumer);
    let mut blocks = Vec::new();
    loop {
        match stream.next_but_heartbeats() {
            Some(Event::Block(bytes)) => {
                let (block, rest) = Block::parse(bytes, 1 << 30).expect("a whole block");
                assert!(rest.is_empty());
                if !block.header().is_marker() {
                    blocks.push(block);
                }
            }
            Some(Event::End { .. }) => return blocks,
            other => panic!("{other:?} instead of a block of {log}"),
        }
    }
}
