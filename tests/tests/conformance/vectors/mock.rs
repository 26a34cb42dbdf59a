//! [`MockServer`]: sends exactly the bytes of a vector, and keeps the blocks that it receives.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use styx_protocol::Position;
use styx_protocol::block::Block;
use styx_protocol::frame::{Ack, Event, FrameDecoder, Route};
use styx_tests::binary;

/// How long a client may be silent before its connection ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// The id of the only log.
const LOG_ID: &str = "0f8fad5bd9cb469fa16570867728950e";

/// The behaviour of the server on a stream.
pub(super) struct Script {
    /// The first position and the end of the log.
    pub(super) start: u64,
    pub(super) end: u64,
    /// The sequence that the log expects of a producer; `None` if it knows no producer.
    pub(super) next_sequence: Option<u64>,
    /// The behaviour on each connection in turn; the last entry is also for all later ones.
    /// `None` acks every block, as a good server does.
    pub(super) streams: Vec<Option<Bytes>>,
}

pub(super) struct MockServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    connections: AtomicUsize,
    blocks: Mutex<Vec<Bytes>>,
}

impl MockServer {
    pub(super) fn start(script: Script) -> MockServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (connections, blocks) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { script, connections, blocks });
        let of_threads = Arc::clone(&shared);
        // It ends with the process.
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let shared = Arc::clone(&of_threads);
                std::thread::spawn(move || shared.serve(socket));
            }
        });
        MockServer { address, shared }
    }

    pub(super) fn address(&self) -> String {
        format!("styx://{}", self.address)
    }

    /// The blocks that producers have sent.
    pub(super) fn blocks(&self) -> Vec<Bytes> {
        self.shared.blocks.lock().expect("no thread panicked").clone()
    }
}

impl Shared {
    fn serve(&self, mut socket: TcpStream) {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let Some((head, rest)) = read_head(&mut socket) else { return };
        if !head.to_ascii_lowercase().contains("upgrade: styx/1") {
            let _ = socket.write_all(answer_to(&head).as_bytes());
            let _ = socket.shutdown(Shutdown::Write);
            return;
        }
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        let streams = &self.script.streams;
        let stream = streams.get(number).or(streams.last()).expect("a script has a stream");
        let is_producer = head.starts_with("POST ");
        let _ = socket.write_all(self.handshake(&head, is_producer).as_bytes());
        match stream {
            None => self.acknowledge(&mut socket, &rest),
            Some(bytes) => {
                // An error is the answer to a block.
                if is_producer {
                    let _ = socket.read(&mut [0; 4096]);
                }
                let _ = socket.write_all(bytes);
            }
        }
        let _ = socket.shutdown(Shutdown::Write);
        // The client closes after it has read everything.
        while socket.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
    }

    fn handshake(&self, head: &str, is_producer: bool) -> String {
        let Script { start, end, next_sequence, .. } = self.script;
        let mut text = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: styx/1\r\n\
             X-Styx-Timeout: 30\r\nX-Styx-Features: lz4, zstd\r\nX-Styx-Log-Id: {LOG_ID}\r\n\
             X-Styx-Start-Position: {start}\r\nX-Styx-End-Position: {end}\r\n"
        );
        if is_producer {
            text += "X-Styx-Max-Block-Size: 1048576\r\nX-Styx-Max-In-Flight-Blocks: 128\r\n";
            text += "X-Styx-Epoch: 2\r\n";
            if let Some(sequence) = next_sequence {
                text += &format!("X-Styx-Next-Sequence: {sequence}\r\n");
            }
        } else {
            // The first connection asks for the start, later ones for a position.
            let parameter = |name: &str| {
                let query = head.split([' ', '?']).nth(2).unwrap_or_default();
                query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            };
            let asked = parameter("position").filter(|_| parameter("whence") == Some("origin"));
            let position = asked.and_then(|text| text.parse().ok()).unwrap_or(start);
            text += &format!("X-Styx-Position: {position}\r\n");
        }
        text + "\r\n"
    }

    /// Acks every block until the producer ends its stream.
    fn acknowledge(&self, socket: &mut TcpStream, first: &[u8]) {
        let mut decoder = FrameDecoder::new(Route::ProducerToServer, 1 << 30);
        decoder.push(first);
        let (mut count, mut end) = (0, self.script.end);
        loop {
            while let Some(event) = decoder.next().expect("a producer sends valid frames") {
                match event {
                    Event::Block(bytes) => {
                        let (block, _) = Block::parse(bytes.clone(), 1 << 30).expect("a block");
                        let records = block.header().count;
                        self.blocks.lock().expect("no thread panicked").push(bytes);
                        count += u64::from(records);
                        let mut ack = Ack { count, runs: Vec::new() };
                        ack.add(Position(end), records);
                        // `add` counts too.
                        ack.count = count;
                        end += u64::from(records);
                        let mut out = BytesMut::new();
                        ack.encode(&mut out);
                        let _ = socket.write_all(&out);
                    }
                    Event::End { .. } => return,
                    _ => {}
                }
            }
            let mut buffer = [0; 64 << 10];
            match socket.read(&mut buffer) {
                Ok(count @ 1..) => decoder.push(&buffer[..count]),
                _ => return,
            }
        }
    }
}

/// The head of a request, and what was received after it.
fn read_head(socket: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut received = Vec::new();
    loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = received.split_off(at + 4);
            return Some((String::from_utf8_lossy(&received).into_owned(), rest));
        }
        let mut buffer = [0; 4096];
        match socket.read(&mut buffer) {
            Ok(count @ 1..) => received.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}

/// The answer of a server of version 1 to a request without an upgrade.
fn answer_to(head: &str) -> String {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = binary::workspace().join("tests/golden/v1/http.json");
    let text = std::fs::read_to_string(path).expect("the golden answers");
    let answers: Value = serde_json::from_str(&text).expect("JSON");
    let mut answers = answers.as_array().expect("a list").iter();
    let answer = answers.find(|answer| answer["target"] == target);
    answer.and_then(|answer| answer["answer"].as_str()).unwrap_or_default().to_owned()
}
