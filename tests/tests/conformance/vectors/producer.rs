//! The bytes that a producer sends for records, and the errors that it reports for answers.

use serde_json::{Value, json};
use styx_protocol::block::Block;
use styx_tests::hex;

use super::mock::{MockServer, Script};
use super::{LIMIT, RECOVERS, all, bytes, each, expected_error, fails, fault, file, succeeds};
use crate::drivers::Driver;
use crate::session::Session;

/// The end of the log that the server announces.
const END: u64 = 7;

/// Opens a producer of the server and appends the payloads as one batch.
fn append(
    session: &mut Session,
    server: &MockServer,
    options: &Value,
    payloads: &Value,
) -> Result<(), String> {
    for request in [
        json!({ "op": "connect", "as": "c", "address": server.address() }),
        json!({ "op": "producer", "on": "c", "as": "p", "log": "a", "options": options }),
        json!({ "op": "append_many", "on": "p", "as": "a", "payloads": payloads }),
    ] {
        succeeds(session, &request)?;
    }
    Ok(())
}

/// Each vector of `producer.json`: the block that the server receives.
pub(crate) fn blocks_of_a_producer(driver: &Driver) -> Result<(), String> {
    each(driver, &all("conformance/vectors/producer.json"), |session, vector| {
        let next_sequence = vector["next_sequence"].as_u64();
        let script = Script { start: 0, end: END, next_sequence, streams: vec![None] };
        let server = MockServer::start(script);
        append(session, &server, &vector["options"], &vector["payloads"])?;
        let result = succeeds(session, &json!({ "op": "result", "on": "a" }))?;
        if result["position"] != END {
            return Err(format!("the ack has {result} instead of position {END}"));
        }
        succeeds(session, &json!({ "op": "close", "on": "p" }))?;
        let blocks = server.blocks();
        let [sent] = &blocks[..] else { return Err(format!("{} blocks", blocks.len())) };
        let (block, _) = Block::parse(sent.clone(), 2 << 20).map_err(|e| e.to_string())?;
        // The same records may be compressed in different ways.
        if let Some(codec) = vector["codec"].as_u64() {
            let records = block.checked_records().map_err(|e| e.to_string())?;
            let payloads: Vec<String> = records.payloads().map(|p| hex::encode(&p)).collect();
            if block.header().codec as u64 != codec || json!(payloads) != vector["payloads"] {
                return Err(format!("it has sent {:?} with {payloads:?}", block.header()));
            }
            return Ok(());
        }
        if *sent != bytes(vector) {
            return Err(format!("it has sent {}", hex::encode(sent)));
        }
        Ok(())
    })
}

/// Each faulty or refusing stream of `tests/vectors` from a server to a producer.
pub(crate) fn frames_to_a_producer(driver: &Driver) -> Result<(), String> {
    let faults = file("conformance/vectors/faults.json");
    let mut vectors = all("vectors/frame.json");
    // Acks in the vectors do not fit to what a driver sends.
    vectors.retain(|vector| {
        vector["route"] == "server_to_producer" && vector["events"][0]["ack"].is_null()
    });
    each(driver, &vectors, |session, vector| {
        let streams = vec![Some(bytes(vector)), None];
        let script = Script { start: 0, end: END, next_sequence: None, streams };
        let server = MockServer::start(script);
        append(session, &server, &json!({ "producer_id": 9 }), &json!(["6f6e65"]))?;
        let answer = session.call(&json!({ "op": "result", "on": "a" }), LIMIT)?;
        let expected = fault(&faults["to_producer"], vector);
        if expected == RECOVERS {
            let acked = answer["ok"]["position"] == END && server.blocks().len() == 1;
            return if acked { Ok(()) } else { Err(format!("it did not recover: {answer}")) };
        }
        fails(&answer, &expected_error(expected))
    })
}
