//! One way of using the Rust client, timed: what the packages for other languages are compared
//! with.
//!
//! ```text
//! cargo run --release --package styx-client --example shapes -- ADDRESS LOG SHAPE RECORDS
//! ```
//! Prints a line such as `{"shape":"append","records":1000000,"seconds":0.081}`. Appending ends
//! when all records are durable.

use std::time::{Duration, Instant};

use styx_client::blocking::Client;

/// Records of a batch that is appended.
const BATCH: usize = 10_000;
const PAYLOAD: [u8; 100] = [b'x'; 100];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, log, shape, records] = arguments.as_slice() else {
        return Err("use ADDRESS LOG SHAPE RECORDS".into());
    };
    let records: usize = records.parse()?;
    let client = Client::connect(address)?;
    let taken = match shape.as_str() {
        "append_many" => append_many(&client, log, records)?,
        "append" => append(&client, log, records)?,
        "consume" => consume(&client, log, records)?,
        "send" => send(&client, log, records)?,
        other => return Err(format!("no shape {other}").into()),
    };
    let seconds = taken.as_secs_f64();
    println!(r#"{{"shape":"{shape}","records":{records},"seconds":{seconds}}}"#);
    Ok(())
}

fn append_many(client: &Client, log: &str, records: usize) -> Result<Duration, styx_client::Error> {
    let producer = client.producer(log).open()?;
    let batch = vec![PAYLOAD; BATCH];
    let start = Instant::now();
    for _ in 0..records / BATCH {
        producer.append_many(&batch)?;
    }
    producer.flush()?;
    Ok(start.elapsed())
}

fn append(client: &Client, log: &str, records: usize) -> Result<Duration, styx_client::Error> {
    let producer = client.producer(log).open()?;
    let start = Instant::now();
    for _ in 0..records {
        producer.append(&PAYLOAD)?;
    }
    producer.flush()?;
    Ok(start.elapsed())
}

fn consume(client: &Client, log: &str, records: usize) -> Result<Duration, styx_client::Error> {
    let mut consumer = client.consumer(log).count(records as u64).open()?;
    let start = Instant::now();
    let mut bytes = 0;
    let mut read = 0;
    while let Some(batch) = consumer.next_batch()? {
        read += batch.len();
        bytes += batch.payloads().map(<[u8]>::len).sum::<usize>();
    }
    let taken = start.elapsed();
    assert_eq!((read, bytes), (records, records * PAYLOAD.len()), "everything was read");
    Ok(taken)
}

/// The median time of one record multiplied by their number, so that the quotient is the median.
fn send(client: &Client, log: &str, records: usize) -> Result<Duration, styx_client::Error> {
    let producer = client.producer(log).open()?;
    let mut times = Vec::with_capacity(records);
    for _ in 0..records {
        let start = Instant::now();
        producer.send(&PAYLOAD)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[records / 2] * u32::try_from(records).unwrap_or(u32::MAX))
}
