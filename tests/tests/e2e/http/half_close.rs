//! Clients that close their sending side: after their requests, in the middle of one, or
//! because they close the whole connection, which looks the same at first.
//!
//! `nc -N`, `nc -q0`, busybox nc and socat do this. Their requests were once performed
//! but not answered.

use std::time::Duration;

use styx_tests::api::{BINARY, LINES, read_binary, read_lines, unbinary, write_binary, write_one};
use styx_tests::styx1::{block, framed, produce_request};
use styx_tests::websocket::{BINARY as BINARY_FRAME, frame, handshake};
use styx_tests::{Connection, Request, Response, TestServer, styx0, wait};

/// Less than the 15 s after which a stream of events gets a comment without a reason.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends bytes and a FIN.
fn half_closed(server: &TestServer, bytes: &[u8]) -> Connection {
    let mut connection = server.connect();
    connection.send(bytes).expect("the bytes can be sent");
    connection.finish_sending().expect("the sending side can be closed");
    connection
}

/// The answer to bytes and a FIN. The server closes the connection after it.
#[track_caller]
fn answered(server: &TestServer, bytes: &[u8]) -> Response {
    let mut connection = half_closed(server, bytes);
    let method = if bytes.starts_with(b"GET") { "GET" } else { "POST" };
    let answer = connection.response(method).expect("an answer");
    assert_eq!(connection.until_close().expect("no reset"), b"");
    answer
}

/// The number of file descriptors of the server.
fn descriptors(server: &TestServer) -> usize {
    let path = format!("/proc/{}/fd", server.process());
    std::fs::read_dir(path).expect("a list of descriptors").count()
}

/// Gives the server time to receive requests that it does not answer yet.
fn await_requests(server: &TestServer) {
    for _ in 0..20 {
        let _ = server.ask(&Request::get("/logs/a")).expect(200);
    }
}

#[test]
fn requests_before_a_half_close_are_performed_once_and_answered() {
    let server = TestServer::with_log("a");
    let old = b"POST /logs/a/records HTTP/1.0\r\nContent-Length: 3\r\n\r\nold";
    for number in 0..50 {
        let written = answered(&server, &write_one("a", "new").bytes()).expect(200);
        assert_eq!(written.json()["position"], 2 * number + 1);
        let written = answered(&server, old).expect(200);
        assert_eq!(written.json()["position"], 2 * number + 2);
        let read = answered(&server, &read_lines("a", "count=2").bytes()).expect(200);
        assert_eq!(read.text(), "new\nold\n");
        assert_eq!(
            answered(&server, b"GET /logs/a/records HTTP/1.0\r\n\r\n").expect(200).text(),
            "new"
        );
        let _ = answered(&server, &Request::get("/health/ready").bytes()).expect(200);
        let name = format!("name=log{number}");
        let _ = answered(&server, &Request::post("/logs").form(&name).bytes()).expect(200);
        let missing = answered(&server, &Request::get("/logs/missing").bytes());
        let _ = missing.expect_error(404, "log_not_found");
    }
    assert_eq!(server.read_all("a").len(), 100);
    for request in [
        Request::get("/logs/log0?details=true"),
        Request::post("/logs/a/trim?position=50"),
        Request::post("/logs/a/truncate"),
        Request::delete("/logs/log0"),
    ] {
        let _ = answered(&server, &request.bytes()).expect(200);
    }
}

#[test]
fn large_bodies_and_answers_are_complete_after_a_half_close() {
    let server = TestServer::with_log("a");
    let records = vec![vec![b'x'; 100_000]; 80];
    let written = answered(&server, &write_binary("a", &records).bytes()).expect(200);
    assert_eq!(written.json()["count"], 80);
    let read = answered(&server, &read_binary("a", "").bytes()).expect(200);
    assert!(unbinary(&read.body) == records, "the records are unchanged");
    let backup = answered(&server, &Request::get("/logs/a/backup").bytes()).expect(200);
    let restore = Request::post("/logs/restore?name=b").body(backup.body);
    let _ = answered(&server, &restore.bytes()).expect(200);
    assert!(server.read_all("b") == records, "the records are unchanged");
}

#[test]
fn pipelined_requests_before_a_half_close_are_all_answered() {
    let server = TestServer::with_log("a");
    let writes = |count| -> Vec<u8> {
        (0..count).flat_map(|number| write_one("a", format!("{number:1000}")).bytes()).collect()
    };
    // The server looks for a FIN behind a poll in the next 32 KiB.
    for (poll, count) in [("", 100), ("whence=end&follow=true", 20)] {
        let mut bytes = writes(count);
        if !poll.is_empty() {
            bytes = [read_lines("a", poll).bytes(), bytes].concat();
        }
        let mut connection = half_closed(&server, &bytes);
        if !poll.is_empty() {
            assert_eq!(connection.response("GET").expect("an answer").expect(200).text(), "");
        }
        for number in 0..count {
            let answer = connection.response("POST").unwrap_or_else(|e| panic!("{number}: {e}"));
            let _ = answer.expect(200);
        }
        assert_eq!(connection.until_close().expect("no reset"), b"");
    }
    assert_eq!(server.info("a")["end_position"], 120);
}

#[test]
fn a_half_close_between_requests_closes_the_connection() {
    let server = TestServer::with_log("a");
    let mut connection = server.connect();
    let _ = connection.exchange(&Request::get("/logs/a")).expect("an answer").expect(200);
    connection.finish_sending().expect("the sending side can be closed");
    assert_eq!(connection.until_close().expect("no reset"), b"");
    assert_eq!(half_closed(&server, b"").until_close().expect("no reset"), b"");
}

#[test]
fn a_request_cut_by_a_half_close_is_not_performed() {
    let server = TestServer::with_log("a");
    let whole = write_binary("a", &["zero", "one"]).bytes();
    let head = whole.len() - 15;
    for end in [1, 20, head - 1] {
        let received = half_closed(&server, &whole[..end]).until_close().expect("no reset");
        assert_eq!(received, b"", "{end} bytes of a head");
    }
    for end in head..whole.len() {
        let answer = answered(&server, &whole[..end]);
        let _ = answer.expect_error(400, "malformed_records");
    }
    let chunked = Request::new("POST", "/logs/a/records")
        .header("Content-Type", BINARY)
        .header("Transfer-Encoding", "chunked");
    for part in ["", "f", "f\r\nx", "1\r\nx\r\n", "1\r\nx\r\n0\r\n"] {
        let bytes = [&chunked.head_bytes(), part.as_bytes()].concat();
        let _ = answered(&server, &bytes).expect_error(400, "malformed_records");
    }
    let restore = Request::post("/logs/restore?name=b").body([0; 100]).bytes();
    assert_eq!(answered(&server, &restore[..restore.len() - 1]).status(), 400);
    assert_eq!(server.info("a")["end_position"], 0);
    let _ = server.ask(&Request::get("/logs/b")).expect_error(404, "log_not_found");
}

#[test]
fn a_half_close_ends_a_long_poll_like_its_timeout() {
    let server = TestServer::with_log("a");
    let existing = read_lines("a", "follow=true").header("X-Styx-Timeout", 20).bytes();
    for timeout in [None, Some("20")] {
        let mut poll = read_lines("a", "whence=end&follow=true");
        if let Some(timeout) = timeout {
            poll = poll.header("X-Styx-Timeout", timeout);
        }
        for is_waiting in [false, true] {
            let mut connection = server.connect();
            connection.set_patience(PATIENCE);
            connection.send(&poll.bytes()).expect("the request can be sent");
            if is_waiting {
                await_requests(&server);
            }
            connection.finish_sending().expect("the sending side can be closed");
            let answer = connection.response("GET").expect("an answer").expect(200);
            assert_eq!(answer.text(), "");
            assert!(answer.header("Content-Type").is_some_and(|value| value.starts_with(LINES)));
            assert_eq!(
                answer.head.number("X-Styx-Next-Position"),
                answer.head.number("X-Styx-End-Position")
            );
            assert_eq!(connection.until_close().expect("no reset"), b"");
        }
        server.append("a", "x");
        assert!(answered(&server, &existing).expect(200).text().starts_with("x\n"));
    }
}

/// How a client ends its connection.
type End = fn(Connection);

const ENDS: [(&str, End); 3] = [
    ("closed", drop),
    ("reset", |connection| {
        let zero = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(connection.socket(), zero).expect("a socket");
    }),
    ("half-closed, then closed", |mut connection| {
        connection.finish_sending().expect("the sending side can be closed");
        let _ = connection.some();
    }),
];

#[test]
fn waiting_requests_of_clients_that_closed_free_their_descriptors() {
    let server = TestServer::with_log("a");
    let events = Request::get("/logs/a/records").header("Accept", "text/event-stream");
    for (kind, request) in [("poll", read_lines("a", "follow=true")), ("events", events)] {
        for (how, end) in ENDS {
            await_requests(&server);
            let before = descriptors(&server);
            let connections: Vec<Connection> = (0..20)
                .map(|_| {
                    let mut connection = server.connect();
                    connection.set_patience(PATIENCE);
                    connection.send(&request.bytes()).expect("the request can be sent");
                    connection
                })
                .collect();
            await_requests(&server);
            assert!(descriptors(&server) >= before + 15, "{kind}: they wait");
            for mut connection in connections {
                if kind == "events" {
                    // A client that closes with unread bytes sends a reset and no FIN.
                    let _ = connection.head("GET").expect("an answer");
                }
                end(connection);
            }
            let what = format!("the descriptors of {kind} {how} to be free");
            wait::until_true(&what, PATIENCE, || descriptors(&server) <= before + 2);
        }
    }
}

#[test]
fn events_continue_after_a_half_close() {
    let server = TestServer::with_log("a");
    let events = Request::get("/logs/a/records").header("Accept", "text/event-stream");
    for is_at_once in [true, false] {
        let mut connection = server.connect();
        connection.set_patience(PATIENCE);
        connection
            .send(
                &events
                    .clone()
                    .header("Last-Event-ID", server.info("a")["end_position"].clone())
                    .bytes(),
            )
            .expect("the request can be sent");
        if is_at_once {
            connection.finish_sending().expect("the sending side can be closed");
        }
        assert_eq!(connection.head("GET").expect("an answer").status, 200);
        if !is_at_once {
            await_requests(&server);
            connection.finish_sending().expect("the sending side can be closed");
        }
        let mut next = || {
            let piece = connection.piece().expect("a piece").expect("the stream continues");
            String::from_utf8(piece).expect("text")
        };
        assert!(next().starts_with(':'), "a comment");
        for payload in ["one", "two"] {
            server.append("a", payload);
            let expected = format!("data: {payload}\n");
            while !next().contains(&expected) {}
        }
    }
}

#[test]
fn streams_begin_even_if_everything_arrives_with_the_handshake() {
    let server = TestServer::with_log("a");
    for _ in 0..20 {
        let before = server.info("a")["end_position"].as_u64().expect("a position");
        let mut expected = Vec::new();
        let mut expect = |server: &TestServer, name: &str, payloads: [&str; 2]| {
            expected.extend(payloads.map(|payload| payload.as_bytes().to_vec()));
            assert_eq!(server.read_from("a", before), expected, "{name}");
        };

        let bytes = [styx0::handshake("POST", "a", "").bytes(), styx0::records(&["s0", "t0"])];
        let mut connection = half_closed(&server, &bytes.concat());
        let _ = connection.response("POST").expect("an answer").expect(101);
        let acks = connection.until_close().expect("no reset");
        assert_eq!(acks.last_chunk(), Some(&2_i64.to_be_bytes()), "the last ack's count");
        expect(&server, "styx/0", ["s0", "t0"]);

        let bytes = [produce_request("a", "").bytes(), framed(&[block(&["s1", "t1"])])];
        let mut connection = half_closed(&server, &bytes.concat());
        let _ = connection.response("POST").expect("an answer").expect(101);
        let acks = connection.until_close().expect("no reset");
        assert!(acks.starts_with(&[2, 0, 0, 0]), "an ack: {acks:?}");
        expect(&server, "styx/1", ["s1", "t1"]);

        let target = "/logs/a/records?mode=write&acks=true";
        let frames = [frame(BINARY_FRAME, b"w0"), frame(BINARY_FRAME, b"w1")].concat();
        let bytes = [handshake(target).bytes(), frames];
        let mut connection = half_closed(&server, &bytes.concat());
        let _ = connection.response("GET").expect("an answer").expect(101);
        let _ = connection.until_close().expect("no reset");
        expect(&server, "WebSocket", ["w0", "w1"]);
    }
}
