//! Limits of principals and logs: refusals, back-pressure, quotas, and changes while the server
//! runs.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_protocol::Code;
use styx_protocol::frame::Route;
use styx_tests::styx0::{Message, Styx0Stream};
use styx_tests::tokens::{self, with};
use styx_tests::wait::until_true;
use styx_tests::{
    Connection, Request, Scratch, Settings, TestServer, api, styx0, styx1, websocket,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server with the logs `a` and `b`, and the principals `admin`, `one` and `two`.
struct Scene {
    server: TestServer,
    admin: String,
    one: String,
    two: String,
}

fn start(limits: &str, settings: Settings) -> Scene {
    let scratch = Arc::new(Scratch::new("server"));
    let data = scratch.join("data");
    let admin = tokens::create(&data, "admin", &["admin:*"]);
    let grants = ["read:*", "append:*", "manage:mine-*"];
    let (one, two) = (tokens::create(&data, "one", &grants), tokens::create(&data, "two", &grants));
    let file = scratch.write("limits.toml", limits);
    let settings = settings.set(&format!("limits_file = {file:?}"));
    let server = settings.start_in(scratch).unwrap_or_else(|refusal| panic!("{refusal}"));
    for name in ["name=a", "name=b"] {
        let _ = server.ask(&with(Request::post("/logs").form(name), &admin)).expect(200);
    }
    Scene { server, admin, one, two }
}

impl Scene {
    fn append(&self, log: &str, secret: &str, payload: impl Into<Vec<u8>>) -> u16 {
        self.server.ask(&with(api::write_one(log, payload), secret)).status()
    }

    fn count(&self, log: &str) -> u64 {
        let request = with(Request::get(&format!("/logs/{log}")), &self.admin);
        self.server.ask(&request).json()["record_count"].as_u64().expect("a number")
    }

    fn metric(&self, limit: &str) -> bool {
        let metrics = self.server.ask(&with(Request::get("/metrics"), &self.admin));
        metrics.text().contains(&format!("styx_limited_total{{limit=\"{limit}\"}}"))
    }
}

#[test]
fn requests_beyond_the_limit_are_answered_429_and_other_principals_are_not() {
    let limits = "[[principal]]\nname = 'one'\nappend_requests = 5\nread_requests = 5\n";
    let scene = start(limits, Settings::default());
    let read = |secret: &str| scene.server.ask(&with(api::read_binary("a", ""), secret));
    // Even a slow machine sends 40 requests faster than 5 a second.
    let statuses: Vec<_> = (0..40).map(|_| scene.append("a", &scene.one, "x")).collect();
    let accepted = statuses.iter().filter(|status| **status == 200).count() as u64;
    assert!(accepted >= 5 && statuses.contains(&429), "{statuses:?}");
    assert_eq!(scene.count("a"), accepted, "a refused request appends nothing");
    let answers: Vec<_> = (0..40).map(|_| read(&scene.one)).collect();
    let refused = answers.into_iter().find(|answer| answer.status() == 429).expect("too many");
    assert!(refused.head.number("Retry-After") >= 1);
    let refused = refused.expect_error(429, "too_many_requests");
    assert_eq!(refused.json()["limit"], "read_requests", "{}", refused.text());
    assert_eq!(refused.json()["limit_value"], 5);
    for _ in 0..40 {
        assert_eq!((scene.append("a", &scene.two, "x"), read(&scene.two).status()), (200, 200));
    }
    // It recovers, and a client that waits gets on.
    until_true("a request is accepted again", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(300));
        scene.append("a", &scene.one, "x") == 200
    });
    assert!(scene.metric("append_requests") && scene.metric("read_requests"));
}

#[test]
fn bytes_of_a_log_are_limited_for_all_principals_together() {
    let scene = start("[[log]]\nname = 'a'\nappend_bytes = 1000\n", Settings::default());
    assert_eq!(scene.append("a", &scene.one, vec![b'x'; 500_000]), 200, "a burst is paid later");
    let refused = scene.server.ask(&with(api::write_one("a", "x"), &scene.two));
    assert!(refused.head.number("Retry-After") > 100, "{}", refused.shown());
    let refused = refused.expect_error(429, "too_many_requests");
    assert!(refused.text().contains("on the log a (append_bytes"), "{}", refused.text());
    assert_eq!(scene.append("b", &scene.one, "x"), 200);
    // Reads are not appends.
    let _ = scene.server.ask(&with(api::read_binary("a", ""), &scene.one)).expect(200);
}

/// The rate of a large body is that of its limit: the server stops reading, and keeps nothing
/// of it meanwhile.
#[test]
fn large_body_is_slowed_to_the_limit_and_appended() {
    let limits = "[[principal]]\nname = 'one'\nappend_bytes = 2000000\n";
    let scene = start(limits, Settings::default());
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let body = line.repeat(6000);
    let begun = Instant::now();
    let request = Request::post("/logs/a/records")
        .header("Content-Type", "application/vnd.styx.line-delimited")
        .body(body);
    let answer = scene.server.ask(&with(request, &scene.one)).expect(200);
    assert_eq!(answer.json()["count"], 6000);
    // 6 MB: the first 2 MB are the burst, and the last block is paid later.
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(scene.metric("append_bytes"));
}

/// The request is sent on a thread of its own: a server that waits for a limit does not read, and
/// the sockets' buffers may be smaller than the body.
fn begun(server: &TestServer, request: &Request) -> Connection {
    let connection = server.connect();
    let mut socket = connection.socket().try_clone().expect("a descriptor");
    let bytes = request.bytes();
    // It ends when the server closes the connection.
    let _ = std::thread::spawn(move || socket.write_all(&bytes));
    connection
}

#[test]
fn websocket_producer_is_slowed_and_loses_nothing() {
    let limits = "[[principal]]\nname = 'one'\nappend_bytes = 1000000\n";
    let scene = start(limits, Settings::default());
    let handshake = with(websocket::handshake("/logs/a/records?mode=write&acks=true"), &scene.one);
    let mut socket = scene.server.upgrade(&handshake).expect("an upgrade").into_connection();
    let message = websocket::frame(websocket::BINARY, &[b'x'; 1000]);
    let began = Instant::now();
    for _ in 0..3500 {
        socket.send(&message).expect("it can be sent");
    }
    assert_eq!(scene.append("a", &scene.two, "x"), 200, "another principal does not wait");
    until_true("all are appended", PATIENCE, || scene.count("a") == 3501);
    assert!(scene.metric("append_bytes"), "it waited");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn styx1_producer_is_slowed_and_keeps_getting_heartbeats() {
    let limits = "[[principal]]\nname = 'one'\nappend_bytes = 100000\n";
    let scene = start(limits, Settings::default());
    let request = with(styx1::produce_request("a", ""), &scene.one);
    let mut stream = styx1::open(&scene.server, &request, Route::ServerToProducer);
    let record = [b'x'; 50_000];
    for _ in 0..6 {
        stream.send(&styx1::framed(&[styx1::block(&[&record])]));
    }
    let _ = stream.acked(6);
    assert_eq!(scene.count("a"), 6);
    assert!(scene.metric("append_bytes"), "it waited");
}

#[test]
fn styx0_producer_is_slowed_and_loses_nothing() {
    let limits = "[[principal]]\nname = 'one'\nappend_bytes = 100000\n";
    let scene = start(limits, Settings::default());
    let request = with(styx0::handshake("POST", "a", ""), &scene.one);
    let mut stream = Styx0Stream::open(&scene.server, &request)
        .unwrap_or_else(|answer| panic!("{}", answer.shown()));
    for _ in 0..6 {
        stream.send(&styx0::record([b'x'; 50_000]));
    }
    until_true("all are appended", PATIENCE, || scene.count("a") == 6);
    assert!(scene.metric("append_bytes"), "it waited");
}

/// After `tcp_timeout` without a token, a producer's stream ends with the error of its protocol.
#[test]
fn producer_whose_limit_is_used_up_for_tcp_timeout_ends_with_an_error() {
    let limits =
        "[default]\nappend_bytes = 1000\n[[principal]]\nname = 'admin'\nappend_bytes = 0\n";
    let scene = start(limits, Settings::default().set("tcp_timeout = 2"));
    let refused = |secret: &str| scene.server.ask(&with(api::write_one("a", "x"), secret));
    // A record of 100 kB is a debt of 100 s.
    let record = [b'x'; 100_000];
    let request = with(styx1::produce_request("a", ""), &scene.one);
    let mut one = styx1::open(&scene.server, &request, Route::ServerToProducer);
    let request = with(websocket::handshake("/logs/a/records?mode=write"), &scene.two);
    let mut two = scene.server.upgrade(&request).expect("an upgrade");
    one.send(&styx1::framed(&[styx1::block(&[&record])]));
    two.send(websocket::BINARY, &record);
    let reason = two.expect_close(Code::TooManyRequests.close_code());
    assert!(reason.starts_with("too_many_requests"), "{reason}");
    let fault = one.fails_with(Code::TooManyRequests);
    assert!(fault.message.contains("append_bytes") && fault.retry_after_ms >= 1000, "{fault:?}");
    assert_eq!(scene.count("a"), 2, "what had arrived is appended");
    // A stream is not opened meanwhile, and neither is a request served.
    let answer = refused(&scene.one).expect_error(429, "too_many_requests");
    assert!(answer.head.number("Retry-After") > 50, "{}", answer.shown());
    let request = with(styx0::handshake("POST", "a", ""), &scene.one);
    let answer = scene.server.ask(&request);
    assert_eq!(answer.status(), 429, "{}", answer.shown());
}

/// Readers are slowed by waiting; none of them is refused, and their connections stay alive.
#[test]
fn readers_are_slowed_over_every_protocol_and_get_everything() {
    let scene = start("", Settings::default().set("tcp_timeout = 2"));
    for _ in 0..12 {
        assert_eq!(scene.append("a", &scene.admin, vec![b'x'; 50_000]), 200);
    }
    // Each reader alone, because they share a principal.
    let limits = "[[principal]]\nname = 'one'\nread_bytes = 200000\n";
    scene.server.scratch().write("limits.toml", limits);
    until_true("the limits were read", PATIENCE, || {
        scene.server.log().contains("the limits file was read again")
    });
    let recovered = || {
        until_true("the bucket is not in debt", PATIENCE, || {
            std::thread::sleep(Duration::from_millis(200));
            let read = with(api::read_binary("a", "count=0"), &scene.one);
            scene.server.ask(&read).status() == 200
        });
    };
    // 600 kB at 200 kB/s: longer than tcp_timeout, but never silent for so long.
    let whole = 12 * 50_000;
    let slow = |what: &str, began: Instant| {
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(1), "{what} took {took:?}");
    };
    let began = Instant::now();
    let answer = scene.server.ask(&with(api::read_binary("a", ""), &scene.one)).expect(200);
    assert!(answer.body.len() > whole, "{}", answer.body.len());
    slow("HTTP", began);

    recovered();
    let began = Instant::now();
    let events = Request::get("/logs/a/records?follow=false").header("Accept", "text/event-stream");
    let answer = scene.server.ask(&with(events, &scene.one)).expect(200);
    assert!(answer.body.len() > whole, "{}", answer.body.len());
    slow("events", began);

    recovered();
    let began = Instant::now();
    let request = with(websocket::handshake("/logs/a/records?count=12"), &scene.one);
    let mut socket = scene.server.upgrade(&request).expect("an upgrade");
    for _ in 0..12 {
        assert_eq!(socket.record().len(), 50_000);
    }
    slow("WebSocket", began);

    recovered();
    let began = Instant::now();
    let request = with(styx0::handshake("GET", "a", "count=12"), &scene.one);
    let mut stream = Styx0Stream::open(&scene.server, &request)
        .unwrap_or_else(|answer| panic!("{}", answer.shown()));
    for _ in 0..12 {
        // A consumer is silent for less than its timeout.
        stream.send(styx0::HEARTBEAT);
        assert!(matches!(stream.message(), Some(Message::Record(_))));
    }
    slow("styx/0", began);

    recovered();
    let began = Instant::now();
    let request = with(styx1::consume_request("a", "count=12"), &scene.one);
    let mut stream = styx1::open(&scene.server, &request, Route::ServerToConsumer);
    let mut read = 0;
    while read < 12 {
        stream.beat();
        read += stream.block().header().count;
    }
    slow("styx/1", began);
    // Nobody else was slowed.
    let _ = scene.server.ask(&with(api::read_binary("a", ""), &scene.two)).expect(200);
    assert!(scene.metric("read_bytes"));
}

/// The handshakes of all streams of a log: a producer and a consumer of each protocol.
fn streams_of(log: &str) -> [Request; 6] {
    [
        styx0::handshake("POST", log, ""),
        styx0::handshake("GET", log, "follow=true"),
        styx1::produce_request(log, ""),
        styx1::consume_request(log, "follow=true"),
        websocket::handshake(&format!("/logs/{log}/records?mode=write")),
        websocket::handshake(&format!("/logs/{log}/records?follow=true")),
    ]
}

/// The streams of all protocols are connections of their log, whoever opens them.
#[test]
fn connections_of_a_log_are_limited_over_every_protocol() {
    let scene = start("[[log]]\nname = 'a'\nconnections = 6\n", Settings::default());
    let open = |request: Request, secret: &str| {
        let mut connection = begun(&scene.server, &with(request, secret));
        (connection.head("GET").expect("an answer").status, connection)
    };
    let mut opened = Vec::new();
    for (number, request) in streams_of("a").into_iter().enumerate() {
        let secret = if number % 2 == 0 { &scene.one } else { &scene.two };
        let (status, connection) = open(request, secret);
        assert_eq!(status, 101, "stream {number}");
        opened.push(connection);
    }
    for request in streams_of("a") {
        let refused = scene.server.ask(&with(request, &scene.one));
        let _ = refused.expect_error(429, "too_many_requests");
    }
    let _ = scene.server.ask(&with(api::read_binary("b", ""), &scene.one)).expect(200);
    // Each stream frees its own place.
    for request in streams_of("a") {
        drop(opened.remove(0));
        until_true("a place is free", PATIENCE, || {
            let (status, connection) = open(request.clone(), &scene.one);
            let is_open = status == 101;
            if is_open {
                opened.push(connection);
            }
            is_open
        });
    }
}

#[test]
fn connections_of_a_principal_are_limited_and_freed() {
    let scene = start("[[principal]]\nname = 'one'\nconnections = 3\n", Settings::default());
    let target = "/logs/a/records?follow=true&whence=end";
    let socket = scene
        .server
        .upgrade(&with(websocket::handshake(target), &scene.one))
        .unwrap_or_else(|answer| panic!("{}", answer.shown()));
    let consume = with(styx1::consume_request("a", "follow=true"), &scene.one);
    let stream = styx1::open(&scene.server, &consume, Route::ServerToConsumer);
    let events = Request::get("/logs/a/records").header("Accept", "text/event-stream");
    let mut events = begun(&scene.server, &with(events, &scene.one));
    assert!(events.head("GET").expect("an answer").status_line.contains("200"));
    let refused = scene.server.ask(&with(api::read_binary("a", ""), &scene.one));
    let refused = refused.expect_error(429, "too_many_requests");
    assert!(refused.text().contains("has 3 requests"), "{}", refused.text());
    for stream in streams_of("a") {
        let refused = scene.server.ask(&with(stream, &scene.one));
        let refused = refused.expect_error(429, "too_many_requests");
        assert!(refused.text().contains("has 3 requests"), "{}", refused.text());
    }
    let _ = scene.server.ask(&with(api::read_binary("a", ""), &scene.two)).expect(200);
    drop((socket, stream, events));
    until_true("the places are free", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(100));
        scene.append("a", &scene.one, "x") == 200
    });
    // Requests one after the other need one place.
    for _ in 0..10 {
        assert_eq!(scene.append("a", &scene.one, "x"), 200);
    }
}

#[test]
fn number_of_logs_is_limited_by_what_a_principal_may_manage() {
    let scene = start("[[principal]]\nname = 'one'\nlogs = 2\n", Settings::default());
    let create = |name: &str, secret: &str| {
        scene.server.ask(&with(Request::post("/logs").form(&format!("name={name}")), secret))
    };
    let _ = create("mine-1", &scene.one).expect(200);
    let backup = scene.server.ask(&with(Request::get("/logs/mine-1/backup"), &scene.one));
    let backup = backup.expect(200).body;
    let _ = create("mine-2", &scene.one).expect(200);
    let refused = create("mine-3", &scene.one).expect_error(507, "quota_exceeded");
    assert!(refused.text().contains("may manage 2 logs"), "{}", refused.text());
    assert_eq!(refused.json()["limit"], "logs");
    let restore = Request::post("/logs/restore?name=mine-3").body(backup);
    let _ = scene.server.ask(&with(restore, &scene.one)).expect_error(507, "quota_exceeded");
    let _ = create("mine-3", &scene.two).expect(200);
    for name in ["mine-2", "mine-3"] {
        let delete = Request::delete(&format!("/logs/{name}"));
        let _ = scene.server.ask(&with(delete, &scene.one)).expect(200);
    }
    let _ = create("mine-4", &scene.one).expect(200);
}

#[test]
fn stored_bytes_are_limited_for_a_log_and_for_a_principal() {
    let limits = "[[principal]]\nname = 'one'\nstored_bytes = 150000\n\
                  [[log]]\nname = 'b'\nstored_bytes = 50000\n";
    let scene = start(limits, Settings::default());
    // These streams are open before the limit is reached.
    let mut stream = {
        let request = with(styx1::produce_request("a", ""), &scene.one);
        styx1::open(&scene.server, &request, Route::ServerToProducer)
    };
    let mut socket = {
        let request = with(websocket::handshake("/logs/a/records?mode=write"), &scene.one);
        scene.server.upgrade(&request).unwrap_or_else(|answer| panic!("{}", answer.shown()))
    };
    let mut earlier = {
        let request = with(styx0::handshake("POST", "a", ""), &scene.one);
        Styx0Stream::open(&scene.server, &request)
            .unwrap_or_else(|answer| panic!("{}", answer.shown()))
    };
    assert_eq!(scene.append("b", &scene.two, vec![b'x'; 60_000]), 200);
    until_true("the log is full", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(200));
        scene.append("b", &scene.two, "x") == 507
    });
    let refused = scene.server.ask(&with(api::write_one("b", "x"), &scene.two));
    let refused = refused.expect_error(507, "quota_exceeded");
    assert!(refused.text().contains("of the log b is reached: it is 50000"), "{}", refused.text());
    // The principal may append to both logs.
    assert_eq!(scene.append("a", &scene.one, vec![b'x'; 100_000]), 200);
    until_true("the principal has used its bytes", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(200));
        scene.append("a", &scene.one, "x") == 507
    });
    let producers = [
        styx0::handshake("POST", "a", ""),
        styx1::produce_request("a", ""),
        websocket::handshake("/logs/a/records?mode=write"),
    ];
    for request in producers {
        let refused = scene.server.ask(&with(request, &scene.one));
        let _ = refused.expect_error(507, "quota_exceeded");
    }
    let count = scene.count("a");
    socket.send(websocket::BINARY, b"x");
    let reason = socket.expect_close(Code::QuotaExceeded.close_code());
    assert!(reason.starts_with("quota_exceeded"), "{reason}");
    earlier.send(&styx0::record(b"x"));
    assert!(matches!(earlier.message(), Some(Message::Error(_))));
    stream.send(&styx1::framed(&[styx1::block(&[b"x"])]));
    let fault = stream.fails_with(Code::QuotaExceeded);
    assert!(fault.message.contains("the principal one may append to"), "{fault:?}");
    assert_eq!(scene.count("a"), count, "nothing was appended");
    assert_eq!(scene.append("a", &scene.two, "x"), 200);
    let _ = scene.server.ask(&with(api::read_binary("a", ""), &scene.one)).expect(200);
    let truncate = Request::post("/logs/a/truncate");
    let _ = scene.server.ask(&with(truncate, &scene.admin)).expect(200);
    until_true("there is space again", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(200));
        scene.append("a", &scene.one, "x") == 200
    });
}

/// Without access control, all requests belong to the principal `anonymous`.
#[test]
fn all_requests_share_a_limit_without_access_control() {
    let scratch = Arc::new(Scratch::new("server"));
    let file = scratch.write("limits.toml", "[default]\nappend_bytes = 1000\n");
    let settings = Settings::default().set(&format!("limits_file = {file:?}"));
    let Ok(server) = settings.start_in(scratch) else { panic!("it does not start") };
    let _ = server.ask(&Request::post("/logs").form("name=a")).expect(200);
    let _ = server.ask(&api::write_one("a", vec![b'x'; 100_000])).expect(200);
    let _ = server.ask(&api::write_one("a", "x")).expect_error(429, "too_many_requests");
}

#[test]
fn broken_limits_file_keeps_the_limits_and_refuses_a_start() {
    let mut scene = start("[default]\nappend_bytes = 1000\n", Settings::default());
    scene.server.scratch().write("limits.toml", "[default]\nappend_bites = 1\n");
    until_true("the log says so", PATIENCE, || {
        scene.server.log().contains("the limits from before stay")
    });
    scene.server.expect_log("append_bites");
    assert_eq!(scene.append("a", &scene.one, vec![b'x'; 100_000]), 200);
    assert_eq!(scene.append("a", &scene.one, "x"), 429);
    scene.server.kill();
    let refusal = scene.server.try_restart().expect_err("fewer limits than the operator wrote");
    assert!(refusal.output.contains("cannot use limits_file"), "{refusal}");
}

/// The server keeps nothing of a body whose principal has to wait, and says what it appended.
#[test]
fn body_that_waits_for_a_limit_holds_no_memory_and_ends_after_tcp_timeout() {
    let limits = "[[principal]]\nname = 'one'\nappend_bytes = 1000\n";
    let scene = start(limits, Settings::default().set("tcp_timeout = 3"));
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let request = Request::post("/logs/a/records")
        .header("Content-Type", "application/vnd.styx.line-delimited")
        .body(line.repeat(6000));
    let mut connection = begun(&scene.server, &with(request, &scene.one));
    until_true("it waits", PATIENCE, || scene.metric("append_bytes"));
    until_true("it holds nothing", PATIENCE, || {
        let metrics = scene.server.ask(&with(Request::get("/metrics"), &scene.admin));
        metrics.text().contains("\nstyx_in_flight_bytes 0\n")
    });
    let answer = connection.response("POST").expect("an answer");
    let answer = answer.expect_error(429, "too_many_requests");
    let appended = answer.json()["count"].as_u64().expect("a number");
    assert!(appended > 0 && appended < 6000, "{}", answer.text());
    assert_eq!(scene.count("a"), appended);
}

/// A stream that may not append holds what has arrived. It gives that up if others need it.
#[test]
fn limited_producer_ends_when_others_wait_for_its_memory() {
    let limits = "[[principal]]\nname = 'one'\nappend_bytes = 1000\n";
    let settings = Settings::default().set("max_in_flight_bytes = 4194304");
    let scene = start(limits, settings);
    let request = with(styx1::produce_request("a", ""), &scene.one);
    let mut stream = styx1::open(&scene.server, &request, Route::ServerToProducer);
    let block = styx1::framed(&[styx1::block(&[&[b'x'; 900_000]])]);
    stream.send(&block);
    let _ = stream.acked(1);
    stream.send(&block);
    until_true("the second block has arrived", PATIENCE, || {
        let metrics = scene.server.ask(&with(Request::get("/metrics"), &scene.admin));
        let sample = "\nstyx_in_flight_bytes ";
        let bytes = metrics.text().split(sample).nth(1).and_then(|rest| rest.lines().next());
        bytes.is_some_and(|bytes| bytes.parse::<u64>().expect("a number") > 500_000)
    });
    let create = Request::post("/logs").form("name=large&max_record_size=4000000");
    let _ = scene.server.ask(&with(create, &scene.admin)).expect(200);
    // It needs nearly all of the memory.
    assert_eq!(scene.append("large", &scene.two, vec![b'y'; 3_900_000]), 200);
    let fault = stream.fails_with(Code::TooManyRequests);
    assert!(fault.message.contains("append_bytes"), "{fault:?}");
    assert_eq!(scene.count("a"), 1);
}

/// The client waits as the server says, and appends every record once.
#[test]
fn client_appends_everything_within_a_limit() {
    let limits = "[[principal]]\nname = 'one'\nappend_bytes = 200000\n";
    let scene = start(limits, Settings::default().set("tcp_timeout = 1").without_tls_bridge());
    let address = format!("styx://{}", scene.server.address());
    let client = styx_client::blocking::Client::builder(&address).token(&scene.one).connect();
    let client = client.expect("the server is listening");
    let producer = client.producer("a").open().expect("it can be opened");
    for _ in 0..5 {
        let payload = vec![b'x'; 200_000];
        let _ = producer.append(&payload).expect("accepted");
        producer.flush().expect("durable");
    }
    producer.close().expect("no error");
    assert_eq!(scene.count("a"), 5);
    assert!(scene.metric("append_bytes"), "it was limited");
}

/// A wait for a limit is no reason to serve a token for longer.
#[test]
fn revoked_token_ends_a_body_that_waits_for_a_limit() {
    let limits = "[[principal]]\nname = 'one'\nappend_bytes = 1000\n";
    let scene = start(limits, Settings::default());
    let line = [&[b'x'; 999][..], b"\n"].concat();
    let request = Request::post("/logs/a/records")
        .header("Content-Type", "application/vnd.styx.line-delimited")
        .body(line.repeat(6000));
    let mut connection = begun(&scene.server, &with(request, &scene.one));
    until_true("it waits", PATIENCE, || scene.metric("append_bytes"));
    assert_eq!(tokens::token(&scene.server.data(), &["revoke", "one"]).code, 0);
    let answer = connection.response("POST").expect("an answer");
    let answer = answer.expect_error(401, "unauthorized");
    assert_eq!(answer.json()["count"], scene.count("a"), "{}", answer.text());
}

/// The blocks of a producer are the same when it repeats a request, however long they wait.
#[test]
fn repeated_request_of_a_limited_producer_appends_nothing_twice() {
    let limits = "[[principal]]\nname = 'one'\nappend_bytes = 1000000\n";
    let scene = start(limits, Settings::default());
    let records: Vec<_> = (0..3000).map(|number| format!("{number:01000}")).collect();
    let request = || {
        let request = api::write_binary("a", &records)
            .header("X-Styx-Producer", "7")
            .header("X-Styx-Epoch", "1")
            .header("X-Styx-Sequence", "0");
        with(request, &scene.one)
    };
    let answer = scene.server.ask(&request()).expect(200);
    assert_eq!(answer.json()["count"], 3000);
    until_true("the limit allows another request", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(300));
        scene.server.ask(&request()).status() == 200
    });
    assert_eq!(scene.count("a"), 3000);
}
