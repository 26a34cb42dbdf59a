//! The table of error codes: each code is returned here, or the test that does it is
//! named.

use std::collections::BTreeSet;

use styx_protocol::Code;
use styx_tests::api::{BINARY, write_lines, write_one};
use styx_tests::{Connection, Request, Settings, Table, TestServer, error};

/// Returned in other tests, which need a fault for it.
const ELSEWHERE: [(Code, &str); 14] = [
    (Code::LogNotAvailable, "faults::damage"),
    (Code::CorruptRecord, "faults::damage"),
    (Code::OutcomeUnknown, "faults::disk"),
    (Code::StorageFull, "faults::disk"),
    (Code::Overloaded, "limits::connection_limit"),
    (Code::Unauthorized, "access::matrix"),
    (Code::Forbidden, "access::matrix"),
    (Code::TooManyRequests, "access::lifecycle"),
    (Code::RequestTimeout, "limits::stalled_peers"),
    (Code::TooManyCursors, "http::cursors"),
    (Code::QuotaExceeded, "limits::principals"),
    (Code::StoreUnavailable, "archive::store"),
    (Code::ReadOnly, "archive::replica"),
    (Code::ShuttingDown, "below: a_stopping_server_answers_shutting_down"),
];

/// Not returned over HTTP by this version.
const NEVER: [(Code, &str); 3] = [
    (Code::MissingContentLength, "every body is streamed, so no request needs a length"),
    (Code::ProducerUnknown, "only clients return it"),
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
    let produce = |epoch: u64, sequence: u64, line: &str| {
        write_lines("a", line)
            .header("X-Styx-Producer", 1)
            .header("X-Styx-Epoch", epoch)
            .header("X-Styx-Sequence", sequence)
    };
    let _ = server.ask(&produce(1, 0, "x\n")).expect(200);
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
        raise(Code::SequenceGap, produce(1, 5, "x\n")),
        raise(Code::SequenceReused, produce(1, 0, "y\n")),
        raise(Code::ProducerFenced, produce(0, 1, "x\n")),
        raise(Code::LogChanged, Request::get(read).header("X-Styx-Log-Id", "0".repeat(32))),
        raise(
            Code::LogEndRegressed,
            Request::get(read).header("X-Styx-Log-Id", id).header("X-Styx-Known-End", 9),
        ),
        raise(Code::CursorNotFound, Request::get("/logs/a/cursors/c")),
        raise(
            Code::CursorTaken,
            Request::new("PUT", "/logs/a/cursors/c")
                .header("If-Match", "*")
                .typed("application/json", r#"{"position": 0}"#),
        ),
    ]);
    raised.extend(ELSEWHERE.iter().chain(&NEVER).map(|(code, _)| code.as_str()));
    let all: BTreeSet<&str> = Code::all().map(Code::as_str).collect();
    assert_eq!(raised, all, "a code that no test returns");
    assert_eq!(raised.len(), 17 + ELSEWHERE.len() + NEVER.len(), "a code that is listed twice");
    table.row("and all is well", &Request::get("/logs/b"), &error(404, "log_not_found"));
    table.check();
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
