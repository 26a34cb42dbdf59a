//! HTTP/2 streams whose peer never opens the flow-control window.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use styx_tests::api::{BINARY, LINES, ONE, write_binary};
use styx_tests::http2::frame;
use styx_tests::{Settings, TestServer, wait};

const CLOSED_WITHIN: Duration = Duration::from_secs(20);

/// `GET path` on a stream of HTTP/2, without compression.
fn get_on(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).expect("a short path");
    let accept = u8::try_from(BINARY.len()).expect("a short type");
    let head = [
        &[0x82, 0x86, 0x01, 1, b'x', 0x04, length],
        path.as_bytes(),
        &[0x0f, 0x04, accept],
        BINARY.as_bytes(),
    ];
    frame(1, 5, stream, &head.concat())
}

#[test]
fn http2_streams_that_read_nothing_are_reset() {
    // The socket does not stall: the client reads and answers pings, but opens no
    // window. Each response used to keep its memory as long as the client wanted.
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut filling = server.connect();
    for _ in 0..4 {
        let write = write_binary("a", &vec![vec![b'x'; 65_000]; 16]);
        let _ = filling.exchange(&write).expect("an answer").expect(200);
    }
    let before = server.memory_bytes();
    let mut socket = TcpStream::connect(server.address()).expect("the server is listening");
    socket.set_read_timeout(Some(CLOSED_WITHIN)).expect("a limit above 0");
    // A window of one byte for each stream, and the maximum for the connection.
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]);
    let window = frame(8, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings, &window].concat();
    socket.write_all(&begin).expect("it can be sent");
    let streams: Vec<u32> = (0..100).map(|number| 2 * number + 1).collect();
    for stream in &streams {
        socket.write_all(&get_on(*stream, "/logs/a/records")).expect("it can be sent");
    }
    let mut reset = std::collections::BTreeSet::new();
    let (start, mut most) = (Instant::now(), 0);
    while reset.len() < streams.len() {
        let mut head = [0; 9];
        socket.read_exact(&mut head).expect("a frame, before the time is up");
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut body = vec![0; size];
        socket.read_exact(&mut body).expect("its body");
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            3 => drop(reset.insert(stream)),
            4 if head[4] == 0 => socket.write_all(&frame(4, 1, 0, &[])).expect("it can be sent"),
            6 => socket.write_all(&frame(6, 1, 0, &body)).expect("it can be sent"),
            7 => panic!("the server closed the connection: {}", body.escape_ascii()),
            _ => {}
        }
        most = most.max(server.memory_bytes());
        assert!(start.elapsed() < CLOSED_WITHIN, "{} were reset", reset.len());
    }
    let each = most.saturating_sub(before) / 1024 / streams.len() as u64;
    println!("{} streams were reset after {:?}, {each} KiB each", reset.len(), start.elapsed());
    assert!(each < 2048, "a stream that reads nothing uses {each} KiB");
    // The connection itself still works.
    socket.write_all(&get_on(1001, "/logs/a")).expect("it can be sent");
    let mut head = [0; 9];
    socket.read_exact(&mut head).expect("an answer");
    assert_eq!(head[3], 1, "the head of an answer");
}

/// `POST path` with a body that does not end, and the reset of its stream.
fn reset_post_on(stream: u32, path: &str, content_type: &str, part: &[u8]) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).expect("a short text");
    let head = [
        &[0x83, 0x86, 0x01, 1, b'x', 0x04, length(path)],
        path.as_bytes(),
        &[0x0f, 0x10, length(content_type)],
        content_type.as_bytes(),
    ];
    let (no_error, cancel) = (0_u32.to_be_bytes(), 8_u32.to_be_bytes());
    let reason = if stream % 4 == 1 { no_error } else { cancel };
    [frame(1, 4, stream, &head.concat()), frame(0, 0, stream, part), frame(3, 0, stream, &reason)]
        .concat()
}

#[test]
fn a_body_whose_http2_stream_is_reset_is_incomplete() {
    // hyper reports a reset with NO_ERROR like the end of the body. A record that was cut
    // off was appended.
    let server = TestServer::with_log("a");
    let mut socket = TcpStream::connect(server.address()).expect("the server is listening");
    let begin = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
    socket.write_all(&begin).expect("it can be sent");
    for stream in [1, 3] {
        let post = reset_post_on(stream, "/logs/a/records", ONE, b"a part of a record");
        socket.write_all(&post).expect("it can be sent");
    }
    for (stream, end) in [(5, 1), (7, 2)] {
        let post = reset_post_on(stream, "/logs/a/records", LINES, b"line\nunfinished");
        socket.write_all(&post).expect("it can be sent");
        wait::until_true("the complete line", CLOSED_WITHIN, || {
            server.info("a")["end_position"] == end
        });
    }
    assert_eq!(server.read_all("a"), [b"line", b"line"]);
}
