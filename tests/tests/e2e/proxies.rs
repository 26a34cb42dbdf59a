//! A server behind nginx and behind Caddy, with the configurations in docs/operating.md.

use std::time::Duration;

use styx_tests::api::{BINARY, binary, read_binary, read_lines, unbinary, write_binary};
use styx_tests::reverse_proxy::{DEFAULT_NGINX, ReverseProxy};
use styx_tests::styx1::{block, consume_request, framed, produce_request};
use styx_tests::websocket::{BINARY as BINARY_FRAME, frame, handshake};
use styx_tests::{Connection, Request, TestServer, cli, wait};

/// Each proxy in front of the server, configured as the document says.
fn proxies(server: &TestServer) -> [(&'static str, ReverseProxy); 2] {
    [
        ("nginx", ReverseProxy::nginx(&documented("nginx"), server.address())),
        ("Caddy", ReverseProxy::caddy(&documented("caddyfile"), server.address())),
    ]
}

/// The block of this language in docs/operating.md.
fn documented(language: &str) -> String {
    let path = styx_tests::binary::workspace().join("docs/operating.md");
    let document = std::fs::read_to_string(path).expect("the document");
    let begin = format!("```{language}\n");
    let blocks: Vec<&str> = document.split(&begin).skip(1).collect();
    assert_eq!(blocks.len(), 1, "blocks of {language}");
    blocks[0].split("```").next().unwrap_or_default().to_owned()
}

/// Whether the bytes are somewhere in what the connection receives.
#[track_caller]
fn receives(connection: &mut Connection, expected: &[u8]) {
    let mut received = Vec::new();
    while !received.windows(expected.len()).any(|window| window == expected) {
        let some = connection.some().expect("bytes before the timeout");
        assert!(!some.is_empty(), "the end instead of {:?}", expected.escape_ascii().to_string());
        received.extend(some);
    }
}

/// A long poll returns, and an event arrives, when a record is appended.
fn followers_are_served(name: &str, proxy: &ReverseProxy, server: &TestServer) {
    let events = Request::get("/logs/a/records?whence=end").header("Accept", "text/event-stream");
    let mut connection = proxy.connect();
    connection.send(&events.bytes()).expect("the request can be sent");
    let head = connection.head("GET").expect("an answer before the first event");
    assert_eq!(head.status, 200, "{name}: {head:?}");
    for payload in ["one", "two"] {
        server.append("a", payload);
        let piece = connection.piece().expect("a piece").expect("the stream continues");
        let text = String::from_utf8_lossy(&piece).into_owned();
        assert!(text.contains(&format!("data: {payload}\n")), "{name}: {text}");
    }

    let end = server.info("a")["end_position"].as_u64().expect("a position");
    let poll = read_lines("a", &format!("position={end}&follow=true"));
    let mut connection = proxy.connect();
    let timeout = poll.clone().header("X-Styx-Timeout", 1);
    let empty = connection.exchange(&timeout).expect("an answer").expect(200);
    assert_eq!(empty.text(), "", "{name}");
    let mut connection = proxy.connect();
    connection.send(&poll.bytes()).expect("the request can be sent");
    server.append("a", "polled");
    let answer = connection.response("GET").expect("an answer").expect(200);
    assert_eq!(answer.text(), "polled\n", "{name}");
}

#[test]
fn events_and_long_polls_pass_a_proxy() {
    let server = TestServer::with_log("a");
    for (name, proxy) in proxies(&server) {
        followers_are_served(name, &proxy, &server);
    }
    // It buffers answers, unless the server forbids it.
    let default = ReverseProxy::nginx(DEFAULT_NGINX, server.address());
    followers_are_served("default nginx", &default, &server);
}

#[test]
fn clients_that_leave_a_proxy_leave_the_server() {
    let server = TestServer::with_log("a");
    let events = Request::get("/logs/a/records").header("Accept", "text/event-stream");
    for (name, proxy) in proxies(&server) {
        for request in [read_lines("a", "follow=true"), events.clone()] {
            let waiting = || server.count("styx_connections");
            let before = waiting();
            let connections: Vec<_> = (0..20)
                .map(|_| {
                    let mut connection = proxy.connect();
                    connection.send(&request.bytes()).expect("the request can be sent");
                    connection
                })
                .collect();
            let limit = Duration::from_secs(10);
            wait::until_true("the requests to arrive", limit, || waiting() >= before + 18);
            drop(connections);
            let what = format!("{name} to close its connections");
            wait::until_true(&what, limit, || waiting() <= before + 2);
        }
    }
}

#[test]
fn upgraded_connections_pass_a_proxy() {
    let server = TestServer::with_log("a");
    for (name, proxy) in proxies(&server) {
        let end = server.info("a")["end_position"].as_u64().expect("a position");
        let mut writer = proxy.connect();
        let target = "/logs/a/records?mode=write&acks=true";
        let answer = writer.exchange(&handshake(target)).expect("an answer");
        assert_eq!(answer.status(), 101, "{name}: {}", answer.shown());
        writer.send(&frame(BINARY_FRAME, b"over WebSocket")).expect("it can be sent");
        receives(&mut writer, format!("{{\"position\":{},\"count\":1}}", end + 1).as_bytes());

        let mut producer = proxy.connect();
        let answer = producer.exchange(&produce_request("a", "")).expect("an answer");
        assert_eq!(answer.status(), 101, "{name}: {}", answer.shown());
        producer.send(&framed(&[block(&["over styx/1"])])).expect("it can be sent");
        let ack = producer.raw(28).expect("an ack");
        assert_eq!(ack[..16], [2, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 1], "{name}");

        let query = format!("position={end}&follow=true");
        let readers = [
            (handshake(&format!("/logs/a/records?{query}")), "WebSocket"),
            (consume_request("a", &query), "styx/1"),
        ];
        for (request, protocol) in readers {
            let mut reader = proxy.connect();
            let answer = reader.exchange(&request).expect("an answer");
            assert_eq!(answer.status(), 101, "{name}, {protocol}: {}", answer.shown());
            receives(&mut reader, b"over styx/1");
            server.append("a", protocol);
            receives(&mut reader, protocol.as_bytes());
        }
    }
}

#[test]
fn the_command_line_writes_and_reads_through_a_proxy() {
    let server = TestServer::start();
    for (name, proxy) in proxies(&server) {
        server.create(name);
        let url = format!("http://{}", proxy.address());
        let lines: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
        let write = cli::styx(&["logs", "write", name, "-H", &url]);
        let _ = cli::run(write, lines.as_bytes()).expect_ok();
        let read = cli::styx(&["logs", "read", name, "-H", &url]);
        assert!(cli::run(read, b"").expect_text() == lines, "{name}: other lines");
    }
}

#[test]
fn large_uploads_reads_and_backups_pass_a_proxy() {
    let server = TestServer::start();
    let records = vec![vec![b'x'; 100_000]; 200];
    for (name, proxy) in proxies(&server) {
        server.create(name);
        let mut connection = proxy.connect();
        let write = write_binary(name, &records);
        let written = connection.exchange(&write).expect("an answer").expect(200);
        assert_eq!(written.json()["count"], 200, "{name}");

        let chunked = Request::new("POST", &format!("/logs/{name}/records"))
            .header("Content-Type", BINARY)
            .header("Transfer-Encoding", "chunked");
        let mut connection = proxy.connect();
        connection.send(&chunked.head_bytes()).expect("the head can be sent");
        for few in records.chunks(10) {
            connection.send_chunk(&binary(few)).expect("a chunk can be sent");
        }
        connection.send_chunk(b"").expect("the end can be sent");
        let written = connection.response("POST").expect("an answer").expect(200);
        assert_eq!(written.json()["count"], 200, "{name}");

        let mut connection = proxy.connect();
        let read = connection.exchange(&read_binary(name, "")).expect("an answer").expect(200);
        assert!(unbinary(&read.body) == [&records[..], &records].concat(), "{name}: other records");
        let backup = Request::get(&format!("/logs/{name}/backup"));
        let backup = proxy.connect().exchange(&backup).expect("an answer").expect(200);
        let restore = Request::post(&format!("/logs/restore?name={name}2")).body(backup.body);
        let _ = proxy.connect().exchange(&restore).expect("an answer").expect(200);
        let copy = format!("{name}2");
        assert!(server.read_all(&copy) == server.read_all(name), "{name}: another copy");
    }
}
