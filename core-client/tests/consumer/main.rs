//! Consumers against a peer that speaks styx/1, and breaks off, damages,
//! refuses or falls silent as a test has it.

mod blocking;
mod faults;
mod log;
mod pace;
mod peer;
mod reading;
mod resuming;
mod waiting;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use styx_client::{Client, Consumer, RecordBatch};

use log::Record;
use peer::Peer;

/// How long anything may take here: far longer than it should.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits on a thread of no runtime, as any caller may.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "nothing came for {PATIENCE:?}");
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(PATIENCE),
        }
    }
}

/// A client of this peer, with the shortest time-outs.
fn client(peer: &Peer) -> Client {
    Client::builder(&peer.address())
        .silence_timeout(Duration::from_secs(2))
        .build()
        .expect("good options")
}

/// The next so many records, or all up to the end.
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
