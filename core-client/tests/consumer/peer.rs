//! A peer that speaks styx/1 correctly or with faults. The test's own function serves each
//! connection, on a thread.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use styx_protocol::frame::{self, Ends, Fault};
use styx_protocol::{Position, ReadParams, Whence, header};

use crate::log::Log;

/// The silence timeout in seconds that a peer announces by default.
pub(crate) const TIMEOUT_SECONDS: u64 = 30;

/// Listens until it is dropped.
pub(crate) struct Peer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// The request of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) params: ReadParams,
    pub(crate) headers: HashMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// One connection, after its request.
pub(crate) struct Connection {
    /// The number of the connection, from 0.
    pub(crate) number: usize,
    pub(crate) request: Request,
    pub(crate) stream: TcpStream,
    /// A line that the `101` has besides the usual ones, or none.
    pub(crate) line: String,
}

impl Peer {
    /// Calls `serve` with each connection.
    pub(crate) fn start(serve: impl Fn(Connection) + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, serve) = (Arc::clone(&seen), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let Some(request) = read_request(&stream) else { return };
                let number = {
                    let mut noted = noted.lock().expect("no panic");
                    noted.push(request.clone());
                    noted.len() - 1
                };
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || {
                    serve(Connection { number, request, stream, line: String::new() })
                });
            }
        });
        Peer { address, seen }
    }

    pub(crate) fn address(&self) -> String {
        format!("styx://{}", self.address)
    }

    /// The requests of all connections so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().expect("no panic").clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A connection without a request stops the listener.
        let _ = TcpStream::connect(self.address);
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let target = first.split(' ').nth(1).expect("a request line").to_owned();
    let query = target.split_once('?').map_or("", |(_, query)| query).to_owned();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let params = ReadParams::parse(pairs).expect("good parameters");
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.expect("a header");
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request { params, headers })
}

impl Connection {
    /// Responds with an error instead of the upgrade.
    pub(crate) fn refuse(mut self, status: u16, json: &str) {
        let head = format!("HTTP/1.1 {status} No\r\nContent-Length: {}\r\n\r\n", json.len());
        self.write(head.as_bytes());
        self.write(json.as_bytes());
    }

    /// The requested position in this log.
    pub(crate) fn position(&self, log: &Log) -> u64 {
        let ReadParams { whence, position, .. } = self.request.params;
        let from = match whence {
            Whence::Origin | Whence::Time => 0,
            Whence::Start => log.start(),
            Whence::End => log.end(),
        };
        from.checked_add_signed(position).expect("a position")
    }

    /// Responds with `101` for a read of `log` from `position` on.
    pub(crate) fn agree(&mut self, log: &Log, position: u64) {
        self.agree_with(log, position, TIMEOUT_SECONDS);
    }

    pub(crate) fn agree_with(&mut self, log: &Log, position: u64, timeout_seconds: u64) {
        let (id, start, end) = (log.id, log.start(), log.end());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: styx/1\r\n{}\
             {}: {id}\r\n{}: {start}\r\n{}: {end}\r\n{}: {position}\r\n{}: {timeout_seconds}\r\n\r\n",
            self.line,
            header::LOG_ID,
            header::START_POSITION,
            header::END_POSITION,
            header::POSITION,
            header::TIMEOUT,
        );
        self.write(head.as_bytes());
    }

    /// Serves the log correctly, but breaks the stream after `cut` bytes.
    pub(crate) fn serve(mut self, log: &Log, cut: usize) {
        let position = self.position(log);
        self.agree(log, position);
        let ReadParams { count, follow, .. } = self.request.params;
        let until = position.saturating_add(count.unwrap_or(u64::MAX));
        let mut stream = log.frames(position, until);
        if until <= log.end() || !follow {
            frame::encode_end(false, &mut stream);
        } else {
            frame::encode_heartbeat(Some(ends(log)), &mut stream);
        }
        let is_whole = cut >= stream.len();
        self.write(&stream[..cut.min(stream.len())]);
        if is_whole && follow {
            self.wait_for_end();
        }
    }

    /// Sends bytes. It is not an error if the client has disconnected.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub(crate) fn send_blocks(&mut self, log: &Log, from: u64, until: u64) {
        self.write(&log.frames(from, until));
    }

    pub(crate) fn send_heartbeat(&mut self, start: u64, end: u64) {
        let mut bytes = BytesMut::new();
        let ends = Ends { start: Position(start), end: Position(end) };
        frame::encode_heartbeat(Some(ends), &mut bytes);
        self.write(&bytes);
    }

    pub(crate) fn send_error(&mut self, fault: &Fault) {
        let mut bytes = BytesMut::new();
        fault.encode(&mut bytes);
        self.write(&bytes);
        let _ = self.stream.shutdown(Shutdown::Write);
        self.wait_for_end();
    }

    pub(crate) fn send_end(&mut self) {
        let mut bytes = BytesMut::new();
        frame::encode_end(false, &mut bytes);
        self.write(&bytes);
    }

    /// Waits for a complete heartbeat of the client, and returns whether there was one.
    pub(crate) fn wait_for_heartbeat(&mut self) -> bool {
        let mut bytes = [0; 8];
        let read = self.stream.read_exact(&mut bytes).is_ok();
        assert!(!read || bytes == [3, 0, 0, 0, 0, 0, 0, 0], "{bytes:?}");
        read
    }

    /// Waits until the client has disconnected.
    pub(crate) fn wait_for_end(&mut self) {
        while self.wait_for_heartbeat() {}
    }
}

fn ends(log: &Log) -> Ends {
    Ends { start: Position(log.start()), end: Position(log.end()) }
}
