//! A peer in place of a server, for faults that a real server does not produce on demand.
//! The test thread controls it step by step; the client runs on its own threads.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use styx_protocol::block::Block;
use styx_protocol::frame::{Ack, Event, Fault, FrameDecoder, Route, encode_heartbeat};
use styx_protocol::{Code, Position};

/// The time limit of each step.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The id of the peer's log.
pub(super) const LOG_ID: &str = "000102030405060708090a0b0c0d0e0f";

/// See the module.
pub(super) struct Peer {
    listener: TcpListener,
}

/// One connection to the peer.
pub(super) struct PeerConnection {
    stream: TcpStream,
    /// The request, in lower case.
    head: String,
    decoder: FrameDecoder,
    ack: Ack,
}

impl Peer {
    pub(super) fn start() -> Peer {
        Peer { listener: TcpListener::bind("127.0.0.1:0").expect("a port is free") }
    }

    pub(super) fn address(&self) -> String {
        format!("styx://{}", self.listener.local_addr().expect("it is bound"))
    }

    /// Accepts the next connection and reads its request.
    pub(super) fn accept(&self) -> PeerConnection {
        let (mut stream, _) = self.listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("a request");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text").to_lowercase();
        let decoder = FrameDecoder::new(Route::ProducerToServer, 0);
        PeerConnection { stream, head, decoder, ack: Ack::default() }
    }

    /// Accepts the next connection and responds with 101 and these additional headers.
    pub(super) fn welcome(&self, headers: &[(&str, &str)]) -> PeerConnection {
        let mut connection = self.accept();
        connection.welcome(headers);
        connection
    }
}

impl PeerConnection {
    /// A header or query parameter of the request.
    pub(super) fn asked(&self, what: &str) -> Option<String> {
        let target = self.head.split(' ').nth(1).expect("a target");
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let parameter = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{what}=")));
        let start = format!("{what}: ");
        let header = self.head.split("\r\n").find_map(|line| line.strip_prefix(start.as_str()));
        parameter.or(header).map(str::to_owned)
    }

    /// Responds with 101. A header with an empty value is left out.
    pub(super) fn welcome(&mut self, headers: &[(&str, &str)]) {
        let usual = [
            ("connection", "Upgrade"),
            ("upgrade", "styx/1"),
            ("x-styx-log-id", LOG_ID),
            ("x-styx-timeout", "30"),
            ("x-styx-max-block-size", "1048576"),
            ("x-styx-max-in-flight-blocks", "128"),
            ("x-styx-epoch", "1"),
        ];
        let mut answer = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
        let kept = usual.iter().filter(|(name, _)| headers.iter().all(|(given, _)| given != name));
        for (name, value) in kept.chain(headers).filter(|(_, value)| !value.is_empty()) {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str("\r\n");
        self.send(answer.as_bytes());
    }

    /// Responds with an error.
    pub(super) fn refuse(mut self, code: Code) {
        let body = format!("{{\"code\": \"{code}\", \"message\": \"{}\"}}", code.meaning());
        let (status, length) = (code.http_status(), body.len());
        let head = format!("HTTP/1.1 {status} No\r\nContent-Length: {length}\r\n\r\n");
        self.send((head + &body).as_bytes());
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the client reads");
    }

    /// The next event, including heartbeats; `None` if the client has closed.
    pub(super) fn event(&mut self) -> Option<Event> {
        let mut bytes = [0; 64 << 10];
        loop {
            if let Some(event) = self.decoder.next().expect("good frames") {
                return Some(event);
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.decoder.push(&bytes[..count]),
                Err(e) => panic!("no event: {e}"),
            }
        }
    }

    /// The bytes of the next block.
    pub(super) fn block_bytes(&mut self) -> Bytes {
        loop {
            match self.event() {
                Some(Event::Block(block)) => return block,
                Some(Event::Heartbeat(_)) => {}
                other => panic!("{other:?} instead of a block"),
            }
        }
    }

    /// The next block.
    pub(super) fn block(&mut self) -> Block {
        let (block, rest) = Block::parse(self.block_bytes(), 1 << 30).expect("a good block");
        assert!(rest.is_empty());
        block
    }

    /// Acknowledges `count` records from this position on.
    pub(super) fn ack(&mut self, base: u64, count: u32) {
        self.ack.add(Position(base), count);
        let mut frame = BytesMut::new();
        self.ack.encode(&mut frame);
        self.send(&frame);
    }

    pub(super) fn heartbeat(&mut self) {
        let mut frame = BytesMut::new();
        encode_heartbeat(None, &mut frame);
        self.send(&frame);
    }

    /// Ends the stream with an error frame.
    pub(super) fn fault(mut self, fault: &Fault) {
        let mut frame = BytesMut::new();
        fault.encode(&mut frame);
        self.send(&frame);
        self.end();
    }

    /// Closes the connection so that every sent byte arrives.
    pub(super) fn end(mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it is open");
        while !matches!(self.stream.read(&mut [0; 64 << 10]), Ok(0) | Err(_)) {}
    }

    /// Breaks the connection, as dropping it does.
    pub(super) fn cut(self) {}
}

/// The payloads of a block, as text.
pub(super) fn texts(block: &Block) -> Vec<String> {
    let records = block.checked_records().expect("good records");
    let text = |payload: Bytes| String::from_utf8(payload.to_vec()).expect("text");
    records.payloads().map(text).collect()
}
