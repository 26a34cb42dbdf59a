//! The golden bytes in tests/vectors are decoded and, if they are valid, encoded again.
//! A program that shares no code with this crate wrote them.

mod blocks;
mod bodies;
mod streams;

use bytes::Bytes;
use serde_json::Value;

const PAYLOAD_BYTES_MAX: usize = 16;

/// Calls `check` with each vector of a file and its bytes.
fn each(file: &str, check: impl Fn(&Value, Bytes)) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/");
    let text = std::fs::read_to_string(format!("{folder}{file}.json")).expect("the file is there");
    let json: Value = serde_json::from_str(&text).expect("it is JSON");
    let vectors = json["vectors"].as_array().expect("it has vectors");
    assert!(!vectors.is_empty());
    for vector in vectors {
        println!("{file}: {}", vector["name"]);
        let bytes = if vector["hex"].is_null() { Bytes::new() } else { unhex(&vector["hex"]) };
        check(vector, bytes);
    }
}

fn unhex(text: &Value) -> Bytes {
    let text = text.as_str().expect("hex is text").as_bytes();
    let pairs = text.chunks(2).map(|pair| std::str::from_utf8(pair).expect("hex is ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

fn payloads(vector: &Value) -> Vec<Bytes> {
    vector["payloads"].as_array().into_iter().flatten().map(unhex).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

#[test]
fn errors_md_matches_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == styx_protocol::error::to_markdown(),
        "docs/errors.md differs from the error table: run `cargo xtask docs`, or \
         `cargo run -p styx-protocol --example errors_md > docs/errors.md`"
    );
}
