//! Unix sockets: every protocol, permissions, and the files of servers that were killed.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use styx_client::blocking::Client;
use styx_client::{Kind, LogConfig};
use styx_tests::cli::{run, styx};
use styx_tests::{Request, Scratch, Settings, TestServer, styx0, websocket};

/// A server with a Unix socket beside its TCP address, which the tools of the tests use.
fn start(more: &str) -> TestServer {
    let text = format!(
        "bind_address = [\"unix://DATA.sock\", \"127.0.0.1:0\"]\n{more}\n[log_manager]\ndata_directory = \"DATA\"\n"
    );
    Settings::default().file(&text).start()
}

fn path(server: &TestServer) -> PathBuf {
    server.scratch().join("data.sock")
}

fn url(server: &TestServer) -> String {
    format!("unix://{}", path(server).display())
}

/// Sends bytes, and reads until these bytes have arrived.
fn exchange(stream: &mut UnixStream, sent: &[u8], awaited: &[u8]) -> Vec<u8> {
    stream.write_all(sent).expect("write");
    let (mut received, mut byte) = (Vec::new(), [0]);
    while !received.ends_with(awaited) {
        stream.read_exact(&mut byte).unwrap_or_else(|e| panic!("{e}: {}", received.escape_ascii()));
        received.push(byte[0]);
    }
    received
}

#[test]
fn http_websocket_and_styx0_work_over_a_unix_socket() {
    let server = start("");
    server.create("a");
    let connect = || UnixStream::connect(path(&server)).expect("it listens");
    let head =
        exchange(&mut connect(), &styx_tests::api::write_one("a", "http").bytes(), b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", head.escape_ascii());

    let mut websocket = connect();
    let handshake = websocket::handshake("/logs/a/records?mode=write&acks=true");
    let head = exchange(&mut websocket, &handshake.bytes(), b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", head.escape_ascii());
    let frame = websocket::frame(websocket::TEXT, b"websocket");
    exchange(&mut websocket, &frame, b"}");

    let mut stream = connect();
    let handshake = styx0::handshake("POST", "a", "").bytes();
    let head = exchange(&mut stream, &handshake, b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", head.escape_ascii());
    // The count of durable records ends the ack.
    exchange(&mut stream, &styx0::record("styx/0"), &1_u64.to_be_bytes());

    assert_eq!(server.read_all("a"), [&b"http"[..], b"websocket", b"styx/0"]);
}

#[test]
fn rust_client_manages_produces_and_consumes_over_a_unix_socket() {
    let server = start("");
    let client = Client::connect(&url(&server)).expect("a server");
    assert_eq!(client.address().to_string(), url(&server));
    client.create_log("a", LogConfig::default(), false).expect("created");
    let producer = client.producer("a").open().expect("opened");
    for number in 0..1000 {
        producer.send(format!("{number}").as_bytes()).expect("accepted");
    }
    producer.flush().expect("durable");
    let mut consumer = client.consumer("a").open().expect("opened");
    let mut read = 0;
    while let Some(batch) = consumer.next_batch().expect("no error") {
        for record in &batch {
            assert_eq!(record.payload(), format!("{read}").as_bytes());
            read += 1;
        }
    }
    assert_eq!(read, 1000);
    // A large block, which the kernel sends from the file.
    let large = vec![b'x'; 900_000];
    for _ in 0..8 {
        producer.send(&large).expect("accepted");
    }
    producer.flush().expect("durable");
    let mut bytes = 0;
    let mut consumer = client.consumer("a").open().expect("opened");
    while let Some(batch) = consumer.next_batch().expect("no error") {
        bytes += batch.iter().map(|record| record.payload().len()).sum::<usize>();
    }
    assert!(bytes > 8 * large.len());
}

#[test]
fn command_line_uses_a_unix_socket() {
    let server = start("");
    let command = |arguments: &[&str], input: &[u8]| {
        let mut command = styx(arguments);
        command.args(["-H", &url(&server)]);
        run(command, input).expect_text()
    };
    command(&["logs", "create", "a"], b"");
    command(&["logs", "write", "a"], b"1\n2\n");
    assert_eq!(command(&["logs", "read", "a"], b""), "1\n2\n");
    assert_eq!(command(&["health"], b""), "ok\n");
}

#[test]
fn socket_has_the_configured_mode_and_owner_and_is_removed_at_a_clean_stop() {
    let mut server = start("");
    let found = std::fs::metadata(path(&server)).expect("it exists");
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    assert!(server.stop().status.success());
    assert!(!path(&server).exists());

    let own = (found.uid(), found.gid());
    // Only root may give a file away.
    let (owner, expected) = match own.0 {
        0 => ("12345:23456".to_owned(), (12345, 23456)),
        _ => (format!("{}:{}", own.0, own.1), own),
    };
    let more = format!("unix_socket_mode = \"0600\"\nunix_socket_owner = \"{owner}\"");
    let server = start(&more);
    let found = std::fs::metadata(path(&server)).expect("it exists");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!((found.uid(), found.gid()), expected);
}

#[test]
fn socket_of_a_killed_server_is_replaced_and_that_of_a_live_one_is_not() {
    let mut server = start("");
    server.kill();
    assert!(path(&server).exists(), "a killed server leaves its socket");
    server.restart();
    server.expect_log("removed the socket of a server that has ended");
    Client::connect(&url(&server)).expect("the new server listens");

    let text =
        format!("bind_address = \"{}\"\n[log_manager]\ndata_directory = \"DATA\"\n", url(&server));
    let second = Settings::default().file(&text).start_in(Arc::new(Scratch::new("second")));
    let refusal = second.expect_err("a server listens there");
    for part in [url(&server).as_str(), "another server listens on this socket"] {
        assert!(refusal.output.contains(part), "{part}: {}", refusal.output);
    }
    Client::connect(&url(&server)).expect("the first server still listens");
}

#[test]
fn client_says_why_it_cannot_connect_to_a_socket() {
    let mut server = start("");
    let url = url(&server);
    server.kill();
    let error = Client::connect(&url).expect_err("no server");
    assert_eq!(error.kind(), Kind::ConnectionFailed);
    assert!(error.message().contains("no server is listening there"), "{error}");
    std::fs::remove_file(path(&server)).expect("removed");
    let error = Client::connect(&url).expect_err("no socket");
    assert!(error.message().contains("there is no such socket"), "{error}");
    let error = Client::connect("unix://styx.sock").expect_err("not absolute");
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
}

#[test]
fn followers_on_a_unix_socket_end_when_the_server_stops() {
    let mut server = start("shutdown_timeout = 5");
    server.create("a");
    let mut follower = UnixStream::connect(path(&server)).expect("it listens");
    let request = Request::get("/logs/a/records?follow=true").header("Accept", "text/event-stream");
    let head = exchange(&mut follower, &request.bytes(), b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", head.escape_ascii());
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    let mut rest = Vec::new();
    follower.read_to_end(&mut rest).expect("a clean end");
}
