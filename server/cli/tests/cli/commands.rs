//! Commands that send one request: what they send and print, and their exit code.

use crate::support::{FakeServer, Ran, Request, answer, error};

const INFO: &[u8] = b"{\n  \"name\": \"cli\",\n  \"status\": \"ok\",\n  \"record_count\": 5,\n  \
    \"file_size\": 53,\n  \"start_position\": 0,\n  \"end_position\": 5\n}\n";

const INFO_TEXT: &[u8] = b"name:\t\t\tcli\nstatus:\t\t\tok\nrecord_count:\t\t5\nfile_size:\t\t53\n\
    start_position:\t\t0\nend_position:\t\t5\n";

/// Runs a command against a server that gives `reply` to everything. Returns the result
/// and the only request.
fn check(arguments: &str, stdin: &[u8], reply: Vec<u8>) -> (Ran, Request) {
    let server = FakeServer::start(move |_, _| reply.clone());
    let ran = server.styx(arguments, stdin);
    let [request] = &server.requests()[..] else { panic!("one request") };
    (ran, request.clone())
}

#[test]
fn create_sends_the_whole_configuration() {
    let (ran, request) = check("logs create cli --log-max-age 5", b"", answer(200, "", INFO));
    ran.printed(INFO_TEXT);
    assert_eq!(request.line, "POST /logs");
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!((&body["name"], &body["log_max_age"]), (&"cli".into(), &5.into()));
    assert_eq!(body["max_record_size"], 1 << 20);
}

#[test]
fn json_output_has_the_bytes_of_the_api() {
    // The server has no details, as one of an earlier version.
    let server = FakeServer::start(|_, _| answer(200, "", INFO));
    server.styx("logs get cli -f json", b"").printed(INFO);
    let lines: Vec<_> = server.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(lines, ["GET /logs/cli", "GET /logs/cli?details=true"]);

    let text = String::from_utf8_lossy(INFO);
    let list = format!("[\n  {}\n]\n", text.trim_end().replace('\n', "\n  "));
    for list in [list.as_bytes(), b"[]\n"] {
        let (ran, _) = check("-f json logs list", b"", answer(200, "", list));
        ran.printed(list);
    }
}

#[test]
fn delete_and_truncate_print_nothing_and_adopt_and_trim_print_the_log() {
    for (arguments, line) in
        [("logs delete cli", "DELETE /logs/cli"), ("logs truncate cli", "POST /logs/cli/truncate")]
    {
        let (ran, request) = check(arguments, b"", answer(200, "", b""));
        ran.printed(b"");
        assert_eq!(request.line, line);
    }
    let (ran, request) = check("logs adopt cli", b"", answer(200, "", INFO));
    ran.printed(INFO_TEXT);
    assert_eq!(request.line, "POST /logs/cli/adopt");
    let (ran, request) = check("logs trim cli -P 3", b"", answer(200, "", INFO));
    ran.printed(INFO_TEXT);
    assert_eq!(request.line, "POST /logs/cli/trim?position=3");
}

#[test]
fn error_message_of_the_server_is_printed() {
    let (ran, _) = check("logs get cli", b"", error(404, "log_not_found", "there is no log", ""));
    ran.failed(b"", &["Error: there is no log\n"]);
}

#[test]
fn refused_connection_names_the_address_and_styx_serve() {
    let server = FakeServer::start(|_, _| Vec::new());
    let ran = server.styx("logs list -H http://127.0.0.1:1", b"");
    ran.failed(b"", &["127.0.0.1:1", "styx serve"]);
}

#[test]
fn invalid_log_name_is_refused_before_any_request() {
    let server = FakeServer::start(|_, _| answer(200, "", b""));
    for name in ["..", "a/b", "a.b", "a?b"] {
        server.styx(&format!("logs delete {name}"), b"").failed(b"", &["is not a log name"]);
    }
    assert!(server.requests().is_empty());
}

#[test]
fn archive_is_copied_unchanged_in_both_directions() {
    let archive: Vec<u8> = (0..700_000u32).map(|i| (i * 7) as u8).collect();
    let (ran, request) = check("logs backup cli", b"", answer(200, "", &archive));
    assert!(ran.code == Some(0) && ran.stdout == archive);
    assert_eq!(request.line, "GET /logs/cli/backup");

    let (ran, request) = check("logs restore cli", &archive, answer(200, "", b""));
    ran.printed(b"");
    assert_eq!(request.line, "POST /logs/restore?name=cli");
    assert!(request.body == archive);
}

/// A server may refuse an archive while it is sent, and close the connection. The command
/// must print its message, not only that the connection is closed.
#[test]
fn refusal_in_the_middle_of_a_long_request_is_printed() {
    let server = FakeServer::hanging_up(error(400, "invalid_params", "it is damaged", ""));
    let archive = vec![0; 50 << 20];
    server.styx("logs restore cli", &archive).failed(b"", &["Error: it is damaged\n"]);
}

#[test]
fn truncated_archive_is_a_failure() {
    let cut = b"HTTP/1.1 200 X\r\nContent-Length: 9\r\nX-Cut: 1\r\n\r\nabc".to_vec();
    check("logs backup cli", b"", cut).0.failed(b"abc", &["Error: the connection to ", " broke: "]);
    let cut = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec();
    check("logs backup cli", b"", cut).0.failed(b"abc", &["Error: the connection to ", " broke: "]);
}

#[test]
fn usage_goes_to_standard_error() {
    let server = FakeServer::start(|_, _| Vec::new());
    for (arguments, code, part) in [
        ("logs", 2, "Commands:"),
        ("logs frobnicate", 2, "unrecognized subcommand 'frobnicate'"),
        ("logs read x -w up", 2, "Error: --whence is \"up\": use origin"),
        ("logs list -f xml", 2, "[possible values: text, json]"),
        ("logs read x -l zz", 2, "line-ending is \"zz\": use lf, cr or crlf"),
        ("--help", 0, "Commands:"),
    ] {
        let ran = server.styx(arguments, b"");
        assert_eq!((ran.code, ran.stdout.len()), (Some(code), 0), "{arguments}");
        assert!(ran.stderr.contains("Usage: styx"), "{arguments}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{arguments}: {}", ran.stderr);
    }
}
