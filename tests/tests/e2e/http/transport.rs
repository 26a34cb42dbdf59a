//! HTTP itself: slashes, 100-continue, pipelining, HTTP/2, CORS, and invalid HTTP.

use std::process::Command;

use styx_tests::api::{info_json, written_json};
use styx_tests::{Request, Response, Settings, Table, TestServer, error, gives};

#[test]
fn repeated_slashes_count_as_one() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let info = gives(200).body(info_json("a", 0, 0, 0, 0));
    for path in ["//logs/a", "/logs//a", "///logs///a"] {
        table.row(path, &Request::get(path), &info);
    }
    let write = Request::post("//logs/a//records?x=//").body("x");
    table.row("a write", &write, &gives(200).body(written_json(1, 1)));
    table.check();
}

#[test]
fn percent_encoded_unreserved_characters_name_the_same_resource() {
    let server = TestServer::with_log("my-log_1");
    let mut table = Table::of(&server);
    let info = gives(200).body(info_json("my-log_1", 0, 0, 0, 0));
    for path in ["/logs/my%2Dlog%5F1", "/logs/%6dy-log_1", "/%6Cogs/my-log%5f1"] {
        table.row(path, &Request::get(path), &info);
    }
    let write = Request::post("/logs/my%2dlog_1/%72ecords").body("x");
    table.row("append", &write, &gives(200).body(written_json(1, 1)));
    let upgrade = Request::get("/logs/my%2Dlog_1/records")
        .header("Connection", "Upgrade")
        .header("Upgrade", "styx/0");
    table.row("upgrade", &upgrade, &gives(101));
    for path in [
        "/logs/my-log_1%2Frecords",
        "/logs/my%252Dlog_1",
        "/logs/..%2fx",
        "/logs/my-log_1%00",
        "/logs/%zz",
        "/logs/%",
        "/logs/my-log_1%2",
    ] {
        table.row(path, &Request::get(path), &gives(404));
    }
    table.check();
}

#[test]
fn an_upgrade_to_a_protocol_of_others_is_ignored() {
    let server = TestServer::with_log("a");
    server.append("a", "zero");
    let mut table = Table::of(&server);
    let offering = |request: Request, protocols: &str| {
        request.header("Connection", "Upgrade").header("Upgrade", protocols)
    };
    for protocols in ["TLS/1.2", "h2c", "HTTP/2.0", "h2c, TLS/1.2", "carrier-pigeon", "styx", ""] {
        let plain = [
            ("/logs", gives(200)),
            ("/logs/a", gives(200)),
            ("/logs/a/records", gives(200).body("zero")),
            ("/health/live", gives(200)),
        ];
        for (path, expected) in plain {
            let name = format!("GET {path}, {protocols}");
            table.row(&name, &offering(Request::get(path), protocols), &expected);
        }
        let write = Request::post("/logs/a/records").body("x");
        table.row(protocols, &offering(write, protocols), &gives(200));
    }
    let known = offering(Request::get("/logs/a/records"), "TLS/1.2, styx/0");
    table.row("one of them is known", &known, &gives(101).with("Upgrade", "styx/0"));
    let version = offering(Request::get("/logs/a/records"), "TLS/1.2, STYX/9");
    table.row("an unknown version", &version, &error(426, "invalid_params").says("STYX/9"));
    table.check();
}

#[test]
fn expect_100_continue_is_honoured() {
    let server = TestServer::with_log("a");
    let mut connection = server.connect();
    let request = Request::post("/logs/a/records").header("Expect", "100-continue").body("hello");
    connection.send(&request.head_bytes()).expect("the head can be sent");
    let interim = connection.head("POST").expect("an interim answer before the body");
    assert_eq!(interim.status, 100);
    connection.send(b"hello").expect("the body can be sent");
    let answer = connection.response("POST").expect("an answer").expect(200);
    assert_eq!(answer.text(), written_json(1, 1));

    let refused = Request::post("/logs/no/records").header("Expect", "100-continue").body("hello");
    let mut connection = server.connect();
    connection.send(&refused.head_bytes()).expect("the head can be sent");
    let answer = connection.response("POST").expect("an answer without the body");
    let _ = answer.expect_error(404, "log_not_found");
}

#[test]
fn a_connection_serves_pipelined_requests() {
    let server = TestServer::with_log("a");
    let mut connection = server.connect();
    let mut pipeline = Vec::new();
    for number in 0..50 {
        let write = Request::post("/logs/a/records").body(format!("{number}"));
        pipeline.extend_from_slice(&write.bytes());
    }
    connection.send(&pipeline).expect("the requests can be sent");
    for number in 1..=50 {
        let answer = connection.response("POST").expect("an answer").expect(200);
        assert_eq!(answer.text(), written_json(number, 1));
    }
    let one = connection.exchange(&Request::get("/logs/a/records?position=49")).expect("an answer");
    assert_eq!(one.expect(200).text(), "49");
}

#[test]
fn http_1_0_is_served_and_closed() {
    let server = TestServer::with_log("a");
    let mut connection = server.connect();
    connection.send(b"GET /logs HTTP/1.0\r\n\r\n").expect("the request can be sent");
    let answer = connection.response("GET").expect("an answer").expect(200);
    assert!(answer.text().contains("\"a\""), "{}", answer.shown());
    assert_eq!(connection.until_close().expect("the server closes the connection"), b"");
}

/// Sends bytes and returns the answer, after which the server closes the connection.
fn refused(server: &TestServer, bytes: &str) -> Response {
    let mut connection = server.connect();
    connection.send(bytes.as_bytes()).expect("the request can be sent");
    let answer = connection.response("GET").expect("an answer");
    assert_eq!(answer.header("Connection"), Some("close"), "{bytes:?}");
    assert_eq!(connection.until_close().expect("the server closes"), b"", "{bytes:?}");
    answer
}

#[test]
fn an_http_1_1_request_needs_exactly_one_host() {
    let server = TestServer::with_log("a");
    for head in [
        "GET /logs HTTP/1.1\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nAccept: */*\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\n\r\n",
        "GET /logs HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /logs HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /logs HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /logs HTTP/1.1\r\nHost: a b\r\n\r\n",
        "POST /logs/a/records HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
        "GET /logs/a/records HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: styx/0\r\n\r\n",
    ] {
        let answer = refused(&server, head).expect_error(400, "invalid_params");
        assert!(answer.text().contains("Host"), "{}", answer.shown());
    }
    for head in [
        "GET /logs HTTP/1.0\r\n\r\n",
        "GET /logs HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /logs HTTP/1.1\r\nhost: [::1]:7123\r\n\r\n",
        "GET http://a/logs HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut connection = server.connect();
        connection.send(head.as_bytes()).expect("the request can be sent");
        let _ = connection.response("GET").expect("an answer").expect(200);
    }
    assert_eq!(server.info("a")["end_position"], 0, "no record was appended");
}

/// Regression test: the chunks of a `gzip, chunked` body were stored as the record.
#[test]
fn a_transfer_coding_besides_chunked_is_refused() {
    let server = TestServer::with_log("a");
    let post = |headers: &str| {
        format!(
            "POST /logs/a/records HTTP/1.1\r\nHost: x\r\n{headers}\r\n\
             1\r\nx\r\n0\r\n\r\n"
        )
    };
    for (headers, status) in [
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding: DEFLATE,chunked\r\n", 501),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: foo, chunked\r\n", 400),
        ("Transfer-Encoding: identity, chunked\r\n", 400),
    ] {
        let answer = refused(&server, &post(headers)).expect_error(status, "invalid_params");
        assert!(answer.text().contains("chunked"), "{}", answer.shown());
    }
    for headers in [
        "Transfer-Encoding: foo\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
    ] {
        let mut connection = server.connect();
        connection.send(post(headers).as_bytes()).expect("the request can be sent");
        // hyper answers this itself, with an empty body.
        assert_eq!(connection.response("POST").expect("an answer").status(), 400, "{headers}");
    }
    let mut connection = server.connect();
    let accepted = post("Transfer-Encoding: Chunked\r\n");
    connection.send(accepted.as_bytes()).expect("the request can be sent");
    let _ = connection.response("POST").expect("an answer").expect(200);
    assert_eq!(server.read_all("a"), [b"x"]);
}

#[test]
fn invalid_http_is_answered_and_closed() {
    let server = TestServer::with_log("a");
    let many = "X-Many: x\r\n".repeat(5000);
    let long = "x".repeat(1 << 20);
    for garbage in [
        "garbage\r\n\r\n".to_owned(),
        "GET /logs HTTP/9.9\r\n\r\n".to_owned(),
        "GET /lo gs HTTP/1.1\r\n\r\n".to_owned(),
        "POST /logs/a/records HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n".to_owned(),
        "POST /logs/a/records HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"
            .to_owned(),
        format!("GET /logs HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
        format!("GET /logs HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
    ] {
        let mut connection = server.connect();
        // The server may close while this is still being sent.
        let _ = connection.send(garbage.as_bytes());
        let shown = &garbage[..garbage.len().min(60)];
        if let Ok(answer) = connection.response("GET") {
            assert!((400..600).contains(&answer.status()), "{shown}: {}", answer.shown());
        }
        let rest = connection.until_close();
        assert!(rest.is_err() || rest.is_ok_and(|rest| rest.is_empty()), "{shown}");
    }
    assert_eq!(server.info("a")["end_position"], 0, "no record was appended");
    assert!(!server.log().contains("panic"), "{}", server.log());
}

#[test]
fn a_request_smuggled_in_a_body_is_not_served() {
    let server = TestServer::with_log("a");
    let bytes = b"POST /logs/a/records HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
        Content-Length: 4\r\n\r\n0\r\n\r\nDELETE /logs/a HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut connection = server.connect();
    connection.send(bytes).expect("the bytes can be sent");
    let first = connection.response("POST").expect("an answer");
    if first.status() == 200 {
        // Chunked takes precedence (RFC 9112, 6.3), and the connection must not be reused.
        let _ = connection.response("DELETE");
    }
    let mut table = Table::of(&server);
    let kept = gives(200).body(info_json("a", 0, 0, 0, 0));
    table.row("the log is still there", &Request::get("/logs/a"), &kept);
    table.check();
}

/// curl, with the exit code 0.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output();
    let output = output.expect("curl is installed (cargo xtask test checks that)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn http_2_works_with_prior_knowledge() {
    let server = TestServer::with_log("a");
    let url = server.url("/logs/a/records");
    let h2 = |more: &[&str]| {
        curl(&[&["--http2-prior-knowledge", "-w", "%{http_version}"], more].concat())
    };
    assert_eq!(h2(&["--data-binary", "hello", &url]), format!("{}2", written_json(1, 1)));
    let body = server.scratch().write("large", vec![b'x'; 1_000_000]);
    let large = format!("@{}", body.display());
    assert_eq!(h2(&["--data-binary", &large, &url]), format!("{}2", written_json(2, 1)));
    assert_eq!(h2(&[&url]), "hello2");
    let lines = ["-H", "Accept: application/vnd.styx.line-delimited", "-o", "/dev/null"];
    assert_eq!(h2(&[&lines[..], &[&url]].concat()), "2");
    let missing = h2(&[&server.url("/logs/nope")]);
    assert!(missing.contains("log_not_found"), "{missing}");
}

#[test]
fn every_origin_is_allowed_by_default() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let origin = |request: Request| request.header("Origin", "http://example.com");
    let open = gives(200)
        .with("Access-Control-Allow-Origin", "*")
        .with("Access-Control-Expose-Headers", "*");
    let answer = table.row("get", &origin(Request::get("/logs/a")), &open);
    let exposed = answer.header("Access-Control-Expose-Headers").unwrap_or_default();
    let exposed = exposed.to_ascii_lowercase();
    for header in ["log-id", "start-position", "end-position", "next-position"] {
        assert!(exposed == "*" || exposed.contains(&format!("x-styx-{header}")), "{exposed}");
    }
    let missing = error(404, "log_not_found").with("Access-Control-Allow-Origin", "*");
    table.row("an error", &origin(Request::get("/logs/nope")), &missing);
    table.row(
        "no credentials",
        &origin(Request::get("/logs")),
        &gives(200).without("Access-Control-Allow-Credentials"),
    );
    table.row(
        "no Origin",
        &Request::get("/logs"),
        &gives(200).without("Access-Control-Allow-Origin"),
    );
    table.check();

    let preflight = Request::new("OPTIONS", "/logs/a/records")
        .header("Origin", "http://example.com")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,x-styx-expected-position");
    let answer = server.ask(&preflight);
    assert!([200, 204].contains(&answer.status()), "{}", answer.shown());
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("*"));
    let methods = answer.header("Access-Control-Allow-Methods").expect("methods");
    assert!(methods == "*" || methods.contains("POST"), "{methods}");
    let headers = answer.header("Access-Control-Allow-Headers").expect("headers");
    let headers = headers.to_ascii_lowercase();
    assert!(headers == "*" || headers.contains("x-styx-expected-position"), "{headers}");
}

#[test]
fn listed_origins_are_echoed_and_others_are_not() {
    let origins = "cors_allowed_origins = [\"https://*.example.com\", \"http://one.test\"]";
    let server = Settings::default().set(origins).start();
    let mut table = Table::of(&server);
    for origin in ["https://a.example.com", "https://a.b.example.com", "http://one.test"] {
        let request = Request::get("/logs").header("Origin", origin);
        let echoed = gives(200).with("Access-Control-Allow-Origin", origin).with("Vary", "Origin");
        table.row(origin, &request, &echoed);
    }
    for origin in ["https://example.com", "http://a.example.com", "https://evil.test", "null"] {
        let request = Request::get("/logs").header("Origin", origin);
        table.row(origin, &request, &gives(200).without("Access-Control-Allow-Origin"));
    }
    table.check();
}

#[test]
fn no_origin_is_allowed_by_an_empty_list() {
    let server = Settings::default().set("cors_allowed_origins = []").start();
    let request = Request::get("/logs").header("Origin", "http://example.com");
    let answer = server.ask(&request).expect(200);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
}
