//! Appending with the client: the cost for the calling thread.
//!
//! The peer accepts the connection, discards all bytes and never acks. The client sends
//! blocks on its own threads, which are not counted.

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

/// Longer than a run under callgrind.
const LONG: Duration = Duration::from_secs(3600);
const WARM_UP_PASSES: usize = 3;

/// Appends one record per call, and drops its ack.
pub(crate) fn append(payloads: Payloads) -> Work {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("styx://{}", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || listener.accept().map(|(stream, _)| discard(stream)));
    let client = Client::builder(&address).build().expect("valid options");
    let producer = client.producer("counted").in_flight_bytes(1 << 30).deadline(LONG);
    let producer = producer.linger(Duration::from_secs(60)).open().expect("the peer accepts");
    // How the first block grows depends on its neighbours in memory. Each further block
    // starts with the capacity that the previous one needed. Another thread sends the
    // blocks, and the sleep gives it enough time.
    for _ in 0..WARM_UP_PASSES {
        payloads.each().for_each(|payload| drop(producer.append(payload)));
        std::thread::sleep(Duration::from_millis(100));
    }
    Box::new(move || {
        for payload in payloads.each() {
            black_box(producer.append(payload).expect("space in the queue"));
        }
    })
}

/// Answers the handshake and reads until the client closes.
fn discard(mut stream: TcpStream) -> std::io::Result<()> {
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
