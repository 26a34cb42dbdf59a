//! The client's side of an append: what it costs the thread that calls it.
//!
//! The peer takes the connection and whatever comes, and acks nothing. Blocks leave
//! on the client's own threads, which are not counted.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use styx_client::blocking::Client;

use crate::Work;
use crate::payloads::Payloads;

const WELCOME: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Connection: Upgrade\r\n\
    Upgrade: styx/1\r\n\
    X-Styx-Log-Id: 000102030405060708090a0b0c0d0e0f\r\n\
    X-Styx-Timeout: 3600\r\n\
    X-Styx-Max-Block-Size: 1048576\r\n\
    X-Styx-Max-In-Flight-Blocks: 128\r\n\
    X-Styx-Epoch: 1\r\n\r\n";

/// Longer than it takes under callgrind.
const LONG: Duration = Duration::from_secs(3600);
const WARM_UP_PASSES: usize = 3;

/// One record a call. Its ack is dropped at once.
pub(crate) fn append(payloads: Payloads) -> Work {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("styx://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || listener.accept().map(|(stream, _)| swallow(stream)));
    let client = Client::builder(&address).build().expect("good options");
    let producer = client.producer("counted").in_flight_bytes(1 << 30).deadline(LONG);
    let producer = producer.linger(Duration::from_secs(60)).open().expect("it is welcome");
    // How the first block grows depends on what lies beside it in memory; those that
    // follow have room for what the one before needed. It is sent on another thread,
    // which has as much time for that as it can need.
    for _ in 0..WARM_UP_PASSES {
        payloads.each().for_each(|payload| drop(producer.append(payload)));
        std::thread::sleep(Duration::from_millis(100));
    }
    Box::new(move || {
        for payload in payloads.each() {
            black_box(producer.append(payload).expect("there is room"));
        }
    })
}

/// Answers the handshake and reads until the client closes.
fn swallow(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    stream.write_all(WELCOME.as_bytes())?;
    let mut bytes = vec![0; 64 << 10];
    while stream.read(&mut bytes)? > 0 {}
    Ok(())
}
