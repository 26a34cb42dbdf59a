//! Clients of HTTP that stall, trickle, lie about a length or never end: the server
//! disconnects each within a time limit, and serves others meanwhile.
//!
//! Related tests: `slow_peers` (slow but legal), `http2_streams`, `alone::half_open`
//! (vanished peers), `http::transport` (invalid HTTP), `http::backup` (malicious
//! archives).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use styx_tests::api::{BINARY, LINES, ONE};
use styx_tests::random::Random;
use styx_tests::{Request, Settings, TestServer, wait};

const TCP_TIMEOUT: &str = "tcp_timeout = 2";
/// Well below the 30 s of the default configuration.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);

/// The bytes that a client sends first, the bytes that it repeats, and how often.
struct Attack {
    name: &'static str,
    first: Vec<u8>,
    again: Vec<u8>,
    every: Duration,
}

fn attack(name: &'static str, first: impl AsRef<[u8]>, again: &[u8], every_ms: u64) -> Attack {
    let every = Duration::from_millis(every_ms);
    Attack { name, first: first.as_ref().to_vec(), again: again.to_vec(), every }
}

fn post(log: &str, headers: &str) -> String {
    format!("POST /logs/{log}/records HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

fn attacks() -> Vec<Attack> {
    let length = "Content-Length: 100000\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let lines = format!("{chunked}Content-Type: {LINES}\r\n");
    let info = "GET /logs/a HTTP/1.1\r\nHost: x\r\n\r\n";
    let h2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let ping = b"\0\0\x08\x06\0\0\0\0\0pingping";
    vec![
        attack("sends nothing", "", b"", 1000),
        attack("drips its head", "GET /logs HTTP/1.1\r\nX: ", b"x", 100),
        attack("drips its second head", format!("{info}GET /"), b"x", 100),
        attack("drips empty lines", "", b"\r\n", 100),
        attack("stalls in its body", post("a", length) + "x", b"", 1000),
        attack("drips its body", post("a", length), b"x", 300),
        attack("drips chunks", post("a", &lines), b"1\r\nx\r\n", 300),
        attack("drips the size of a chunk", post("a", &lines), b"0", 300),
        attack("drips an extension of a chunk", post("a", &lines) + "1;", b"x", 300),
        attack("drips trailers", post("a", &lines) + "1\r\nx\r\n0\r\nX: ", b"x", 300),
        attack("drips to a missing log", post("no", length), b"x", 300),
        attack("drips an archive", archive(length), b"\x1f", 300),
        attack("sends nothing after HTTP/2's preface", &h2, b"", 1000),
        attack("sends pings and no request", &h2, ping, 100),
        attack("drips HTTP/2's preface", "PRI * ", b"", 1000),
    ]
}

fn archive(headers: &str) -> String {
    format!("POST /logs/restore?name=b HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

/// Attacks until the server closes the connection, and returns how long that took.
fn carry_out(attack: &Attack, server: &TestServer) -> Result<Duration, String> {
    let start = Instant::now();
    let mut socket = TcpStream::connect(server.address()).expect("the server is listening");
    socket.set_read_timeout(Some(attack.every)).expect("a limit above 0");
    let mut closed = socket.write_all(&attack.first).is_err();
    let mut answer = [0; 4096];
    while !closed {
        if start.elapsed() > CLOSED_WITHIN {
            return Err(format!("a client that {} was not disconnected", attack.name));
        }
        closed = match socket.read(&mut answer) {
            Ok(count) => count == 0,
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        closed = closed || socket.write_all(&attack.again).is_err();
    }
    Ok(start.elapsed())
}

#[test]
fn stalled_and_trickling_clients_are_disconnected_while_others_are_served() {
    let server = Settings::default().set(TCP_TIMEOUT).start();
    server.create("a");
    let attacks = attacks();
    let mut honest = Vec::new();
    let outcomes = std::thread::scope(|scope| {
        let attackers: Vec<_> =
            attacks.iter().map(|a| scope.spawn(|| carry_out(a, &server))).collect();
        while attackers.iter().any(|attacker| !attacker.is_finished()) {
            let start = Instant::now();
            server.append("a", "honest");
            honest.push(start.elapsed());
        }
        attackers
            .into_iter()
            .map(|a| a.join().expect("the thread does not panic"))
            .collect::<Vec<_>>()
    });
    for (attack, outcome) in attacks.iter().zip(&outcomes) {
        println!("{}: {outcome:?}", attack.name);
    }
    honest.sort_unstable();
    println!(
        "appends of other clients: {}, p99 {:?}",
        honest.len(),
        honest[honest.len() * 99 / 100]
    );
    let left: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(left.is_empty(), "{left:#?}");
    // Records that were complete when the server closed may have been appended.
    let records = server.read_all("a");
    let honest_records = records.iter().filter(|record| *record == b"honest").count();
    assert_eq!(honest_records, honest.len());
    assert!(!server.log().contains("panic"), "{}", server.log());
    nothing_restored(&server);
}

/// Checks that an aborted restore left nothing.
fn nothing_restored(server: &TestServer) {
    wait::until_true("the restore's directory to go", Duration::from_secs(10), || {
        let names = std::fs::read_dir(server.data()).expect("the data directory");
        !names.flatten().any(|entry| entry.file_name().to_string_lossy().contains("restor"))
    });
    let _ = server.ask(&Request::get("/logs/b")).expect_error(404, "log_not_found");
}

#[test]
fn a_false_content_length_appends_and_allocates_nothing() {
    let server = Settings::default().set(TCP_TIMEOUT).start();
    server.create("a");
    let before = server.memory_bytes();
    for content_type in [ONE, BINARY, LINES] {
        for length in ["1000", "9223372036854775807", "18446744073709551615"] {
            let mut connection = server.connect();
            let headers = format!("Content-Type: {content_type}\r\nContent-Length: {length}\r\n");
            connection.send(post("a", &headers).as_bytes()).expect("the head can be sent");
            // The server may reject the length and close before this.
            let _ = connection.send(b"\0\0\0\x05part");
            let _ = connection.finish_sending();
            if let Ok(answer) = connection.response("POST") {
                assert!((400..500).contains(&answer.status()), "{}", answer.shown());
            }
            let rest = connection.until_close();
            assert!(!matches!(&rest, Err(e) if e.kind() == ErrorKind::WouldBlock), "{headers}");
        }
    }
    // If the length is too short, the rest is parsed as another request, which is invalid.
    let mut connection = server.connect();
    let bytes = post("a", "Content-Length: 2\r\n") + "okGARBAGE\r\n\r\n";
    connection.send(bytes.as_bytes()).expect("the request can be sent");
    let _ = connection.response("POST").expect("an answer").expect(200);
    assert_eq!(connection.response("POST").map(|answer| answer.status()).unwrap_or(400), 400);
    assert_eq!(server.read_all("a"), [b"ok"]);
    let more = server.memory_bytes_most().saturating_sub(before);
    assert!(more < 32 << 20, "{more} more bytes for bodies that never arrived");
}

/// Sends pieces until the server closes, and returns the number of bytes sent.
fn send_without_end(server: &TestServer, head: &str, piece: &[u8]) -> u64 {
    let mut connection = server.connect();
    connection.send(head.as_bytes()).expect("the head can be sent");
    let start = Instant::now();
    let mut sent = 0;
    while connection.send(piece).is_ok() {
        sent += piece.len() as u64;
        assert!(start.elapsed() < CLOSED_WITHIN, "{head} was not closed after {sent} bytes");
    }
    sent
}

#[test]
fn endless_requests_are_closed_in_bounded_memory() {
    let server = Settings::default().set(TCP_TIMEOUT).start();
    server.create("a");
    let before = server.memory_bytes();
    let chunk = |byte: u8| [b"10000\r\n", &[byte; 0x10000][..], b"\r\n"].concat();
    let chunked = "Transfer-Encoding: chunked\r\n";
    let typed = |media_type: &str| format!("{chunked}Content-Type: {media_type}\r\n");
    let endless = [
        ("one record", post("a", chunked), chunk(b'x')),
        ("a line", post("a", &typed(LINES)), chunk(b'x')),
        ("a huge record", post("a", &typed(BINARY)), chunk(0x7f)),
        ("to a log that is not there", post("no", chunked), chunk(b'x')),
        ("an archive", archive(chunked), chunk(0)),
        ("a header", post("a", "X: y\r\nX-Endless: ").trim_end().to_owned(), vec![b'x'; 4096]),
        ("headers", post("a", "").trim_end().to_owned() + "\r\n", b"X: y\r\n".repeat(100)),
        ("a target", "GET /".to_owned(), vec![b'x'; 4096]),
        ("a chunk's extension", post("a", chunked) + "1;", vec![b'x'; 4096]),
        ("trailers", post("a", chunked) + "1\r\nx\r\n0\r\n", b"X: y\r\n".repeat(100)),
        ("a form", "POST /logs HTTP/1.1\r\nHost: x\r\n".to_owned() + chunked + "\r\n", chunk(b'x')),
    ];
    for (name, head, piece) in endless {
        let sent = send_without_end(&server, &head, &piece);
        println!("{name} without end: closed after {} KiB", sent >> 10);
    }
    let more = server.memory_bytes_most().saturating_sub(before);
    println!("{} KiB more memory", more >> 10);
    assert!(more < 64 << 20, "{more} more bytes for endless requests");
    assert_eq!(server.info("a")["end_position"], 0);
    assert!(!server.log().contains("panic"), "{}", server.log());
    nothing_restored(&server);
}

#[test]
fn stalled_restores_block_others_only_until_they_time_out() {
    let server = Settings::default().set(TCP_TIMEOUT).start();
    server.create("a");
    server.append("a", "x");
    let archive = server.backup("a");
    let mut stalled = Vec::new();
    let refused = wait::until("a restore too many", Duration::from_secs(10), || {
        let name = format!("stalled{}", stalled.len());
        let head = format!("POST /logs/restore?name={name} HTTP/1.1\r\nHost: x\r\n");
        let length = format!("Content-Length: {}\r\n\r\n", archive.len());
        let mut connection = server.connect();
        connection.send((head + &length).as_bytes()).expect("the head can be sent");
        connection.send(&archive[..archive.len() / 2]).expect("a part can be sent");
        stalled.push(connection);
        let answer = server.restore("whole", archive.clone());
        let _ = server.ask(&Request::delete("/logs/whole"));
        (answer.status() != 200).then_some(answer)
    });
    assert!(refused.header("Retry-After").is_some(), "{}", refused.shown());
    let _ = refused.expect_error(503, "overloaded");
    wait::until_true("room for a restore", CLOSED_WITHIN, || {
        server.restore("whole", archive.clone()).status() == 200
    });
    assert_eq!(server.read_all("whole"), [b"x"]);
    for mut connection in stalled {
        assert!(connection.response("POST").is_ok_and(|answer| answer.status() == 408));
    }
}

/// A server with a log whose archive is larger than all socket buffers.
fn with_a_large_log() -> TestServer {
    let server = Settings::default().set(TCP_TIMEOUT).start();
    server.create("a");
    let mut random = Random::new(7);
    for _ in 0..8 {
        server.append("a", random.bytes(1_000_000));
    }
    server
}

#[test]
fn slowly_read_backups_block_others_only_until_they_are_closed() {
    // Eight readers that read a little at a time never counted as stalled. They used to
    // block all backups and restores as long as they wanted.
    let server = with_a_large_log();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = wait::SetOnDrop(&is_over);
        for _ in 0..8 {
            let mut socket = TcpStream::connect(server.address()).expect("the server is listening");
            // The smallest window, so that the server notices every small read.
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 1).expect("a size");
            socket.write_all(b"GET /logs/a/backup HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
            socket.read_exact(&mut [0; 12]).expect("an answer begins");
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) && socket.read(&mut [0; 512]).is_ok() {
                    // The pace of a slow reader.
                    std::thread::sleep(Duration::from_millis(250));
                }
            });
        }
        let refused = server.ask(&Request::get("/logs/a/backup"));
        assert!(refused.header("Retry-After").is_some(), "{}", refused.shown());
        let _ = refused.expect_error(503, "overloaded");
        let start = Instant::now();
        wait::until_true("room for a backup", CLOSED_WITHIN, || {
            server.ask(&Request::get("/logs/a/backup")).status() == 200
        });
        println!("a backup could start after {:?}", start.elapsed());
        server.expect_log("takes too little");
    });
}

#[test]
fn a_trickling_restore_is_rejected_as_too_slow() {
    let server = with_a_large_log();
    let archive = server.backup("a");
    let head = format!(
        "POST /logs/restore?name=b HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        archive.len()
    );
    let mut connection = server.connect();
    connection.send(head.as_bytes()).expect("the head can be sent");
    let start = Instant::now();
    for part in archive.chunks(1024) {
        // Too fast to count as stalled, but the archive would take half an hour.
        std::thread::sleep(Duration::from_millis(250));
        if connection.send(part).is_err() || has_answer(connection.socket()) {
            break;
        }
        assert!(start.elapsed() < CLOSED_WITHIN, "the restore was not rejected");
    }
    let answer = connection.response("POST").expect("an answer");
    assert!(answer.text().contains("too slowly"), "{}", answer.shown());
    let _ = answer.expect_error(408, "request_timeout");
    println!("the restore was rejected after {:?}", start.elapsed());
    nothing_restored(&server);
}

fn has_answer(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).expect("a socket");
    let peeked = socket.peek(&mut [0]);
    socket.set_nonblocking(false).expect("a socket");
    peeked.is_ok()
}
