//! [`Styx1Connections`]: many styx/1 streams on one thread.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use styx_protocol::Records;
use styx_protocol::block::{self, Origin};
use styx_protocol::frame::{self, Event, FrameDecoder};

use super::connection::{Endpoint, UpgradedConnection};
use super::io_error;
use crate::Error;

const EVENTS: usize = 1024;
const READ_BYTES: usize = 256 << 10;
/// The largest record. Records of the benchmark are much smaller.
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// The time between heartbeats: shorter than the timeout of any server.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How long to wait while nothing is received.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Open streams.
pub(crate) struct Styx1Connections {
    poll: Poll,
    events: Events,
    connections: Vec<Styx1Connection>,
    buffer: Vec<u8>,
    last_heartbeat: Instant,
    last_received: Instant,
}

struct Styx1Connection {
    stream: TcpStream,
    decoder: FrameDecoder,
}

/// The header that asks for a styx/1 stream.
pub(crate) const STYX1: &str = "Upgrade: styx/1\r\n";

/// Opens a stream that follows a log from its start.
///
/// # Errors
/// The server refuses.
pub(crate) fn follow(endpoint: &Endpoint, log: &str) -> Result<UpgradedConnection, Error> {
    endpoint.upgrade(&format!("GET /logs/{log}/records?whence=start&follow=true"), STYX1)
}

/// Writes a frame with a block of one record to `out`.
pub(crate) fn encode_record(payload: &[u8], origin: Origin, out: &mut BytesMut) {
    let block = block::build(&Records::one(payload), origin);
    out.extend_from_slice(&frame::blocks_header(block.len()));
    out.extend_from_slice(&block);
}

impl Styx1Connections {
    /// Without streams.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn new() -> Result<Styx1Connections, Error> {
        let poll = Poll::new().map_err(|error| io_error("polling styx/1 streams", &error))?;
        let now = Instant::now();
        Ok(Styx1Connections {
            poll,
            events: Events::with_capacity(EVENTS),
            connections: Vec::new(),
            buffer: vec![0; READ_BYTES],
            last_heartbeat: now,
            last_received: now,
        })
    }

    /// Adds a stream. `route` determines which frames its server may send. Streams are
    /// numbered from 0.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn add(
        &mut self,
        opened: UpgradedConnection,
        route: frame::Route,
    ) -> Result<(), Error> {
        let failed = |error| io_error("polling styx/1 streams", &error);
        opened.stream.set_nonblocking(true).map_err(failed)?;
        let mut stream = TcpStream::from_std(opened.stream);
        let token = Token(self.connections.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE).map_err(failed)?;
        let mut decoder = FrameDecoder::new(route, RECORD_BYTES_MAX);
        decoder.push(&opened.surplus);
        self.connections.push(Styx1Connection { stream, decoder });
        Ok(())
    }

    /// Sends bytes on a stream. They must fit in the buffer of its socket.
    ///
    /// # Errors
    /// The connection failed.
    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) -> Result<(), Error> {
        match self.connections.get_mut(number) {
            Some(connection) => connection.send(bytes),
            None => Ok(()),
        }
    }

    /// Waits up to `time` for events, and passes them to `take` with the number of their
    /// stream. `take` may return bytes to send on that stream. Sends heartbeats on all
    /// streams when they are due.
    ///
    /// # Errors
    /// A connection failed, the server ended a stream, or nothing was received for 2
    /// minutes.
    pub(crate) fn poll(
        &mut self,
        time: Duration,
        mut take: impl FnMut(usize, Event) -> Result<Option<Bytes>, Error>,
    ) -> Result<(), Error> {
        if self.last_heartbeat.elapsed() >= HEARTBEAT_INTERVAL {
            self.last_heartbeat = Instant::now();
            let mut heartbeat = BytesMut::new();
            frame::encode_heartbeat(None, &mut heartbeat);
            self.connections.iter_mut().try_for_each(|connection| connection.send(&heartbeat))?;
        }
        match self.poll.poll(&mut self.events, Some(time)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other.map_err(|error| io_error("polling styx/1 streams", &error))?,
        }
        if !self.events.is_empty() {
            self.last_received = Instant::now();
        } else if self.last_received.elapsed() > TIMEOUT {
            return Err(Error::Failed(format!("the server sent nothing for {TIMEOUT:?}")));
        }
        for event in &self.events {
            let Token(number) = event.token();
            let Some(connection) = self.connections.get_mut(number) else { continue };
            loop {
                let more = connection.read(&mut self.buffer)?;
                while let Some(event) = connection.next()? {
                    if let Some(bytes) = take(number, event)? {
                        connection.send(&bytes)?;
                    }
                }
                if !more {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Styx1Connection {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).map_err(|error| io_error("sending on a stream", &error))
    }

    /// Reads once. Returns whether there may be more to read.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool, Error> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Error::Failed("the server closed a stream".to_owned())),
                Ok(received) => {
                    self.decoder.push(buffer.get(..received).unwrap_or_default());
                    return Ok(received == buffer.len());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("a stream", &error)),
            }
        }
    }

    fn next(&mut self) -> Result<Option<Event>, Error> {
        match self.decoder.next() {
            Ok(Some(Event::Error(fault))) => Err(Error::Failed(fault.message)),
            Ok(event) => Ok(event),
            Err(error) => Err(Error::Failed(error.to_string())),
        }
    }
}
