//! Reading with `follow`: long polls, time-outs, and server-sent events.

use std::time::{Duration, Instant};

use base64::Engine as _;
use styx_tests::api::{self, read_binary, read_lines, unbinary};
use styx_tests::http::Ending;
use styx_tests::{Connection, Request, Settings, Table, TestServer, gives, wait};

#[test]
fn existing_records_are_returned_immediately() {
    let server = TestServer::with_log("a");
    server.append_all("a", &["0", "1", "2"]);
    let mut table = Table::of(&server);
    let all = gives(200).body("0\n1\n2\n").with("X-Styx-Start-Position", 0);
    table.row("no time-out", &read_lines("a", "follow=true"), &all);
    let two = gives(200).body("0\n1\n");
    table.row("count", &read_lines("a", "follow=true&count=2"), &two);
    let none = gives(200).body("");
    table.row("count 0 at the end", &read_lines("a", "follow=true&count=0&whence=end"), &none);
    let at_once = read_lines("a", "follow=true&whence=end").header("X-Styx-Timeout", 0);
    let start = Instant::now();
    table.row("time-out 0", &at_once, &none);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    table.check();
}

#[test]
fn a_long_poll_returns_empty_at_its_timeout() {
    let server = TestServer::with_log("a");
    let request = read_lines("a", "follow=true").header("X-Styx-Timeout", 1);
    let start = Instant::now();
    let answer = server.ask(&request).expect(200);
    let took = start.elapsed();
    assert_eq!(answer.text(), "");
    forbids_buffering(|name| answer.header(name));
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
}

#[test]
fn a_long_poll_returns_the_first_new_records_and_ends() {
    let server = TestServer::with_log("a");
    server.append("a", "old");
    for timeout in [None, Some("-1"), Some("30")] {
        let mut request = read_lines("a", "whence=end&follow=true");
        if let Some(timeout) = timeout {
            request = request.header("X-Styx-Timeout", timeout);
        }
        let mut connection = server.connect();
        connection.send(&request.bytes()).expect("the request can be sent");
        // The server may process the append before the read, which then starts after
        // it. So appends continue until the poll returns.
        let answer = std::thread::scope(|scope| {
            let poll = scope.spawn(|| connection.response("GET").expect("an answer").expect(200));
            let mut appended = 0;
            while !poll.is_finished() && appended < 1000 {
                server.append("a", "new");
                appended += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            poll.join().expect("an answer")
        });
        assert_eq!(answer.ending, Ending::Whole);
        assert!(answer.text().starts_with("new\n"), "{timeout:?}: {}", answer.shown());
    }
}

#[test]
fn consecutive_polls_see_every_record_once() {
    let server = TestServer::with_log("a");
    let follower = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let mut connection = server.connect();
            let mut seen: Vec<Vec<u8>> = Vec::new();
            while seen.len() < 500 {
                let query = format!("position={}&follow=true", seen.len());
                let request = read_binary("a", &query).header("X-Styx-Timeout", 20);
                let answer = connection.exchange(&request).expect("an answer").expect(200);
                let records = unbinary(&answer.body);
                assert!(!records.is_empty(), "no new record within 20 s: {}", answer.shown());
                seen.extend(records);
            }
            seen
        });
        for number in 0..500 {
            server.append("a", format!("{number}"));
        }
        follower.join().expect("the follower read every record")
    });
    let expected: Vec<Vec<u8>> = (0..500).map(|n| format!("{n}").into_bytes()).collect();
    assert_eq!(follower, expected);
}

#[test]
fn one_long_poll_returns_about_one_read_buffer() {
    let server = Settings::default().set_log_manager("read_buffer_size = 4096").start();
    server.create("a");
    for _ in 0..100 {
        server.append("a", vec![b'x'; 1000]);
    }
    let answer = server.ask(&read_binary("a", "follow=true")).expect(200);
    let count = unbinary(&answer.body).len();
    assert!((1..=20).contains(&count), "{count} records of 1000 bytes");
    let all = server.ask(&read_binary("a", "")).expect(200);
    assert_eq!(unbinary(&all.body).len(), 100, "a read without follow has no such limit");
}

#[test]
fn deleting_or_truncating_a_log_ends_its_readers() {
    let server = TestServer::with_log("a");
    for end in [Request::post("/logs/a/truncate"), Request::delete("/logs/a")] {
        let request = read_lines("a", "whence=end&follow=true");
        let mut connection = server.connect();
        connection.send(&request.bytes()).expect("the request can be sent");
        await_reader(&server);
        let _ = server.ask(&end).expect(200);
        // An error if the head was not sent yet, otherwise a cut response.
        match connection.response("GET") {
            Ok(answer) if answer.status() == 200 => assert_eq!(answer.ending, Ending::Cut),
            Ok(answer) => assert!([404, 409].contains(&answer.status()), "{}", answer.shown()),
            Err(_) => {}
        }
    }
}

/// Gives the server time to receive a request that it does not answer yet.
fn await_reader(server: &TestServer) {
    for _ in 0..20 {
        let _ = server.ask(&Request::get("/logs/a")).expect(200);
    }
}

#[test]
fn a_waiting_poll_ends_when_the_server_stops() {
    let mut server = TestServer::with_log("a");
    let mut connection = server.connect();
    connection.send(&read_lines("a", "follow=true").bytes()).expect("the request can be sent");
    await_reader(&server);
    let stopped = server.stop();
    assert!(stopped.took < Duration::from_secs(10), "{:?}", stopped.took);
    // Any response is good, as long as the reader is not left waiting.
    let _ = connection.response("GET");
}

/// Reads `count` server-sent events: (id, data).
fn events(connection: &mut Connection, count: usize) -> Vec<(String, String)> {
    let mut text = String::new();
    loop {
        let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        let events: Vec<_> = whole.split("\n\n").filter_map(event).collect();
        if events.len() >= count {
            return events;
        }
        let piece = connection.piece().expect("a piece").expect("the stream continues");
        text.push_str(std::str::from_utf8(&piece).expect("events are text"));
    }
}

/// One event. A comment is not an event.
fn event(text: &str) -> Option<(String, String)> {
    let field = |name: &str| {
        let value = |line: &str| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            Some(value.strip_prefix(' ').unwrap_or(value).to_owned())
        };
        text.lines().filter_map(value).collect::<Vec<_>>().join("\n")
    };
    text.lines().any(|line| line.starts_with("data")).then(|| (field("id"), field("data")))
}

/// Proxies must pass the answer on at once: nginx buffers it without this.
#[track_caller]
fn forbids_buffering<'a>(header: impl Fn(&str) -> Option<&'a str>) {
    assert_eq!(header("X-Accel-Buffering"), Some("no"));
    assert_eq!(header("Cache-Control"), Some("no-cache, no-transform"));
}

fn event_stream(query: &str) -> Request {
    Request::get(&format!("/logs/a/records?{query}")).header("Accept", "text/event-stream")
}

#[test]
fn events_carry_the_next_position_and_continue_with_new_records() {
    let server = TestServer::with_log("a");
    server.append_all("a", &["zero", "one"]);
    let mut connection = server.connect();
    connection.send(&event_stream("follow=true").bytes()).expect("the request can be sent");
    let head = connection.head("GET").expect("an answer");
    assert_eq!(head.status, 200);
    let content_type = head.header("Content-Type").expect("a type");
    assert!(content_type.starts_with("text/event-stream"), "{content_type}");
    forbids_buffering(|name| head.header(name));
    let pair = |id: &str, data: &str| (id.to_owned(), data.to_owned());
    assert_eq!(events(&mut connection, 2), [pair("1", "zero"), pair("2", "one")]);
    server.append("a", "two");
    assert_eq!(events(&mut connection, 1), [pair("3", "two")]);
}

#[test]
fn events_resume_after_last_event_id() {
    let server = TestServer::with_log("a");
    server.append_all("a", &["zero", "one", "two"]);
    let request = event_stream("follow=true").header("Last-Event-ID", 2);
    let mut connection = server.open_read(&request);
    assert_eq!(events(&mut connection, 1), [("3".to_owned(), "two".to_owned())]);
    for id in ["x", "2\u{a0}"] {
        let bad = event_stream("follow=true").header("Last-Event-ID", id);
        let answer = server.ask(&bad).expect_error(400, "invalid_params");
        assert!(answer.text().contains("Last-Event-ID"), "{}", answer.shown());
    }
    let outside = event_stream("follow=true").header("Last-Event-ID", -1);
    let _ = server.ask(&outside).expect_error(416, "out_of_range");
}

#[test]
fn ids_of_events_can_be_checkpoints() {
    let server = TestServer::with_log("a");
    server.append_all("a", &["zero", "one", "two"]);
    let checkpoints = event_stream("follow=true&event_ids=checkpoint");
    let mut connection = server.open_read(&checkpoints.clone().header("Last-Event-ID", 1));
    let log_id = server.ask(&Request::get("/logs/a")).expect(200);
    let log_id = log_id.header("X-Styx-Log-Id").expect("the id of the log").to_owned();
    let pair = |next: u64, data: &str| (format!("{log_id}:{next}"), data.to_owned());
    let [one, two] = [pair(2, "one"), pair(3, "two")];
    assert_eq!(events(&mut connection, 2), [one.clone(), two.clone()]);
    let mut connection = server.open_read(&checkpoints.header("Last-Event-ID", &one.0));
    assert_eq!(events(&mut connection, 1), [two]);
    let positions = event_stream("follow=true&event_ids=position");
    let mut connection = server.open_read(&positions.header("Last-Event-ID", &one.0));
    assert_eq!(events(&mut connection, 1), [("3".to_owned(), "two".to_owned())]);

    let bad = event_stream("event_ids=uuid");
    let answer = server.ask(&bad).expect_error(400, "invalid_params");
    assert!(answer.text().contains("event_ids"), "{}", answer.shown());
    for id in [&log_id[..], &format!("{log_id}:"), &format!("{log_id}:x"), "0:1", ":1"] {
        let bad = event_stream("follow=true").header("Last-Event-ID", id);
        let _ = server.ask(&bad).expect_error(400, "invalid_params");
    }
}

/// Regression test: a browser that reconnected read the records of the new log from its old
/// position on.
#[test]
fn an_event_id_from_before_a_truncate_or_another_log_is_refused() {
    let server = TestServer::with_log("a");
    server.append_all("a", &["zero", "one", "two"]);
    let checkpoints = event_stream("follow=true&event_ids=checkpoint");
    let mut connection = server.open_read(&checkpoints);
    let last = events(&mut connection, 3).pop().expect("an event").0;
    let _ = server.ask(&Request::post("/logs/a/truncate")).expect(200);
    let resume = |id: &str| server.ask(&checkpoints.clone().header("Last-Event-ID", id));
    let _ = resume(&last).expect_error(409, "log_changed");
    // The position alone shows it only while the log ends before it.
    let answer = resume("3").expect_error(409, "log_end_regressed");
    assert!(answer.text().contains("\"end_position\": 0"), "{}", answer.shown());
    server.append_all("a", &["new 0", "new 1", "new 2", "new 3"]);
    let _ = resume(&last).expect_error(409, "log_changed");
    let mut connection = server.open_read(&checkpoints.clone().header("Last-Event-ID", 3));
    assert_eq!(events(&mut connection, 1).pop().expect("an event").1, "new 3");

    let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    server.create("a");
    server.append_all("a", &["a", "b", "c", "d"]);
    let _ = resume(&last).expect_error(409, "log_changed");
}

#[test]
fn events_carry_any_bytes_in_base64() {
    let server = TestServer::with_log("a");
    let records: [&[u8]; 4] = [b"plain", b"", b"two\nlines\r\n", b"\0\xff\xfe"];
    server.append_all("a", &records);
    let mut connection = server.open_read(&event_stream("follow=true&encoding=base64"));
    for (event, record) in events(&mut connection, 4).iter().zip(records) {
        let data = base64::engine::general_purpose::STANDARD.decode(&event.1).expect("base64");
        assert_eq!(data, record);
    }
    let mut connection = server.open_read(&event_stream("follow=true"));
    let plain = events(&mut connection, 3);
    assert_eq!(plain[0].1, "plain");
    assert_eq!(plain[1].1, "");
    assert!(plain[2].1.starts_with("two\nlines"), "{:?}", plain[2]);
    let bad = event_stream("encoding=rot13");
    let _ = server.ask(&bad).expect_error(400, "invalid_params");
}

#[test]
fn a_follower_of_expired_records_gets_out_of_range() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=5&log_max_count=5");
    for number in 0..50 {
        server.append("a", format!("{number}"));
    }
    // Its end, so that the records at the start are not deleted before they are read.
    wait::until_true("retention", Duration::from_secs(10), || {
        server.info("a")["start_position"] == 45
    });
    let answer = server.ask(&read_lines("a", "position=3&follow=true"));
    let answer = answer.expect_error(416, "out_of_range");
    let start = answer.json()["start_position"].as_u64().expect("a position");
    assert_eq!(start, 45);
    let answer = server.ask(&read_lines("a", &format!("position={start}&follow=true"))).expect(200);
    assert!(answer.text().starts_with(&format!("{start}\n")));
    assert!(api::written(&answer).is_none());
}
