//! Who waits for whom: slow callers, silent servers, heartbeats.

use std::io::{ErrorKind, Write};
use std::sync::mpsc;

use styx_client::Codec;

use crate::log::Log;
use crate::peer::Peer;
use crate::{PATIENCE, client, take, wait};

/// While its caller takes nothing, a consumer holds a bounded amount and reads
/// no more from its connection; its heartbeats go on, and when the caller goes
/// on, everything comes.
#[test]
fn a_caller_that_takes_nothing_holds_the_server_back_and_stays_alive() {
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
        // Two heartbeats, with as much written between as goes.
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
    // The system's own buffers hold some megabytes.
    assert!(written < all / 2, "{written} of {all} bytes were taken");
    assert!(take(&mut consumer, usize::MAX) == log.records(0, 400));
    assert_eq!(peer.requests().len(), 1, "one connection is enough");
}

#[test]
fn a_silent_server_is_replaced() {
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
fn what_the_server_tells_of_its_ends_is_passed_on() {
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
