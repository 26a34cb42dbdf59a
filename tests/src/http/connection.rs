//! [`Connection`]: one TCP connection that sends bytes and parses answers.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::{self, ClientConfig, ClientConnection};

use super::{Ending, Head, Request, Response};
use crate::transport;

/// How long a read waits by default before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// How the body that is being received ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
    Done,
}

/// A connection. Answers are read in the order of the requests.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// With TLS, if the test does without the bridge.
    tls: Option<Box<ClientConnection>>,
    received: Vec<u8>,
    framing: Framing,
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    /// When no server listens at the address.
    #[must_use]
    pub fn open(address: SocketAddr) -> Connection {
        Connection::try_open(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"))
    }

    /// Connects, without a panic if no server listens at the address.
    ///
    /// # Errors
    /// The error of `connect`.
    pub fn try_open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Connection { stream, tls: None, received: Vec::new(), framing: Framing::Done })
    }

    /// Connects with TLS, to `localhost`. Nothing buffers between the test and the server, and
    /// bytes are sent while none are read. The end of the sending side is a plain FIN.
    ///
    /// # Errors
    /// The error of `connect`.
    ///
    /// # Panics
    /// Never with a configuration of TLS clients.
    pub fn try_open_tls(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<Connection> {
        let name = "localhost".try_into().expect("a name");
        let tls = ClientConnection::new(config, name).expect("a good configuration");
        Ok(Connection { tls: Some(Box::new(tls)), ..Connection::try_open(address)? })
    }

    /// The underlying socket.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Sets how long a read may wait.
    ///
    /// # Panics
    /// Never for a duration above 0.
    pub fn set_patience(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a limit above 0");
    }

    /// Sends bytes as they are. Only when tests run again with tokens, a request gets one.
    ///
    /// # Errors
    /// The error of the socket.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let bytes = transport::authorized(bytes);
        match &mut self.tls {
            None => self.stream.write_all(&bytes),
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut **tls, &mut self.stream);
                stream.write_all(&bytes)?;
                stream.flush()
            }
        }
    }

    /// Sends one chunk of a chunked body; an empty one ends the body.
    ///
    /// # Errors
    /// The error of the socket.
    pub fn send_chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(&chunk)
    }

    /// Closes the sending side.
    ///
    /// # Errors
    /// The error of the socket.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// The error of the socket, or an answer that is not HTTP.
    pub fn exchange(&mut self, request: &Request) -> io::Result<Response> {
        self.send(&request.bytes())?;
        self.response(request.method())
    }

    /// Reads an answer to a request with this method.
    ///
    /// # Errors
    /// The error of the socket, or an answer that is not HTTP. A body that is cut off
    /// is not an error here, see [`Response::ending`].
    pub fn response(&mut self, method: &str) -> io::Result<Response> {
        let mut interim = Vec::new();
        let head = loop {
            let head = self.head(method)?;
            if head.status >= 200 || head.status == 101 {
                break head;
            }
            interim.push(head.status);
        };
        let (body, ending) = self.body()?;
        Ok(Response { head, body, ending, interim })
    }

    /// Reads a status line and headers, including those of a 1xx answer.
    ///
    /// # Errors
    /// `UnexpectedEof` if the connection ends first.
    pub fn head(&mut self, method: &str) -> io::Result<Head> {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at;
            }
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let text = String::from_utf8_lossy(&self.received[..end]).into_owned();
        self.received.drain(..end + 4);
        let head = parse_head(&text)?;
        self.framing = framing(method, &head);
        Ok(head)
    }

    /// Reads the rest of a body.
    ///
    /// # Errors
    /// A timeout, or invalid chunks. A reset is [`Ending::Cut`].
    pub fn body(&mut self) -> io::Result<(Vec<u8>, Ending)> {
        let mut body = Vec::new();
        loop {
            match self.piece() {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => return Ok((body, Ending::Whole)),
                Err(e) if is_cut(&e) => return Ok((body, Ending::Cut)),
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads the next piece of a body; `None` at its end.
    ///
    /// # Errors
    /// `UnexpectedEof` or a reset if the body is cut off; a timeout.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::Done | Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                if self.received.is_empty() && self.receive()? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                let take = self.received.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.framing = Framing::Length(left - take as u64);
                Ok(Some(self.received.drain(..take).collect()))
            }
            Framing::UntilClose => {
                if self.received.is_empty() && self.receive()? == 0 {
                    self.framing = Framing::Done;
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.received)))
            }
            Framing::Chunked => self.chunk(),
        }
    }

    fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)
            .map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("chunk size {line:?}")))?;
        if size == 0 {
            while !self.line()?.is_empty() {}
            self.framing = Framing::Done;
            return Ok(None);
        }
        self.fill(size + 2)?;
        let chunk = self.received.drain(..size).collect();
        self.received.drain(..2);
        Ok(Some(chunk))
    }

    /// Reads exactly `count` raw bytes, after an upgrade.
    ///
    /// # Errors
    /// `UnexpectedEof` if the connection ends first.
    pub fn raw(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.fill(count)?;
        Ok(self.received.drain(..count).collect())
    }

    /// Reads the bytes that are available, at least one; none after the other side has
    /// closed.
    ///
    /// # Errors
    /// A timeout or a reset.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.received.is_empty() {
            self.receive()?;
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// Reads everything until the other side closes.
    ///
    /// # Errors
    /// A timeout or a reset.
    pub fn until_close(&mut self) -> io::Result<Vec<u8>> {
        while self.receive()? > 0 {}
        Ok(std::mem::take(&mut self.received))
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.received, b"\r\n") {
                let line = String::from_utf8_lossy(&self.received[..at]).into_owned();
                self.received.drain(..at + 2);
                return Ok(line);
            }
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self, count: usize) -> io::Result<()> {
        while self.received.len() < count {
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        let old = self.received.len();
        self.received.resize(old + (64 << 10), 0);
        let read = loop {
            let room = &mut self.received[old..];
            let read = match &mut self.tls {
                None => self.stream.read(room),
                Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(room),
            };
            match read {
                // A read with a timeout is interrupted when the machine is suspended.
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.received.truncate(old + *read.as_ref().unwrap_or(&0));
        read
    }
}

/// Whether the other side ended the connection.
fn is_cut(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn parse_head(text: &str) -> io::Result<Head> {
    let bad = || io::Error::new(ErrorKind::InvalidData, format!("not an HTTP answer: {text:?}"));
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default().to_owned();
    let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(bad)?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Head { status_line, status, headers })
}

fn framing(method: &str, head: &Head) -> Framing {
    if method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304 {
        return Framing::Done;
    }
    if head.header("Transfer-Encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        return Framing::Chunked;
    }
    match head.header("Content-Length").and_then(|v| v.parse().ok()) {
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
