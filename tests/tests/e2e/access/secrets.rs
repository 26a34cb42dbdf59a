//! No secret is ever written to the server's log.

use std::sync::Arc;
use std::time::Duration;

use styx_tests::http2::{self, Http2};
use styx_tests::tokens::{self, with};
use styx_tests::{Request, Scratch, Settings, styx0, styx1, websocket};

#[test]
fn secrets_never_appear_in_the_log() {
    let scratch = Arc::new(Scratch::new("server"));
    let data = scratch.join("data");
    let admin = tokens::create(&data, "admin", &["admin:*"]);
    let reader = tokens::create(&data, "reader", &["read:b"]);
    // With --log-level, the audit log is off.
    let settings = Settings::default().argument("--log-level").argument("trace");
    let server = settings.start_in(scratch).expect("it starts");
    let _ = server.ask(&with(Request::post("/logs").form("name=a"), &admin)).expect(200);
    let wrong = tokens::mistyped(&admin);
    for secret in [&admin, &reader, &wrong] {
        let query = format!("access_token={secret}&position=x&mode=sideways");
        let target = format!("/logs/a/records?{query}");
        let protocols = format!("styx, bearer.{secret}");
        for request in [
            Request::get(&target),
            Request::get(&target).header("Accept", "text/event-stream"),
            Request::new("BREW", &target),
            Request::get(&format!("/nowhere?{query}")),
            Request::get(&format!("/health/ready?{query}")),
            websocket::handshake(&target),
            websocket::handshake("/logs/a/records?position=x")
                .header("Sec-WebSocket-Protocol", &protocols),
            styx1::consume_request("a", &query),
            styx0::handshake("GET", "a", &query),
            with(Request::get("/logs/a/records?position=x"), secret),
            with(Request::post("/logs").form("name=a"), secret),
        ] {
            let answer = server.ask(&request);
            assert!(!answer.text().contains(secret.as_str()), "{}", answer.text());
        }
    }
    let log = server.log();
    assert!(log.contains("TRACE") && log.contains("request refused"), "{log}");
    for secret in [&admin, &reader, &wrong] {
        assert!(!log.contains(&secret[5..40]), "a secret is in the log");
    }
}

/// Requests that the HTTP libraries refuse before the server sees them: their own log lines
/// must not show a token either.
#[test]
fn secrets_in_malformed_requests_never_appear_in_the_log() {
    let scratch = Arc::new(Scratch::new("server"));
    let secret = tokens::create(&scratch.join("data"), "admin", &["admin:*"]);
    let settings = Settings::default().argument("--log-level").argument("trace");
    let server = settings.start_in(scratch).expect("it starts");
    let target = format!("/logs/a/records?access_token={secret}");
    let authorization = format!("Authorization: Bearer {secret}\r\n");
    for head in [
        format!("GET {target} HTTP/9.9\r\n\r\n"),
        format!("GET {target} x HTTP/1.1\r\n\r\n"),
        format!("GET {target}<\u{7f}> HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\n\r\n"),
        format!("GET logs?access_token={secret} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET http://[?access_token={secret} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("G<T {target} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{authorization}Content-Length: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer {secret}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\u{0}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{authorization}{authorization}\r\n"),
        format!("POST / HTTP/1.1\r\nHost: x\r\n{authorization}Transfer-Encoding: x\r\n\r\n"),
        format!(
            "GET /logs/a/records HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Protocol: styx, bearer.{secret}\r\n\r\n"
        ),
        format!("GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Protocol bearer.{secret}\r\n\r\n"),
        format!("GET {target}{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(64 << 10)),
        // The connection ends within the head.
        format!("GET {target} HTTP/1.1\r\nHost: x\r\n{authorization}"),
    ] {
        let mut connection = server.connect();
        let _ = connection.send(head.as_bytes());
        let _ = connection.finish_sending();
        let answer = connection.until_close().unwrap_or_default();
        assert!(!String::from_utf8_lossy(&answer).contains(&secret[5..40]), "{head:?}");
    }
    let bearer = format!("Bearer {secret}");
    let protocols = format!("styx, bearer.{secret}");
    // The paths have no slash, or characters that no path may have.
    let paths = [
        format!("logs?access_token={secret}"),
        format!("/logs\u{7f}<>?access_token={secret}"),
        format!("/logs/a b?access_token={secret}"),
        target.clone(),
    ];
    let many: Vec<(&str, &str)> =
        vec![("authorization", &bearer), ("sec-websocket-protocol", &protocols)];
    for path in &paths {
        for more in
            [&[][..], &[("connection", "close")], &[("Upper", "x")], &[(":path", path.as_str())]]
        {
            let headers = [&many[..], more].concat();
            let mut connection = Http2::open(server.address(), 65_535, Duration::from_secs(30));
            connection.send(&http2::get(1, path, &headers));
            // A frame that no stream may have.
            connection.send(&http2::frame(http2::DATA, 0, 0, secret.as_bytes()));
            while connection.receive().is_ok() {}
        }
    }
    let log = server.log();
    assert!(log.contains("TRACE") && log.contains("invalid"), "{log}");
    let shown = log.lines().filter(|line| line.contains(&secret[5..40])).collect::<Vec<_>>();
    assert!(shown.is_empty(), "a secret is in the log: {shown:#?}");
}
