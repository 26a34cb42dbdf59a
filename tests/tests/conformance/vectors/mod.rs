//! Vectors: the bytes of a server, and what a client's user gets of them; records that a user
//! appends, and the bytes that the client sends.
//!
//! The bytes to a client are those of `tests/vectors`, which also test the protocol crate.
//! `tests/conformance/vectors` adds what they mean for a user.

mod consumer;
mod mock;
mod producer;

pub(crate) use consumer::{blocks_to_a_consumer, frames_to_a_consumer, streams_cut_anywhere};
pub(crate) use producer::{blocks_of_a_producer, frames_to_a_producer};

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use styx_protocol::frame::blocks_header;
use styx_tests::{binary, hex};

use crate::drivers::Driver;
use crate::expectation::check;
use crate::session::Session;

/// How long an operation on a vector may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The value of a table for a fault after which the client gets a good connection and continues.
const RECOVERS: &str = "recovers";

/// A JSON file below `tests`.
fn file(path: &str) -> Value {
    let path = binary::workspace().join("tests").join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The vectors in a file.
fn all(path: &str) -> Vec<Value> {
    let json = file(path);
    let vectors = json["vectors"].as_array().cloned().unwrap_or_default();
    assert!(!vectors.is_empty(), "{path} has no vectors");
    vectors
}

fn bytes(vector: &Value) -> Bytes {
    let text = vector["hex"].as_str().unwrap_or_default();
    hex::decode(text).unwrap_or_else(|| panic!("{} is not hexadecimal", vector["name"])).into()
}

/// A frame with this block.
fn framed(block: &[u8]) -> Bytes {
    [&blocks_header(block.len())[..], block].concat().into()
}

/// What `faults.json` says about a vector that has only a fault, or ends with an error.
fn fault<'a>(tables: &'a Value, vector: &Value) -> &'a Value {
    let table = match vector["error"].as_str() {
        Some(kind) => &tables["frames"][kind],
        None => &tables["errors"][vector["name"].as_str().unwrap_or_default()],
    };
    assert!(
        !table.is_null(),
        "faults.json has nothing about {}: {}",
        vector["name"],
        vector["error"]
    );
    table
}

/// The fields that an error must have: a table has either all of them, or only the code.
fn expected_error(table: &Value) -> Value {
    if table.is_string() { serde_json::json!({ "code": table }) } else { table.clone() }
}

/// Calls `test` with each vector, and reports every vector that fails.
fn each(
    driver: &Driver,
    vectors: &[Value],
    test: impl Fn(&mut Session, &Value) -> Result<(), String>,
) -> Result<(), String> {
    let mut session = Session::start(driver)?;
    let mut failed = Vec::new();
    for vector in vectors {
        if let Err(error) = test(&mut session, vector) {
            failed.push(format!("{}: {error}", vector["name"]));
        }
    }
    if failed.is_empty() {
        return session.finish();
    }
    Err(format!("{} failed:\n{}", driver.name, failed.join("\n")))
}

/// Asks the driver for an operation that must succeed.
fn succeeds(session: &mut Session, request: &Value) -> Result<Value, String> {
    let answer = session.call(request, LIMIT)?;
    if answer["error"].is_object() {
        return Err(format!("{request} failed: {}", answer["error"]));
    }
    Ok(answer["ok"].clone())
}

/// Compares an answer with an error that is expected.
fn fails(answer: &Value, expected: &Value) -> Result<(), String> {
    match answer["error"].as_object() {
        None => Err("it succeeded, but must fail".to_owned()),
        Some(_) => check(expected, &answer["error"]),
    }
}
