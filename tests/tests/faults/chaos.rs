//! The client core on an unreliable network, with servers that are killed: each
//! record is in the log exactly once and in order, and the follower reads the same records.
//!
//! `STYX_FAULT_CYCLES` sets the number of cuts, `STYX_FAULT_SEED` repeats those of an
//! earlier run (`styx_tests::faults`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use styx_client::{Client, Codec, Start};
use styx_tests::checker::Payload;
use styx_tests::faults::{Faults, assert_appends_work};
use styx_tests::proxy::{LinkFaults, Proxy};
use styx_tests::random::Random;
use styx_tests::{Settings, TestServer};

/// A producer and a follower that run until they are stopped.
struct Work {
    stop: Arc<AtomicBool>,
    producer: JoinHandle<u64>,
    follower: JoinHandle<Vec<Vec<u8>>>,
}

/// Starts both, connected through the proxy, and returns when both are open: on a busy machine, no
/// call would be answered between two kills.
fn work(proxy: &Proxy, codec: Codec, seed: u64) -> Work {
    let stop = Arc::new(AtomicBool::new(false));
    let address = format!("styx://{}", proxy.address());
    let (opened, both) = mpsc::channel();
    let producer = std::thread::spawn({
        let (address, stop, opened) = (address.clone(), stop.clone(), opened.clone());
        move || wait_for(produce(&address, codec, seed, &opened, &stop))
    });
    let follower = std::thread::spawn(move || wait_for(follow(&address, &opened)));
    for _ in 0..2 {
        both.recv_timeout(Duration::from_secs(60)).expect("both can be opened");
    }
    Work { stop, producer, follower }
}

impl Work {
    /// Ends the producer, waits for the follower to read the last record, and compares
    /// both with the log.
    fn check(self, server: &TestServer, seed: u64) {
        self.stop.store(true, Ordering::Relaxed);
        let count = self.producer.join().expect("the producer");
        let seen = self.follower.join().expect("the follower");
        let stored = server.read_all("a");
        println!("{count} records appended, {} stored, {} seen", stored.len(), seen.len());
        assert_eq!(
            stored.len() as u64,
            count + 1,
            "each record once, and the last record; seed {seed}"
        );
        for (sequence, record) in (0..count).zip(&stored) {
            let payload = Payload::decode(record).expect("a payload");
            assert_eq!(payload.sequence, sequence, "in order; seed {seed}");
        }
        assert!(seen == stored, "the follower read the stored records; seed {seed}");
        assert!(count > 100, "only {count} records, too few to test anything");
    }
}

const LAST: &[u8] = b"the last one";

async fn client(address: &str) -> Client {
    let client = Client::builder(address).silence_timeout(Duration::from_secs(2));
    client.build().expect("a client")
}

/// Appends payloads without a pause, and the last one at the end.
async fn produce(
    address: &str,
    codec: Codec,
    seed: u64,
    opened: &Sender<()>,
    stop: &AtomicBool,
) -> u64 {
    let client = client(address).await;
    let builder = client.producer("a").compression(codec).in_flight_bytes(256 << 10);
    let producer = builder.open().await.expect("it can be opened");
    opened.send(()).expect("the test waits");
    let mut random = Random::new(seed);
    let mut sequence = 0;
    let mut acks = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let length = random.between(0, 2000) as u32;
        let payload = Payload { producer: 1, sequence, length }.encode();
        let ack = producer.append(&payload).await.expect("the client reconnects");
        if random.between(0, 50) == 0 {
            acks.push((sequence, ack));
        }
        sequence += 1;
    }
    assert_eq!(producer.send(LAST).await.expect("the client reconnects"), sequence);
    for (sequence, ack) in acks {
        assert_eq!(ack.position().await.expect("the record is durable"), sequence);
    }
    producer.close().await.expect("every record is acked");
    sequence
}

/// Follows until the last record.
async fn follow(address: &str, opened: &Sender<()>) -> Vec<Vec<u8>> {
    let client = client(address).await;
    let builder = client.consumer("a").start(Start::Position(0)).follow(true);
    let mut consumer = builder.open().await.expect("it can be opened");
    opened.send(()).expect("the test waits");
    let mut seen = Vec::new();
    while seen.last().map(Vec::as_slice) != Some(LAST) {
        let batch = consumer
            .next_batch()
            .await
            .expect("the client reconnects")
            .expect("the follower does not end");
        assert_eq!(batch.first_position(), seen.len() as u64, "no gap and no repeated record");
        seen.extend(batch.payloads().map(<[u8]>::to_vec));
    }
    seen
}

fn wait_for<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(work)
}

#[test]
fn a_thousand_connection_cuts_lose_and_duplicate_nothing() {
    let Faults { cycles, seed, .. } = Faults::new(1000);
    let server = TestServer::start();
    server.create_with("a", "segment_max_size=100000");
    let proxy = Proxy::start(server.address(), seed);
    let work = work(&proxy, Codec::None, seed);
    proxy.inject(Some(LinkFaults { silence_one_in: 100, ..LinkFaults::frequent() }));
    let limit = Duration::from_secs(120 + cycles / 5);
    styx_tests::wait::until_true("the cuts", limit, || {
        assert!(
            !work.producer.is_finished() && !work.follower.is_finished(),
            "the producer or the follower stopped early"
        );
        proxy.cuts() >= cycles
    });
    proxy.inject(None);
    work.check(&server, seed);
}

#[test]
fn a_hundred_server_kills_lose_and_duplicate_nothing() {
    let Faults { cycles, seed, mut random } = Faults::new(100);
    let mut server = Settings::default().start();
    server.create_with("a", "segment_max_size=100000");
    let proxy = Proxy::start(server.address(), seed);
    let work = work(&proxy, Codec::Lz4, seed);
    for _ in 0..cycles {
        std::thread::sleep(Duration::from_millis(random.between(10, 150)));
        server.kill();
        server.restart();
        proxy.forward_to(server.address());
    }
    work.check(&server, seed);
    assert_appends_work(&server);
}
