//! Lines of a body without a `Content-Length`, as `tail -f | curl -T -` sends them: they
//! are appended while they arrive.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use styx_tests::api::{BINARY, LINES, ONE, binary, written_json};
use styx_tests::{Connection, Request, Settings, TestServer, wait};

const NDJSON: &str = "application/x-ndjson";
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
/// A second after which lines are appended is well below it.
const NOT_CUT_BEFORE: &str = "tcp_timeout = 60";

fn chunked(content_type: &str) -> Request {
    Request::new("POST", "/logs/a/records")
        .header("Content-Type", content_type)
        .header("Transfer-Encoding", "chunked")
}

/// Begins a request, without a part of its body.
fn begin(server: &TestServer, request: &Request) -> Connection {
    let mut connection = server.connect();
    connection.send(&request.head_bytes()).expect("the head can be sent");
    connection
}

fn until_end_is(server: &TestServer, end: u64) {
    wait::until_true(&format!("{end} records"), VISIBLE_WITHIN, || {
        server.info("a")["end_position"] == end
    });
}

#[test]
fn complete_lines_are_readable_before_the_body_ends() {
    let server = Settings::default().set(NOT_CUT_BEFORE).start();
    server.create("a");
    for (content_type, lines) in
        [(LINES, ["one", "two", "three"]), (NDJSON, ["1", "\"2\"", "{\"3\":3}"])]
    {
        let before = server.read_all("a").len() as u64;
        let mut connection = begin(&server, &chunked(content_type));
        let (head, tail) = lines[1].split_at(1);
        connection.send_chunk(format!("{}\n{head}", lines[0]).as_bytes()).expect("it can be sent");
        until_end_is(&server, before + 1);
        connection.send_chunk(format!("{tail}\n").as_bytes()).expect("it can be sent");
        until_end_is(&server, before + 2);
        // Only the end of the body makes a record of a line without an ending.
        connection.send_chunk(lines[2].as_bytes()).expect("it can be sent");
        connection.send_chunk(b"").expect("the end can be sent");
        let answer = connection.response("POST").expect("an answer").expect(200);
        assert_eq!(answer.text(), written_json(before + 3, 3));
        assert_eq!(server.read_from("a", before), lines.map(|line| line.as_bytes().to_vec()));
    }
}

#[test]
fn a_cut_body_keeps_its_complete_lines_and_drops_the_unfinished_one() {
    let server = Settings::default().set(NOT_CUT_BEFORE).start();
    server.create("a");
    // The client is gone.
    let mut connection = begin(&server, &chunked(LINES));
    connection.send_chunk(b"one\ntwo\nthr").expect("it can be sent");
    drop(connection);
    until_end_is(&server, 2);
    // The client still waits for the answer. Its last chunk is cut too.
    let mut connection = begin(&server, &chunked(LINES));
    connection.send(b"f\r\nthree\nfour\nfi").expect("it can be sent");
    connection.finish_sending().expect("the end can be sent");
    let answer =
        connection.response("POST").expect("an answer").expect_error(400, "malformed_records");
    let json = answer.json();
    assert_eq!((&json["position"], &json["count"]), (&4.into(), &2.into()), "{json}");
    server.append("a", "next");
    let expected: [&[u8]; 5] = [b"one", b"two", b"three", b"four", b"next"];
    assert_eq!(server.read_all("a"), expected);
}

#[test]
fn a_cut_body_with_a_length_or_a_condition_or_of_another_type_appends_nothing() {
    let server = Settings::default().set(NOT_CUT_BEFORE).start();
    server.create("a");
    let with_length = |content_type| {
        Request::new("POST", "/logs/a/records")
            .header("Content-Type", content_type)
            .header("Content-Length", 100)
    };
    let producer = chunked(LINES).header("X-Styx-Producer", 1).header("X-Styx-Sequence", 0);
    let mut requests = vec![
        (with_length(LINES), b"one\ntwo\n".to_vec()),
        (with_length(NDJSON), b"1\n2\n".to_vec()),
    ];
    for (request, body) in [
        (chunked(LINES).header("X-Styx-Expected-Position", 0), b"one\ntwo\n".to_vec()),
        (producer, b"one\ntwo\n".to_vec()),
        (chunked(BINARY), binary(&["one", "two"])),
        (chunked(ONE), b"one\ntwo\n".to_vec()),
    ] {
        let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat();
        requests.push((request, chunk));
    }
    for (request, part) in requests {
        let mut connection = begin(&server, &request);
        connection.send(&part).expect("it can be sent");
        connection.finish_sending().expect("the end can be sent");
        let answer = connection.response("POST").expect("an answer");
        let json = answer.expect_error(400, "malformed_records").json();
        assert_eq!(json["count"], 0, "{request:?}");
        assert_eq!(server.info("a")["end_position"], 0, "{request:?}");
    }
}

#[test]
fn a_body_that_stops_is_answered_request_timeout_with_what_was_appended() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut stream = begin(&server, &chunked(LINES));
    stream.send_chunk(b"one\ntwo\nthr").expect("it can be sent");
    let length = Request::new("POST", "/logs/a/records").header("Content-Length", 100);
    let mut stopped: Vec<_> = [
        length.clone().header("Content-Type", LINES),
        length.header("Content-Type", ONE),
        Request::new("POST", "/logs").header("Content-Length", 100),
        Request::new("POST", "/logs/restore?name=b").header("Content-Length", 100),
    ]
    .iter()
    .map(|request| {
        let mut connection = begin(&server, request);
        connection.send(b"part\n").expect("it can be sent");
        connection
    })
    .collect();
    let json =
        stream.response("POST").expect("an answer").expect_error(408, "request_timeout").json();
    assert_eq!((&json["position"], &json["count"]), (&2.into(), &2.into()), "{json}");
    for connection in &mut stopped {
        let answer = connection.response("POST").expect("an answer");
        let json = answer.expect_error(408, "request_timeout").json();
        assert!(json["count"].is_null() || json["count"] == 0, "{json}");
    }
    assert_eq!(server.read_all("a"), [b"one", b"two"]);
}

#[test]
fn a_sender_of_complete_lines_may_be_slow() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut connection = begin(&server, &chunked(LINES));
    let (start, mut lines) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(6) {
        // Less than the minimum rate of 8 bytes per second.
        connection.send_chunk(b"x\n").expect("a chunk can be sent");
        lines += 1;
        // The pace of a slow sender.
        std::thread::sleep(Duration::from_millis(700));
    }
    connection.send_chunk(b"").expect("the end can be sent");
    let answer = connection.response("POST").expect("an answer").expect(200);
    assert_eq!(answer.text(), written_json(lines, lines));
}

#[test]
fn an_invalid_line_is_refused_and_the_appended_lines_before_it_are_counted() {
    let server = Settings::default().set(NOT_CUT_BEFORE).start();
    server.create("a");
    let mut connection = begin(&server, &chunked(NDJSON));
    connection.send_chunk(b"1\n2\n").expect("it can be sent");
    until_end_is(&server, 2);
    connection.send_chunk(b"{oops}\n").expect("it can be sent");
    let answer = connection.response("POST").expect("an answer");
    let json = answer.expect_error(400, "malformed_records").json();
    assert_eq!((&json["position"], &json["count"]), (&2.into(), &2.into()), "{json}");
    assert_eq!(server.read_all("a"), [b"1", b"2"]);
}

#[test]
fn flushed_lines_of_a_compressed_body_are_readable_before_it_ends() {
    let server = Settings::default().set(NOT_CUT_BEFORE).start();
    server.create("a");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut zstd = zstd::stream::Encoder::new(Vec::new(), 1).expect("an encoder");
    gzip.write_all(b"one\n").and_then(|()| gzip.flush()).expect("memory can be written");
    zstd.write_all(b"one\n").and_then(|()| zstd.flush()).expect("memory can be written");
    let flushed = [("gzip", std::mem::take(gzip.get_mut())), ("zstd", zstd.get_ref().clone())];
    for (end, (encoding, part)) in (1..).zip(flushed) {
        let request = chunked(LINES).header("Content-Encoding", encoding);
        let mut connection = begin(&server, &request);
        connection.send_chunk(&part).expect("it can be sent");
        until_end_is(&server, end);
    }
    assert_eq!(server.read_all("a"), [b"one", b"one"]);
}

#[test]
fn a_stopping_server_appends_the_complete_lines_and_answers_shutting_down() {
    let mut server = Settings::default().set(NOT_CUT_BEFORE).set("shutdown_timeout = 30").start();
    server.create("a");
    let mut connection = begin(&server, &chunked(LINES));
    connection.send_chunk(b"one\ntw").expect("it can be sent");
    until_end_is(&server, 1);
    server.ask_to_stop();
    let answer = connection.response("POST").expect("an answer");
    let json = answer.expect_error(503, "shutting_down").json();
    assert_eq!((&json["position"], &json["count"]), (&1.into(), &1.into()), "{json}");
    drop(connection);
    let _ = server.wait_for_exit();
    server.restart();
    assert_eq!(server.read_all("a"), [b"one"]);
}

#[test]
fn a_deleted_log_ends_a_line_stream_with_the_next_lines() {
    let server = Settings::default().set(NOT_CUT_BEFORE).start();
    server.create("a");
    let mut connection = begin(&server, &chunked(LINES));
    connection.send_chunk(b"one\n").expect("it can be sent");
    until_end_is(&server, 1);
    let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    connection.send_chunk(b"two\n").expect("it can be sent");
    let json =
        connection.response("POST").expect("an answer").expect_error(404, "log_not_found").json();
    assert_eq!(json["count"], 1, "{json}");
}

#[test]
fn many_lines_in_a_stream_keep_their_order() {
    let server = TestServer::with_log("a");
    let mut connection = begin(&server, &chunked(LINES));
    let lines: Vec<String> =
        (0..100_000).map(|n| format!("line {n} {}", "x".repeat(n % 97))).collect();
    let body = lines.join("\n");
    for chunk in body.as_bytes().chunks(9_973) {
        connection.send_chunk(chunk).expect("a chunk can be sent");
    }
    connection.send_chunk(b"").expect("the end can be sent");
    let answer = connection.response("POST").expect("an answer").expect(200);
    assert_eq!(answer.text(), written_json(100_000, 100_000));
    let read = server.read_all("a");
    assert!(read.iter().zip(&lines).all(|(read, line)| read == line.as_bytes()));
}

#[test]
fn trailers_of_a_chunked_body_are_ignored() {
    let server = TestServer::with_log("a");
    let mut connection = begin(&server, &chunked(LINES).header("Trailer", "X-Sum"));
    connection.send_chunk(b"one\n\r\ntw").expect("it can be sent");
    connection.send_chunk(b"o").expect("it can be sent");
    connection.send(b"0\r\nX-Sum: 9\r\n\r\n").expect("the end can be sent");
    let answer = connection.response("POST").expect("an answer").expect(200);
    assert_eq!(answer.text(), written_json(3, 3));
    let expected: [&[u8]; 3] = [b"one", b"\r", b"two"];
    assert_eq!(server.read_all("a"), expected);
}

/// `curl -T -`, which sends what it reads from standard input.
fn curl(server: &TestServer, arguments: &[&str]) -> Child {
    Command::new("curl")
        .args(["-sS", "--max-time", "60", "-X", "POST", "-T", "-"])
        .args(["-H", &format!("Content-Type: {LINES}")])
        .args(arguments)
        .arg(server.url("/logs/a/records"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is installed (cargo xtask test checks that)")
}

#[test]
fn curl_appends_lines_of_its_standard_input_while_it_runs() {
    let server = Settings::default().set(NOT_CUT_BEFORE).start();
    server.create("a");
    let mut end = 0;
    // With HTTP/1.1, it sends `Expect: 100-continue` and chunks.
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let mut running = curl(&server, &[version]);
        let input = running.stdin.as_mut().expect("it is piped");
        for line in ["one\n", "two\n"] {
            input.write_all(line.as_bytes()).expect("curl reads");
            end += 1;
            until_end_is(&server, end);
        }
        drop(running.stdin.take());
        let output = running.wait_with_output().expect("curl ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), written_json(end, 2), "{version}");

        let mut killed = curl(&server, &[version]);
        let input = killed.stdin.as_mut().expect("it is piped");
        input.write_all(b"three\nunfinished").expect("curl reads");
        end += 1;
        until_end_is(&server, end);
        killed.kill().expect("it runs");
        let _ = killed.wait().expect("it ends");
        server.append("a", "next");
        end += 1;
    }
    let expected: [&[u8]; 8] =
        [b"one", b"two", b"three", b"next", b"one", b"two", b"three", b"next"];
    assert_eq!(server.read_all("a"), expected);
}
