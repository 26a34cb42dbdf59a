//! Consumers against a peer that speaks styx/1. Depending on the test, the peer
//! disconnects, sends damaged bytes, rejects requests or falls silent.

mod blocking;
mod cursor;
mod faults;
mod log;
mod pace;
mod peer;
mod reading;
mod resuming;
mod waiting;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use styx_client::blocking::wait_for;
use styx_client::{Client, Consumer, RecordBatch};

use log::Record;
use peer::Peer;

/// The time limit of each step: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits on a thread without a runtime, as any caller may.
fn wait<F: Future>(future: F) -> F::Output {
    wait_for(pin!(future), PATIENCE).expect("ready within the time limit")
}

/// A client of this peer, with the shortest silence timeout.
fn client(peer: &Peer) -> Client {
    Client::builder(&peer.address())
        .silence_timeout(Duration::from_secs(2))
        .build()
        .expect("good options")
}

/// The next `count` records, or all records up to the end.
fn take(consumer: &mut Consumer, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        match wait(consumer.next_batch()).expect("no error") {
            Some(batch) => records.extend(seen(&batch)),
            None => break,
        }
    }
    records
}

fn seen(batch: &RecordBatch) -> Vec<Record> {
    batch.iter().map(|r| (r.position(), r.timestamp(), r.payload().to_vec())).collect()
}
