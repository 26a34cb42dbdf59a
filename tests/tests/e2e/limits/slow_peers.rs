//! Slow peers of HTTP: readers that stop reading, writers that stop writing, and huge
//! bodies. Each uses a bounded buffer and does not delay others.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use styx_tests::api::{BINARY, LINES, binary, read_binary, unbinary};
use styx_tests::random::Random;
use styx_tests::{Request, Settings, TestServer};

const MIB: u64 = 1 << 20;

#[test]
fn a_stopped_reader_delays_nobody_and_uses_bounded_memory() {
    let server = TestServer::start();
    server.create("a");
    server.fill("a", 64);
    let before = server.memory_bytes();
    let mut stopped = Vec::new();
    for _ in 0..20 {
        let mut connection = server.connect();
        connection.send(&read_binary("a", "").bytes()).expect("the request can be sent");
        stopped.push(connection);
    }
    let start = Instant::now();
    for number in 0..100 {
        let end = server.append("a", format!("{number}"));
        let one = Request::get(&format!("/logs/a/records?position={}", end - 1));
        assert_eq!(server.ask(&one).expect(200).text(), format!("{number}"));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "100 appends and reads took {took:?}");
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 150 * MIB, "20 stopped readers of 64 MiB hold {} MiB", more / MIB);

    let (body, _) = stopped[0].response("GET").map(|a| (a.body, a.ending)).expect("an answer");
    assert!(
        body.len() as u64 >= 64 * (MIB - 8 * 16),
        "the response continues when the client reads again"
    );
}

#[test]
fn a_stalled_body_times_out() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let request = Request::post("/logs/a/records").typed(LINES, vec![b'x'; 1000]);
    let bytes = request.bytes();
    let mut stalled = server.connect();
    stalled.send(&bytes[..bytes.len() - 500]).expect("a part can be sent");
    let mut headless = server.connect();
    headless.send(b"POST /logs/a/rec").expect("a part can be sent");

    let start = Instant::now();
    if let Ok(answer) = stalled.response("POST") {
        assert!(answer.status() >= 400, "{}", answer.shown());
    }
    let rest = stalled.until_close();
    assert!(
        !matches!(&rest, Err(e) if e.kind() == ErrorKind::WouldBlock),
        "the server closed the connection"
    );
    let rest = headless.until_close();
    assert!(
        !matches!(&rest, Err(e) if e.kind() == ErrorKind::WouldBlock),
        "the server closed the connection"
    );
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(server.info("a")["end_position"], 0);
}

#[test]
fn a_steadily_trickling_body_does_not_time_out() {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    let mut connection = server.connect();
    let head = Request::new("POST", "/logs/a/records")
        .header("Content-Type", LINES)
        .header("Transfer-Encoding", "chunked");
    connection.send(&head.head_bytes()).expect("the head can be sent");
    let start = Instant::now();
    let mut lines = 0;
    while start.elapsed() < Duration::from_secs(4) {
        connection.send_chunk(format!("line {lines}\n").as_bytes()).expect("a chunk can be sent");
        lines += 1;
        // The pace of a slow sender.
        std::thread::sleep(Duration::from_millis(200));
    }
    connection.send_chunk(b"").expect("the end can be sent");
    let _ = connection.response("POST").expect("an answer").expect(200);
    assert_eq!(server.info("a")["end_position"], lines);
}

#[test]
fn a_huge_chunked_body_is_streamed_in_bounded_memory() {
    let server = TestServer::start();
    server.create("a");
    let mut connection = server.connect();
    let head = Request::new("POST", "/logs/a/records")
        .header("Content-Type", BINARY)
        .header("Transfer-Encoding", "chunked");
    connection.send(&head.head_bytes()).expect("the head can be sent");
    let record = Random::new(3).bytes(100_000);
    let chunk = binary(&vec![record.clone(); 10]);
    for _ in 0..400 {
        connection.send_chunk(&chunk).expect("a chunk can be sent");
    }
    connection.send_chunk(b"").expect("the end can be sent");
    let answer = connection.response("POST").expect("an answer").expect(200);
    assert_eq!(answer.json()["count"], 4000);
    let peak = server.memory_bytes_most();
    assert!(peak < 200 * MIB, "{} MiB for a body of 400", peak / MIB);

    let mut reader = server.open_read(&read_binary("a", ""));
    let mut read = 0;
    while let Some(piece) = reader.piece().expect("a piece") {
        read += piece.len();
    }
    assert_eq!(read, 4000 * 100_004);
    let peak = server.memory_bytes_most();
    assert!(peak < 200 * MIB, "{} MiB for a read of 400", peak / MIB);
    let last = server.read_from("a", 3999);
    assert!(last == [record], "the last record is unchanged");
}

#[test]
fn many_slow_writers_use_bounded_memory() {
    let server = TestServer::start();
    server.create("a");
    let before = server.memory_bytes();
    let part = vec![b'x'; 400_000];
    let writers: Vec<_> = (0..100)
        .map(|_| {
            let mut connection = server.connect();
            let head = Request::new("POST", "/logs/a/records")
                .header("Content-Type", "application/octet-stream")
                .header("Content-Length", 1_000_000);
            connection.send(&head.head_bytes()).expect("the head can be sent");
            connection.socket().set_nonblocking(true).expect("a socket");
            let _ = std::io::Write::write(&mut connection.socket(), &part);
            connection
        })
        .collect();
    assert_eq!(server.append("a", "others are served"), 1);
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 300 * MIB, "{} unfinished bodies hold {} MiB", writers.len(), more / MIB);
    drop(writers);
    assert_eq!(server.append("a", "and after them"), 2);
}

#[test]
fn disconnected_readers_leave_no_open_descriptors() {
    let server = TestServer::start();
    server.create("a");
    server.fill("a", 4);
    let files = || {
        let path = format!("/proc/{}/fd", server.process());
        std::fs::read_dir(path).expect("a list of descriptors").count()
    };
    let before = files();
    for round in 0..200 {
        let mut connection = server.connect();
        let query = if round % 2 == 0 { "" } else { "whence=end&follow=true" };
        connection.send(&read_binary("a", query).bytes()).expect("the request can be sent");
    }
    styx_tests::wait::until_true("descriptors to be closed", Duration::from_secs(10), || {
        files() <= before + 5
    });
    let last = server.ask(&read_binary("a", "whence=end&position=-1")).expect(200);
    assert_eq!(unbinary(&last.body).len(), 1);
}
