//! [`Http2`]: HTTP/2 in frames, for peers that open no flow-control window and read what and
//! when they like.
//!
//! ```text
//! length: u24 | type: u8 | flags: u8 | stream: u32 | body
//! ```

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The type of a frame with a part of a body.
pub const DATA: u8 = 0;
/// The type of a frame with the head of a request or an answer.
pub const HEADERS: u8 = 1;
/// The type of a frame that ends a stream early.
pub const RESET: u8 = 3;
/// The type of a frame with settings.
pub const SETTINGS: u8 = 4;
/// The type of a frame that asks for an answer.
pub const PING: u8 = 6;
/// The type of a frame that announces the end of the connection.
pub const GOAWAY: u8 = 7;
/// The type of a frame that opens a window.
pub const WINDOW: u8 = 8;

/// A frame that was received.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// Its body.
    pub body: Vec<u8>,
}

/// Encodes a frame.
///
/// # Panics
/// When the body is longer than 4 GiB.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len()).expect("a short body").to_be_bytes();
    [&size[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
}

/// A header field, as HPACK encodes it without compression.
///
/// # Panics
/// When the value has 127 bytes or more.
#[must_use]
pub fn header(name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).ok().filter(|length| *length < 127);
    let length = |text| short(text).unwrap_or_else(|| panic!("a short text, not {text}"));
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

/// A request without a body on this stream.
///
/// # Panics
/// When one of its values has 127 bytes or more.
#[must_use]
pub fn get(stream: u32, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in
        [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", path)]
    {
        head.extend(header(name, value));
    }
    for (name, value) in headers {
        head.extend(header(name, value));
    }
    // The end of the head and of the request.
    frame(HEADERS, 5, stream, &head)
}

/// A connection with prior knowledge of HTTP/2.
#[derive(Debug)]
pub struct Http2(TcpStream);

impl Http2 {
    /// Connects. `window` bytes of each answer may be sent before the client opens its window,
    /// and 2 GiB of all answers.
    ///
    /// # Panics
    /// When no server listens at the address.
    #[must_use]
    pub fn open(address: SocketAddr, window: u32, patience: Duration) -> Http2 {
        let stream = TcpStream::connect(address).expect("the server is listening");
        stream.set_read_timeout(Some(patience)).expect("a limit above 0");
        let mut connection = Http2(stream);
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        let preface = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &settings),
            frame(WINDOW, 0, 0, &0x7fff_0000_u32.to_be_bytes()),
        ];
        connection.send(&preface.concat());
        connection
    }

    /// Sends frames.
    ///
    /// # Panics
    /// When the connection has ended.
    #[track_caller]
    pub fn send(&mut self, frames: &[u8]) {
        self.0.write_all(frames).expect("it can be sent");
    }

    /// The next frame of a stream. Settings and pings are answered, and other frames of the
    /// connection are skipped.
    ///
    /// # Errors
    /// The connection has ended, the server announces its end, or the time is up.
    pub fn receive(&mut self) -> io::Result<Frame> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head)?;
            let [size @ .., kind, flags, s0, s1, s2, s3] = head;
            let size = u32::from_be_bytes([0, size[0], size[1], size[2]]) as usize;
            let mut body = vec![0; size];
            self.0.read_exact(&mut body)?;
            match kind {
                SETTINGS if flags == 0 => self.0.write_all(&frame(SETTINGS, 1, 0, &[]))?,
                PING if flags == 0 => self.0.write_all(&frame(PING, 1, 0, &body))?,
                GOAWAY => {
                    let reason = body.escape_ascii().to_string();
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason));
                }
                DATA | HEADERS | RESET => {
                    let stream = u32::from_be_bytes([s0, s1, s2, s3]);
                    return Ok(Frame { kind, flags, stream, body });
                }
                _ => {}
            }
        }
    }
}
