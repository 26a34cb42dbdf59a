//! The table of error codes: each code is returned here, or the test that does it is
//! named.

use std::collections::BTreeSet;
use std::time::Duration;

use styx_protocol::Code;
use styx_tests::api::{BINARY, write_lines, write_one};
use styx_tests::{Connection, Request, Settings, Table, TestServer, error, wait};

/// Returned in other tests, which need a fault for it.
const ELSEWHERE: [(Code, &str); 7] = [
    (Code::LogNotAvailable, "faults::damage"),
    (Code::CorruptRecord, "faults::damage"),
    (Code::OutcomeUnknown, "faults::disk"),
    (Code::StorageFull, "faults::disk"),
    (Code::Overloaded, "below: a_connection_over_the_limit_is_answered_overloaded"),
    (Code::RequestTimeout, "limits::stalled_peers"),
    (Code::ShuttingDown, "below: a_stopping_server_answers_shutting_down"),
];

/// Not returned over HTTP by this version.
const NEVER: [(Code, &str); 7] = [
    (Code::MissingContentLength, "every body is streamed, so no request needs a length"),
    (Code::SequenceReused, "single records are distinguished by their sequence alone"),
    (Code::ProducerUnknown, "only clients return it"),
    (Code::Unauthorized, "there are no tokens yet"),
    (Code::Forbidden, "there are no tokens yet"),
    (Code::TooManyRequests, "there are no quotas yet"),
    (Code::UnknownError, "a bug or an I/O error: a test that finds one leads to a fix"),
];

#[test]
fn every_error_code_is_returned_with_its_status() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=100");
    server.append("a", "x");
    let id = server.log_id("a");
    let mut table = Table::of(&server);
    let raise = |code: Code, request: Request| {
        // Other tests check the fields after the message.
        let answer = server.ask(&request);
        let got = (answer.status(), answer.code());
        assert_eq!(got, (code.http_status(), code.as_str().to_owned()), "{}", answer.shown());
        code.as_str()
    };
    let produce = |epoch: u64, sequence: u64| {
        write_lines("a", "x\n")
            .header("X-Styx-Producer", 1)
            .header("X-Styx-Epoch", epoch)
            .header("X-Styx-Sequence", sequence)
    };
    let _ = server.ask(&produce(1, 0)).expect(200);
    let read = "/logs/a/records";
    let mut raised = BTreeSet::from([
        raise(Code::NotFound, Request::get("/x")),
        raise(Code::MethodNotAllowed, Request::new("PUT", "/logs")),
        raise(Code::InvalidParams, Request::post("/logs").form("")),
        raise(Code::LogInvalidName, Request::post("/logs").form("name=a.b")),
        raise(Code::LogExist, Request::post("/logs").form("name=a")),
        raise(Code::LogNotFound, Request::get("/logs/b")),
        raise(Code::OutOfRange, Request::get("/logs/a/records?position=9")),
        raise(Code::RecordTooLarge, write_one("a", vec![0; 93])),
        raise(Code::MalformedRecords, Request::post(read).typed(BINARY, "x")),
        raise(Code::PositionMismatch, write_one("a", "x").header("X-Styx-Expected-Position", 9)),
        raise(Code::SequenceGap, produce(1, 5)),
        raise(Code::ProducerFenced, produce(0, 1)),
        raise(Code::LogChanged, Request::get(read).header("X-Styx-Log-Id", "0".repeat(32))),
        raise(
            Code::LogEndRegressed,
            Request::get(read).header("X-Styx-Log-Id", id).header("X-Styx-Known-End", 9),
        ),
    ]);
    raised.extend(ELSEWHERE.iter().chain(&NEVER).map(|(code, _)| code.as_str()));
    let all: BTreeSet<&str> = Code::all().map(Code::as_str).collect();
    assert_eq!(raised, all, "a code that no test returns");
    assert_eq!(raised.len(), 14 + ELSEWHERE.len() + NEVER.len(), "a code that is listed twice");
    table.row("and all is well", &Request::get("/logs/b"), &error(404, "log_not_found"));
    table.check();
}

#[test]
fn a_connection_over_the_limit_is_answered_overloaded() {
    let server = Settings::default().set("max_connections = 8").start();
    server.create("a");
    let ask = |connection: &mut Connection| connection.exchange(&Request::get("/logs/a"));
    let mut connections: Vec<Connection> = Vec::new();
    // Connections from the startup may still be open.
    let refused = wait::until("a connection too many", Duration::from_secs(10), || {
        let mut connection = server.connect();
        match ask(&mut connection) {
            Ok(answer) if answer.status() == 200 => {
                connections.push(connection);
                assert!(connections.len() <= 8, "more connections than allowed are served");
                None
            }
            Ok(answer) => Some(answer),
            Err(_) => None,
        }
    });
    let refused = refused.expect_error(503, "overloaded");
    assert!(refused.header("Retry-After").is_some(), "{}", refused.shown());
    assert_eq!(connections.len(), 8);
    for connection in &mut connections {
        let _ = ask(connection).expect("open connections are still served").expect(200);
    }
    connections.clear();
    wait::until_true("room again", Duration::from_secs(10), || {
        ask(&mut server.connect()).is_ok_and(|answer| answer.status() == 200)
    });
}

#[test]
fn a_stopping_server_answers_shutting_down() {
    let server = Settings::default().set("shutdown_timeout = 5").start();
    server.create("a");
    // A request in progress keeps the server from exiting at once.
    let bytes = write_one("a", "hello").bytes();
    let mut under_way = server.connect();
    under_way.send(&bytes[..bytes.len() - 2]).expect("a part can be sent");
    let mut waiting: Vec<Connection> = (0..200).map(|_| server.connect()).collect();
    for connection in &mut waiting {
        let _ = connection.exchange(&Request::get("/logs/a")).expect("an answer").expect(200);
    }
    server.ask_to_stop();
    let mut refused = 0;
    for connection in &mut waiting {
        // It is served, rejected or closed, but never left waiting.
        if let Ok(answer) = connection.exchange(&write_one("a", "late")) {
            if answer.status() == 503 {
                let answer = answer.expect_error(503, "shutting_down");
                assert!(answer.header("Retry-After").is_some(), "{}", answer.shown());
                refused += 1;
            } else {
                let _ = answer.expect(200);
            }
        }
    }
    println!("{refused} of 200 connections got `shutting_down`");
    under_way.send(&bytes[bytes.len() - 2..]).expect("the rest can be sent");
}
