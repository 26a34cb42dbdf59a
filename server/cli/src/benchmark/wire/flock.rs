//! [`Flock`]: many streams of styx/1 on one thread.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use styx_protocol::Records;
use styx_protocol::block::{self, Origin};
use styx_protocol::frame::{self, Event, FrameDecoder};

use super::broken;
use super::connection::{Route, Upgraded};
use crate::failure::Failure;

const EVENTS: usize = 1024;
const READ_BYTES: usize = 256 << 10;
/// Our records are far smaller.
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// How often a stream says that it is alive: often enough for every server.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);
/// How long a flock waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Streams that are open.
pub(in crate::benchmark) struct Flock {
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    buffer: Vec<u8>,
    heartbeat: Instant,
    heard: Instant,
}

struct Member {
    stream: TcpStream,
    decoder: FrameDecoder,
}

/// Asks for a stream of styx/1.
pub(in crate::benchmark) const STYX1: &str = "Upgrade: styx/1\r\n";

/// Opens a stream that follows a log from its start.
///
/// # Errors
/// The server refuses.
pub(in crate::benchmark) fn follow(route: &Route, log: &str) -> Result<Upgraded, Failure> {
    route.upgrade(&format!("GET /logs/{log}/records?whence=start&follow=true"), STYX1)
}

/// Appends a frame with a block of one record.
pub(in crate::benchmark) fn encode_record(payload: &[u8], origin: Origin, out: &mut BytesMut) {
    let block = block::build(&Records::one(payload), origin);
    out.extend_from_slice(&frame::blocks_header(block.len()));
    out.extend_from_slice(&block);
}

impl Flock {
    /// Without members.
    ///
    /// # Errors
    /// The system refuses.
    pub(in crate::benchmark) fn new() -> Result<Flock, Failure> {
        let poll = Poll::new().map_err(|error| broken("many streams", &error))?;
        let now = Instant::now();
        Ok(Flock {
            poll,
            events: Events::with_capacity(EVENTS),
            members: Vec::new(),
            buffer: vec![0; READ_BYTES],
            heartbeat: now,
            heard: now,
        })
    }

    /// Takes a stream in; `route` says what its server may send.
    ///
    /// # Errors
    /// The system refuses.
    pub(in crate::benchmark) fn join(
        &mut self,
        opened: Upgraded,
        route: frame::Route,
    ) -> Result<(), Failure> {
        let failed = |error| broken("many streams", &error);
        opened.stream.set_nonblocking(true).map_err(failed)?;
        let mut stream = TcpStream::from_std(opened.stream);
        let token = Token(self.members.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE).map_err(failed)?;
        let mut decoder = FrameDecoder::new(route, RECORD_BYTES_MAX);
        decoder.push(&opened.surplus);
        self.members.push(Member { stream, decoder });
        Ok(())
    }

    /// Sends bytes on a member's stream, which has room for them.
    ///
    /// # Errors
    /// The connection broke.
    pub(in crate::benchmark) fn send(
        &mut self,
        member: usize,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        match self.members.get_mut(member) {
            Some(member) => member.send(bytes),
            None => Ok(()),
        }
    }

    /// Hands everything that comes within `time` to `take`, which may answer
    /// with bytes to send. Every member says that it is alive meanwhile.
    ///
    /// # Errors
    /// A connection broke, the server ended a stream, or nothing came for
    /// minutes.
    pub(in crate::benchmark) fn hear(
        &mut self,
        time: Duration,
        mut take: impl FnMut(usize, Event) -> Result<Option<Bytes>, Failure>,
    ) -> Result<(), Failure> {
        if self.heartbeat.elapsed() >= HEARTBEAT_EVERY {
            self.heartbeat = Instant::now();
            let mut beat = BytesMut::new();
            frame::encode_heartbeat(None, &mut beat);
            self.members.iter_mut().try_for_each(|member| member.send(&beat))?;
        }
        match self.poll.poll(&mut self.events, Some(time)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other.map_err(|error| broken("many streams", &error))?,
        }
        if !self.events.is_empty() {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > PATIENCE {
            return Err(Failure::Failed(format!("nothing came for {PATIENCE:?}")));
        }
        for event in &self.events {
            let Token(number) = event.token();
            let Some(member) = self.members.get_mut(number) else { continue };
            loop {
                let more = member.read(&mut self.buffer)?;
                while let Some(event) = member.next()? {
                    if let Some(bytes) = take(number, event)? {
                        member.send(&bytes)?;
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

impl Member {
    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).map_err(|error| broken("sending on a stream", &error))
    }

    /// Reads once; whether there may be more.
    fn read(&mut self, buffer: &mut [u8]) -> Result<bool, Failure> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Failure::Failed("the server closed a stream".to_owned())),
                Ok(came) => {
                    self.decoder.push(buffer.get(..came).unwrap_or_default());
                    return Ok(came == buffer.len());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken("a stream", &error)),
            }
        }
    }

    fn next(&mut self) -> Result<Option<Event>, Failure> {
        match self.decoder.next() {
            Ok(Some(Event::Error(fault))) => Err(Failure::Failed(fault.message)),
            Ok(event) => Ok(event),
            Err(error) => Err(Failure::Failed(error.to_string())),
        }
    }
}
