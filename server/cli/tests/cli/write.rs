//! `styx logs write`: which requests standard input becomes, and what is said
//! when one of them fails.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::{FakeServer, Ran, answer, binary_records, error};

/// A log that takes payloads of up to 92 bytes and counts what it is sent.
fn log() -> FakeServer {
    FakeServer::start(|number, request| reply(number, &request.body))
}

fn reply(number: usize, body: &[u8]) -> Vec<u8> {
    match number {
        0 => answer(200, "X-Styx-Log-Id: ab\r\n", b"{\"config\": {\"max_record_size\": 100}}"),
        _ => answer(200, "", format!("{{\"position\": {}, \"count\": 0}}", body.len()).as_bytes()),
    }
}

/// The bodies of all writes, after the question about the log.
fn bodies(server: &FakeServer) -> Vec<Vec<u8>> {
    let requests = server.requests();
    assert_eq!(requests[0].line, "GET /logs/x?details=true");
    for request in &requests[1..] {
        assert_eq!(request.line, "POST /logs/x/records");
        assert_eq!(request.header("x-styx-log-id"), Some("ab"));
        assert_eq!(request.header("content-type"), Some("application/vnd.styx.binary-records"));
    }
    requests[1..].iter().map(|request| request.body.clone()).collect()
}

#[test]
fn lines_become_records() {
    for (arguments, stdin, expected) in [
        ("logs write x", &b"one\n\ntwo"[..], &[&b"one"[..], b"", b"two"][..]),
        ("logs write x -l crlf", b"a\r\nb\r\n", &[b"a", b"b"]),
        ("logs write x -l cr", b"a\n\rb", &[b"a\n", b"b"]),
        ("logs write x -b", b"\0\0\0\x01a\0\0\0\0", &[b"a", b""]),
    ] {
        let server = log();
        server.styx(arguments, stdin).printed(b"");
        assert_eq!(bodies(&server), [binary_records(expected)], "{arguments}");
    }
}

#[test]
fn no_input_is_no_request() {
    let server = log();
    server.styx("logs write x", b"").printed(b"");
    assert!(bodies(&server).is_empty());
}

#[test]
fn unbuffered_is_a_request_a_record() {
    let server = log();
    server.styx("logs write x -u", b"a\nb\n").printed(b"");
    assert_eq!(bodies(&server), [binary_records(&[b"a"]), binary_records(&[b"b"])]);
}

#[test]
fn much_input_becomes_atomic_requests_in_order() {
    let server = log();
    let lines: Vec<String> = (0..200_000).map(|i| format!("line {i}")).collect();
    server.styx("logs write x", (lines.join("\n") + "\n").as_bytes()).printed(b"");
    let bodies = bodies(&server);
    assert!(bodies.iter().all(|body| body.len() <= 1 << 20));
    let payloads: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    assert!(bodies.concat() == binary_records(&payloads));
}

/// A line that is typed, or comes from a program that says little, must not wait
/// for a full batch.
#[test]
fn a_quiet_input_is_sent_before_it_ends() {
    let server = log();
    let mut child = server.spawn("logs write x");
    let mut stdin = child.stdin.take().expect("is piped");
    stdin.write_all(b"one\ntw").expect("it reads");
    let begun = Instant::now();
    while server.requests().len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing was sent");
        std::thread::sleep(Duration::from_millis(5));
    }
    stdin.write_all(b"o").expect("it reads");
    drop(stdin);
    Ran::from(child.wait_with_output().expect("it ran")).printed(b"");
    assert_eq!(bodies(&server), [binary_records(&[b"one"]), binary_records(&[b"two"])]);
}

#[test]
fn a_log_that_is_not_there_is_said_before_anything_is_read() {
    let server = FakeServer::start(|_, _| error(404, "log_not_found", "there is no log x", ""));
    let child = server.spawn("logs write x");
    // Standard input stays open.
    let ran = Ran::from(child.wait_with_output().expect("it ran"));
    ran.failed(b"", &["there is no log x"]);
}

#[test]
fn a_fault_in_the_input_comes_after_what_was_good() {
    for (arguments, stdin, fault) in [
        ("logs write x", [&b"one\n"[..], &[b'x'; 93]].concat(), "the line at byte 4 is longer"),
        ("logs write x -b", b"\0\0\0\x03one\xff\xff\xff\xffx".to_vec(), "byte 7 has a size of -1"),
        ("logs write x -b", b"\0\0\0\x03one\0\0".to_vec(), "byte 7 is cut off"),
    ] {
        let server = log();
        let ran = server.styx(arguments, &stdin);
        ran.failed(b"", &[fault, "(1 record was appended, up to position 7)"]);
        assert_eq!(bodies(&server), [binary_records(&[b"one"])]);
    }
}

#[test]
fn a_refused_request_says_what_is_in_the_log() {
    let server = FakeServer::start(|number, request| match number {
        0 | 1 => reply(number, &request.body),
        _ => error(507, "storage_full", "no space", ", \"position\": 0, \"count\": 0"),
    });
    let ran = server.styx("logs write x -u", b"a\nb\nc\n");
    ran.failed(b"", &["Error: no space (1 record was appended, up to position 5)\n"]);
}

#[test]
fn a_lost_request_is_in_doubt() {
    let server = FakeServer::start(|number, request| match number {
        0 => reply(number, &request.body),
        _ => Vec::new(),
    });
    let ran = server.styx("logs write x", b"a\nb\n");
    ran.failed(b"", &["(nothing was appended, and of the next 2 it is not known)"]);
}

#[test]
fn a_server_with_too_much_to_do_is_asked_again() {
    let server = FakeServer::start(|number, request| match number {
        1 => error(503, "overloaded", "too much", ""),
        _ => reply(number, &request.body),
    });
    server.styx("logs write x", b"a\n").printed(b"");
    assert_eq!(bodies(&server), [binary_records(&[b"a"]), binary_records(&[b"a"])]);
}
