//! The matrix: what one driver has written, every driver reads. Digests of the payloads are
//! compared.

use serde_json::{Value, json};
use styx_tests::hex;
use styx_tests::random::Random;

use crate::drivers::{self, Driver};
use crate::session::{PATIENCE, Session};
use crate::world::{Access, World};

/// The length of every payload, and the payload, as a CRC-32.
fn digest(payloads: &[Vec<u8>]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for payload in payloads {
        hasher.update(&(payload.len() as u64).to_be_bytes());
        hasher.update(payload);
    }
    hasher.finalize()
}

/// Writes the payloads with each driver, and reads them with each.
fn check(payloads: &[Vec<u8>], options: &Value) {
    if let Err(report) = compare(payloads, options, &drivers::available()) {
        panic!("{report}");
    }
}

/// The error says which pair of drivers disagrees.
pub(crate) fn compare(
    payloads: &[Vec<u8>],
    options: &Value,
    drivers: &[&Driver],
) -> Result<(), String> {
    let world = World::start(&Value::Null, Access::Plain)?;
    let expected = (payloads.len(), digest(payloads));
    for (number, writer) in drivers.iter().enumerate() {
        let log = format!("log-{number}");
        write(&world, writer, &log, payloads, options)?;
        for reader in drivers {
            let read = read(&world, reader, &log)?;
            let got = (read.len(), digest(&read));
            if got != expected {
                return Err(format!(
                    "written by {}, read by {}: (records, digest) are {got:?}, not {expected:?}",
                    writer.name, reader.name
                ));
            }
        }
    }
    Ok(())
}

fn write(
    world: &World,
    driver: &Driver,
    log: &str,
    payloads: &[Vec<u8>],
    options: &Value,
) -> Result<(), String> {
    let mut session = Session::start(driver)?;
    let payloads: Vec<String> = payloads.iter().map(|payload| hex::encode(payload)).collect();
    for request in [
        json!({ "op": "connect", "as": "c", "address": world.address() }),
        json!({ "op": "create_log", "on": "c", "name": log }),
        json!({ "op": "producer", "on": "c", "as": "p", "log": log, "options": options }),
        json!({ "op": "append_many", "on": "p", "as": "a", "payloads": payloads }),
        json!({ "op": "close", "on": "p" }),
    ] {
        ok(&session.call(&request, PATIENCE)?)?;
    }
    session.finish()
}

fn read(world: &World, driver: &Driver, log: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut session = Session::start(driver)?;
    for request in [
        json!({ "op": "connect", "as": "c", "address": world.address() }),
        json!({ "op": "consumer", "on": "c", "as": "r", "log": log }),
    ] {
        ok(&session.call(&request, PATIENCE)?)?;
    }
    let answer = ok(&session.call(&json!({ "op": "read", "on": "r" }), PATIENCE)?)?;
    let records = answer["records"].as_array().cloned().unwrap_or_default();
    let payload = |record: &Value| {
        let bytes = record["payload"].as_str().and_then(hex::decode);
        bytes.ok_or_else(|| format!("{}: {record} has no payload", driver.name))
    };
    let payloads = records.iter().map(payload).collect();
    session.finish()?;
    payloads
}

fn ok(answer: &Value) -> Result<Value, String> {
    match answer["error"].as_object() {
        None => Ok(answer["ok"].clone()),
        Some(_) => Err(format!("an operation of the matrix failed: {answer}")),
    }
}

/// 2,000 records that compress well.
pub(crate) fn similar() -> Vec<Vec<u8>> {
    (0..2000)
        .map(|n| format!("{{\"number\": {n}, \"state\": \"unchanged\"}}").into_bytes())
        .collect()
}

#[test]
fn an_empty_record() {
    check(&[Vec::new()], &json!({}));
}

#[test]
fn no_record() {
    check(&[], &json!({}));
}

#[test]
fn every_byte_as_a_record() {
    check(&(0..=255).map(|byte| vec![byte]).collect::<Vec<_>>(), &json!({}));
}

#[test]
fn large_records() {
    let mut random = Random::new(7);
    let payloads: Vec<_> = [1_000_000, 1, 1_048_568, 0, 300_000].map(|n| random.bytes(n)).into();
    check(&payloads, &json!({}));
}

#[test]
fn records_compressed_with_lz4() {
    check(&similar(), &json!({ "compression": "lz4" }));
}

#[test]
fn records_compressed_with_zstd() {
    check(&similar(), &json!({ "compression": "zstd" }));
}

#[test]
fn records_that_do_not_compress() {
    let mut random = Random::new(8);
    let payloads: Vec<_> = (0..200).map(|_| random.bytes(500)).collect();
    check(&payloads, &json!({ "compression": "zstd" }));
}

#[test]
fn many_records_in_small_blocks() {
    let payloads: Vec<_> = (0..20_000).map(|n| format!("{n}").into_bytes()).collect();
    check(&payloads, &json!({ "block_bytes": 1000 }));
}
