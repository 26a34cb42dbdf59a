//! WebSocket: the handshake, and reading.

use std::net::TcpStream;
use std::time::Duration;

use styx_tests::websocket::{self, ACCEPT, CLOSE, PING, PONG, handshake};
use styx_tests::{Request, Settings, TestServer, wait};
use tungstenite::Message;

fn server() -> TestServer {
    let server = TestServer::start();
    server.create("a");
    server.append_all("a", &["0", "1", "", "3"]);
    server
}

/// Everything up to a normal close.
fn read_all(server: &TestServer, query: &str) -> Vec<String> {
    let mut socket = server.websocket_read("a", query);
    let mut records = Vec::new();
    loop {
        let frame = socket.receive().expect("a frame");
        if frame.first == CLOSE {
            assert_eq!(websocket::closed(&frame), (Some(1000), String::new()), "{query}");
            return records;
        }
        assert_eq!(frame.first, websocket::BINARY);
        records.push(String::from_utf8(frame.payload).expect("text"));
    }
}

#[test]
fn the_handshake_response_has_exactly_the_agreed_headers() {
    let server = server();
    let socket = server.websocket_read("a", "position=1");
    let id = server.log_id("a");
    for (name, value) in [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Accept", ACCEPT),
        ("X-Styx-Log-Id", &id),
        ("X-Styx-Start-Position", "0"),
        ("X-Styx-End-Position", "4"),
        ("X-Styx-Next-Position", "4"),
    ] {
        assert_eq!(socket.head.header(name), Some(value), "{name}");
    }
    // The client offered nothing, so nothing is negotiated.
    for name in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Content-Length"] {
        assert_eq!(socket.head.header(name), None, "{name}");
    }
    let offers = handshake("/logs/a/records")
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        .header("Sec-WebSocket-Protocol", "chat, superchat");
    let socket = server.upgrade(&offers).expect("the handshake succeeds");
    for name in ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"] {
        assert_eq!(socket.head.header(name), None, "{name}");
    }
}

#[test]
fn handshake_headers_can_be_lists_in_any_letter_case() {
    let server = server();
    for (connection, protocol) in [
        ("keep-alive, UPGRADE", "WebSocket"),
        ("upgrade", "h2c, websocket"),
        ("x,Upgrade", "WEBSOCKET"),
    ] {
        let request = Request::get("/logs/a/records?count=0")
            .header("connection", connection)
            .header("upgrade", protocol)
            .header("sec-websocket-version", 13)
            .header("sec-websocket-key", websocket::KEY);
        let mut socket = server.upgrade(&request).expect("the handshake succeeds");
        socket.expect_close(1000);
    }
}

#[test]
fn an_invalid_handshake_gets_an_http_error() {
    let server = server();
    let refused = |request: &Request, status: u16, code: &str| {
        let answer = server.upgrade(request).expect_err("the request is refused");
        answer.expect_error(status, code)
    };
    let without = |target: &str| {
        Request::get(target).header("Connection", "Upgrade").header("Upgrade", "websocket")
    };
    let unversioned = without("/logs/a/records").header("Sec-WebSocket-Key", websocket::KEY);
    for version in [None, Some("8"), Some("14"), Some("13, 8")] {
        let request = version.map_or(unversioned.clone(), |version| {
            unversioned.clone().header("Sec-WebSocket-Version", version)
        });
        let answer = refused(&request, 426, "invalid_params");
        assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"));
        assert_eq!(answer.header("Upgrade"), Some("websocket"));
    }
    for key in ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSBpcyBsb25n"] {
        let request = without("/logs/a/records").header("Sec-WebSocket-Version", 13);
        let answer = refused(&request.header("Sec-WebSocket-Key", key), 400, "invalid_params");
        assert!(answer.text().contains("Sec-WebSocket-Key"), "{}", answer.shown());
    }

    let ask = |query: &str| handshake(&format!("/logs/a/records?{query}"));
    let _ = refused(&handshake("/logs/b/records"), 404, "log_not_found");
    let _ = refused(&handshake("/logs/b/records?mode=write"), 404, "log_not_found");
    let _ = refused(&ask("position=5"), 416, "out_of_range");
    let _ = refused(&ask("whence=start&position=-1"), 416, "out_of_range");
    for query in ["position=x", "count=x", "follow=x", "whence=x", "mode=x", "mode=write&acks=x"] {
        let _ = refused(&ask(query), 400, "invalid_params");
    }
    let known = ask("").header("X-Styx-Log-Id", "00112233445566778899aabbccddeeff");
    let _ = refused(&known, 409, "log_changed");
    let known = ask("").header("X-Styx-Known-End", 9);
    let _ = refused(&known, 409, "log_end_regressed");
    // A condition that the server would not check is rejected.
    let conditional = ask("mode=write").header("X-Styx-Expected-Position", 4);
    let _ = refused(&conditional, 400, "invalid_params");
    // The connection remains usable for HTTP.
    let mut connection = server.connect();
    let answer = connection.exchange(&ask("position=5")).expect("an answer");
    assert_eq!(answer.status(), 416);
    let answer = connection.exchange(&Request::get("/logs/a")).expect("an answer");
    assert_eq!(answer.status(), 200);
}

#[test]
fn origins_are_checked() {
    let from = |origin: &str| handshake("/logs/a/records?count=0").header("Origin", origin);
    let settings = Settings::default()
        .set(r#"cors_allowed_origins = ["https://app.example.com", "http://*.local:*"]"#);
    let server = settings.start();
    server.create("a");
    for origin in ["https://app.example.com", "http://x.local:80"] {
        assert!(server.upgrade(&from(origin)).is_ok(), "{origin}");
    }
    assert!(
        server.upgrade(&handshake("/logs/a/records")).is_ok(),
        "a client without an origin is not a browser"
    );
    for origin in ["https://app.example.com.evil.org", "http://app.example.com", "null", ""] {
        let answer = server.upgrade(&from(origin)).expect_err("the request is refused");
        let _ = answer.expect_error(403, "forbidden");
        let write = handshake("/logs/a/records?mode=write").header("Origin", origin);
        assert!(server.upgrade(&write).is_err(), "{origin}");
    }
    let server = Settings::default().set("cors_allowed_origins = []").start();
    server.create("a");
    let answer = server.upgrade(&from("http://localhost")).expect_err("the request is refused");
    let _ = answer.expect_error(403, "forbidden");
    assert!(server.upgrade(&handshake("/logs/a/records")).is_ok());
}

#[test]
fn a_finite_read_returns_the_records_and_closes() {
    let server = server();
    for (query, expected) in [
        ("", &["0", "1", "", "3"][..]),
        ("whence=start", &["0", "1", "", "3"]),
        ("position=1", &["1", "", "3"]),
        ("position=1&count=2", &["1", ""]),
        ("POSITION=3", &["3"]),
        ("position=4", &[]),
        ("count=0", &[]),
        ("count=0&follow=true", &[]),
        ("count=-1", &["0", "1", "", "3"]),
        ("whence=end&position=-2", &["", "3"]),
        ("whence=time&position=0", &["0", "1", "", "3"]),
        ("whence=end", &[]),
        ("follow=true&count=3", &["0", "1", ""]),
        ("mode=read&count=1", &["0"]),
    ] {
        assert_eq!(read_all(&server, query), expected, "{query}");
    }
}

#[test]
fn records_of_every_length_are_read_unchanged() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=3000000");
    let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000, 2_999_992];
    let records: Vec<Vec<u8>> = lengths.iter().map(|length| vec![*length as u8; *length]).collect();
    for record in &records {
        server.append_all("a", &[b"", &record[..]]);
    }
    let mut socket = server.websocket_read("a", "");
    for record in &records {
        assert_eq!(socket.record(), b"");
        assert!(socket.record() == *record, "{} bytes", record.len());
    }
    socket.expect_close(1000);
}

#[test]
fn a_finite_read_ends_where_the_log_ended_when_it_started() {
    let server = TestServer::start();
    server.create("a");
    let record = vec![b'x'; 60_000];
    for _ in 0..20 {
        server.append_all("a", &[&record; 15]);
    }
    let mut socket = server.websocket_read("a", "");
    let mut count = 0;
    loop {
        let frame = socket.receive().expect("a frame");
        if frame.first == CLOSE {
            break;
        }
        count += 1;
        if count == 1 {
            server.append("a", "later");
        }
    }
    assert_eq!(count, 300);
}

#[test]
fn a_follower_gets_new_records() {
    let server = server();
    let mut socket = server.websocket_read("a", "position=2&follow=true");
    assert_eq!((socket.record(), socket.record()), (b"".to_vec(), b"3".to_vec()));
    for number in 4..200 {
        server.append("a", format!("{number}"));
        if number % 3 == 0 {
            continue;
        }
        while socket.record() != format!("{number}").as_bytes() {}
    }
    assert!(socket.close().is_empty(), "no more records");
    let mut socket = server.websocket_read("a", "whence=end&follow=true&count=2");
    server.append_all("a", &["x", "y", "z"]);
    assert_eq!((socket.record(), socket.record()), (b"x".to_vec(), b"y".to_vec()));
    socket.expect_close(1000);
}

#[test]
fn pings_and_closes_are_answered() {
    let server = server();
    for query in ["follow=true&whence=end", "mode=write"] {
        let mut socket = server.websocket_read("a", query);
        for payload in [&b""[..], b"are you there?", &[0xff; 125]] {
            socket.send(PING, payload);
            let pong = socket.frame().expect("a pong");
            assert_eq!((pong.first, &pong.payload[..]), (PONG, payload), "{query}");
        }
        // An unsolicited pong is not answered.
        socket.send(PONG, b"unasked");
        socket.send(PING, b"next");
        assert_eq!(socket.frame().expect("a pong").payload, b"next");
        for (sent, code) in
            [(&b""[..], None), (b"\x03\xe8done", Some(1000)), (b"\x0f\xa0", Some(4000))]
        {
            let mut socket = server.websocket_read("a", query);
            socket.send(CLOSE, sent);
            let answer = socket.frame().expect("an answer");
            assert_eq!(answer.first, CLOSE);
            assert_eq!(websocket::closed(&answer), (code, String::new()), "{query}");
            assert!(socket.until_close().is_ok_and(|rest| rest.is_empty()));
        }
    }
}

#[test]
fn an_independent_websocket_library_can_read_and_write() {
    let server = server();
    let connect = |query: &str| {
        let tcp = TcpStream::connect(server.address()).expect("the server is listening");
        tcp.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit above 0");
        let url = format!("ws://{}/logs/a/records?{query}", server.address());
        tungstenite::client(url, tcp).expect("a WebSocket").0
    };
    let mut reader = connect("follow=true");
    let mut writer = connect("mode=write&acks=true");
    for expected in ["0", "1", "", "3"] {
        assert_eq!(reader.read().expect("a message"), Message::binary(expected.as_bytes()));
    }
    writer.send(Message::text("gr\u{fc}n")).expect("it can be sent");
    assert_eq!(reader.read().expect("a message"), Message::binary("gr\u{fc}n".as_bytes()));
    assert_eq!(writer.read().expect("an ack"), Message::text("{\"position\":5,\"count\":1}"));
    writer.send(Message::binary(vec![0xff; 70_000])).expect("it can be sent");
    assert_eq!(reader.read().expect("a message").len(), 70_000);
    assert_eq!(writer.read().expect("an ack"), Message::text("{\"position\":6,\"count\":1}"));
    for socket in [&mut reader, &mut writer] {
        socket.close(None).expect("it can be closed");
        assert!(matches!(socket.read(), Ok(Message::Close(None))));
        let end = socket.read().expect_err("the end");
        assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");
    }
}

#[test]
fn bytes_sent_with_the_handshake_belong_to_the_socket() {
    let server = TestServer::start();
    server.create("a");
    let mut bytes = handshake("/logs/a/records?mode=write&acks=true").bytes();
    bytes.extend(websocket::frame(websocket::TEXT, b"early"));
    bytes.extend(websocket::frame(PING, b"too"));
    let mut connection = server.connect();
    connection.send(&bytes).expect("it can be sent");
    assert_eq!(connection.head("GET").expect("an answer").status, 101);
    wait::until_true("the record", Duration::from_secs(10), || server.read_all("a") == [b"early"]);
}

#[test]
fn metrics_count_open_sockets() {
    let server = server();
    let count = || server.open_streams("websocket");
    let sockets: Vec<_> = (0..3).map(|_| server.websocket_write("a", "")).collect();
    wait::until_true("three", Duration::from_secs(10), || count() == 3);
    drop(sockets);
    wait::until_true("no open sockets", Duration::from_secs(10), || count() == 0);
}
