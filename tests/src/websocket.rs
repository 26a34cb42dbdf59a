//! [`WebSocket`]: a client that reads and writes frames as bytes. It can send frames that
//! no library would send, and it sees the server's bytes unchanged.
//!
//! ```text
//! fin, opcode: u8 | mask bit, length: 1, 3 or 9 bytes | mask: 4 bytes | payload
//! ```

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::http::{Connection, Head, Request, Response};
use crate::{TestServer, api};

/// The first byte of a whole text message.
pub const TEXT: u8 = 0x81;
/// The first byte of a whole binary message.
pub const BINARY: u8 = 0x82;
/// The first byte of a close frame.
pub const CLOSE: u8 = 0x88;
/// The first byte of a ping.
pub const PING: u8 = 0x89;
/// The first byte of a pong.
pub const PONG: u8 = 0x8a;

/// The key in the example handshake of RFC 6455.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The `Sec-WebSocket-Accept` value for that key.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The first byte: fin, reserved bits, opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Encodes a client's frame.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Encodes a client's frame up to its payload. `length` is the announced payload size in
/// bytes.
#[must_use]
pub fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => head.push(0x80 | short),
        (_, Ok(length)) => {
            head.push(0x80 | 126);
            head.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    head.extend_from_slice(&MASK);
    head
}

/// The handshake request for this target.
#[must_use]
pub fn handshake(target: &str) -> Request {
    upgrade(Request::get(target))
}

/// Adds the handshake headers to a request.
#[must_use]
pub fn upgrade(request: Request) -> Request {
    request
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", 13)
        .header("Sec-WebSocket-Key", KEY)
}

/// The sending half of a connection. Its writes are never interleaved with frames that
/// other threads send, such as pongs.
#[derive(Debug)]
pub struct Sender {
    socket: TcpStream,
    turn: Arc<Mutex<()>>,
}

impl Sender {
    /// Sends whole frames.
    ///
    /// # Errors
    /// The error of the socket.
    pub fn send_bytes(&self, frames: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.socket).write_all(frames)
    }

    /// Closes the sending side. Ignores the error if the connection has ended.
    pub fn finish(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// A connection after its 101.
#[derive(Debug)]
pub struct WebSocket {
    connection: Connection,
    /// The lock that a thread holds while it sends.
    turn: Arc<Mutex<()>>,
    /// The head of the 101.
    pub head: Head,
}

impl TestServer {
    /// Sends a handshake.
    ///
    /// # Errors
    /// The answer, if it is not a 101.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn upgrade(&self, request: &Request) -> Result<WebSocket, Box<Response>> {
        let mut connection = self.connect();
        let answer = connection.exchange(request).expect("an answer");
        match answer.status() {
            101 => Ok(WebSocket { connection, turn: Arc::default(), head: answer.head }),
            _ => Err(Box::new(answer)),
        }
    }

    /// Reads a log over a WebSocket; `query` without its question mark.
    ///
    /// # Panics
    /// When the server refuses it.
    #[must_use]
    #[track_caller]
    pub fn websocket_read(&self, log: &str, query: &str) -> WebSocket {
        self.open(log, query)
    }

    /// Writes to a log over a WebSocket; `query` begins with `&` or is empty.
    ///
    /// # Panics
    /// When the server refuses it.
    #[must_use]
    #[track_caller]
    pub fn websocket_write(&self, log: &str, query: &str) -> WebSocket {
        self.open(log, &format!("mode=write{query}"))
    }

    #[track_caller]
    fn open(&self, log: &str, query: &str) -> WebSocket {
        let request = handshake(&format!("/logs/{log}/records?{query}"));
        self.upgrade(&request).unwrap_or_else(|answer| panic!("{}", answer.shown()))
    }
}

impl WebSocket {
    /// The underlying socket.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.connection.socket()
    }

    /// The connection after its 101.
    #[must_use]
    pub fn into_connection(self) -> Connection {
        self.connection
    }

    /// Sets how long a read may wait.
    pub fn set_patience(&self, limit: Duration) {
        self.connection.set_patience(limit);
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The error of the socket.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.connection.send(bytes)
    }

    /// Returns the sending half, for another thread. This half receives and answers pings.
    ///
    /// # Panics
    /// When the socket cannot be duplicated.
    #[must_use]
    pub fn sender(&self) -> Sender {
        let socket = self.socket().try_clone().expect("a descriptor");
        Sender { socket, turn: Arc::clone(&self.turn) }
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[track_caller]
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&frame(first, payload)).expect("a frame can be sent");
    }

    /// Closes the sending side without a close frame.
    ///
    /// # Panics
    /// When the connection has ended.
    pub fn finish_sending(&self) {
        self.connection.finish_sending().expect("a socket");
    }

    /// Reads exactly `count` bytes without parsing them.
    ///
    /// # Errors
    /// As [`frame`](Self::frame).
    pub fn raw(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.connection.raw(count)
    }

    /// Reads the next frame of any kind.
    ///
    /// # Errors
    /// `UnexpectedEof` if the connection ends first; a timeout.
    ///
    /// # Panics
    /// When a server must not send this frame.
    pub fn frame(&mut self) -> io::Result<Frame> {
        let bytes = self.connection.raw(2)?;
        let (first, length) = (bytes[0], bytes[1]);
        assert!(length < 0x80, "a server's frames are not masked");
        assert_eq!(first & 0x70, 0, "no extension was negotiated");
        let mut number = |count| -> io::Result<usize> {
            let bytes = self.connection.raw(count)?;
            Ok(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
        };
        let length = match length {
            126 => number(2)?,
            127 => number(8)?,
            short => usize::from(short),
        };
        Ok(Frame { first, payload: self.connection.raw(length)? })
    }

    /// Reads the next message or close. Answers the pings before it.
    ///
    /// # Errors
    /// As [`frame`](Self::frame).
    pub fn receive(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.frame()?;
            match frame.first {
                PING => self.send_bytes(&self::frame(PONG, &frame.payload))?,
                PONG => {}
                _ => return Ok(frame),
            }
        }
    }

    /// Reads the next record.
    ///
    /// # Panics
    /// When another frame arrives.
    #[track_caller]
    pub fn record(&mut self) -> Vec<u8> {
        let frame = self.receive().expect("a record");
        assert_eq!(frame.first, BINARY, "{}", shown(&frame));
        frame.payload
    }

    /// Reads the next ack.
    ///
    /// # Panics
    /// When another frame arrives.
    #[track_caller]
    pub fn ack(&mut self) -> api::Written {
        let frame = self.receive().expect("an ack");
        assert_eq!(frame.first, TEXT, "{}", shown(&frame));
        ack(&frame).unwrap_or_else(|| panic!("{}", shown(&frame)))
    }

    /// Reads acks until `count` records are durable. Returns the last position.
    ///
    /// # Panics
    /// When another frame arrives, or more records are acked.
    #[track_caller]
    pub fn acks(&mut self, count: u64) -> u64 {
        let (mut durable, mut position) = (0, 0);
        while durable < count {
            let ack = self.ack();
            assert!(ack.count > 0, "an ack of zero records");
            durable += ack.count;
            position = ack.position;
        }
        assert_eq!(durable, count);
        position
    }

    /// Reads the server's close frame and the end of the connection. Returns the reason.
    ///
    /// # Panics
    /// When another frame or another code arrives, or bytes follow the close.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let frame = self.receive().expect("a close frame");
        assert_eq!(frame.first, CLOSE, "{}", shown(&frame));
        let (got, reason) = closed(&frame);
        assert_eq!(got, Some(code), "{reason}");
        assert!(reason.len() <= 123, "a reason of {} bytes", reason.len());
        let rest = self.connection.until_close().expect("the end of the connection");
        assert!(rest.is_empty(), "{} bytes after the close", rest.len());
        reason
    }

    /// Closes the connection. Returns the frames that arrived before the server's close.
    ///
    /// # Panics
    /// When the server's close has another code or a reason.
    #[track_caller]
    pub fn close(mut self) -> Vec<Frame> {
        self.send(CLOSE, &1000u16.to_be_bytes());
        let mut before = Vec::new();
        loop {
            let frame = self.receive().expect("an answer to the close");
            if frame.first == CLOSE {
                assert_eq!(closed(&frame), (Some(1000), String::new()));
                assert!(self.until_close().is_ok_and(|rest| rest.is_empty()));
                return before;
            }
            before.push(frame);
        }
    }

    /// Reads all bytes until the other side closes.
    ///
    /// # Errors
    /// A timeout or a reset.
    pub fn until_close(&mut self) -> io::Result<Vec<u8>> {
        self.connection.until_close()
    }
}

/// Parses an ack; `None` unless the bytes are exactly those of an ack.
fn ack(frame: &Frame) -> Option<api::Written> {
    let json: serde_json::Value = serde_json::from_slice(&frame.payload).ok()?;
    let (position, count) = (json["position"].as_u64()?, json["count"].as_u64()?);
    let bytes = format!("{{\"position\":{position},\"count\":{count}}}");
    (bytes.as_bytes() == frame.payload).then_some(api::Written { position, count })
}

/// The code and the reason in a close frame.
///
/// # Panics
/// When it has an incomplete code, or a reason that is not UTF-8.
#[must_use]
pub fn closed(frame: &Frame) -> (Option<u16>, String) {
    match frame.payload.split_first_chunk() {
        None => {
            assert!(frame.payload.is_empty(), "{}", shown(frame));
            (None, String::new())
        }
        Some((code, reason)) => {
            let reason = String::from_utf8(reason.to_vec()).expect("a reason is text");
            (Some(u16::from_be_bytes(*code)), reason)
        }
    }
}

/// A frame in readable form, for messages.
#[must_use]
pub fn shown(frame: &Frame) -> String {
    let payload = &frame.payload[..frame.payload.len().min(200)];
    format!("{:#x}, {} bytes: {}", frame.first, frame.payload.len(), payload.escape_ascii())
}
