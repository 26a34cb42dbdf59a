//! The programs of the mixed soak: one that writes, and one that follows, for each protocol and for
//! each client library.
//!
//! Dropping one kills it: a driver gets SIGKILL, and a raw connection is closed in the middle of
//! what it was doing.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use styx_tests::api::{self, read_binary, unbinary, write_binary, written};
use styx_tests::styx0::{self, HEARTBEAT, Message, Styx0Stream};
use styx_tests::websocket::{BINARY, WebSocket, frame};
use styx_tests::{Connection, Response, TestServer, hex};

use crate::drivers::Driver;
use crate::session::Session;

/// How long an operation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a follower over styx/0 sends a heartbeat. The server closes the connection of one that
/// sends nothing for `tcp_timeout` (30 s by default).
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// How a program reaches the server.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Http,
    WebSocket,
    Styx0,
    /// styx/1, by the client library of this driver.
    Library(&'static Driver),
}

/// Where the server is.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) server: &'a TestServer,
    pub(super) ca_file: &'a Path,
    pub(super) log: &'a str,
}

/// A program that appends.
pub(super) enum Writer {
    Http { connection: Connection, log: String, sent: u64 },
    WebSocket { socket: WebSocket, sent: u64 },
    Styx0 { stream: Styx0Stream, total: u64 },
    Library(Session),
}

/// A program that follows a log.
pub(super) enum Reader {
    Http { connection: Connection, log: String, next: u64 },
    WebSocket(WebSocket),
    Styx0 { stream: Styx0Stream, heartbeat_at: Instant },
    Library { session: Session, next: u64 },
}

impl Kind {
    /// The name of its log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Http => "http",
            Kind::WebSocket => "websocket",
            Kind::Styx0 => "styx0",
            Kind::Library(driver) => driver.name,
        }
    }

    pub(super) fn writer(self, target: Target<'_>) -> Writer {
        let Target { server, log, .. } = target;
        match self {
            Kind::Http => {
                Writer::Http { connection: connect(server), log: log.to_owned(), sent: 0 }
            }
            Kind::WebSocket => {
                let socket = server.websocket_write(log, "&acks=true");
                socket.set_patience(PATIENCE);
                Writer::WebSocket { socket, sent: 0 }
            }
            Kind::Styx0 => {
                let mut stream = Styx0Stream::produce(server, log);
                stream.connection().set_patience(PATIENCE);
                Writer::Styx0 { stream, total: 0 }
            }
            Kind::Library(driver) => {
                let mut session = session(driver, target);
                let options = json!({ "compression": compression(driver.name) });
                let open = json!({ "op": "producer", "on": "c", "as": "p", "log": log, "options": options });
                ok(session.call(&open, PATIENCE));
                Writer::Library(session)
            }
        }
    }

    pub(super) fn reader(self, target: Target<'_>, next: u64) -> Reader {
        let Target { server, log, .. } = target;
        let query = format!("position={next}&follow=true");
        match self {
            Kind::Http => Reader::Http { connection: connect(server), log: log.to_owned(), next },
            Kind::WebSocket => {
                let socket = server.websocket_read(log, &query);
                socket.set_patience(PATIENCE);
                Reader::WebSocket(socket)
            }
            Kind::Styx0 => {
                let mut stream = Styx0Stream::consume(server, log, &query);
                stream.connection().set_patience(PATIENCE);
                Reader::Styx0 { stream, heartbeat_at: Instant::now() + HEARTBEAT_EVERY }
            }
            Kind::Library(driver) => {
                let mut session = session(driver, target);
                let options = json!({ "start": next, "follow": true });
                let open = json!({ "op": "consumer", "on": "c", "as": "r", "log": log, "options": options });
                ok(session.call(&open, PATIENCE));
                Reader::Library { session, next }
            }
        }
    }
}

impl Writer {
    /// Sends records and does not wait.
    pub(super) fn send(&mut self, records: &[Vec<u8>]) {
        let count = records.len() as u64;
        match self {
            Writer::Http { connection, log, sent } => {
                *sent = count;
                connection.send(&write_binary(log, records).bytes()).expect("sent");
            }
            Writer::WebSocket { socket, sent } => {
                *sent = count;
                let frames: Vec<u8> =
                    records.iter().flat_map(|record| frame(BINARY, record)).collect();
                socket.send_bytes(&frames).expect("sent");
            }
            Writer::Styx0 { stream, total } => {
                *total += count;
                stream.send(&styx0::records(records));
            }
            Writer::Library(session) => {
                let payloads: Vec<String> =
                    records.iter().map(|record| hex::encode(record)).collect();
                let append =
                    json!({ "op": "append_many", "on": "p", "as": "a", "payloads": payloads });
                session.begin(&append).expect("the driver takes it");
            }
        }
    }

    /// Waits until everything that was sent is acked.
    pub(super) fn settle(&mut self) {
        match self {
            Writer::Http { connection, sent, .. } => {
                let answer = connection.response("POST").expect("an answer");
                let count = written(&answer).map(|written: api::Written| written.count);
                assert_eq!(count, Some(*sent), "{}", answer.shown());
            }
            Writer::WebSocket { socket, sent } => drop(socket.acks(*sent)),
            Writer::Styx0 { stream, total } => drop(stream.acked(*total)),
            Writer::Library(session) => {
                ok(session.answer(PATIENCE));
                ok(session.call(&json!({ "op": "result", "on": "a" }), PATIENCE));
            }
        }
    }
}

impl Reader {
    /// The next records. It may wait for them, and may return none.
    pub(super) fn read(&mut self) -> Vec<Vec<u8>> {
        match self {
            Reader::Http { connection, log, next } => {
                let query = format!("position={next}&follow=true");
                let poll = read_binary(log, &query).header("X-Styx-Timeout", 1);
                let answer: Response = connection.exchange(&poll).expect("an answer").expect(200);
                let records = unbinary(&answer.body);
                *next += records.len() as u64;
                records
            }
            Reader::WebSocket(socket) => vec![socket.record()],
            Reader::Styx0 { stream, heartbeat_at } => {
                if *heartbeat_at <= Instant::now() {
                    stream.send(HEARTBEAT);
                    *heartbeat_at = Instant::now() + HEARTBEAT_EVERY;
                }
                match stream.message() {
                    Some(Message::Record(record)) => vec![record],
                    other => panic!("{other:?} instead of a record"),
                }
            }
            Reader::Library { session, next } => {
                let poll = json!({ "op": "poll", "on": "r", "timeout": 1 });
                let batch = ok(session.call(&poll, PATIENCE));
                let records = batch["records"].as_array().cloned().unwrap_or_default();
                let payload = |record: &Value| {
                    assert_eq!(record["position"], *next, "{record}");
                    *next += 1;
                    record["payload"].as_str().and_then(hex::decode).expect("a payload")
                };
                records.iter().map(payload).collect()
            }
        }
    }
}

fn connect(server: &TestServer) -> Connection {
    let connection = server.connect();
    connection.set_patience(PATIENCE);
    connection
}

/// Starts a driver with a client.
fn session(driver: &Driver, target: Target<'_>) -> Session {
    let session = Session::start_within(driver, PATIENCE);
    let mut session = session.unwrap_or_else(|report| panic!("{report}"));
    let options = json!({ "ca_file": target.ca_file });
    let address = target.server.tls_url();
    let connect = json!({ "op": "connect", "as": "c", "address": address, "options": options });
    ok(session.call(&connect, PATIENCE));
    session
}

fn compression(driver: &str) -> &'static str {
    match driver {
        "node" | "rust" => "lz4",
        "python" => "zstd",
        _ => "none",
    }
}

/// The result of an operation that must succeed.
#[track_caller]
fn ok(answer: Result<Value, String>) -> Value {
    let answer = answer.unwrap_or_else(|report| panic!("{report}"));
    assert!(answer["ok"].is_object(), "{answer}");
    answer["ok"].clone()
}
