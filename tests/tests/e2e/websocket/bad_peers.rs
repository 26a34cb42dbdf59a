//! WebSocket peers that break the protocol, do not read, or announce more than they
//! send: each gets a close frame or is disconnected, uses a bounded buffer, and does not
//! delay others.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use styx_tests::api::write_one;
use styx_tests::random::Random;
use styx_tests::websocket::{self, BINARY, CLOSE, PING, PONG, TEXT, frame, head};
use styx_tests::{Request, Settings, TestServer, WebSocket, wait};

const MIB: u64 = 1 << 20;
const CLOSED_WITHIN: Duration = Duration::from_secs(20);

fn impatient() -> TestServer {
    let server = Settings::default().set("tcp_timeout = 2").start();
    server.create("a");
    server
}

#[test]
fn protocol_violations_are_reported_and_earlier_messages_are_kept() {
    let server = impatient();
    let unmasked = vec![BINARY, 5, b'p', b'l', b'a', b'i', b'n'];
    let long_length = [&[BINARY, 0xfe, 0, 1][..], &[0; 4], b"x"].concat();
    let violations: Vec<(&str, u16, Vec<u8>)> = vec![
        ("an unmasked message", 1002, unmasked),
        ("an unmasked ping", 1002, vec![PING, 0]),
        ("the first reserved bit, as of a compressed message", 1002, frame(0xc2, b"x")),
        ("the second reserved bit", 1002, frame(0xa2, b"x")),
        ("the third reserved bit of a ping", 1002, frame(0x99, b"")),
        ("a reserved opcode", 1002, frame(0x83, b"x")),
        ("a reserved control opcode", 1002, frame(0x8f, b"")),
        ("a length in more bytes than it needs", 1002, long_length),
        ("a ping in parts", 1002, frame(0x09, b"x")),
        ("a ping of 126 bytes", 1002, frame(PING, &[0; 126])),
        ("a continuation of nothing", 1002, frame(0x80, b"x")),
        ("a message within a message", 1002, [frame(0x02, b"x"), frame(BINARY, b"y")].concat()),
        ("half a close code", 1002, frame(CLOSE, b"\x03")),
        ("a close code for inner use", 1002, frame(CLOSE, b"\x03\xee")),
        ("text that is none", 1007, frame(TEXT, b"\xff\xfe")),
        ("text that is cut off", 1007, [frame(0x01, b"gr\xc3"), frame(0x80, b"")].concat()),
        ("a close whose reason is none", 1007, frame(CLOSE, b"\x03\xe8\xff")),
        ("HTTP", 1002, Request::get("/logs").bytes()),
        ("zeros", 1002, vec![0; 5000]),
    ];
    for (round, (name, code, bytes)) in (1..).zip(violations) {
        let mut socket = server.websocket_write("a", "&acks=true");
        let all = [frame(BINARY, name.as_bytes()), bytes, frame(BINARY, b"after it")].concat();
        socket.send_bytes(&all).expect("it can be sent");
        assert_eq!(socket.acks(1), round, "{name}");
        let reason = socket.expect_close(code);
        assert!(!reason.is_empty(), "{name}: no reason");
        assert_eq!(server.read_from("a", round - 1), [name.as_bytes()], "{name}");
    }
    for (name, bytes) in [("unmasked", vec![PING, 0]), ("reserved", frame(0xc2, b""))] {
        let mut socket = server.websocket_read("a", "follow=true&whence=end");
        socket.send_bytes(&bytes).expect("it can be sent");
        let reason = socket.expect_close(1002);
        assert!(!reason.is_empty(), "{name}");
    }
}

#[test]
fn arbitrary_bytes_do_no_harm() {
    let server = impatient();
    let mut random = Random::new(7);
    for round in 0..200 {
        let mut socket = if round % 2 == 0 {
            server.websocket_write("a", "&acks=true")
        } else {
            server.websocket_read("a", "follow=true")
        };
        let length = usize::try_from(random.between(1, 400)).expect("a small number");
        let mut bytes = random.bytes(length);
        if round % 3 == 0 {
            // Passes the first checks, so that more of it is parsed.
            bytes.splice(0..0, frame([0x02, 0x01, PING][round % 9 / 3], b"x"));
        }
        let _ = socket.send_bytes(&bytes);
        let _ = socket.socket().shutdown(std::net::Shutdown::Write);
        let rest = socket.until_close();
        assert!(!matches!(&rest, Err(e) if e.kind() == ErrorKind::WouldBlock), "{bytes:02x?}");
    }
    assert_eq!(server.ask(&write_one("a", "x")).status(), 200);
    assert!(!server.log().contains("panic"), "{}", server.log());
}

#[test]
fn pongs_alone_keep_a_connection_open() {
    let server = impatient();
    let mut sockets: Vec<WebSocket> = vec![
        server.websocket_read("a", "follow=true&whence=end"),
        server.websocket_write("a", "&acks=true"),
    ];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(7) {
        for socket in &mut sockets {
            let ping = socket.frame().expect("a ping");
            assert_eq!(ping.first, PING);
            socket.send(PONG, &ping.payload);
        }
    }
    let [reader, writer] = &mut sockets[..] else { unreachable!() };
    writer.send(TEXT, b"still here");
    assert_eq!(reader.record(), b"still here");
    assert_eq!(writer.acks(1), 1);
}

#[test]
fn a_slow_or_busy_reader_stays_connected_without_answering_pings() {
    let server = Settings::default().set("tcp_timeout = 2").direct().start();
    server.create("a");
    let mut busy = server.websocket_read("a", "follow=true&whence=end");
    server.append("a", "to be thought about");
    server.fill("a", 24);
    let mut slow = server.websocket_read("a", "position=1&count=384");
    let start = Instant::now();
    let mut received = 0;
    while start.elapsed() < Duration::from_secs(9) {
        // The pace of a slow reader.
        std::thread::sleep(Duration::from_millis(200));
        received += slow.raw(100_000).expect("the response continues").len();
    }
    let rest = slow.until_close().expect("the rest of the response");
    let (frame_bytes, close_bytes) = (10 + (1 << 16) - 8 - 6, 4);
    let pings = (received + rest.len()) - 384 * frame_bytes - close_bytes;
    assert!(pings < 100, "{received} and {} bytes", rest.len());
    assert!(rest.ends_with(&[CLOSE, 2, 0x03, 0xe8]));
    // The other reader did nothing meanwhile, but its socket had room.
    assert_eq!(busy.record(), b"to be thought about");
}

trait Records {
    fn next_record(&mut self) -> Vec<u8>;
}

impl Records for WebSocket {
    /// The next record. Skips pings and pongs.
    #[track_caller]
    fn next_record(&mut self) -> Vec<u8> {
        loop {
            let frame = self.frame().expect("a frame");
            match frame.first {
                BINARY => return frame.payload,
                PING | PONG => {}
                other => panic!("{other:#x}: {}", websocket::shown(&frame)),
            }
        }
    }
}

#[test]
fn stopped_readers_share_a_bounded_memory_budget() {
    const READERS: u64 = 200;
    let settings = Settings::default().set("max_answer_bytes = 33554432");
    let server = settings.start();
    server.create("a");
    server.fill("a", 32);
    let before = server.memory_bytes();
    let mut stopped: Vec<_> = (0..READERS).map(|_| server.websocket_read("a", "")).collect();
    for number in 0..20 {
        assert_eq!(server.append("a", "on it goes"), 32 * 16 + number + 1);
    }
    let more = || server.memory_bytes().saturating_sub(before);
    println!("{READERS} stopped readers: {} KiB each", (more() >> 10) / READERS);
    // While they read, the server reads ahead for all of them together, in up to 64 MiB.
    let bound = 32 * MIB + READERS * (256 << 10);
    assert!(more() < bound + 64 * MIB, "they use {} MiB", more() / MIB);
    wait::until_true("what was read ahead to be free", Duration::from_secs(20), || more() < bound);
    // Everything arrives once and in order, although in small pieces.
    for socket in &mut stopped[READERS as usize - 3..] {
        for _ in 0..32 * 16 {
            assert_eq!(socket.next_record().len(), (1 << 16) - 8);
        }
        socket.expect_close(1000);
    }
}

#[test]
fn a_writer_that_reads_no_acks_is_served_in_bounded_memory() {
    let server = TestServer::start();
    server.create("a");
    let before = server.memory_bytes();
    let mut socket = server.websocket_write("a", "&acks=true");
    for _ in 0..200 {
        let messages: Vec<u8> = (0..500).flat_map(|_| frame(BINARY, b"")).collect();
        socket.send_bytes(&messages).expect("it can be sent");
    }
    wait::until_true("all records", Duration::from_secs(60), || {
        server.info("a")["end_position"] == 100_000
    });
    assert_eq!(socket.acks(100_000), 100_000, "the acks arrive late and may be combined");
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 32 * MIB, "{} KiB more memory", more >> 10);
}

#[test]
fn announced_lengths_allocate_nothing() {
    let settings = Settings::default().set("max_in_flight_bytes = 4294967296");
    let server = settings.set("max_log_record_size = 1073741824").start();
    server.create_with("a", "max_record_size=1073741824");
    let before = server.memory_bytes_most();
    let mut sockets: Vec<_> = (0..200)
        .map(|_| {
            let mut socket = server.websocket_write("a", "");
            socket.send_bytes(&head(BINARY, (1 << 30) - 8)).expect("it can be sent");
            socket.send_bytes(b"not much of it").expect("it can be sent");
            socket
        })
        .collect();
    // The server still answers: frames of a connection are processed in order.
    assert_eq!(server.append("a", "others are served"), 1);
    let mut last = server.websocket_write("a", "");
    last.send(PING, b"");
    assert_eq!(last.frame().expect("a pong").first, PONG);
    let each = server.memory_bytes_most().saturating_sub(before) / 200;
    println!("an incomplete message uses {} KiB", each >> 10);
    assert!(each < 64 << 10, "{each} bytes for each announced message");
    sockets.clear();
    assert_eq!(server.info("a")["end_position"], 1);
}

#[test]
fn partial_messages_share_a_budget_and_slow_ones_are_closed() {
    // The budget is 4 MiB, so the partial messages do not all fit. A stalled one must
    // not block other writers forever.
    let settings = Settings::default().set("max_in_flight_bytes = 4194304");
    let server = settings.set("tcp_timeout = 60").start();
    server.create("a");
    let before = server.memory_bytes();
    let part = head(BINARY, 1_000_000);
    let mut stalled: Vec<_> = (0..20)
        .map(|_| {
            let mut socket = server.websocket_write("a", "");
            socket.send_bytes(&part).expect("it can be sent");
            let _ = socket.socket().set_nonblocking(true);
            let _ = std::io::Write::write(&mut socket.socket(), &[b'x'; 900_000]);
            let _ = socket.socket().set_nonblocking(false);
            socket
        })
        .collect();
    let start = Instant::now();
    wait::until_true("an honest writer's turn", Duration::from_secs(60), || {
        let mut honest = server.websocket_write("a", "&acks=true");
        honest.send(BINARY, &[b'y'; 500_000]);
        matches!(honest.receive(), Ok(frame) if frame.first == TEXT)
    });
    println!("another writer succeeded after {:?}", start.elapsed());
    // The memory used to be kept until the peer had closed too.
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    let more = server.memory_bytes().saturating_sub(before);
    println!("{} KiB for {} partial messages", more >> 10, stalled.len());
    assert!(more < 24 * MIB, "{} MiB", more / MIB);
    let mut overloaded = 0;
    for socket in &mut stalled {
        socket.set_patience(Duration::from_millis(100));
        while let Ok(frame) = socket.frame() {
            if frame.first == CLOSE {
                let (code, reason) = websocket::closed(&frame);
                assert_eq!(code, Some(4019), "{reason}");
                overloaded += 1;
            }
        }
    }
    assert!(overloaded > 0, "no connection was closed as overloaded");
    assert!(!server.log().contains("panic"), "{}", server.log());
}

#[test]
fn ping_floods_are_answered_in_bounded_memory() {
    let server = TestServer::start();
    server.create("a");
    let before = server.memory_bytes();
    let mut socket = server.websocket_read("a", "follow=true");
    let pings: Vec<u8> = (0..10_000).flat_map(|_| frame(PING, &[b'p'; 125])).collect();
    let start = Instant::now();
    let sender = socket.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..10 {
                if sender.send_bytes(&pings).is_err() {
                    return;
                }
            }
            let last = frame(PING, b"the last one");
            sender.send_bytes(&last).expect("it can be sent");
        });
        while socket.frame().expect("a pong").payload != b"the last one" {}
    });
    println!("100,000 pings in {:?}", start.elapsed());
    let more = server.memory_bytes().saturating_sub(before);
    assert!(more < 8 * MIB, "{} KiB more memory", more >> 10);
}

#[test]
fn a_peer_that_never_completes_the_close_is_disconnected() {
    let server = impatient();
    let mut sockets = Vec::new();
    for query in ["count=0", "mode=write"] {
        let mut socket = server
            .upgrade(&websocket::handshake(&format!("/logs/a/records?{query}")))
            .expect("101");
        socket.send_bytes(&frame(0x83, b"")).expect("it can be sent");
        while socket.frame().expect("a close").first != CLOSE {}
        sockets.push(socket);
    }
    let start = Instant::now();
    for socket in &mut sockets {
        socket.send(BINARY, b"after the close");
    }
    wait::until_true("both peers to be disconnected", CLOSED_WITHIN, || {
        server.open_streams("websocket") == 0
    });
    println!("disconnected after {:?}", start.elapsed());
    assert_eq!(server.info("a")["end_position"], 0);
}
