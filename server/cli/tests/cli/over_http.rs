//! What the command line sends over plain HTTP, behind a proxy that answers upgrades itself.

use crate::support::{FakeServer, Request, answer, error};

const ID: &str = "X-Styx-Log-Id: 000102030405060708090a0b0c0d0e0f\r\n";
const INFO: &[u8] = br#"{"name": "a", "status": "ok", "record_count": 0, "file_size": 0,
    "start_position": 0, "end_position": 0, "config": {}}"#;
const NOTHING: &[u8] = br#"{"position": 0, "count": 0}"#;

fn is_upgrade(request: &Request) -> bool {
    request.header("upgrade").is_some()
}

/// The requests for records after the refused upgrade.
fn requests(server: &FakeServer) -> Vec<Request> {
    let all = server.requests();
    let upgrades = all.iter().filter(|request| is_upgrade(request)).count();
    assert_eq!(upgrades, 1, "{all:?}");
    all.into_iter().skip_while(|request| !is_upgrade(request)).skip(1).collect()
}

/// A log that gives each append, counted from 0, this answer.
fn appends(reply: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> FakeServer {
    FakeServer::start(move |number, request| match number {
        0 => answer(200, ID, INFO),
        _ if is_upgrade(request) => answer(200, "", NOTHING),
        _ => reply(number - 2),
    })
}

/// An answer that breaks off, so the outcome of its request is not known.
fn broken() -> Vec<u8> {
    b"HTTP/1.1 200 X\r\nContent-Length: 30\r\nX-Cut: 1\r\n\r\n{".to_vec()
}

fn last_line(stderr: &str) -> &str {
    stderr.lines().last().unwrap_or_default()
}

#[test]
fn append_with_an_unknown_outcome_is_sent_again_under_the_same_sequence() {
    let server = appends(|number| match number {
        0 => broken(),
        1 => answer(504, "", b"<html>"),
        2 => answer(200, "", br#"{"position": 2, "count": 0}"#),
        _ => answer(200, "", br#"{"position": 3, "count": 1}"#),
    });
    // The records do not fit one request.
    let input = format!("{0}\n{0}\n3\n", "x".repeat(300_000));
    let ran = server.styx("logs write a", input.as_bytes());
    assert_eq!((ran.code, ran.stdout.len()), (Some(0), 0), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    let sent = requests(&server);
    let header = |request: &Request, name: &str| request.header(name).map(str::to_owned);
    assert_eq!(sent[0].body.len(), 300_004);
    for request in &sent[..3] {
        assert_eq!(request.line, "POST /logs/a/records");
        assert_eq!(request.header("x-styx-sequence"), Some("0"));
        assert_eq!(header(request, "x-styx-producer"), header(&sent[0], "x-styx-producer"));
        assert_eq!(request.header("x-styx-log-id"), Some("000102030405060708090a0b0c0d0e0f"));
        assert!(request.body == sent[0].body, "other bytes under the same sequence");
    }
    assert_eq!(sent[3].header("x-styx-sequence"), Some("1"));
    assert_eq!(header(&sent[3], "x-styx-producer"), header(&sent[0], "x-styx-producer"));
    assert_eq!(sent[3].header("x-styx-known-end"), Some("2"));
}

#[test]
fn failed_write_names_the_records_in_doubt() {
    let refused = || error(409, "log_changed", "it changed", "");
    let server = appends(move |number| if number == 0 { broken() } else { refused() });
    let ran = server.styx("logs write a", b"1\n2\n");
    assert_eq!(ran.code, Some(1));
    let in_doubt = "(nothing was appended; the next 2 records may have been appended too)";
    assert_eq!(last_line(&ran.stderr), format!("Error: it changed {in_doubt}"));

    let server = appends(move |_| refused());
    let ran = server.styx("logs write a -u", b"1\n2\n");
    assert_eq!(last_line(&ran.stderr), "Error: it changed (nothing was appended)");
    assert_eq!(requests(&server).len(), 1, "nothing is sent after an error");
}

#[test]
fn records_before_malformed_input_are_appended_over_http() {
    let server = appends(|_| answer(200, "", br#"{"position": 1, "count": 1}"#));
    let ran = server.styx("logs write a -b", b"\0\0\0\x01a\xff\xff\xff\xff");
    let expected = "Error: in standard input, the record at byte 5 has a size of -1 (1 record was \
                    appended)";
    assert_eq!((ran.code, last_line(&ran.stderr)), (Some(1), expected));
    assert_eq!(requests(&server).len(), 1);
}

#[test]
fn broken_read_continues_at_the_next_record() {
    let range = format!("{ID}X-Styx-Next-Position: 5\r\nX-Styx-End-Position: 8\r\n");
    let server = FakeServer::start(move |number, request| match number {
        0 => answer(200, ID, INFO),
        _ if is_upgrade(request) => answer(200, "", b"a record"),
        2 => answer(200, &range, b""),
        3 => [
            format!("HTTP/1.1 200 X\r\nContent-Length: 99\r\nX-Cut: 1\r\n{range}\r\n").as_bytes(),
            b"\0\0\0\x03one\0\0\0\x03tw",
        ]
        .concat(),
        // A proxy may end a response normally although the server's broke.
        4 => answer(200, &range, b"\0\0\0\x03two"),
        _ => answer(200, &range, b"\0\0\0\x05three"),
    });
    let ran = server.styx("logs read a -w end -P -3", b"");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "one\ntwo\nthree\n");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let sent = requests(&server);
    let lines: Vec<&str> = sent.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "GET /logs/a/records?whence=end&position=-3&count=0",
            "GET /logs/a/records?whence=origin&position=5&count=3",
            "GET /logs/a/records?whence=origin&position=6&count=2",
            "GET /logs/a/records?whence=origin&position=7&count=1",
        ]
    );
    for request in &sent[1..] {
        assert_eq!(request.header("x-styx-log-id"), Some("000102030405060708090a0b0c0d0e0f"));
        assert_eq!(request.header("x-styx-known-end"), Some("8"));
    }
}

#[test]
fn refused_upgrade_of_a_proxy_leads_to_http_and_an_error_of_the_server_does_not() {
    for (status, body, is_refusal) in [
        (200, &b"a record"[..], true),
        (400, b"<html>", true),
        (403, b"", true),
        (426, b"Upgrade Required", true),
        (501, b"<html>", true),
        (401, b"<html>", false),
        (503, b"<html>", false),
        (403, br#"{"code": "forbidden", "message": "no"}"#, false),
        (503, br#"{"code": "log_not_available", "message": "no"}"#, false),
    ] {
        let range = format!("{ID}X-Styx-Next-Position: 0\r\nX-Styx-End-Position: 0\r\n");
        let server = FakeServer::start(move |number, request| match number {
            0 => answer(200, ID, INFO),
            _ if is_upgrade(request) => answer(status, "", body),
            _ => answer(200, &range, b""),
        });
        let ran = server.styx("logs read a", b"");
        let stderr = &ran.stderr;
        assert_eq!(ran.code, Some(if is_refusal { 0 } else { 1 }), "{status}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{status}: {stderr}");
        let warning = format!("answered {status} instead of 101");
        assert_eq!(stderr.contains(&warning), is_refusal, "{status}: {stderr}");
        assert_eq!(stderr.starts_with("Error: "), !is_refusal, "{status}: {stderr}");
    }
}
