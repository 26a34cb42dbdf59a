//! `styx logs read`: what it asks for, and what it prints.

use std::io::Read;

use crate::support::{FakeServer, Ran, answer, binary_records, error};

fn log(payloads: &'static [&'static [u8]]) -> FakeServer {
    FakeServer::start(move |_, _| answer(200, "", &binary_records(payloads)))
}

#[test]
fn records_are_printed_as_asked() {
    for (arguments, expected) in [
        ("logs read x", &b"one\n\ntwo\n"[..]),
        ("logs read x -l crlf", b"one\r\n\r\ntwo\r\n"),
        ("logs read x -u", b"one\n\ntwo\n"),
        ("logs read x -b", b"\0\0\0\x03one\0\0\0\0\0\0\0\x03two"),
    ] {
        log(&[b"one", b"", b"two"]).styx(arguments, b"").printed(expected);
    }
}

#[test]
fn parameters_are_sent() {
    for (arguments, line) in [
        ("logs read x", "GET /logs/x/records?whence=origin&position=0"),
        ("logs read x -P -5 -w end -n 2", "GET /logs/x/records?whence=end&position=-5&count=2"),
        (
            "logs read x -w time -P 1970-01-01T00:00:01Z",
            "GET /logs/x/records?whence=time&position=1000000",
        ),
    ] {
        let server = log(&[]);
        server.styx(arguments, b"").printed(b"");
        let request = &server.requests()[0];
        assert_eq!(request.line, line);
        assert_eq!(request.header("accept"), Some("application/vnd.styx.binary-records"));
    }
}

#[test]
fn following_goes_on_where_the_answer_before_ended() {
    let server = FakeServer::start(|number, _| match number {
        0 => answer(
            200,
            "X-Styx-Next-Position: 7\r\nX-Styx-Log-Id: ab\r\n",
            &binary_records(&[b"a"]),
        ),
        1 => answer(200, "X-Styx-Next-Position: 7\r\nX-Styx-Log-Id: ab\r\n", b""),
        2 => answer(200, "X-Styx-Next-Position: 9\r\n", &binary_records(&[b"b", b"c"])),
        _ => error(409, "log_changed", "the log was truncated", ""),
    });
    let ran = server.styx("logs read x -w end -P -1 -n 3 -F", b"");
    ran.printed(b"a\nb\nc\n");
    let lines: Vec<_> = server.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(
        lines,
        [
            "GET /logs/x/records?whence=end&position=-1&count=3&follow=true",
            "GET /logs/x/records?whence=origin&position=7&count=2&follow=true",
            "GET /logs/x/records?whence=origin&position=7&count=2&follow=true",
        ]
    );
    assert_eq!(server.requests()[1].header("x-styx-log-id"), Some("ab"));

    let ran = server.styx("logs read x -F", b"");
    ran.failed(b"", &["the log was truncated"]);
}

#[test]
fn a_cut_answer_prints_its_whole_records_and_fails() {
    let server = FakeServer::start(|_, _| {
        let body = b"\0\0\0\x03one\0\0\0\x03t";
        let head = format!("HTTP/1.1 200 X\r\nX-Cut: 1\r\nContent-Length: {}\r\n\r\n", 99);
        [head.as_bytes(), body].concat()
    });
    server.styx("logs read x", b"").failed(b"one\n", &["the connection to the server broke"]);
}

#[test]
fn an_answer_that_ends_inside_a_record_is_a_failure() {
    let server = FakeServer::start(|_, _| answer(200, "", b"\0\0\0\x03on"));
    server.styx("logs read x", b"").failed(b"", &["byte 0 is cut off"]);
}

/// `styx logs read x | head -1` must end well.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let payload = vec![b'x'; 60_000];
    let server = FakeServer::start(move |_, _| {
        answer(200, "", &binary_records(&vec![payload.as_slice(); 50]))
    });
    let mut child = server.spawn("logs read x");
    let mut stdout = child.stdout.take().expect("is piped");
    stdout.read_exact(&mut [0; 10]).expect("it prints");
    drop(stdout);
    Ran::from(child.wait_with_output().expect("it ran")).printed(b"");
}
