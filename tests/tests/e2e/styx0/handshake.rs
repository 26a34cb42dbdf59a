//! The upgrade of a request to a styx/0 stream, and the errors when it fails.

use std::time::{Duration, Instant};

use styx_tests::styx0::{Message, Styx0Stream, handshake, record};
use styx_tests::{Request, Response, Settings, TestServer};

fn refused(server: &TestServer, request: &Request) -> Response {
    match Styx0Stream::open(server, request) {
        Ok(_) => panic!("101 to {request:?}"),
        Err(answer) => *answer,
    }
}

#[test]
fn the_connection_header_can_be_a_list_in_any_letter_case() {
    let server = TestServer::start();
    server.create("a");
    let forms: [(&[&str], &str); 8] = [
        (&["Upgrade"], "styx/0"),
        (&["upgrade"], "STYX/0"),
        (&["UPGRADE"], "Styx/0"),
        (&["keep-alive, Upgrade"], "styx/0"),
        (&["upgrade,keep-alive"], "styx/0"),
        (&["keep-alive", "Upgrade"], "styx/0"),
        (&["Upgrade"], "h2c, styx/0"),
        (&["Upgrade"], "styx/9, styx/0"),
    ];
    for (position, (connection, upgrade)) in (1..).zip(forms) {
        let mut request = Request::new("POST", "/logs/a/records").header("Upgrade", upgrade);
        for value in connection {
            request = request.header("Connection", value);
        }
        let mut stream =
            Styx0Stream::open(&server, &request).unwrap_or_else(|a| panic!("{}", a.shown()));
        stream.send(&record("x"));
        assert_eq!(stream.acked(1), position, "{connection:?} {upgrade}");
    }
}

#[test]
fn the_101_announces_the_servers_timeout() {
    // The first clients crash without X-Styx-Timeout.
    for (line, expected) in [("tcp_timeout = 1", 2), ("tcp_timeout = 7", 7), ("", 30)] {
        let server = Settings::default().set(line).start();
        server.create("a");
        for method in ["GET", "POST"] {
            for timeout in [None, Some("2"), Some("100"), Some("9223372036854775807")] {
                let mut request = handshake(method, "a", "");
                if let Some(timeout) = timeout {
                    request = request.header("X-Styx-Timeout", timeout);
                }
                let mut connection = server.connect();
                connection.send(&request.bytes()).expect("it can be sent");
                let head = connection.head(method).expect("an answer");
                assert_eq!(head.status_line, "HTTP/1.1 101 Switching Protocols");
                assert_eq!(head.number("X-Styx-Timeout"), expected, "{line}");
                assert_eq!(head.header("Upgrade"), Some("styx/0"));
                assert_eq!(head.header("Connection"), Some("Upgrade"));
                assert_eq!(head.header("X-Styx-Log-Id"), Some(server.log_id("a").as_str()));
            }
        }
    }
}

#[test]
fn an_invalid_handshake_gets_an_http_error() {
    let server = TestServer::start();
    server.create("a");
    server.append_all("a", &["x", "y"]);
    for method in ["GET", "POST"] {
        for timeout in ["1", "0", "-1", "-2", "1.5", "2s", "x"] {
            let request = handshake(method, "a", "").header("X-Styx-Timeout", timeout);
            let answer = refused(&server, &request).expect_error(400, "invalid_params");
            assert!(answer.text().contains("X-Styx-Timeout"), "{}", answer.shown());
        }
        let nowhere = refused(&server, &handshake(method, "b", ""));
        let _ = nowhere.expect_error(404, "log_not_found");
        let nameless = refused(&server, &handshake(method, "b.c", ""));
        let _ = nameless.expect_error(404, "log_not_found");
        let other = handshake(method, "a", "").header("X-Styx-Log-Id", "0".repeat(32));
        let _ = refused(&server, &other).expect_error(409, "log_changed");
        let unknown = Request::new(method, "/logs/a/records")
            .header("Connection", "Upgrade")
            .header("Upgrade", "styx/7");
        let answer = refused(&server, &unknown);
        assert_eq!(answer.status(), 426, "{}", answer.shown());
        assert!(answer.header("Upgrade").is_some_and(|known| known.contains("styx/0")));
    }
    for (query, status, code) in [
        ("position=3", 416, "out_of_range"),
        ("position=-1", 416, "out_of_range"),
        ("whence=middle", 400, "invalid_params"),
        ("count=x", 400, "invalid_params"),
        ("follow=maybe", 400, "invalid_params"),
    ] {
        let answer = refused(&server, &handshake("GET", "a", query));
        let _ = answer.expect_error(status, code);
    }
    // A producer ignores these parameters.
    let mut stream =
        Styx0Stream::open(&server, &handshake("POST", "a", "position=3")).expect("a 101");
    stream.send(&record("z"));
    assert_eq!(stream.acked(1), 3);
}

#[test]
fn a_corrupt_log_refuses_a_producer_before_the_101() {
    let mut server = TestServer::start();
    server.create("a");
    server.append_all("a", &["x", "y"]);
    assert!(server.stop().status.success());
    let segment = server.data().join("a/0/00000000000000000000.seg");
    let bytes = std::fs::read(&segment).expect("the segment");
    std::fs::write(&segment, &bytes[..bytes.len() / 2]).expect("it can be cut");
    server.restart();
    let answer = refused(&server, &handshake("POST", "a", ""));
    let answer = answer.expect_error(503, "log_not_available");
    assert_eq!(answer.json()["status"], "corrupt");
}

#[test]
fn a_producer_can_override_the_method() {
    let server = TestServer::start();
    server.create("a");
    let request = handshake("GET", "a", "").header("X-HTTP-Method-Override", "POST");
    let mut stream = Styx0Stream::open(&server, &request).expect("a 101");
    stream.send(&record("x"));
    assert_eq!(stream.acked(1), 1);
}

#[test]
fn bytes_sent_with_the_handshake_belong_to_the_stream() {
    let server = TestServer::start();
    server.create("a");
    let all = [handshake("POST", "a", "").bytes(), record("one"), record("two")].concat();
    let mut stream = Styx0Stream::open_with(&server, &all).expect("a 101");
    assert_eq!(stream.acked(2), 2);
    // Part of a record with the handshake, the rest later.
    let (first, rest) = all.split_at(all.len() - 2);
    let mut stream = Styx0Stream::open_with(&server, first).expect("a 101");
    stream.send(rest);
    assert_eq!(stream.acked(2), 4);
    // Larger than the limit of a head.
    let large = vec![b'x'; 300_000];
    let all = [handshake("POST", "a", "").bytes(), record(&large)].concat();
    let mut stream = Styx0Stream::open_with(&server, &all).expect("a 101");
    assert_eq!(stream.acked(1), 5);
    assert_eq!(server.read_from("a", 4), [large]);
}

#[test]
fn a_consumer_gets_nothing_for_50_ms() {
    // The first Go client loses bytes that arrive together with the 101.
    let server = TestServer::start();
    server.create("a");
    server.append("a", "x");
    for query in ["", "follow=true", "count=0"] {
        let start = Instant::now();
        let mut stream = Styx0Stream::consume(&server, "a", query);
        let message = stream.message();
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(50), "{query}: {message:?} after {took:?}");
        assert_eq!(message.is_none(), query == "count=0");
    }
    // Errors are not sent earlier either.
    let start = Instant::now();
    let garbage = [handshake("GET", "a", "").bytes(), b"garbage".to_vec()].concat();
    let mut stream = Styx0Stream::open_with(&server, &garbage).expect("a 101");
    assert_eq!(stream.rest(), [Message::Error(0)]);
    assert!(start.elapsed() >= Duration::from_millis(50));
}
