//! [`Transcript`]: the bytes of one stream of styx/1, and the [`Recorder`] that writes them down.
//!
//! ```text
//! client ─▶ recorder ─▶ server        steps: client bytes, server bytes, client bytes …
//! ```
//!
//! Neighbouring pieces of one side are one step, so a transcript does not depend on how TCP split
//! the bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use styx_protocol::frame::{Event, FrameDecoder, Route};
use styx_tests::wait;

/// The sender of the bytes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// The bytes that one side sent before the other side sent something.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) from: Side,
    pub(super) bytes: Vec<u8>,
}

/// One stream, from its handshake to its end.
#[derive(Debug, Clone)]
pub(super) struct Transcript {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

impl Transcript {
    pub(super) fn to_json(&self) -> Value {
        let side = |side| if side == Side::Client { "client" } else { "server" };
        let step = |step: &Step| json!({ side(step.from): STANDARD.encode(&step.bytes) });
        let steps: Vec<Value> = self.steps.iter().map(step).collect();
        json!({ "name": self.name, "steps": steps })
    }

    #[track_caller]
    pub(super) fn of_json(value: &Value) -> Transcript {
        let step = |step: &Value| {
            let (from, bytes) = match (step["client"].as_str(), step["server"].as_str()) {
                (Some(bytes), None) => (Side::Client, bytes),
                (None, Some(bytes)) => (Side::Server, bytes),
                _ => panic!("{step} is no step"),
            };
            Step { from, bytes: STANDARD.decode(bytes).expect("base64") }
        };
        Transcript {
            name: value["name"].as_str().expect("a name").to_owned(),
            steps: value["steps"].as_array().expect("steps").iter().map(step).collect(),
        }
    }

    /// The head of a side's first bytes as text, and the bytes of its stream after the head, up to
    /// the step `until`.
    #[track_caller]
    pub(super) fn sent(&self, side: Side, until: usize) -> (String, Vec<u8>) {
        let steps = self.steps.iter().take(until).filter(|step| step.from == side);
        let all: Vec<u8> = steps.flat_map(|step| step.bytes.clone()).collect();
        match all.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(at) => {
                let head = String::from_utf8(all[..at].to_vec()).expect("a head is text");
                (head, all[at + 4..].to_vec())
            }
            None => (String::new(), Vec::new()),
        }
    }

    /// Whether the client is a producer.
    pub(super) fn is_producer(&self) -> bool {
        self.sent(Side::Client, usize::MAX).0.starts_with("POST ")
    }

    /// The frames that a side sent up to the step `until`.
    pub(super) fn events(&self, side: Side, until: usize) -> Vec<Event> {
        let route = match (side, self.is_producer()) {
            (Side::Client, true) => Route::ProducerToServer,
            (Side::Client, false) => Route::ConsumerToServer,
            (Side::Server, true) => Route::ServerToProducer,
            (Side::Server, false) => Route::ServerToConsumer,
        };
        decode(route, &self.sent(side, until).1)
    }
}

/// Decodes the frames of a side. Bytes of an incomplete frame are left out.
pub(super) fn decode(route: Route, bytes: &[u8]) -> Vec<Event> {
    let mut decoder = FrameDecoder::new(route, 1 << 30);
    decoder.push(bytes);
    let mut events = Vec::new();
    while let Some(event) = decoder.next().expect("valid frames") {
        events.push(event);
    }
    events
}

/// A proxy that keeps the bytes of the last stream through it.
pub(super) struct Recorder {
    address: SocketAddr,
    streams: Arc<Mutex<Vec<Recording>>>,
}

#[derive(Debug, Default)]
struct Recording {
    steps: Vec<Step>,
    ended: usize,
}

impl Recorder {
    /// Starts a proxy in front of this server.
    pub(super) fn start(server: SocketAddr) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let streams = Arc::new(Mutex::new(Vec::<Recording>::new()));
        let all = Arc::clone(&streams);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let number = {
                    let mut all = all.lock().expect("no thread panicked");
                    all.push(Recording::default());
                    all.len() - 1
                };
                for (from, to, side) in
                    [(&client, &server, Side::Client), (&server, &client, Side::Server)]
                {
                    let (from, to) = (from.try_clone().expect("a copy"), to.try_clone());
                    let (to, all) = (to.expect("a copy"), Arc::clone(&all));
                    std::thread::spawn(move || copy(from, to, side, number, &all));
                }
            }
        });
        Recorder { address, streams }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the end of the stream, and returns it without a name. Forgets all connections.
    pub(super) fn take(&self) -> Transcript {
        let is_stream = |recording: &Recording| {
            let first = recording.steps.first();
            first.is_some_and(|step| contains(&step.bytes, b"Upgrade: styx/1"))
        };
        wait::until("a complete stream", Duration::from_secs(30), || {
            let mut all = self.streams.lock().expect("no thread panicked");
            let at = all.iter().position(|one| is_stream(one) && one.ended == 2)?;
            let steps = all.remove(at).steps;
            assert!(!all.iter().any(is_stream), "one stream at a time");
            // The numbers of the other connections must not change.
            all.insert(at, Recording::default());
            Some(Transcript { name: String::new(), steps })
        })
    }
}

fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    side: Side,
    number: usize,
    all: &Mutex<Vec<Recording>>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let bytes = &buffer[..count];
        {
            let mut all = all.lock().expect("no thread panicked");
            let recording = &mut all[number];
            match recording.steps.last_mut() {
                _ if count == 0 => recording.ended += 1,
                Some(last) if last.from == side => last.bytes.extend_from_slice(bytes),
                _ => recording.steps.push(Step { from: side, bytes: bytes.to_vec() }),
            }
        }
        if count == 0 || to.write_all(bytes).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// Whether `bytes` contains `text` in any letter case.
pub(super) fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
}
