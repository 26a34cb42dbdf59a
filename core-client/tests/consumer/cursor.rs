//! Consumers with a cursor against a peer that stores cursors as a server does, and whose
//! connections break at any byte of a request or a response.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use styx_client::blocking::Client;
use styx_client::{Code, Kind};

use crate::log::Log;
use crate::wait;

/// At which byte the connection of a change breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// After this number of bytes of the request. It is not carried out if any is missing.
    Request(usize),
    /// After this number of bytes of the response. The change was made.
    Response(usize),
}

/// The cursor, and what happens to the next changes of it.
#[derive(Debug, Default)]
struct State {
    /// Position, version and the version before.
    cursor: Option<(u64, u64, u64)>,
    last_version: u64,
    cuts: VecDeque<Cut>,
    /// Another consumer takes the cursor over as soon as the next cut has happened.
    takes_over_after_cut: bool,
    /// Whether the last cut was after the whole response.
    is_whole: bool,
    changes: usize,
}

impl State {
    /// Changes the cursor, as a server does.
    fn set(&mut self, position: u64, condition: Option<Option<u64>>) -> (u16, String) {
        let old = self.cursor.map(|(_, version, _)| version);
        let holds = condition.is_none_or(|expected| expected == old);
        if holds {
            self.last_version += 1;
            self.cursor = Some((position, self.last_version, old.unwrap_or(0)));
            self.changes += 1;
            return (200, self.json());
        }
        let now = self.cursor.map_or(String::new(), |(position, version, replaced)| {
            format!(
                r#", "position": {position}, "version": {version}, "replaced_version": {replaced}"#
            )
        });
        (412, format!(r#"{{"code": "cursor_taken", "message": "m"{now}}}"#))
    }

    fn json(&self) -> String {
        let (position, version, _) = self.cursor.expect("a cursor");
        let id = Log::of(0, 1).id;
        format!(
            r#"{{"cursor": "c", "log_id": "{id}", "position": {position}, "updated": 1, "version": {version}}}"#
        )
    }
}

/// A server of one log with ten records and one cursor.
struct CursorServer {
    address: String,
    state: Arc<Mutex<State>>,
}

impl CursorServer {
    fn start() -> CursorServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("styx://{}", listener.local_addr().expect("bound"));
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.expect("a connection"), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        CursorServer { address, state }
    }

    fn client(&self) -> Client {
        Client::builder(&self.address).build().expect("good options")
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }
}

/// Reads up to `len` bytes more, or to the end of the head.
fn read_head(stream: &mut TcpStream, limit: usize) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if head.len() >= limit || stream.read_exact(&mut byte).is_err() {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Serves requests until the connection ends or breaks.
fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    loop {
        // Only changes are cut, and which request comes is not known before it is read. So a
        // request that is to be cut is read whole, but treated as if its rest never arrived.
        let Some(head) = read_head(&mut stream, usize::MAX) else { return };
        let length: usize = header(&head, "content-length").map_or(0, |n| n.parse().expect("n"));
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        if head.contains("/records?") {
            let log = Log::of(10, 1);
            let query = head.split(['?', ' ']).nth(2).expect("a query");
            let params = styx_protocol::ReadParams::parse(
                query.split('&').filter_map(|pair| pair.split_once('=')),
            )
            .expect("good parameters");
            let request = crate::peer::Request { params, headers: Default::default() };
            let connection =
                crate::peer::Connection { number: 0, request, stream, line: String::new() };
            return connection.serve(&log, usize::MAX);
        }
        let is_change = head.starts_with("PUT");
        let (cut, response) = {
            let mut state = state.lock().expect("no panic");
            let cut = if is_change { state.cuts.pop_front() } else { None };
            let is_lost =
                matches!(cut, Some(Cut::Request(bytes)) if bytes < head.len() + body.len());
            let (status, json) = match is_change {
                _ if is_lost => (0, String::new()),
                true => change(&mut state, &head, &body),
                false if state.cursor.is_some() => (200, state.json()),
                false => (404, r#"{"code": "cursor_not_found", "message": "m"}"#.to_owned()),
            };
            if cut.is_some() && std::mem::take(&mut state.takes_over_after_cut) {
                let (position, version, _) = state.cursor.expect("a cursor");
                assert_eq!(state.set(position, Some(Some(version))).0, 200);
            }
            (cut, format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{json}", json.len()))
        };
        let bytes = match cut {
            Some(Cut::Request(_)) => 0,
            Some(Cut::Response(bytes)) => bytes.min(response.len()),
            None => response.len(),
        };
        if cut.is_some() {
            state.lock().expect("no panic").is_whole = bytes == response.len();
        }
        let _ = stream.write_all(&response.as_bytes()[..bytes]);
        if cut.is_some() {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

fn change(state: &mut State, head: &str, body: &[u8]) -> (u16, String) {
    let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    let position = body["position"].as_u64().expect("a position");
    let version = header(head, "if-match").map(|tag| tag.trim_matches('"').parse().expect("n"));
    let condition = match header(head, "if-none-match") {
        Some(_) => Some(None),
        None => version.map(Some),
    };
    state.set(position, condition)
}

/// Bytes of a request or a response at which connections break: the start, every few bytes, and the
/// last byte.
fn cuts() -> Vec<Cut> {
    let responses = (0..200).step_by(11).chain([1, 2, 17, 38, 39, 40, 500]);
    let requests = [0, 1, 100, 10_000];
    requests.into_iter().map(Cut::Request).chain(responses.map(Cut::Response)).collect()
}

/// Calls `check` with every cut, on a few threads.
fn for_every_cut(check: impl Fn(Cut) + Sync) {
    let cuts = Mutex::new(cuts().into_iter());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let next = || cuts.lock().expect("no panic").next();
                while let Some(cut) = next() {
                    check(cut);
                }
            });
        }
    });
}

#[test]
fn a_commit_whose_answer_is_lost_is_not_mistaken_for_a_takeover() {
    for_every_cut(|cut| {
        let server = CursorServer::start();
        let client = server.client();
        let mut consumer = client.consumer("a").cursor("c").open().expect("opened");
        for position in 1..=4 {
            let record = consumer.next_record().expect("a record").expect("not the end");
            assert_eq!(record.position(), position - 1);
            // Two connections in a row break.
            server.state().cuts.extend([cut, cut]);
            let commit = consumer.commit().expect("the cursor is ours");
            assert_eq!(commit.position().unwrap_or_else(|e| panic!("{cut:?}: {e:?}")), position);
            assert_eq!(server.state().cursor.expect("a cursor").0, position, "{cut:?}");
        }
        // Created once, and each position stored once.
        assert_eq!(server.state().changes, 5, "{cut:?}");
    });
}

#[test]
fn a_takeover_after_a_lost_answer_is_noticed() {
    for_every_cut(|cut| {
        let server = CursorServer::start();
        let client = server.client();
        let mut consumer = client.consumer("a").cursor("c").open().expect("opened");
        assert!(consumer.next_record().expect("a record").is_some());
        {
            let mut state = server.state();
            state.cuts.push_back(cut);
            state.takes_over_after_cut = true;
        }
        let taken = match consumer.commit().expect("accepted").position() {
            // The answer arrived before the takeover, which the next commit notices.
            Ok(position) => {
                assert!(position == 1 && server.state().is_whole, "{cut:?}: {position}");
                assert!(consumer.next_record().expect("a record").is_some());
                let next = consumer.commit().expect("accepted").position();
                next.expect_err("another consumer has the cursor")
            }
            Err(taken) => taken,
        };
        assert_eq!(taken.kind(), Kind::Code(Code::CursorTaken), "{cut:?}: {taken:?}");
        let before = server.state().changes;
        let again = consumer.commit().expect_err("it stays lost");
        assert_eq!(again.kind(), Kind::Code(Code::CursorTaken), "{again:?}");
        assert_eq!(server.state().changes, before, "{cut:?}");
    });
}

#[test]
fn opening_survives_a_broken_connection_at_any_byte() {
    for_every_cut(|cut| {
        let server = CursorServer::start();
        let client = server.client();
        // At the creation of the cursor, and at a takeover.
        for first in [0, 1] {
            server.state().cuts.extend([cut, cut]);
            let mut consumer = client.consumer("a").cursor("c").open();
            let consumer = consumer.as_mut().unwrap_or_else(|e| panic!("{cut:?}: {e:?}"));
            assert_eq!(consumer.position(), first, "{cut:?}");
            server.state().cuts.clear();
            assert!(consumer.next_record().expect("a record").is_some());
            assert_eq!(consumer.commit().expect("ours").position().expect("stored"), first + 1);
        }
    });
}

#[test]
fn an_answer_that_breaks_after_its_head_leaves_the_outcome_open() {
    // Regression test: such a request counted as not carried out, and was sent again.
    let server = CursorServer::start();
    let client = server.client();
    server.state().cuts.push_back(Cut::Response(60));
    let error = client.set_cursor("a", "c", 3).expect_err("no answer");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::ConnectionFailed, true), "{error:?}");
    assert_eq!(server.state().changes, 1);
    assert_eq!(client.get_cursor("a", "c").expect("set").position, 3);
}

#[test]
fn closing_and_dropping_store_the_last_commit() {
    for is_dropped in [false, true] {
        let server = CursorServer::start();
        let client = server.client();
        let mut consumer = client.consumer("a").cursor("c").open().expect("opened");
        for _ in 0..7 {
            assert!(consumer.next_record().expect("a record").is_some());
            let _ = consumer.commit().expect("ours");
        }
        server.state().cuts.extend([Cut::Response(0), Cut::Request(0)]);
        let last = consumer.commit().expect("ours");
        match is_dropped {
            true => drop(consumer),
            false => consumer.close(),
        }
        if !is_dropped {
            assert_eq!(server.state().cursor.expect("a cursor").0, 7);
        }
        assert_eq!(last.position().expect("stored"), 7);
        assert_eq!(server.state().cursor.expect("a cursor").0, 7);
    }
}

#[test]
fn a_commit_never_moves_the_cursor_backwards() {
    let server = CursorServer::start();
    let client = server.client();
    let mut consumer = client.consumer("a").cursor("c").open().expect("opened");
    for _ in 0..5 {
        assert!(consumer.next_record().expect("a record").is_some());
    }
    assert_eq!(consumer.commit().expect("ours").position().expect("stored"), 5);
    consumer.seek(2).expect("found");
    assert!(consumer.next_record().expect("a record").is_some());
    assert_eq!(consumer.commit().expect("ours").position().expect("nothing to do"), 5);
    assert_eq!(server.state().cursor.expect("a cursor").0, 5);
    consumer.close();
    assert_eq!(consumer.commit().expect_err("closed").kind(), Kind::Closed);
}

#[test]
fn a_commit_needs_a_cursor() {
    let server = CursorServer::start();
    let client = server.client();
    let mut consumer = client.consumer("a").open().expect("opened");
    assert_eq!(consumer.commit().expect_err("none").kind(), Kind::InvalidArgument);
    let error = client.consumer("a").cursor("a/b").open().expect_err("no name");
    assert_eq!(error.kind(), Kind::InvalidArgument);
}

#[test]
fn a_commit_without_a_server_times_out_and_the_next_one_tries_again() {
    let server = CursorServer::start();
    let timeout = std::time::Duration::from_millis(600);
    let client = styx_client::Client::builder(&server.address).timeout(timeout).build();
    let client = client.expect("good options");
    let mut consumer = wait(client.consumer("a").cursor("c").open()).expect("opened");
    assert!(wait(consumer.next_record()).expect("a record").is_some());
    server.state().cuts.extend([Cut::Request(0); 1000]);
    let commit = consumer.commit().expect("ours");
    let error = wait(commit.position()).expect_err("no server");
    assert_eq!((error.kind(), error.maybe_appended()), (Kind::TimedOut, true), "{error:?}");
    assert!(error.is_retriable());
    server.state().cuts.clear();
    let commit = consumer.commit().expect("ours");
    assert_eq!(wait(commit.position()).expect("stored"), 1);
    assert_eq!(commit.try_position().expect("known").expect("stored"), 1);
}
