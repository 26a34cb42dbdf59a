//! [`WebSocket`]: a client that speaks frames in bytes, so that it can send what
//! no library would, and sees what came as it came.
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

/// First bytes of whole messages and of control frames.
pub const TEXT: u8 = 0x81;
/// A whole binary message.
pub const BINARY: u8 = 0x82;
/// The end of a connection.
pub const CLOSE: u8 = 0x88;
/// A question whether the peer is there.
pub const PING: u8 = 0x89;
/// The answer to it.
pub const PONG: u8 = 0x8a;

/// The key in RFC 6455's example of a handshake.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What has to come back for it.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its first byte: fin, reserved bits, opcode.
    pub first: u8,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A client's frame.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A client's frame up to its payload, which is said to have so many bytes.
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

/// The handshake that asks for this.
#[must_use]
pub fn handshake(target: &str) -> Request {
    upgrade(Request::get(target))
}

/// Makes a request a handshake.
#[must_use]
pub fn upgrade(request: Request) -> Request {
    request
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", 13)
        .header("Sec-WebSocket-Key", KEY)
}

/// The sending half of a connection: no frame of another thread, as a pong, comes
/// into the middle of what it sends.
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

    /// Says that nothing more will be sent; without an error for one that is gone.
    pub fn finish(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

/// A connection after its 101.
#[derive(Debug)]
pub struct WebSocket {
    connection: Connection,
    /// Whose turn it is to send.
    turn: Arc<Mutex<()>>,
    /// What the 101 said.
    pub head: Head,
}

impl TestServer {
    /// Sends a handshake; an answer that is not 101 comes back as the error.
    ///
    /// # Errors
    /// The answer.
    ///
    /// # Panics
    /// When there is none.
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
    /// When that is refused.
    #[must_use]
    #[track_caller]
    pub fn websocket_read(&self, log: &str, query: &str) -> WebSocket {
        self.open(log, query)
    }

    /// Writes to a log over a WebSocket; `query` begins with `&` or is empty.
    ///
    /// # Panics
    /// When that is refused.
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
    /// The socket, for what only it can do.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.connection.socket()
    }

    /// How long a read may wait.
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

    /// Sends from another thread while this one receives, and answers pings.
    ///
    /// # Panics
    /// When the process has no descriptor for it.
    #[must_use]
    pub fn sender(&self) -> Sender {
        let socket = self.socket().try_clone().expect("a descriptor");
        Sender { socket, turn: Arc::clone(&self.turn) }
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When the socket does not take it.
    #[track_caller]
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&frame(first, payload)).expect("a frame can be sent");
    }

    /// Says that nothing more will be sent, without a close frame.
    ///
    /// # Panics
    /// When the socket is gone.
    pub fn finish_sending(&self) {
        self.connection.finish_sending().expect("a socket");
    }

    /// Exactly so many bytes of what the server sent, whatever they are.
    ///
    /// # Errors
    /// As [`frame`](Self::frame).
    pub fn raw(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.connection.raw(count)
    }

    /// The next frame, whatever it is.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends before; a time-out.
    ///
    /// # Panics
    /// When a server must not send it.
    pub fn frame(&mut self) -> io::Result<Frame> {
        let bytes = self.connection.raw(2)?;
        let (first, length) = (bytes[0], bytes[1]);
        assert!(length < 0x80, "a server's frames are not masked");
        assert_eq!(first & 0x70, 0, "no extension was agreed on");
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

    /// The next message or close; pings on the way to it are answered.
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

    /// The next record.
    ///
    /// # Panics
    /// When something else comes.
    #[track_caller]
    pub fn record(&mut self) -> Vec<u8> {
        let frame = self.receive().expect("a record");
        assert_eq!(frame.first, BINARY, "{}", shown(&frame));
        frame.payload
    }

    /// The next acknowledgement.
    ///
    /// # Panics
    /// When something else comes.
    #[track_caller]
    pub fn ack(&mut self) -> api::Written {
        let frame = self.receive().expect("an acknowledgement");
        assert_eq!(frame.first, TEXT, "{}", shown(&frame));
        ack(&frame).unwrap_or_else(|| panic!("{}", shown(&frame)))
    }

    /// Acknowledgements until so many records are durable; the last position.
    ///
    /// # Panics
    /// When something else comes, or more.
    #[track_caller]
    pub fn acks(&mut self, count: u64) -> u64 {
        let (mut durable, mut position) = (0, 0);
        while durable < count {
            let ack = self.ack();
            assert!(ack.count > 0, "an acknowledgement of nothing");
            durable += ack.count;
            position = ack.position;
        }
        assert_eq!(durable, count);
        position
    }

    /// The server's close, after which nothing comes, and its reason.
    ///
    /// # Panics
    /// When something else comes, or another code.
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

    /// Closes, and gives what came before the server's close, which has to say
    /// the same.
    ///
    /// # Panics
    /// When it does not.
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

    /// Whatever comes until the other side closes.
    ///
    /// # Errors
    /// A time-out, a reset.
    pub fn until_close(&mut self) -> io::Result<Vec<u8>> {
        self.connection.until_close()
    }
}

/// What an acknowledgement says, if it is one to the byte.
fn ack(frame: &Frame) -> Option<api::Written> {
    let json: serde_json::Value = serde_json::from_slice(&frame.payload).ok()?;
    let (position, count) = (json["position"].as_u64()?, json["count"].as_u64()?);
    let bytes = format!("{{\"position\":{position},\"count\":{count}}}");
    (bytes.as_bytes() == frame.payload).then_some(api::Written { position, count })
}

/// The code and the reason in a close frame.
///
/// # Panics
/// When it has half a code, or a reason that is not text.
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

/// A frame for people.
#[must_use]
pub fn shown(frame: &Frame) -> String {
    let payload = &frame.payload[..frame.payload.len().min(200)];
    format!("{:#x}, {} bytes: {}", frame.first, frame.payload.len(), payload.escape_ascii())
}
