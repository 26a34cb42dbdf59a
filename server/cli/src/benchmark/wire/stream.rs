//! Producing and consuming over the protocols that are a stream of messages:
//! styx/0 and WebSocket.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use super::broken;
use super::connection::{Route, Upgraded};
use super::inbox::{Inbox, Stop};
use super::message::{self, Parsed};
use super::visitor::Visitor;
use crate::benchmark::payload::Framing;
use crate::failure::Failure;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::benchmark) enum Stream {
    Styx0,
    WebSocket,
}

/// What makes a WebSocket of a request.
const WEBSOCKET: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const STYX0: &str = "Upgrade: styx/0\r\n";
/// A close with 1000, masked with zeros.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 3, 232];

/// The half of a producer's stream that acks come in on.
#[derive(Debug)]
pub(in crate::benchmark) struct Acks {
    kind: Stream,
    stream: TcpStream,
    inbox: Inbox,
    durable: u64,
}

enum Step {
    Took(usize),
    Ended,
}

impl Stream {
    /// How records are written on it.
    pub(in crate::benchmark) fn framing(self) -> Framing {
        match self {
            Stream::Styx0 => Framing::Styx0,
            Stream::WebSocket => Framing::WebSocket,
        }
    }

    /// Opens a producer: where to write messages, and where acks come in.
    ///
    /// # Errors
    /// The server refuses.
    pub(in crate::benchmark) fn producer(
        self,
        route: &Route,
        log: &str,
    ) -> Result<(TcpStream, Acks), Failure> {
        let opened = match self {
            Stream::Styx0 => route.upgrade(&format!("POST /logs/{log}/records"), STYX0)?,
            Stream::WebSocket => route
                .upgrade(&format!("GET /logs/{log}/records?mode=write&acks=true"), WEBSOCKET)?,
        };
        let Upgraded { stream, surplus, .. } = opened;
        let acks_on = stream.try_clone().map_err(|error| broken("a socket", &error))?;
        let inbox = Inbox::new(&surplus);
        Ok((stream, Acks { kind: self, stream: acks_on, inbox, durable: 0 }))
    }

    /// Tells the server that there is no more.
    ///
    /// # Errors
    /// The connection broke.
    pub(in crate::benchmark) fn finish(self, stream: &mut TcpStream) -> Result<(), Failure> {
        let finished = match self {
            Stream::Styx0 => stream.shutdown(Shutdown::Write),
            Stream::WebSocket => stream.write_all(&CLOSE),
        };
        finished.map_err(|error| broken("ending a stream", &error))
    }

    /// Reads a log from its start to its end.
    ///
    /// # Errors
    /// The server refuses, or what it sends is wrong.
    pub(in crate::benchmark) fn consume(
        self,
        route: &Route,
        log: &str,
        visitor: &mut impl Visitor,
    ) -> Result<(), Failure> {
        let request = format!("GET /logs/{log}/records?whence=start");
        match self {
            Stream::Styx0 => drain(route.upgrade(&request, STYX0)?, message::styx0, visitor),
            Stream::WebSocket => {
                drain(route.upgrade(&request, WEBSOCKET)?, message::websocket, visitor)
            }
        }
    }
}

fn drain(
    opened: Upgraded,
    parse: impl Fn(&[u8]) -> Parsed<'_> + Copy,
    visitor: &mut impl Visitor,
) -> Result<(), Failure> {
    let Upgraded { mut stream, surplus, .. } = opened;
    let mut inbox = Inbox::new(&surplus);
    loop {
        let mut records = inbox.records(parse);
        let wants_more = visitor.visit(&mut records)?;
        let (used, stop) = records.end();
        inbox.take(used);
        match stop {
            Stop::Fault(what) => return Err(Failure::Failed(what.to_owned())),
            Stop::End => return Ok(()),
            Stop::Incomplete if !wants_more => return Ok(()),
            Stop::Incomplete => {}
        }
        let came = inbox.read(&mut stream).map_err(|error| broken("reading records", &error))?;
        if came == 0 && inbox.bytes().is_empty() {
            return Ok(());
        }
        if came == 0 {
            return Err(Failure::Failed("the stream ended inside of a record".to_owned()));
        }
    }
}

impl Acks {
    /// Waits for the next acks: how many records are durable in all, or `None`
    /// when the server has acked all and ended the stream.
    ///
    /// # Errors
    /// The connection broke, or the server says that something went wrong.
    pub(in crate::benchmark) fn next(&mut self) -> Result<Option<u64>, Failure> {
        loop {
            let before = self.durable;
            while let Some(step) = self.step()? {
                match step {
                    Step::Took(bytes) => self.inbox.take(bytes),
                    Step::Ended if self.durable == before => return Ok(None),
                    // Asked again, it says so again.
                    Step::Ended => break,
                }
            }
            if self.durable > before {
                return Ok(Some(self.durable));
            }
            let came = self.inbox.read(&mut self.stream);
            if came.map_err(|error| broken("waiting for acks", &error))? == 0 {
                return Ok(None);
            }
        }
    }

    /// Looks at the next message; `None` when it is not all there.
    fn step(&mut self) -> Result<Option<Step>, Failure> {
        let bytes = self.inbox.bytes();
        let parsed = match self.kind {
            Stream::Styx0 => message::styx0(bytes),
            Stream::WebSocket => message::websocket(bytes),
        };
        match parsed {
            Parsed::Durable(count, used) => {
                // styx/0 counts in all, WebSocket from ack to ack.
                let before = if self.kind == Stream::Styx0 { 0 } else { self.durable };
                self.durable = before + count;
                Ok(Some(Step::Took(used)))
            }
            Parsed::Other(used) => Ok(Some(Step::Took(used))),
            Parsed::Incomplete => Ok(None),
            Parsed::End => Ok(Some(Step::Ended)),
            Parsed::Fault(what) => Err(Failure::Failed(what.to_owned())),
            Parsed::Record(..) => Err(Failure::Failed("a producer was sent a record".to_owned())),
        }
    }

    /// Durable records in all.
    pub(in crate::benchmark) fn durable(&self) -> u64 {
        self.durable
    }
}
