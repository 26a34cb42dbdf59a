//! WebSockets whose peer is silent or does not read: pings and disconnects come on
//! time. Peers that break the rules are in `e2e::websocket::bad_peers`.

use std::time::{Duration, Instant};

use styx_tests::websocket::{self, BINARY, CLOSE, PING, PONG};
use styx_tests::{Settings, TestServer, WebSocket};

use crate::beside_idle_tests;

const MIB: u64 = 1 << 20;

/// A server with a short `tcp_timeout`.
fn impatient() -> TestServer {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    server
}

#[test]
fn a_silent_peer_is_pinged_and_then_disconnected() {
    let _idle = beside_idle_tests();
    let server = impatient();
    for query in ["follow=true&whence=end", "mode=write"] {
        let start = Instant::now();
        let mut socket = server.upgrade(&websocket::handshake(&format!("/logs/a/records?{query}")));
        let socket = socket.as_mut().expect("the handshake succeeds");
        assert_eq!(socket.frame().expect("a ping").first, PING, "{query}");
        let pinged = start.elapsed();
        assert!(pinged < Duration::from_millis(1900), "{query}: pinged after {pinged:?}");
        // The close frame says why, in case the peer is still there.
        let reason = socket.expect_close(1011);
        assert!(reason.contains("tcp_timeout"), "{reason}");
        let closed = start.elapsed();
        let within = Duration::from_millis(1900)..Duration::from_secs(10);
        assert!(within.contains(&closed), "{query}: closed after {closed:?}");
    }
}

#[test]
fn a_paused_reader_that_sends_pings_stays_connected() {
    let _idle = beside_idle_tests();
    // The server cannot send anything to it, not even a ping. Its own pings count.
    let server = impatient();
    server.fill("a", 24);
    let mut paused = server.websocket_read("a", "follow=true");
    let mut silent = server.websocket_read("a", "follow=true");
    let before = server.memory_bytes();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(14) {
        paused.send(PING, b"still here");
        let appended = Instant::now();
        server.append("a", vec![b'y'; 1000]);
        assert!(appended.elapsed() < Duration::from_secs(2), "the append was delayed");
        // The reader pauses: passing time is what this test is about.
        std::thread::sleep(Duration::from_millis(500));
    }
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 16 * MIB, "a paused reader holds {} KiB", more >> 10);
    assert_eq!(server.open_streams("websocket"), 1, "the silent reader is disconnected");
    let end = server.info("a")["end_position"].as_u64().expect("a number");
    for position in 0..end {
        let record = next_record(&mut paused);
        assert!(record.starts_with(if position < 24 * 16 { b"x" } else { b"y" }), "{position}");
    }
    // The response to the silent reader has no clean end.
    while let Ok(frame) = silent.frame() {
        assert_ne!(frame.first, CLOSE, "a cut response has no close frame");
    }
}

/// The next record. Skips pings and pongs.
#[track_caller]
fn next_record(socket: &mut WebSocket) -> Vec<u8> {
    loop {
        let frame = socket.frame().expect("a frame");
        match frame.first {
            BINARY => return frame.payload,
            PING | PONG => {}
            other => panic!("{other:#x}: {}", websocket::shown(&frame)),
        }
    }
}
