//! [`Styx0Stream`]: a minimal client of styx/0, so that a test can do what no real client
//! does.

use std::io;
use std::time::Duration;

use crate::{Connection, Request, Response, TestServer};

/// A heartbeat.
pub const HEARTBEAT: &[u8] = b"\0\x03";

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A record's payload.
    Record(Vec<u8>),
    /// An acknowledgement of durable records.
    Ack {
        /// The position after the stream's last durable record.
        position: u64,
        /// The total number of the stream's durable records.
        count: u64,
    },
    /// A heartbeat.
    Heartbeat,
    /// The stream has failed.
    Error(i16),
}

/// The bytes of a record.
///
/// # Panics
/// When it is longer than 2 GiB.
#[must_use]
pub fn record(payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let size = i32::try_from(payload.len()).expect("a record below 2 GiB");
    [&b"\0\x01"[..], &size.to_be_bytes(), payload].concat()
}

/// The bytes of several records.
#[must_use]
pub fn records(payloads: &[impl AsRef<[u8]>]) -> Vec<u8> {
    payloads.iter().flat_map(record).collect()
}

/// A handshake request, to which headers can be added.
#[must_use]
pub fn handshake(method: &str, log: &str, query: &str) -> Request {
    Request::new(method, &format!("/logs/{log}/records?{query}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "styx/0")
}

/// A connection after its 101.
#[derive(Debug)]
pub struct Styx0Stream {
    connection: Connection,
    /// Heartbeats that [`Styx0Stream::message`] has skipped.
    pub heartbeats: usize,
}

impl Styx0Stream {
    /// Sends a handshake and reads its 101.
    ///
    /// # Errors
    /// The answer, if it is not a 101.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn open(server: &TestServer, handshake: &Request) -> Result<Styx0Stream, Box<Response>> {
        Styx0Stream::open_with(server, &handshake.bytes())
    }

    /// As [`Styx0Stream::open`], with the bytes of the handshake and any bytes after it.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn open_with(server: &TestServer, bytes: &[u8]) -> Result<Styx0Stream, Box<Response>> {
        let mut connection = server.connect();
        connection.send(bytes).expect("the handshake can be sent");
        let answer = connection.response("GET").expect("an answer");
        match answer.status() {
            101 => Ok(Styx0Stream { connection, heartbeats: 0 }),
            _ => Err(Box::new(answer)),
        }
    }

    /// Begins to produce.
    ///
    /// # Panics
    /// When the server refuses it.
    #[must_use]
    #[track_caller]
    pub fn produce(server: &TestServer, log: &str) -> Styx0Stream {
        Styx0Stream::open(server, &handshake("POST", log, ""))
            .unwrap_or_else(|a| panic!("{}", a.shown()))
    }

    /// Begins to consume; `query` without its question mark.
    ///
    /// # Panics
    /// When the server refuses it.
    #[must_use]
    #[track_caller]
    pub fn consume(server: &TestServer, log: &str, query: &str) -> Styx0Stream {
        Styx0Stream::open(server, &handshake("GET", log, query))
            .unwrap_or_else(|a| panic!("{}", a.shown()))
    }

    /// The underlying connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection has ended.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.connection.send(bytes).expect("it can be sent");
    }

    /// Closes the sending side.
    ///
    /// # Panics
    /// When the connection has ended.
    #[track_caller]
    pub fn finish(&mut self) {
        self.connection.finish_sending().expect("it can be closed");
    }

    /// The next message, including heartbeats; `None` at the FIN.
    ///
    /// # Errors
    /// A timeout, a reset, or an invalid message.
    pub fn any(&mut self) -> io::Result<Option<Message>> {
        let kind = match self.connection.raw(2) {
            Ok(kind) => [kind[0], kind[1]],
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                let rest = self.connection.until_close()?;
                return if rest.is_empty() { Ok(None) } else { Err(e) };
            }
            Err(e) => return Err(e),
        };
        Ok(Some(match i16::from_be_bytes(kind) {
            1 => {
                let size = self.number(4)?;
                Message::Record(self.connection.raw(usize::try_from(size).expect("a size"))?)
            }
            2 => Message::Ack { position: self.number(8)?, count: self.number(8)? },
            3 => Message::Heartbeat,
            4 => Message::Error(i16::try_from(self.number(2)?).expect("a code above 0")),
            other => return Err(io::Error::other(format!("a message of type {other}"))),
        }))
    }

    fn number(&mut self, bytes: usize) -> io::Result<u64> {
        let raw = self.connection.raw(bytes)?;
        Ok(raw.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The next message that is not a heartbeat; `None` at the FIN.
    ///
    /// # Panics
    /// On a timeout, a reset, or an invalid message.
    #[track_caller]
    pub fn message(&mut self) -> Option<Message> {
        loop {
            match self.any() {
                Ok(Some(Message::Heartbeat)) => self.heartbeats += 1,
                Ok(message) => return message,
                Err(error) => panic!("{error} instead of a message"),
            }
        }
    }

    /// All messages up to the FIN, without heartbeats.
    ///
    /// # Panics
    /// As [`Styx0Stream::message`].
    #[track_caller]
    pub fn rest(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.message()).collect()
    }

    /// The payloads of the next `count` messages, which must be records.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|_| match self.message() {
                Some(Message::Record(payload)) => payload,
                other => panic!("{other:?} instead of a record"),
            })
            .collect()
    }

    /// Reads acks until `count` records are durable, and returns the last position.
    ///
    /// # Panics
    /// When another message arrives, or a count does not increase.
    #[track_caller]
    pub fn acked(&mut self, total: u64) -> u64 {
        let mut last = 0;
        loop {
            match self.message() {
                Some(Message::Ack { position, count }) => {
                    assert!(count > last, "an ack of {count} after one of {last}");
                    last = count;
                    assert!(count <= total, "{count} records are acked");
                    if count == total {
                        return position;
                    }
                }
                other => panic!("{other:?} after acks of {last} records"),
            }
        }
    }

    /// Whether nothing arrives within this time.
    ///
    /// # Panics
    /// On a reset.
    #[must_use]
    pub fn is_quiet_for(&mut self, limit: Duration) -> bool {
        let socket = self.connection.socket();
        let before = socket.read_timeout().expect("a socket");
        self.connection.set_patience(limit);
        let found = self.any();
        self.connection.socket().set_read_timeout(before).expect("a socket");
        match found {
            Err(e) => matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            Ok(_) => false,
        }
    }
}
