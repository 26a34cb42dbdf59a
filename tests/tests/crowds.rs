//! Crowds: 10,000 who wait and cost next to nothing. Each gets what comes.
//!
//! The figures are printed; the bound is the promise: 16 KiB of server memory for
//! each idle follower, whatever it speaks.

use std::sync::{Mutex, PoisonError};

use styx_tests::crowd::Crowd;
use styx_tests::{Settings, TestServer};

const FOLLOWERS: usize = 10_000;
const EACH_BYTES_MAX: u64 = 16 << 10;
/// One crowd at a time: each takes half of the files a process may open.
static ALONE: Mutex<()> = Mutex::new(());

/// Followers of an empty log: what they cost, and that one record reaches all.
fn check(protocol: &str, request: &str, greeting: fn(&[u8]) -> bool, record: fn(&[u8]) -> bool) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Settings::default().set("tcp_timeout = 120").start();
    server.create("a");
    warm_up(&server, request);
    let before = server.memory_bytes();
    let mut crowd = Crowd::gather(server.address(), FOLLOWERS, request.as_bytes());
    let _ = crowd.each_reads("its greeting", greeting);
    let idle = server.memory_bytes().saturating_sub(before) / FOLLOWERS as u64;
    assert_eq!(server.append("a", "for everybody"), 1);
    let _ = crowd.each_reads("the record", record);
    let fed = server.memory_bytes().saturating_sub(before) / FOLLOWERS as u64;
    println!(
        "{FOLLOWERS} followers by {protocol}: {idle} bytes each while idle, {fed} after a record"
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
    check("styx/1", request, greeted, |bytes| has(bytes, b"for everybody"));
}

#[test]
fn ten_thousand_idle_followers_of_styx_0() {
    let request = "GET /logs/a/records?follow=true HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                   Upgrade: styx/0\r\nX-Styx-Timeout: 120\r\n\r\n";
    check("styx/0", request, has_head, |bytes| has(bytes, b"\0\x01\0\0\0\x0dfor everybody"));
}

#[test]
fn ten_thousand_idle_followers_by_websocket() {
    let request = "GET /logs/a/records?follow=true HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    check("WebSocket", request, has_head, |bytes| has(bytes, b"\x82\x0dfor everybody"));
}

#[test]
fn ten_thousand_long_polls() {
    let request = "GET /logs/a/records?follow=true HTTP/1.1\r\nHost: a\r\n\
                   Accept: application/vnd.styx.binary-records\r\n\r\n";
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Settings::default().set("tcp_timeout = 120").start();
    server.create("a");
    let before = server.memory_bytes();
    let mut crowd = Crowd::gather(server.address(), FOLLOWERS, request.as_bytes());
    assert_eq!(server.append("a", "for everybody"), 1);
    let _ = crowd.each_reads("the record", |bytes| has(bytes, b"for everybody"));
    let each = server.memory_bytes_most().saturating_sub(before) / FOLLOWERS as u64;
    println!("{FOLLOWERS} long polls: {each} bytes each at most");
}
