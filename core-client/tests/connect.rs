//! `Client::connect` and `Client::check` against peers that are no server, or none that this
//! client can use. Each peer answers every connection in the same way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use styx_client::blocking::Client;
use styx_client::{Error, Kind};

/// Far more than a call needs that does not wait for anything.
const AT_ONCE: Duration = Duration::from_secs(15);

/// A peer that calls `serve` with every connection. Returns its address.
fn peer(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    address.to_string()
}

/// A peer that reads a request and sends these bytes.
fn answering(answer: impl Into<Vec<u8>>) -> String {
    let answer = answer.into();
    peer(move |mut stream| {
        if read_head(&mut stream).is_some() {
            // The client may close the connection at any byte.
            let _ = stream.write_all(&answer);
        }
    })
}

/// A response with this status and JSON body.
fn json(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n\
         {body}"
    )
    .into_bytes()
}

/// The head of a request; `None` if the client closed the connection.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn connect(address: &str) -> Result<Client, Error> {
    let started = Instant::now();
    let connected = Client::connect(address);
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    connected
}

#[test]
fn a_mute_server_is_reported_within_the_connect_timeout() {
    let address = peer(|mut stream| while matches!(stream.read(&mut [0; 64]), Ok(1..)) {});
    let timeout = Duration::from_secs(1);
    let started = Instant::now();
    let builder = Client::builder(&address).connect_timeout(timeout);
    let error = builder.connect().expect_err("the server never answers");
    assert!(started.elapsed() >= timeout && started.elapsed() < AT_ONCE);
    assert_eq!(error.kind(), Kind::TimedOut, "{error}");
    assert!(error.message().contains("did not answer GET /version within 1s"), "{error}");
}

#[test]
fn another_program_is_reported_at_once() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found";
    for (what, answer) in [
        ("a web server", page.as_bytes().to_vec()),
        ("a web server without that page", missing.as_bytes().to_vec()),
        ("a JSON service", json("200 OK", r#"{"version": "8.1.0"}"#)),
        ("JSON of another type", json("200 OK", "[1, 2]")),
        ("an SSH server", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("a TLS server", vec![0x15, 3, 1, 0, 2, 2, 50]),
    ] {
        let error = connect(&answering(answer)).expect_err(what);
        assert_eq!(error.kind(), Kind::BadAnswer, "{what}: {error}");
        assert!(!error.is_retriable(), "{what}");
        assert!(error.message().contains("not a Styx server"), "{what}: {error}");
    }
}

/// It sends its greeting before it gets a request, as mail and SSH servers do.
#[test]
fn a_peer_that_speaks_first_is_reported_at_once() {
    let address = peer(|mut stream| {
        let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n");
        while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
    });
    for _ in 0..20 {
        let error = connect(&address).expect_err("a mail server");
        assert_eq!(error.kind(), Kind::BadAnswer, "{error}");
        assert!(error.message().contains("not a Styx server"), "{error}");
    }
}

#[test]
fn a_peer_that_closes_the_connection_is_reported_at_once() {
    let error = connect(&answering("")).expect_err("it closes");
    assert_eq!(error.kind(), Kind::ConnectionFailed, "{error}");
    assert!(error.message().contains("GET /version"), "{error}");
}

#[test]
fn a_server_that_is_too_old_is_reported_with_its_version() {
    let not_found = r#"{"code": "not_found", "message": "no such path"}"#;
    for (answer, version) in [
        (json("404 Not Found", not_found), "0.x"),
        (json("200 OK", r#"{"version": "0.9.3", "features": ["styx/0"]}"#), "0.9.3"),
    ] {
        let error = connect(&answering(answer)).expect_err(version);
        assert_eq!(error.kind(), Kind::BadAnswer, "{error}");
        for part in [version, "too old"] {
            assert!(error.message().contains(part), "{part} in {error}");
        }
    }
}

#[test]
fn errors_of_a_proxy_are_reported_as_they_are() {
    let unauthorized = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    let error = connect(&answering(unauthorized)).expect_err("a token is missing");
    assert_eq!(error.code(), "unauthorized", "{error}");
    let unavailable = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    let error = connect(&answering(unavailable)).expect_err("the server is not running");
    assert_eq!((error.code(), error.is_retriable()), ("connection_failed", true), "{error}");
}
