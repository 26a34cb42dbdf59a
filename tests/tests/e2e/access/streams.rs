//! Open streams and long requests end within 5 s after their token is revoked, expires, or loses
//! its grant.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use styx_protocol::Code;
use styx_protocol::frame::Route;
use styx_tests::http2::{self, Http2};
use styx_tests::random::Random;
use styx_tests::styx0::{Message, Styx0Stream};
use styx_tests::tokens::{self, with};
use styx_tests::{
    Connection, Request, Settings, TestServer, WebSocket, styx0, styx1, wait, websocket,
};

pub(super) const LIMIT: Duration = Duration::from_secs(5);
const RECORDS: &str = "/logs/a/records";
/// Of another log, so that the readers wait.
const UPLOAD: &str = "/logs/b/records";

/// One of each kind, waiting for records.
pub(super) struct Streams {
    websocket_read: WebSocket,
    websocket_write: WebSocket,
    styx0_read: Styx0Stream,
    styx0_write: Styx0Stream,
    styx1_read: styx1::Styx1Stream,
    styx1_write: styx1::Styx1Stream,
    events: Connection,
    long_poll: Connection,
    upload: Connection,
}

pub(super) fn begun(server: &TestServer, request: &Request) -> Connection {
    let mut connection = server.connect();
    connection.send(&request.bytes()).expect("it can be sent");
    connection
}

impl Streams {
    pub(super) fn open(server: &TestServer, secret: &str) -> Streams {
        let upgrade = |target: &str| {
            let request = with(websocket::handshake(target), secret);
            server.upgrade(&request).unwrap_or_else(|answer| panic!("{}", answer.shown()))
        };
        let styx0 = |method| {
            let request = with(styx0::handshake(method, "a", "follow=true"), secret);
            Styx0Stream::open(server, &request)
                .unwrap_or_else(|answer| panic!("{}", answer.shown()))
        };
        let produce = with(styx1::produce_request("a", ""), secret);
        let consume = with(styx1::consume_request("a", "follow=true"), secret);
        let events = Request::get(RECORDS).header("Accept", "text/event-stream");
        let mut events = begun(server, &with(events, secret));
        assert!(events.head("GET").expect("an answer").status_line.contains("200"));
        let long_poll = Request::get(&format!("{RECORDS}?whence=end&follow=true"))
            .header("Accept", "application/vnd.styx.binary-records");
        let upload = Request::new("POST", UPLOAD)
            .header("Content-Type", "application/vnd.styx.line-delimited")
            .header("Transfer-Encoding", "chunked");
        let mut upload = begun(server, &with(upload, secret));
        upload.send_chunk(b"one\ntwo\n").expect("it can be sent");
        Streams {
            websocket_read: upgrade(&format!("{RECORDS}?follow=true&whence=end")),
            websocket_write: upgrade(&format!("{RECORDS}?mode=write")),
            styx0_read: styx0("GET"),
            styx0_write: styx0("POST"),
            styx1_read: styx1::open(server, &consume, Route::ServerToConsumer),
            styx1_write: styx1::open(server, &produce, Route::ServerToProducer),
            events,
            long_poll: begun(server, &with(long_poll, secret)),
            upload,
        }
    }

    /// Checks that each ends soon, with the error of its protocol.
    pub(super) fn end_with(mut self, code: Code, begun: Instant) {
        let in_time = |what: &str| {
            let took = begun.elapsed();
            assert!(took < LIMIT, "{what} took {took:?}");
        };
        let reason = self.websocket_read.expect_close(code.close_code());
        assert!(reason.starts_with(code.as_str()), "{reason}");
        in_time("a WebSocket that reads");
        let _ = self.websocket_write.expect_close(code.close_code());
        in_time("a WebSocket that writes");
        let _ = self.styx1_read.fails_with(code);
        in_time("a styx/1 consumer");
        let _ = self.styx1_write.fails_with(code);
        in_time("a styx/1 producer");
        for (what, mut stream) in
            [("a styx/0 consumer", self.styx0_read), ("a styx/0 producer", self.styx0_write)]
        {
            assert_eq!(stream.rest(), [Message::Error(0)], "{what}");
            in_time(what);
        }
        let (_, ending) = self.events.body().expect("what came before the end");
        assert_eq!(ending, styx_tests::http::Ending::Cut, "an event stream is not complete");
        in_time("an event stream");
        let answer = self.upload.response("POST").expect("an answer");
        let answer = answer.expect_error(code.http_status(), code.as_str());
        assert_eq!(answer.json()["count"], 2, "{}", answer.text());
        in_time("an upload");
        let answer = self.long_poll.response("GET").expect("an answer");
        let _ = answer.expect_error(code.http_status(), code.as_str());
        in_time("a long poll");
    }
}

fn with_log(settings: Settings) -> (TestServer, String) {
    let (server, admin) = tokens::start(settings);
    for name in ["name=a", "name=b"] {
        let _ = server.ask(&with(Request::post("/logs").form(name), &admin)).expect(200);
    }
    (server, admin)
}

#[test]
fn revoked_token_ends_its_streams_of_every_protocol() {
    let (server, admin) = with_log(Settings::default());
    let secret = tokens::create(&server.data(), "app", &["read:a", "append:*"]);
    tokens::await_status(&server, &secret, 200);
    let streams = Streams::open(&server, &secret);
    let mut other = styx1::open(
        &server,
        &with(styx1::consume_request("a", "follow=true&whence=end"), &admin),
        Route::ServerToConsumer,
    );
    // The lines of the upload are appended after a second.
    wait::until_true("the lines are appended", LIMIT, || {
        let info = server.ask(&with(Request::get("/logs/b"), &admin)).json();
        info["record_count"] == 2
    });
    let begun = Instant::now();
    let revoked = tokens::token(&server.data(), &["revoke", "app"]);
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    streams.end_with(Code::Unauthorized, begun);
    let refused = server.ask(&with(Request::get(RECORDS), &secret));
    let _ = refused.expect_error(401, "unauthorized");
    // Another token's stream goes on.
    other.beat();
    let _ = server.ask(&with(styx_tests::api::write_one("a", "x"), &admin)).expect(200);
    assert_eq!(other.block().header().count, 1);
}

#[test]
fn expired_token_ends_its_streams_of_every_protocol() {
    let (server, _) = with_log(Settings::default());
    let lifetime = Duration::from_secs(5);
    let created = Instant::now();
    let secret =
        tokens::create_with(&server.data(), "app", &["read:a", "append:*"], &["--expires", "5s"]);
    tokens::await_status(&server, &secret, 200);
    let streams = Streams::open(&server, &secret);
    // Times are rounded down to seconds.
    streams.end_with(Code::Unauthorized, created + lifetime);
    let refused = server.ask(&with(Request::get("/logs"), &secret));
    let refused = refused.expect_error(401, "unauthorized");
    assert!(refused.text().contains("the token app expired at 20"), "{}", refused.text());
}

#[test]
fn a_token_that_loses_its_grant_ends_its_streams_as_forbidden() {
    let (server, _) = with_log(Settings::default());
    let secret = tokens::create(&server.data(), "app", &["read:a"]);
    tokens::await_status(&server, &secret, 200);
    let consume = with(styx1::consume_request("a", "follow=true"), &secret);
    let mut stream = styx1::open(&server, &consume, Route::ServerToConsumer);
    let path = server.data().join("tokens.toml");
    let text = std::fs::read_to_string(&path).expect("a file").replace("read:a", "read:b");
    std::fs::write(&path, text).expect("written");
    let fault = stream.fails_with(Code::Forbidden);
    assert!(fault.message.contains("no grant read:a"), "{fault:?}");
}

/// Records that no socket can hold.
fn with_8_mb() -> (TestServer, String) {
    let (server, admin) = with_log(Settings::default());
    for seed in 0..8 {
        // A backup cannot compress it.
        let bytes = Random::new(seed).bytes(1_000_000);
        let write = styx_tests::api::write_one("a", bytes);
        let _ = server.ask(&with(write, &admin)).expect(200);
    }
    (server, admin)
}

/// Waits until the server has no connection besides the one that asks.
pub(super) fn await_one_connection(server: &TestServer, admin: &str) {
    wait::until_true("only the test's own connection is open", LIMIT, || {
        let metrics = server.ask(&with(Request::get("/metrics"), admin));
        metrics.text().contains("\nstyx_connections 1\n")
    });
}

/// An answer whose peer does not read it is not waiting for the server, so only the end of its
/// connection can stop it.
#[test]
fn revoked_token_ends_an_answer_that_nobody_reads() {
    let (server, admin) = with_8_mb();
    let secret = tokens::create(&server.data(), "app", &["admin:a"]);
    tokens::await_status(&server, &secret, 200);
    let read = styx_tests::api::read_binary("a", "");
    let mut read = begun(&server, &with(read, &secret));
    let mut backup = begun(&server, &with(Request::get("/logs/a/backup"), &secret));
    let events = Request::get(RECORDS).header("Accept", "text/event-stream");
    let mut events = begun(&server, &with(events, &secret));
    for connection in [&mut read, &mut backup, &mut events] {
        assert!(connection.head("GET").expect("an answer").status_line.contains("200"));
    }
    let begun = Instant::now();
    assert_eq!(tokens::token(&server.data(), &["revoke", "app"]).code, 0);
    await_one_connection(&server, &admin);
    assert!(begun.elapsed() < LIMIT);
    let (body, ending) = read.body().expect("a part of it");
    assert_eq!(ending, styx_tests::http::Ending::Cut, "{} bytes", body.len());
}

/// Regression test: such a stream ended only after `tcp_timeout`, because its connection stays
/// open for the other streams.
#[test]
fn revoked_token_resets_its_http2_streams_and_no_others() {
    let (server, admin) = with_8_mb();
    let secret = tokens::create(&server.data(), "app", &["admin:a"]);
    tokens::await_status(&server, &secret, 200);
    let mut connection = Http2::open(server.address(), 65_535, LIMIT);
    let (app, other) = (format!("Bearer {secret}"), format!("Bearer {admin}"));
    let binary = "application/vnd.styx.binary-records";
    let unread = [
        (1, RECORDS, binary, &app),
        (3, "/logs/a/backup", "*/*", &app),
        (5, RECORDS, "text/event-stream", &app),
        (7, RECORDS, binary, &other),
    ];
    for (stream, path, accept, token) in unread {
        connection.send(&http2::get(stream, path, &[("accept", accept), ("authorization", token)]));
    }
    let mut is_full = [0_usize; 4];
    while is_full.iter().any(|bytes| *bytes < 65_535) {
        let frame = connection.receive().expect("a part of each answer");
        match frame.kind {
            http2::DATA => is_full[frame.stream as usize / 2] += frame.body.len(),
            kind => assert_eq!(kind, http2::HEADERS, "{frame:?}"),
        }
    }
    // These read everything and wait.
    let (poll, events) = (9, 11);
    let path = format!("{RECORDS}?whence=end&follow=true");
    for (stream, accept) in [(poll, binary), (events, "text/event-stream")] {
        connection.send(&http2::get(stream, &path, &[("accept", accept), ("authorization", &app)]));
    }
    let frame = connection.receive().expect("the head of the events");
    assert_eq!((frame.kind, frame.stream), (http2::HEADERS, events));

    let begun = Instant::now();
    assert_eq!(tokens::token(&server.data(), &["revoke", "app"]).code, 0);
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < 5 {
        let frame = connection.receive().expect("the end of a stream");
        assert_ne!(frame.stream, 7, "another token's stream stays: {frame:?}");
        match frame.kind {
            http2::RESET => drop(ended.insert(frame.stream)),
            // The long poll gets an error, because its answer had not begun.
            http2::DATA if frame.stream == poll => {
                let body = String::from_utf8_lossy(&frame.body).into_owned();
                assert!(body.contains("unauthorized"), "{body}");
                ended.insert(poll);
            }
            _ => {}
        }
        assert!(begun.elapsed() < LIMIT, "{ended:?}");
    }
    // The other token's answer continues when its peer reads.
    connection.send(&http2::frame(http2::WINDOW, 0, 7, &100_000_u32.to_be_bytes()));
    let frame = connection.receive().expect("the next part");
    assert_eq!((frame.kind, frame.stream), (http2::DATA, 7));
}

/// Streams whose peer reads nothing, and does not end the closing either.
#[test]
fn revoked_token_ends_streams_that_nobody_reads() {
    let (server, admin) = with_8_mb();
    let secret = tokens::create(&server.data(), "app", &["read:a"]);
    tokens::await_status(&server, &secret, 200);
    let socket = server
        .upgrade(&with(websocket::handshake(&format!("{RECORDS}?follow=true")), &secret))
        .unwrap_or_else(|answer| panic!("{}", answer.shown()));
    let styx0 =
        Styx0Stream::open(&server, &with(styx0::handshake("GET", "a", "follow=true"), &secret))
            .unwrap_or_else(|answer| panic!("{}", answer.shown()));
    let consume = with(styx1::consume_request("a", "follow=true"), &secret);
    let styx1 = styx1::open(&server, &consume, Route::ServerToConsumer);
    assert_eq!(tokens::token(&server.data(), &["revoke", "app"]).code, 0);
    await_one_connection(&server, &admin);
    drop((socket, styx0, styx1));
}

/// Streams that are never idle: records are appended and read all the time.
#[test]
fn revoked_token_ends_streams_that_are_busy() {
    let (server, admin) = with_log(Settings::default());
    let secret = tokens::create(&server.data(), "app", &["read:a", "append:a"]);
    tokens::await_status(&server, &secret, 200);
    let upgrade = |query: &str| {
        let request = with(websocket::handshake(&format!("{RECORDS}?{query}")), &secret);
        server.upgrade(&request).unwrap_or_else(|answer| panic!("{}", answer.shown()))
    };
    let mut readers = vec![upgrade("follow=true").into_connection()];
    let events = Request::get(RECORDS).header("Accept", "text/event-stream");
    readers.push(begun(&server, &with(events, &secret)));
    for request in
        [styx0::handshake("GET", "a", "follow=true"), styx1::consume_request("a", "follow=true")]
    {
        readers.push(begun(&server, &with(request, &secret)));
    }
    let mut writers = vec![upgrade("mode=write").into_connection()];
    writers.push(begun(&server, &with(styx0::handshake("POST", "a", ""), &secret)));
    let block = styx_tests::styx1::framed(&[styx_tests::styx1::block(&[b"record"])]);
    let mut produce = begun(&server, &with(styx1::produce_request("a", ""), &secret));
    let _ = produce.head("POST").expect("a 101");
    writers.push(produce);
    let message = websocket::frame(websocket::TEXT, b"record");
    let record = [&[0, 1, 0, 0, 0, 6][..], b"record"].concat();
    let count = || {
        let info = server.ask(&with(Request::get("/logs/a"), &admin)).json();
        info["record_count"].as_u64().expect("a number")
    };
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = wait::SetOnDrop(&is_done);
        let readers: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                // A reset is an end too.
                scope.spawn(move || while reader.some().is_ok_and(|bytes| !bytes.is_empty()) {})
            })
            .collect();
        for (mut writer, bytes) in writers.into_iter().zip([message, record, block]) {
            let is_done = &is_done;
            scope.spawn(move || {
                while writer.send(&bytes).is_ok() && !is_done.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        wait::until_true("all of them are busy", LIMIT, || count() > 300);
        assert_eq!(tokens::token(&server.data(), &["revoke", "app"]).code, 0);
        wait::until_true("nothing is appended or read", LIMIT, || {
            let before = count();
            // The writers send every millisecond.
            std::thread::sleep(Duration::from_millis(300));
            count() == before && readers.iter().all(|reader| reader.is_finished())
        });
    });
}

/// A server without access control gets its first token.
#[test]
fn first_token_closes_a_running_server_and_its_streams() {
    let server = TestServer::with_log("a");
    let mut open = styx1::consume(&server, "a", "follow=true");
    let secret = tokens::create(&server.data(), "admin", &["admin:*"]);
    let fault = open.fails_with(Code::Unauthorized);
    assert!(fault.message.contains("access control is on now"), "{fault:?}");
    let _ = server.ask(&Request::get("/logs")).expect_error(401, "unauthorized");
    let _ = server.ask(&with(Request::get("/logs"), &secret)).expect(200);
    wait::until_true("the log says so", LIMIT, || server.log().contains("access control is on"));
}
