//! [`FakeServer`]: an earlier server for this client. It plays back what a real one sent.
//!
//! It sends a recorded step when the client has said what it had said in the recording: the request,
//! the number of records, the end. How the client splits its records into blocks does not matter.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use styx_protocol::block::Block;
use styx_protocol::frame::{Event, FrameDecoder, Route};

use super::Golden;
use super::transcript::{Side, Transcript, contains};

/// How long the client may be silent before its connection ends.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct FakeServer {
    pub(super) address: SocketAddr,
    /// The payloads that the client has appended.
    pub(super) appended: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl FakeServer {
    /// Starts it. Its one stream is this transcript.
    pub(super) fn start(golden: Golden, transcript: Transcript) -> FakeServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let appended = Arc::new(Mutex::new(Vec::new()));
        let records = Arc::clone(&appended);
        let transcript = Arc::new(transcript);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (transcript, records) = (Arc::clone(&transcript), Arc::clone(&records));
                std::thread::spawn(move || serve(golden, socket, &transcript, &records));
            }
        });
        FakeServer { address, appended }
    }
}

/// Answers the requests of one connection, of which the last one may begin the stream.
fn serve(
    golden: Golden,
    mut socket: TcpStream,
    transcript: &Transcript,
    appended: &Mutex<Vec<Vec<u8>>>,
) {
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if receive(&mut socket, &mut received) == 0 {
                return;
            }
        };
        let head: Vec<u8> = received.drain(..end).collect();
        if contains(&head, b"Upgrade: styx/1") {
            let first = String::from_utf8_lossy(&head).into_owned();
            let is_producer = first.starts_with("POST ");
            assert_eq!(is_producer, transcript.is_producer(), "the stream of {}", transcript.name);
            return play(&mut socket, received, transcript, appended);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default();
        let answers = golden.json("http.json");
        let mut answers = answers.as_array().expect("a list").iter();
        let answer = answers.find(|answer| answer["target"] == target);
        let answer = answer.unwrap_or_else(|| panic!("{golden:?} was not asked for {target}"));
        // The recorded answers end their connections.
        let _ = socket.write_all(answer["answer"].as_str().expect("text").as_bytes());
        let _ = socket.shutdown(Shutdown::Write);
    }
}

/// Plays a stream, of which `received` has the first bytes after the handshake.
fn play(
    socket: &mut TcpStream,
    received: Vec<u8>,
    transcript: &Transcript,
    appended: &Mutex<Vec<Vec<u8>>>,
) {
    let route = match transcript.is_producer() {
        true => Route::ProducerToServer,
        false => Route::ConsumerToServer,
    };
    let mut decoder = FrameDecoder::new(route, 1 << 30);
    decoder.push(&received);
    let mut said = Said::default();
    for (i, step) in transcript.steps.iter().enumerate() {
        if step.from == Side::Server {
            socket.write_all(&step.bytes).expect("sent");
            continue;
        }
        let mut expected = Said::default();
        transcript.events(Side::Client, i + 1).iter().for_each(|event| expected.add(event));
        loop {
            while let Some(event) = decoder.next().expect("valid frames") {
                said.add(&event);
                *appended.lock().expect("no thread panicked") = said.payloads.clone();
            }
            if said.payloads.len() >= expected.payloads.len()
                && said.has_ended >= expected.has_ended
            {
                break;
            }
            let mut bytes = Vec::new();
            assert!(receive(socket, &mut bytes) > 0, "the client closed {}", transcript.name);
            decoder.push(&bytes);
        }
    }
    let _ = socket.shutdown(Shutdown::Write);
    // The client closes after it has read everything.
    while receive(socket, &mut Vec::new()) > 0 {}
}

/// The frames that a client has sent.
#[derive(Debug, Default)]
struct Said {
    payloads: Vec<Vec<u8>>,
    has_ended: bool,
}

impl Said {
    fn add(&mut self, event: &Event) {
        match event {
            Event::Block(bytes) => {
                let (block, _) = Block::parse(bytes.clone(), 1 << 30).expect("a block");
                let records = block.checked_records().expect("valid records");
                self.payloads.extend(records.payloads().map(|payload| payload.to_vec()));
            }
            Event::End { .. } => self.has_ended = true,
            _ => {}
        }
    }
}

/// Reads some bytes. Returns their number, which is 0 at the end.
fn receive(socket: &mut TcpStream, into: &mut Vec<u8>) -> usize {
    let mut buffer = vec![0; 64 << 10];
    let count = socket.read(&mut buffer).unwrap_or(0);
    into.extend_from_slice(&buffer[..count]);
    count
}
