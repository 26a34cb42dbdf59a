//! Slow callers, silent servers and heartbeats.

use std::io::{ErrorKind, Write};
use std::sync::mpsc;

use styx_client::Codec;

use crate::log::Log;
use crate::peer::Peer;
use crate::{PATIENCE, client, take, wait};

/// While its caller takes nothing, a consumer queues a bounded number of bytes, stops
/// reading its connection and keeps sending heartbeats. When the caller continues, it
/// receives every record.
#[test]
fn slow_caller_causes_back_pressure_and_keeps_its_connection() {
    let mut log = Log::new(7, 0);
    for byte in 0..400 {
        log.append(Codec::None, &[vec![byte as u8; 150_000]]);
    }
    let (stalled, sent) = mpsc::channel();
    let served = log.clone();
    let peer = Peer::start(move |mut connection| {
        connection.agree_with(&served, 0, 2);
        let stream = served.frames(0, served.end());
        let mut written = 0;
        connection.stream.set_nonblocking(true).expect("a socket");
        let mut heartbeats = 0;
        // Two heartbeats; between them, as many bytes as the client accepts.
        while heartbeats < 2 && written < stream.len() {
            match connection.stream.write(&stream[written..]) {
                Ok(bytes) => written += bytes,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    connection.stream.set_nonblocking(false).expect("a socket");
                    assert!(connection.wait_for_heartbeat(), "it lives");
                    connection.stream.set_nonblocking(true).expect("a socket");
                    heartbeats += 1;
                }
            }
        }
        stalled.send((written, stream.len())).expect("waited for");
        connection.stream.set_nonblocking(false).expect("a socket");
        connection.write(&stream[written..]);
        connection.wait_for_end();
    });
    let builder = client(&peer).consumer("orders").buffer_bytes(64 << 10);
    let mut consumer = wait(builder.open()).expect("opens");
    let (written, all) = sent.recv_timeout(PATIENCE).expect("it stalls");
    // The kernel's socket buffers have some megabytes.
    assert!(written < all / 2, "{written} of {all} bytes were taken");
    assert!(take(&mut consumer, usize::MAX) == log.records(0, 400));
    assert_eq!(peer.requests().len(), 1, "one connection is enough");
}

#[test]
fn consumer_reconnects_after_the_silence_timeout() {
    let log = Log::of(10, 1);
    let all = log.records(0, 10);
    let peer = Peer::start(move |mut connection| match connection.number {
        0 => {
            connection.agree(&log, 0);
            connection.send_blocks(&log, 0, 4);
            connection.wait_for_end();
        }
        _ => connection.serve(&log, usize::MAX),
    });
    let mut consumer = wait(client(&peer).consumer("orders").open()).expect("opens");
    assert_eq!(take(&mut consumer, 100), all);
    assert_eq!(peer.requests().len(), 2);
}

#[test]
fn lag_follows_the_ends_that_the_server_reports() {
    let log = Log::of(10, 1);
    let (tell, told) = mpsc::channel::<u64>();
    let told = std::sync::Mutex::new(told);
    let peer = Peer::start(move |mut connection| {
        connection.agree(&log, 4);
        for end in told.lock().expect("no panic").iter() {
            connection.send_heartbeat(0, end);
            connection.send_blocks(&log, end - 1, end);
        }
    });
    let builder = client(&peer).consumer("orders").start(4).follow(true);
    let mut consumer = wait(builder.open()).expect("opens");
    assert_eq!((consumer.lag(), consumer.caught_up()), (6, false), "as the 101 says");
    tell.send(5).expect("served");
    assert_eq!(take(&mut consumer, 1).len(), 1);
    assert_eq!((consumer.lag(), consumer.caught_up()), (0, true));
}
