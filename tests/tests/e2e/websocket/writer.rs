//! Writing over a WebSocket: a message is a record, and complete messages are appended
//! however the connection ends.

use std::time::Duration;

use styx_tests::websocket::{self, BINARY, CLOSE, PING, PONG, TEXT, frame, handshake, upgrade};
use styx_tests::{Request, TestServer, WebSocket, damage, wait};

/// Waits until the log has exactly these records.
#[track_caller]
fn await_records(server: &TestServer, log: &str, expected: &[&[u8]]) {
    wait::until_true("the records", Duration::from_secs(10), || {
        server.info(log)["end_position"].as_u64() >= Some(expected.len() as u64)
    });
    assert_eq!(server.read_all(log), expected);
}

/// The first byte of the first and of the last fragment of a message.
const FIRST: u8 = 0x02;
const LAST: u8 = 0x80;

#[test]
fn every_way_to_select_write_mode_works() {
    let server = TestServer::with_log("a");
    let target = "/logs/a/records?acks=true";
    for (number, request) in [
        upgrade(Request::new("POST", target)),
        upgrade(Request::post(target)),
        handshake(target).header("X-HTTP-Method-Override", "POST"),
        handshake(target).header("x-http-method-override", "post"),
        handshake(&format!("{target}&mode=write")),
        upgrade(Request::new("POST", &format!("{target}&mode=write"))),
    ]
    .iter()
    .enumerate()
    {
        let mut socket =
            server.upgrade(request).unwrap_or_else(|answer| panic!("{}", answer.shown()));
        let payload = format!("{number}");
        socket.send(TEXT, payload.as_bytes());
        assert_eq!(socket.acks(1), number as u64 + 1);
        assert_eq!(server.read_from("a", number as u64), [payload.as_bytes()]);
        assert!(socket.close().is_empty());
    }
    // `mode=read` contradicts POST.
    let request = upgrade(Request::new("POST", "/logs/a/records?mode=read"));
    let answer = server.upgrade(&request).expect_err("the request is refused");
    let _ = answer.expect_error(400, "invalid_params");
    let body = upgrade(Request::post("/logs/a/records").body("x"));
    let _ = server
        .upgrade(&body)
        .expect_err("the request is refused")
        .expect_error(400, "invalid_params");
}

#[test]
fn messages_of_every_kind_and_length_become_records() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=3000000");
    let mut socket = server.websocket_write("a", "&acks=true");
    let lengths = [0, 1, 125, 126, 127, 5000, 65_535, 65_536, 1_100_000, 2_999_992, 3];
    let mut expected = Vec::new();
    for (kind, byte) in [(BINARY, 0xff), (TEXT, b'x')] {
        for length in lengths {
            expected.push(vec![byte; length]);
            socket.send(kind, &vec![byte; length]);
        }
    }
    assert_eq!(socket.acks(expected.len() as u64), expected.len() as u64);
    assert!(server.read_all("a") == expected);
    assert!(socket.close().is_empty());
}

#[test]
fn a_fragmented_message_is_one_record_even_with_pings_in_between() {
    let server = TestServer::with_log("a");
    let mut socket = server.websocket_write("a", "&acks=true");
    let parts = [
        frame(FIRST, b"one"),
        frame(PING, b"1"),
        frame(0x00, b""),
        frame(0x00, b"two"),
        frame(PONG, b""),
        frame(LAST, b"three"),
        frame(0x01, b"gr\xc3"),
        frame(PING, b"2"),
        frame(LAST, b"\xbcn"),
        frame(BINARY, b"last"),
    ]
    .concat();
    // Split into packets of different sizes.
    for (round, piece_bytes) in [1, 3, 10, parts.len()].into_iter().enumerate() {
        for piece in parts.chunks(piece_bytes) {
            socket.send_bytes(piece).expect("a piece can be sent");
        }
        let (mut records, mut pongs) = (0, 0);
        while records < 3 || pongs < 1 {
            let frame = socket.frame().expect("a frame");
            match frame.first {
                // Only the latest of two pings has to be answered.
                PONG => pongs += 1,
                _ => records += u64::from(frame.payload[frame.payload.len() - 2] - b'0'),
            }
        }
        let from = round as u64 * 3;
        assert_eq!(
            server.read_from("a", from),
            [&b"onetwothree"[..], "gr\u{fc}n".as_bytes(), b"last"]
        );
        // The pong to the second ping may still come.
        socket.send(PING, b"done");
        while socket.frame().expect("a pong").payload != b"done" {}
    }
}

#[test]
fn acks_count_every_durable_record_exactly_once() {
    let server = TestServer::with_log("a");
    let mut socket = server.websocket_write("a", "&acks=true");
    socket.send(BINARY, b"alone");
    let ack = socket.ack();
    assert_eq!((ack.position, ack.count), (1, 1));
    for round in 0..20 {
        let messages: Vec<u8> = (0..500).flat_map(|_| frame(BINARY, &[b'x'; 100])).collect();
        socket.send_bytes(&messages).expect("it can be sent");
        let mut durable = 0;
        while durable < 500 {
            let ack = socket.ack();
            durable += ack.count;
            assert_eq!(ack.position, 1 + round * 500 + durable, "there is no other writer");
            let end = server.info("a")["end_position"].as_u64();
            assert!(end >= Some(ack.position), "acked {} but the end is {end:?}", ack.position);
        }
        assert_eq!(durable, 500);
    }
    assert!(socket.close().is_empty(), "everything was acked once");
}

#[test]
fn messages_sent_together_are_committed_together() {
    let server = TestServer::with_log("a");
    let mut socket = server.websocket_write("a", "&acks=true");
    let messages: Vec<u8> = (0..10_000).flat_map(|_| frame(BINARY, &[b'x'; 100])).collect();
    socket.send_bytes(&messages).expect("it can be sent");
    assert_eq!(socket.acks(10_000), 10_000);
    let commits = server.count("styx_log_commits_total{log=\"a\"}");
    println!("10,000 messages in {commits} commits");
    assert!(commits <= 1000, "10,000 messages took {commits} commits");
}

#[test]
fn nothing_is_sent_when_acks_are_off() {
    let server = TestServer::with_log("a");
    let mut socket = server.websocket_write("a", "");
    for number in 0..10 {
        socket.send(TEXT, format!("{number}").as_bytes());
    }
    assert!(socket.close().is_empty());
    assert_eq!(
        server.read_all("a").len(),
        10,
        "the close is answered when every record is durable"
    );
    for value in ["acks=false", "acks=", "acks=0"] {
        let mut socket = server.websocket_write("a", &format!("&{value}"));
        socket.send(TEXT, b"x");
        assert!(socket.close().is_empty(), "{value}");
    }
}

/// Ends a connection in some way.
type End = fn(WebSocket);

#[test]
fn complete_messages_are_appended_however_the_connection_ends() {
    let server = TestServer::with_log("a");
    let ways: [(&str, End); 9] = [
        ("closed", |socket| drop(socket.close())),
        ("closed in one go", |mut socket| {
            let bytes = [frame(CLOSE, b"\x03\xe8"), frame(BINARY, b"after the close")].concat();
            socket.send_bytes(&bytes).expect("it can be sent");
            let _ = socket.until_close();
        }),
        ("dropped", drop),
        ("half-closed", |mut socket| {
            socket.finish_sending();
            let _ = socket.until_close();
        }),
        ("half a header", |mut socket| {
            socket.send_bytes(&[BINARY]).expect("it can be sent");
        }),
        ("half a message", |mut socket| {
            let part = &frame(BINARY, b"a part of it")[..12];
            socket.send_bytes(part).expect("it can be sent");
        }),
        ("half of a message in parts", |mut socket| {
            socket.send(FIRST, b"a part of it");
            socket.finish_sending();
            let _ = socket.until_close();
        }),
        ("a fault", |mut socket| {
            socket.send_bytes(&[0xff; 100]).expect("it can be sent");
            let _ = socket.until_close();
        }),
        ("reset", |socket| {
            // The kernel sends a reset, because acks are unread.
            while socket.socket().peek(&mut [0; 1]).expect("an ack") == 0 {}
            drop(socket);
        }),
    ];
    let mut total = 0;
    for (name, end) in ways {
        let mut socket = server.websocket_write("a", "&acks=true");
        let messages: Vec<u8> =
            (0..300).flat_map(|n| frame(BINARY, format!("{name} {n}").as_bytes())).collect();
        socket.send_bytes(&messages).expect("it can be sent");
        end(socket);
        total += 300;
        wait::until_true(name, Duration::from_secs(10), || {
            server.info("a")["end_position"].as_u64() >= Some(total)
        });
        let records = server.read_from("a", total - 300);
        let expected: Vec<_> = (0..300).map(|n| format!("{name} {n}").into_bytes()).collect();
        assert!(records == expected, "{name}: {} records", records.len());
    }
    // Nothing more was appended meanwhile.
    assert_eq!(server.info("a")["end_position"], total);
}

#[test]
fn a_message_over_the_limit_is_rejected_and_earlier_ones_are_kept() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=1008");
    let too_large: [(&str, Vec<u8>); 4] = [
        ("a frame", frame(BINARY, &[0; 1001])),
        ("a header alone", websocket::head(BINARY, 1001)),
        ("a header with a false length", websocket::head(TEXT, u64::MAX)),
        ("parts", [frame(FIRST, &[0; 600]), frame(LAST, &[0; 401])].concat()),
    ];
    for (round, (name, bytes)) in (1..).zip(too_large) {
        let mut socket = server.websocket_write("a", "&acks=true");
        let all = [frame(BINARY, &[b'x'; 1000]), bytes, frame(BINARY, b"after it")].concat();
        socket.send_bytes(&all).expect("it can be sent");
        assert_eq!(socket.acks(1), round, "{name}");
        let reason = socket.expect_close(4010);
        assert!(reason.starts_with("record_too_large") && reason.contains("1000"), "{reason}");
        assert_eq!(server.info("a")["end_position"], round, "{name}");
    }
}

#[test]
fn a_reading_connection_rejects_messages() {
    let server = TestServer::with_log("a");
    for (first, payload) in [(BINARY, &b"x"[..]), (TEXT, b""), (FIRST, b"x")] {
        let mut socket = server.websocket_read("a", "follow=true");
        socket.send(first, payload);
        let reason = socket.expect_close(4003);
        assert!(reason.contains("mode=write"), "{reason}");
    }
    assert_eq!(server.info("a")["end_position"], 0);
}

#[test]
fn concurrent_writers_lose_nothing_and_keep_their_order() {
    let server = TestServer::with_log("a");
    std::thread::scope(|scope| {
        for producer in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let mut socket = server.websocket_write("a", "&acks=true");
                for batch in 0..20 {
                    let messages: Vec<u8> = (0..50)
                        .flat_map(|n| {
                            frame(TEXT, format!("{producer} {}", batch * 50 + n).as_bytes())
                        })
                        .collect();
                    socket.send_bytes(&messages).expect("it can be sent");
                }
                socket.acks(1000);
                assert!(socket.close().is_empty());
            });
        }
    });
    let records = server.read_all("a");
    assert_eq!(records.len(), 8000);
    for producer in 0..8 {
        let own = format!("{producer} ").into_bytes();
        let order = records.iter().filter(|record| record.starts_with(&own));
        let expected = (0..1000).map(|n| format!("{producer} {n}").into_bytes());
        assert!(order.cloned().eq(expected), "producer {producer}");
    }
}

#[test]
fn a_corrupt_log_refuses_the_handshake() {
    let mut server = TestServer::with_log("a");
    server.append("a", "x");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    // A record below the watermark is missing.
    let segment = damage::segments(&server.data().join("a")).swap_remove(0);
    let bytes = std::fs::read(&segment).expect("it can be read");
    std::fs::write(&segment, &bytes[..bytes.len().min(100)]).expect("it can be written");
    server.restart();
    let answer = server.upgrade(&handshake("/logs/a/records?mode=write"));
    let answer = answer.expect_err("the request is refused").expect_error(503, "log_not_available");
    assert_eq!(answer.json()["status"], "corrupt");
}

#[test]
fn an_empty_message_is_an_empty_record() {
    let server = TestServer::with_log("a");
    let mut socket = server.websocket_write("a", "");
    socket.send(TEXT, b"");
    socket.send(BINARY, b"");
    socket.send(FIRST, b"");
    socket.send(LAST, b"");
    await_records(&server, "a", &[b"", b"", b""]);
}
