//! Streams of styx/1: tests send frames and blocks, and receive events.

use std::io;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use styx_protocol::block::{self, Block, Origin};
use styx_protocol::frame::{self, Ack, AckRun, Ends, Event, Fault, FrameDecoder, Route};
use styx_protocol::record::Builder;
use styx_protocol::{Code, Position, Records};

use crate::http::Head;
use crate::{Connection, Request, Response, TestServer};

/// A connection that speaks styx/1.
#[derive(Debug)]
pub struct Styx1Stream {
    /// The answer to its handshake.
    pub head: Head,
    /// Its socket.
    pub connection: Connection,
    decoder: FrameDecoder,
}

/// The handshake of a producer.
#[must_use]
pub fn produce_request(log: &str, query: &str) -> Request {
    handshake("POST", log, query)
}

/// The handshake of a consumer.
#[must_use]
pub fn consume_request(log: &str, query: &str) -> Request {
    handshake("GET", log, query)
}

fn handshake(method: &str, log: &str, query: &str) -> Request {
    Request::new(method, &format!("/logs/{log}/records?{query}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "styx/1")
}

/// Begins a stream as a producer.
///
/// # Panics
/// When the server refuses it.
#[must_use]
#[track_caller]
pub fn produce(server: &TestServer, log: &str, query: &str) -> Styx1Stream {
    open(server, &produce_request(log, query), Route::ServerToProducer)
}

/// Begins a stream as a consumer.
///
/// # Panics
/// When the server refuses it.
#[must_use]
#[track_caller]
pub fn consume(server: &TestServer, log: &str, query: &str) -> Styx1Stream {
    open(server, &consume_request(log, query), Route::ServerToConsumer)
}

/// Begins a stream.
///
/// # Panics
/// When the server refuses it.
#[must_use]
#[track_caller]
pub fn open(server: &TestServer, request: &Request, route: Route) -> Styx1Stream {
    match try_open(server, request, route) {
        Ok(stream) => stream,
        Err(refusal) => panic!("{}: {}", refusal.head.status_line, refusal.text()),
    }
}

/// Begins a stream, or gets the server's refusal.
///
/// # Errors
/// The answer, if it is not a 101.
///
/// # Panics
/// When there is no answer.
pub fn try_open(
    server: &TestServer,
    request: &Request,
    route: Route,
) -> Result<Styx1Stream, Box<Response>> {
    let mut connection = server.connect();
    connection.send(&request.bytes()).expect("the handshake can be sent");
    let answer = connection.response(request.method()).expect("an answer");
    if answer.head.status != 101 {
        return Err(Box::new(answer));
    }
    Ok(Styx1Stream { head: answer.head, connection, decoder: FrameDecoder::new(route, 1 << 30) })
}

impl Styx1Stream {
    /// The next event; `None` when the server has closed.
    ///
    /// # Panics
    /// When the server sends an invalid frame, resets the connection, or sends nothing
    /// for long.
    #[track_caller]
    #[expect(clippy::should_implement_trait, reason = "a stream is not a collection")]
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.decoder.next().expect("valid frames") {
                return Some(event);
            }
            let bytes = self.connection.some().expect("bytes before the timeout");
            if bytes.is_empty() {
                self.decoder.finish().expect("complete frames");
                return None;
            }
            self.decoder.push(&bytes);
        }
    }

    /// The next event that is not a heartbeat.
    #[track_caller]
    pub fn next_but_heartbeats(&mut self) -> Option<Event> {
        loop {
            match self.next() {
                Some(Event::Heartbeat(_)) => {}
                event => return event,
            }
        }
    }

    /// Reads acks until `count` records of the stream are durable. Returns the positions
    /// of the records acked meanwhile, in as few runs as possible.
    ///
    /// # Panics
    /// When another event arrives.
    #[track_caller]
    pub fn acked(&mut self, count: u64) -> Vec<AckRun> {
        let mut all = Ack::default();
        loop {
            match self.next_but_heartbeats() {
                Some(Event::Ack(Ack { count: so_far, runs })) => {
                    runs.iter().for_each(|run| all.add(run.base, run.count));
                    assert!(so_far <= count, "{so_far} are acked");
                    if so_far == count {
                        return all.runs;
                    }
                }
                other => panic!("{other:?} instead of an ack"),
            }
        }
    }

    /// The error that ends the stream. Skips acks before it.
    ///
    /// # Panics
    /// When another event arrives, or any event after it.
    #[track_caller]
    pub fn fault(&mut self) -> Fault {
        loop {
            match self.next_but_heartbeats() {
                Some(Event::Error(fault)) => {
                    assert_eq!(self.next(), None, "after {fault:?}");
                    return fault;
                }
                Some(Event::Ack(_) | Event::Block(_)) => {}
                other => panic!("{other:?} instead of a fault"),
            }
        }
    }

    /// As [`fault`](Self::fault), and checks its code.
    #[track_caller]
    pub fn fails_with(&mut self, code: Code) -> Fault {
        let fault = self.fault();
        assert_eq!(fault.code, code, "{fault:?}");
        fault
    }

    /// Checks that the connection ends without another event.
    #[track_caller]
    pub fn is_closed(&mut self) {
        assert_eq!(self.next_but_heartbeats(), None);
    }

    /// The next block with records. Skips seals and fillers.
    ///
    /// # Panics
    /// When another event arrives.
    #[track_caller]
    pub fn block(&mut self) -> Block {
        match self.next_of_note() {
            Some(Event::Block(bytes)) => parsed(bytes),
            other => panic!("{other:?} instead of a block"),
        }
    }

    /// The next event except heartbeats, seals and fillers, which may arrive at any time.
    #[track_caller]
    fn next_of_note(&mut self) -> Option<Event> {
        loop {
            match self.next_but_heartbeats() {
                Some(Event::Block(bytes)) if parsed(bytes.clone()).header().is_marker() => {}
                event => return event,
            }
        }
    }

    /// Reads `count` records from this position on.
    ///
    /// # Panics
    /// When another event arrives, or positions are not dense.
    #[track_caller]
    pub fn records(&mut self, from: u64, count: usize) -> Vec<Bytes> {
        let (mut next, mut all) = (from, Vec::new());
        while all.len() < count {
            let block = self.block();
            let header = *block.header();
            assert!(header.base_position <= next, "a gap at {next}: {header:?}");
            let skip = usize::try_from(next - header.base_position).expect("small");
            let records = block.records().expect("records");
            all.extend(records.payloads().skip(skip));
            next = header.end_position();
        }
        all.truncate(count);
        all
    }

    /// Reads a heartbeat, which must have this start and end of the log.
    ///
    /// # Panics
    /// When another event arrives.
    #[track_caller]
    pub fn caught_up(&mut self, start: u64, end: u64) {
        let ends = Ends { start: Position(start), end: Position(end) };
        assert_eq!(self.next(), Some(Event::Heartbeat(Some(ends))));
    }

    /// Reads the end of the requested range, and the end of the connection.
    #[track_caller]
    pub fn ends(&mut self) {
        assert_eq!(self.next_of_note(), Some(Event::End { forget: false }));
        self.is_closed();
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When they cannot be sent.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.connection.send(bytes).expect("it can be sent");
    }

    /// Sends blocks in one frame.
    ///
    /// # Panics
    /// When they cannot be sent.
    #[track_caller]
    pub fn send_blocks(&mut self, blocks: &[Bytes]) {
        self.send(&framed(blocks));
    }

    /// Sends a heartbeat.
    #[track_caller]
    pub fn beat(&mut self) {
        let mut out = BytesMut::new();
        frame::encode_heartbeat(None, &mut out);
        self.send(&out);
    }

    /// Sends an end frame.
    #[track_caller]
    pub fn end(&mut self, forget: bool) {
        let mut out = BytesMut::new();
        frame::encode_end(forget, &mut out);
        self.send(&out);
    }

    /// Whether only heartbeats arrive within this time.
    ///
    /// # Panics
    /// When another event arrives.
    pub fn is_quiet_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.connection.set_patience(left.max(Duration::from_millis(1)));
            match self.connection.some() {
                Ok(bytes) => {
                    assert!(!bytes.is_empty(), "the server closed the connection");
                    self.decoder.push(&bytes);
                }
                Err(error) if is_time_out(&error) => break,
                Err(error) => panic!("{error}"),
            }
            while let Some(event) = self.decoder.next().expect("valid frames") {
                assert!(matches!(event, Event::Heartbeat(_)), "{event:?}");
            }
        }
        self.connection.set_patience(Duration::from_secs(30));
    }
}

fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A frame of these blocks.
#[must_use]
pub fn framed(blocks: &[Bytes]) -> Vec<u8> {
    let bytes = blocks.concat();
    [&frame::blocks_header(bytes.len())[..], &bytes].concat()
}

/// Records of these payloads.
///
/// # Panics
/// When they do not fit one block.
#[must_use]
pub fn records(payloads: &[impl AsRef<[u8]>]) -> Records {
    let mut builder = Builder::new();
    for payload in payloads {
        assert!(builder.push(payload.as_ref()), "it does not fit one block");
    }
    builder.take()
}

/// A plain block of these payloads, without a producer id.
#[must_use]
pub fn block(payloads: &[impl AsRef<[u8]>]) -> Bytes {
    block::build(&records(payloads), Origin::default())
}

/// A plain block of a producer.
#[must_use]
pub fn block_of(id: u64, epoch: u32, sequence: u64, payloads: &[impl AsRef<[u8]>]) -> Bytes {
    let origin = Origin { producer_id: id, producer_epoch: epoch, sequence, ..Origin::default() };
    block::build(&records(payloads), origin)
}

/// Parses bytes that are exactly one block.
#[track_caller]
fn parsed(bytes: Bytes) -> Block {
    let (block, rest) = Block::parse(bytes, 1 << 30).expect("a whole block");
    assert!(rest.is_empty());
    block
}

/// A run of positions.
#[must_use]
pub fn run(base: u64, count: u32) -> AckRun {
    AckRun { base: Position(base), count }
}
