//! Thousands of connections: idle followers, and producers and followers that are
//! all active at once.
//!
//! The server is the release binary, because the figures are those of the binary that
//! users run. The tests print them. The limit is the documented one: 16 KiB of server
//! memory for each idle connection, whatever its protocol.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use styx_client::{Client, Start};
use styx_tests::idle::IdleConnections;
use styx_tests::styx0::{Styx0Stream, record};
use styx_tests::styx1::{consume, produce};
use styx_tests::websocket::handshake;
use styx_tests::{Settings, TestServer, wait};
use tokio::task::JoinSet;

use crate::alone;

const EACH_BYTES_MAX: u64 = 16 << 10;

/// Checks the memory that followers of an empty log use, and that a record reaches
/// all of them.
fn check(
    protocol: &str,
    followers: usize,
    request: &str,
    greeting: fn(&[u8]) -> bool,
    record: fn(&[u8]) -> bool,
) {
    let server = Settings::released().set("tcp_timeout = 120").start();
    server.create("a");
    warm_up(&server, request);
    let before = server.memory_bytes();
    let mut connections = IdleConnections::open(server.address(), followers, request.as_bytes());
    let _ = connections.each_reads("its greeting", greeting);
    let idle = server.memory_bytes().saturating_sub(before) / followers as u64;
    assert_eq!(server.append("a", "for everybody"), 1);
    let _ = connections.each_reads("the record", record);
    let fed = server.memory_bytes().saturating_sub(before) / followers as u64;
    println!(
        "{followers} followers by {protocol}: {idle} bytes each while idle, {fed} after a record"
    );
    assert!(idle <= EACH_BYTES_MAX, "an idle {protocol} follower uses {idle} bytes");
    assert!(fed <= EACH_BYTES_MAX, "a {protocol} follower keeps {fed} bytes");
}

/// Makes the server allocate the memory that it allocates only once.
fn warm_up(server: &TestServer, request: &str) {
    let mut first = IdleConnections::open(server.address(), 10, request.as_bytes());
    let _ = first.each_reads("any answer", |bytes| !bytes.is_empty());
}

fn has(bytes: &[u8], expected: &[u8]) -> bool {
    bytes.windows(expected.len()).any(|window| window == expected)
}

fn has_head(bytes: &[u8]) -> bool {
    has(bytes, b"\r\n\r\n")
}

#[test]
fn ten_thousand_idle_styx1_followers_use_at_most_16_kib_each() {
    let _alone = alone();
    let request = "GET /logs/a/records?follow=true HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                   Upgrade: styx/1\r\nX-Styx-Timeout: 120\r\n\r\n";
    // The 101, and the heartbeat with the end of the log.
    let greeted = |bytes: &[u8]| {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        head.is_some_and(|head| bytes.len() >= head + 4 + 8 + 16)
    };
    check("styx/1", 10_000, request, greeted, |bytes| has(bytes, b"for everybody"));
}

#[test]
fn idle_styx0_followers_use_at_most_16_kib_each() {
    let _alone = alone();
    let request = "GET /logs/a/records?follow=true HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                   Upgrade: styx/0\r\nX-Styx-Timeout: 120\r\n\r\n";
    check("styx/0", 2000, request, has_head, |bytes| has(bytes, b"\0\x01\0\0\0\x0dfor everybody"));
}

#[test]
fn idle_websocket_followers_use_at_most_16_kib_each() {
    let _alone = alone();
    let request = "GET /logs/a/records?follow=true HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    check("WebSocket", 2000, request, has_head, |bytes| has(bytes, b"\x82\x0dfor everybody"));
}

/// Follows a log, and returns a checksum of the records in their order.
async fn follow(client: Client, log: String, count: u64) -> u32 {
    let builder = client.consumer(&log).start(Start::Position(0)).follow(true).count(count);
    let mut consumer = builder.open().await.expect("it can be opened");
    let (mut next, mut digest) = (0, crc32fast::Hasher::new());
    while let Some(batch) = consumer.next_batch().await.expect("a batch") {
        assert_eq!(batch.first_position(), next, "no gap and no repeated record");
        batch.payloads().for_each(|payload| digest.update(payload));
        next = batch.next_position();
    }
    assert_eq!(next, count);
    digest.finalize()
}

async fn append_one(client: Client, log: String, number: usize) {
    let producer = client.producer(&log).open().await.expect("it can be opened");
    producer
        .send(format!("record of producer {number}").as_bytes())
        .await
        .expect("the record is durable");
    producer.close().await.expect("the producer closes");
}

/// Runs all producers and followers of some logs at once. All followers of a log must
/// read the same records.
fn all_at_once(server: &TestServer, logs: usize, producers: usize, followers: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let client = Client::builder(&format!("styx://{}", server.address()));
        let client = client.timeout(Duration::from_secs(120)).build().expect("a client");
        let mut producing = JoinSet::new();
        let mut following = JoinSet::new();
        for log in 0..logs {
            let name = format!("log-{log}");
            for _ in 0..followers {
                let follow = follow(client.clone(), name.clone(), producers as u64);
                following.spawn(async move { (log, follow.await) });
            }
            for number in 0..producers {
                producing.spawn(append_one(client.clone(), name.clone(), number));
            }
        }
        while let Some(done) = producing.join_next().await {
            done.expect("a producer");
        }
        let mut digests = vec![None; logs];
        while let Some(done) = following.join_next().await {
            let (log, digest) = done.expect("a follower");
            assert_eq!(
                *digests[log].get_or_insert(digest),
                digest,
                "all followers of a log read the same records"
            );
        }
        assert!(digests.iter().all(Option::is_some));
    });
}

#[test]
fn two_thousand_producers_and_followers_share_a_log() {
    let _alone = alone();
    let server = Settings::released().start();
    server.create("log-0");
    let begun = Instant::now();
    all_at_once(&server, 1, 2000, 2000);
    let memory = server.memory_bytes_most() >> 20;
    println!("2,000 + 2,000 on one log: {:?}, {memory} MiB of server memory", begun.elapsed());
    assert!(memory < 600, "{memory} MiB");
}

#[test]
fn a_thousand_logs_each_serve_a_producer_and_a_follower() {
    let _alone = alone();
    let server = Settings::released().start();
    for log in 0..1000 {
        server.create(&format!("log-{log}"));
    }
    let begun = Instant::now();
    all_at_once(&server, 1000, 1, 1);
    let memory = server.memory_bytes_most() >> 20;
    println!(
        "1,000 logs with one producer and one follower each: {:?}, {memory} MiB of server memory",
        begun.elapsed()
    );
    assert!(memory < 600, "{memory} MiB");
}

#[test]
fn idle_styx0_streams_release_their_memory() {
    let _alone = alone();
    const STREAMS: usize = 500;
    let server = Settings::released().start();
    server.create("a");
    // The server allocates some memory only once: now.
    let warm: Vec<_> = (0..50).map(|_| open_both(&server)).collect();
    drop(warm);
    let before = server.memory_bytes();
    let mut streams: Vec<_> = (0..STREAMS).map(|_| open_both(&server)).collect();
    // Each stream works once, and is idle again.
    for (producer, _) in &mut streams {
        producer.send(&record(vec![b'x'; 1000]));
    }
    for (producer, follower) in &mut streams {
        assert!(producer.acked(1) > 0);
        assert_eq!(follower.take(STREAMS).len(), STREAMS);
    }
    let each = || server.memory_bytes().saturating_sub(before) / (2 * STREAMS as u64);
    println!("a stream that has just worked holds {} bytes", each());
    wait::until_true("memory to be freed", Duration::from_secs(60), || each() < 16 << 10);
    println!("an idle stream holds {} bytes", each());
}

fn open_both(server: &TestServer) -> (Styx0Stream, Styx0Stream) {
    (Styx0Stream::produce(server, "a"), Styx0Stream::consume(server, "a", "follow=true"))
}

#[test]
fn an_idle_styx1_connection_uses_at_most_16_kib() {
    let _alone = alone();
    let server = Settings::released().start();
    server.create("a");
    // The first connections cost more than each later one.
    let few = [produce(&server, "a", "producer=1"), consume(&server, "a", "follow=true")];
    let before = server.memory_bytes();
    let many: Vec<_> = (0..500)
        .flat_map(|i| {
            let query = format!("producer={}", i + 2);
            [produce(&server, "a", &query), consume(&server, "a", "follow=true")]
        })
        .collect();
    let each = server.memory_bytes().saturating_sub(before) / many.len() as u64;
    println!("{each} bytes each");
    assert!(each <= 16 << 10, "{each} bytes each");
    drop((few, many));
}

#[test]
fn an_idle_websocket_uses_at_most_16_kib() {
    let _alone = alone();
    const SOCKETS: u64 = 1000;
    let server = Settings::released().start();
    server.create("a");
    server.append("a", "x");
    for (kind, target) in [
        ("followers", "/logs/a/records?follow=true&whence=end"),
        ("producers", "/logs/a/records?mode=write&acks=true"),
    ] {
        // The server allocates some memory only once: now.
        let warm: Vec<_> = (0..100).map(|_| open_idle(server.address(), target)).collect();
        let before = server.memory_bytes();
        let sockets: Vec<_> = (0..SOCKETS).map(|_| open_idle(server.address(), target)).collect();
        let each = server.memory_bytes().saturating_sub(before) / SOCKETS;
        println!("{SOCKETS} idle {kind}: {each} bytes each");
        assert!(each <= 16 << 10, "an idle {kind} uses {each} bytes");
        drop((warm, sockets));
    }
}

/// Opens a socket without the buffers of a client that reads.
fn open_idle(address: SocketAddr, target: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).expect("the server is listening");
    socket.write_all(&handshake(target).bytes()).expect("it can be sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", head.escape_ascii());
    socket
}
