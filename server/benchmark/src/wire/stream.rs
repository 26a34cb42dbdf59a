//! [`StreamProtocol`]: producing and consuming over styx/0 and WebSocket.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use super::connection::{Endpoint, UpgradedConnection};
use super::io_error;
use super::message::{self, Parsed};
use super::receive_buffer::{ReceiveBuffer, StopReason};
use super::record_sink::RecordSink;
use crate::Error;
use crate::payload::Framing;

/// A protocol that is a stream of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamProtocol {
    Styx0,
    WebSocket,
}

/// The headers of a WebSocket handshake.
const WEBSOCKET: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const STYX0: &str = "Upgrade: styx/0\r\n";
/// A close frame with code 1000. Its mask is zero.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 3, 232];

/// The receiving half of a producer's stream.
#[derive(Debug)]
pub(crate) struct AckReader {
    kind: StreamProtocol,
    stream: TcpStream,
    buffer: ReceiveBuffer,
    durable: u64,
}

enum Step {
    Took(usize),
    Ended,
}

impl StreamProtocol {
    /// The framing of records.
    pub(crate) fn framing(self) -> Framing {
        match self {
            StreamProtocol::Styx0 => Framing::Styx0,
            StreamProtocol::WebSocket => Framing::WebSocket,
        }
    }

    /// Opens a producer. Returns the stream to write to, and the reader of its acks.
    ///
    /// # Errors
    /// The server refuses.
    pub(crate) fn producer(
        self,
        endpoint: &Endpoint,
        log: &str,
    ) -> Result<(TcpStream, AckReader), Error> {
        let opened = match self {
            StreamProtocol::Styx0 => {
                endpoint.upgrade(&format!("POST /logs/{log}/records"), STYX0)?
            }
            StreamProtocol::WebSocket => endpoint
                .upgrade(&format!("GET /logs/{log}/records?mode=write&acks=true"), WEBSOCKET)?,
        };
        let UpgradedConnection { stream, surplus, .. } = opened;
        let acks_on =
            stream.try_clone().map_err(|error| io_error("duplicating a socket", &error))?;
        let buffer = ReceiveBuffer::new(&surplus);
        Ok((stream, AckReader { kind: self, stream: acks_on, buffer, durable: 0 }))
    }

    /// Tells the server that no more records follow.
    ///
    /// # Errors
    /// The connection failed.
    pub(crate) fn finish(self, stream: &mut TcpStream) -> Result<(), Error> {
        let finished = match self {
            StreamProtocol::Styx0 => stream.shutdown(Shutdown::Write),
            StreamProtocol::WebSocket => stream.write_all(&CLOSE),
        };
        finished.map_err(|error| io_error("ending a stream", &error))
    }

    /// Reads a log from its start to its end.
    ///
    /// # Errors
    /// The server refuses, or sends something invalid.
    pub(crate) fn consume(
        self,
        endpoint: &Endpoint,
        log: &str,
        sink: &mut impl RecordSink,
    ) -> Result<(), Error> {
        let request = format!("GET /logs/{log}/records?whence=start");
        match self {
            StreamProtocol::Styx0 => {
                drain(endpoint.upgrade(&request, STYX0)?, message::styx0, sink)
            }
            StreamProtocol::WebSocket => {
                drain(endpoint.upgrade(&request, WEBSOCKET)?, message::websocket, sink)
            }
        }
    }
}

fn drain(
    opened: UpgradedConnection,
    parse: impl Fn(&[u8]) -> Parsed<'_> + Copy,
    sink: &mut impl RecordSink,
) -> Result<(), Error> {
    let UpgradedConnection { mut stream, surplus, .. } = opened;
    let mut buffer = ReceiveBuffer::new(&surplus);
    loop {
        let mut records = buffer.records(parse);
        let wants_more = sink.accept(&mut records)?;
        let (used, stop) = records.end();
        buffer.consume(used);
        match stop {
            StopReason::Invalid(what) => return Err(Error::Failed(what.to_owned())),
            StopReason::End => return Ok(()),
            StopReason::Incomplete if !wants_more => return Ok(()),
            StopReason::Incomplete => {}
        }
        let received =
            buffer.read(&mut stream).map_err(|error| io_error("reading records", &error))?;
        if received == 0 && buffer.bytes().is_empty() {
            return Ok(());
        }
        if received == 0 {
            return Err(Error::Failed("the stream ended inside a record".to_owned()));
        }
    }
}

impl AckReader {
    /// Waits for the next acks and returns the total number of durable records. `None`
    /// when the server has acked all records and ended the stream.
    ///
    /// # Errors
    /// The connection failed, or the server sent an error.
    pub(crate) fn next(&mut self) -> Result<Option<u64>, Error> {
        loop {
            let before = self.durable;
            while let Some(step) = self.step()? {
                match step {
                    Step::Took(bytes) => self.buffer.consume(bytes),
                    Step::Ended if self.durable == before => return Ok(None),
                    // The end stays in the buffer: the next call finds it again.
                    Step::Ended => break,
                }
            }
            if self.durable > before {
                return Ok(Some(self.durable));
            }
            let received = self.buffer.read(&mut self.stream);
            if received.map_err(|error| io_error("waiting for acks", &error))? == 0 {
                return Ok(None);
            }
        }
    }

    /// Processes the next message. `None` if it is incomplete.
    fn step(&mut self) -> Result<Option<Step>, Error> {
        let bytes = self.buffer.bytes();
        let parsed = match self.kind {
            StreamProtocol::Styx0 => message::styx0(bytes),
            StreamProtocol::WebSocket => message::websocket(bytes),
        };
        match parsed {
            Parsed::Durable(count, used) => {
                // styx/0 acks contain the total, WebSocket acks the increment.
                let before = if self.kind == StreamProtocol::Styx0 { 0 } else { self.durable };
                self.durable = before + count;
                Ok(Some(Step::Took(used)))
            }
            Parsed::Other(used) => Ok(Some(Step::Took(used))),
            Parsed::Incomplete => Ok(None),
            Parsed::End => Ok(Some(Step::Ended)),
            Parsed::Invalid(what) => Err(Error::Failed(what.to_owned())),
            Parsed::Record(..) => {
                Err(Error::Failed("the server sent a record to a producer".to_owned()))
            }
        }
    }

    /// The total number of durable records.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }
}
