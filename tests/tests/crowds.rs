//! Crowds: 10,000 who wait and cost next to nothing, thousands who write and read
//! at once. Each gets what comes.
//!
//! The figures are printed; the bound is the promise: 16 KiB of server memory for
//! each idle follower, whatever it speaks.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use styx_client::{Client, Start};
use styx_tests::crowd::Crowd;
use styx_tests::{Settings, TestServer};
use tokio::task::JoinSet;

const EACH_BYTES_MAX: u64 = 16 << 10;
/// One crowd at a time: each takes half of the files a process may open.
static ALONE: Mutex<()> = Mutex::new(());

/// Followers of an empty log: what they cost, and that one record reaches all.
fn check(
    protocol: &str,
    followers: usize,
    request: &str,
    greeting: fn(&[u8]) -> bool,
    record: fn(&[u8]) -> bool,
) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Settings::default().set("tcp_timeout = 120").start();
    server.create("a");
    warm_up(&server, request);
    let before = server.memory_bytes();
    let mut crowd = Crowd::gather(server.address(), followers, request.as_bytes());
    let _ = crowd.each_reads("its greeting", greeting);
    let idle = server.memory_bytes().saturating_sub(before) / followers as u64;
    assert_eq!(server.append("a", "for everybody"), 1);
    let _ = crowd.each_reads("the record", record);
    let fed = server.memory_bytes().saturating_sub(before) / followers as u64;
    println!(
        "{followers} followers by {protocol}: {idle} bytes each while idle, {fed} after a record"
    );
    assert!(idle <= EACH_BYTES_MAX, "an idle follower by {protocol} costs {idle} bytes");
    assert!(fed <= EACH_BYTES_MAX, "a follower by {protocol} keeps {fed} bytes");
}

/// What every server touches once is not the crowd's.
fn warm_up(server: &TestServer, request: &str) {
    let mut first = Crowd::gather(server.address(), 10, request.as_bytes());
    let _ = first.each_reads("any answer", |bytes| !bytes.is_empty());
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn has_head(bytes: &[u8]) -> bool {
    has(bytes, b"\r\n\r\n")
}

#[test]
fn ten_thousand_idle_followers_of_styx_1() {
    let request = "GET /logs/a/records?follow=true HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                   Upgrade: styx/1\r\nX-Styx-Timeout: 120\r\n\r\n";
    // The 101, and the heartbeat that says where the log ends.
    let greeted = |bytes: &[u8]| {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        head.is_some_and(|head| bytes.len() >= head + 4 + 8 + 16)
    };
    check("styx/1", 10_000, request, greeted, |bytes| has(bytes, b"for everybody"));
}

#[test]
fn idle_followers_of_styx_0() {
    let request = "GET /logs/a/records?follow=true HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                   Upgrade: styx/0\r\nX-Styx-Timeout: 120\r\n\r\n";
    check("styx/0", 2000, request, has_head, |bytes| has(bytes, b"\0\x01\0\0\0\x0dfor everybody"));
}

#[test]
fn idle_followers_by_websocket() {
    let request = "GET /logs/a/records?follow=true HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    check("WebSocket", 2000, request, has_head, |bytes| has(bytes, b"\x82\x0dfor everybody"));
}

/// What each follower was given, in order.
async fn follow(client: Client, log: String, count: u64) -> u32 {
    let builder = client.consumer(&log).start(Start::Position(0)).follow(true).count(count);
    let mut consumer = builder.open().await.expect("it opens");
    let (mut next, mut digest) = (0, crc32fast::Hasher::new());
    while let Some(batch) = consumer.next_batch().await.expect("it reads") {
        assert_eq!(batch.first_position(), next, "no gap and no repetition");
        batch.payloads().for_each(|payload| digest.update(payload));
        next = batch.next_position();
    }
    assert_eq!(next, count);
    digest.finalize()
}

async fn produce(client: Client, log: String, number: usize) {
    let producer = client.producer(&log).open().await.expect("it opens");
    producer.send(format!("record of producer {number}").as_bytes()).await.expect("it is durable");
    producer.close().await.expect("it closes");
}

/// Runs all producers and followers of some logs at once; what each log's
/// followers were given.
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
                producing.spawn(produce(client.clone(), name.clone(), number));
            }
        }
        while let Some(done) = producing.join_next().await {
            done.expect("a producer");
        }
        let mut digests = vec![None; logs];
        while let Some(done) = following.join_next().await {
            let (log, digest) = done.expect("a follower");
            assert_eq!(*digests[log].get_or_insert(digest), digest, "all were given the same");
        }
        assert!(digests.iter().all(Option::is_some));
    });
}

#[test]
fn two_thousand_producers_and_two_thousand_followers_of_one_log() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Settings::default().start();
    server.create("log-0");
    let begun = Instant::now();
    all_at_once(&server, 1, 2000, 2000);
    let memory = server.memory_bytes_most() >> 20;
    println!("2,000 + 2,000 on one log: {:?}, {memory} MiB of server memory", begun.elapsed());
    assert!(memory < 600, "{memory} MiB");
}

#[test]
fn a_thousand_logs_with_a_producer_and_a_follower_each() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Settings::default().start();
    for log in 0..1000 {
        server.create(&format!("log-{log}"));
    }
    let begun = Instant::now();
    all_at_once(&server, 1000, 1, 1);
    let memory = server.memory_bytes_most() >> 20;
    println!("1,000 logs with one each: {:?}, {memory} MiB of server memory", begun.elapsed());
    assert!(memory < 600, "{memory} MiB");
}
