//! The records or errors that a consumer reports for the bytes of a server.

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use styx_protocol::Position;
use styx_protocol::block::{self, Block, Codec, Flags, Header, Origin};
use styx_protocol::frame::{self, Ends, Event, FrameDecoder, Route};
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::record::Builder;
use styx_tests::hex;

use super::mock::{MockServer, Script};
use super::{
    LIMIT, RECOVERS, all, bytes, each, expected_error, fails, fault, file, framed, succeeds,
};
use crate::drivers::Driver;
use crate::expectation::check;
use crate::session::Session;

/// Positions and sizes of a vector that has no good block.
const LOG: (u64, u64) = (0, 3);

/// Serves the streams, opens a consumer and reads everything.
fn read(
    session: &mut Session,
    (start, end): (u64, u64),
    streams: Vec<Bytes>,
) -> Result<Value, String> {
    let streams = streams.into_iter().map(Some).collect();
    let server = MockServer::start(Script { start, end, next_sequence: None, streams });
    succeeds(session, &json!({ "op": "connect", "as": "c", "address": server.address() }))?;
    let options = json!({ "deadline": 5 });
    let open = json!({ "op": "consumer", "on": "c", "as": "r", "log": "a", "options": options });
    succeeds(session, &open)?;
    session.call(&json!({ "op": "read", "on": "r" }), LIMIT)
}

/// The records of a block as a driver shows them.
fn shown(block: &Block) -> Vec<Value> {
    let header = block.header();
    let records = block.checked_records().expect("a good block");
    let positions = header.base_position..;
    let record = |(position, payload): (u64, Bytes)| {
        let payload = hex::encode(&payload);
        json!({ "position": number(position), "timestamp": number(header.timestamp_us), "payload": payload })
    };
    positions.zip(records.payloads()).map(record).collect()
}

/// An integer over 2^53 − 1 is text in the protocol.
fn number(value: u64) -> Value {
    if value < 1 << 53 { value.into() } else { value.to_string().into() }
}

/// A frame with a block of three records at this position.
fn good(base_position: u64, codec: Codec) -> (Bytes, Vec<Value>) {
    let mut records = Builder::new();
    for payload in ["one", "two two two two two two two two two two two two two two", "three"] {
        assert!(records.push(payload.as_bytes()), "there is room");
    }
    let built = block::build_with(codec, None, &records.take(), Origin::default());
    let (header, _) = Header::decode(&built).expect("a header");
    let header = Header { base_position, timestamp_us: 1_700_000_000_000_000, ..header };
    let built: Bytes = [&header.encode().0[..], &built[BLOCK_HEADER_BYTES..]].concat().into();
    let (block, _) = Block::parse(built.clone(), 1 << 20).expect("a block");
    (framed(&built), shown(&block))
}

/// A stream with a block of each codec. Between them are blocks without records, and a heartbeat.
fn stream() -> (Bytes, Vec<Value>) {
    let mut stream = BytesMut::new();
    let mut records = Vec::new();
    for codec in Codec::ALL {
        let (block, some) = good(records.len() as u64, codec);
        stream.extend_from_slice(&block);
        records.extend(some);
        for flags in [Flags::SEAL, Flags::FILLER] {
            let base_position = records.len() as u64;
            let empty = Header {
                flags,
                base_position,
                body_crc: crc32fast::hash(b""),
                ..Header::default()
            };
            stream.extend_from_slice(&framed(&empty.encode().0));
        }
        let ends = Ends { start: Position(0), end: Position(9) };
        frame::encode_heartbeat(Some(ends), &mut stream);
    }
    (stream.freeze(), records)
}

/// Each block of `tests/vectors`: the user gets its records, or an error.
pub(crate) fn blocks_to_a_consumer(driver: &Driver) -> Result<(), String> {
    let faults = file("conformance/vectors/faults.json");
    let mut vectors = all("vectors/block.json");
    vectors.extend(all("vectors/packed-block.json"));
    // A frame has no room for a part of a header. A block without records is only sent between
    // others: see `stream`. A consumer may check the body's checksum and trust the records.
    vectors.retain(|vector| {
        let is_empty = vector["payloads"].as_array().is_some_and(Vec::is_empty);
        bytes(vector).len() >= BLOCK_HEADER_BYTES && !is_empty && vector["error"] != "record"
    });
    each(driver, &vectors, |session, vector| {
        let stream = framed(&bytes(vector));
        let Some(kind) = vector["error"].as_str() else {
            let (block, _) = Block::parse(bytes(vector), 2 << 20).expect("a good block");
            let payloads = vector["payloads"].as_array().expect("payloads").iter();
            let base = block.header().base_position;
            let records: Vec<Value> = (base..)
                .zip(payloads)
                .map(|(n, payload)| json!({ "position": number(n), "payload": payload }))
                .collect();
            let answer = read(session, (base, block.header().end_position()), vec![stream])?;
            let time = number(block.header().timestamp_us);
            check(&json!({ "records": [{ "timestamp": time }] }), &first(&answer))?;
            return check(&json!({ "records": records, "ended": true }), &answer["ok"]);
        };
        let code = &faults["to_consumer"]["blocks"][kind];
        let mut expected = json!({ "code": code, "retriable": false, "maybe_appended": false });
        if code == "corrupt_record" {
            expected["position"] = LOG.0.into();
        }
        fails(&read(session, LOG, vec![stream])?, &expected)
    })
}

/// Only the first record of an answer.
fn first(answer: &Value) -> Value {
    json!({ "records": [answer["ok"]["records"][0]] })
}

/// Each stream of `tests/vectors` from a server to a consumer.
pub(crate) fn frames_to_a_consumer(driver: &Driver) -> Result<(), String> {
    let faults = file("conformance/vectors/faults.json");
    let mut vectors = all("vectors/frame.json");
    vectors.retain(|vector| vector["route"] == "server_to_consumer");
    each(driver, &vectors, |session, vector| {
        let blocks = blocks(&bytes(vector));
        let is_error = vector["events"][0]["error"].is_object();
        if vector["error"].is_null() && !is_error {
            let range = match (blocks.first(), blocks.last()) {
                (Some(first), Some(last)) => {
                    (first.header().base_position, last.header().end_position())
                }
                _ => (LOG.1, LOG.1),
            };
            let answer = read(session, range, vec![bytes(vector)])?;
            let mut records: Vec<Value> = blocks.iter().flat_map(shown).collect();
            // The blocks of a vector need not follow each other.
            records.truncate(usize::try_from(range.1 - range.0).expect("small"));
            return check(&json!({ "records": records, "ended": true }), &answer["ok"]);
        }
        let expected = fault(&faults["to_consumer"], vector);
        if expected == RECOVERS {
            let (stream, records) = good(LOG.0, Codec::None);
            let answer = read(session, LOG, vec![bytes(vector), stream])?;
            return check(&json!({ "records": records, "ended": true }), &answer["ok"]);
        }
        let answer = read(session, LOG, vec![bytes(vector)])?;
        fails(&answer, &expected_error(expected))
    })
}

/// A connection may end after any byte. The user gets every record once.
pub(crate) fn streams_cut_anywhere(driver: &Driver) -> Result<(), String> {
    let (stream, records) = stream();
    let range = (0, records.len() as u64);
    let cuts: Vec<Value> =
        (0..stream.len()).step_by(29).map(|cut| json!({ "name": cut })).collect();
    each(driver, &cuts, |session, cut| {
        let cut = usize::try_from(cut["name"].as_u64().expect("a number")).expect("small");
        let answer = read(session, range, vec![stream.slice(..cut), stream.clone()])?;
        check(&json!({ "records": records, "ended": true }), &answer["ok"])
    })
}

/// The blocks of a stream up to the first fault.
fn blocks(stream: &[u8]) -> Vec<Block> {
    let mut decoder = FrameDecoder::new(Route::ServerToConsumer, 2 << 20);
    decoder.push(stream);
    let mut blocks = Vec::new();
    while let Ok(Some(event)) = decoder.next() {
        if let Event::Block(bytes) = event {
            let (block, _) = Block::parse(bytes, 2 << 20).expect("the decoder has parsed it");
            blocks.push(block);
        }
    }
    blocks
}
