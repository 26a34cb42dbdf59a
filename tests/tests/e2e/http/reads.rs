//! Reading over HTTP without `follow`: start positions, responses, and rejected
//! parameters.

use styx_tests::api::{BINARY, LINES, binary, read_binary, read_lines};
use styx_tests::{Request, Table, TestServer, error, gives};

/// A log with the records 0 … 9, of which 0 … 3 were trimmed.
fn server() -> TestServer {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=4");
    for position in 0..10 {
        server.append("a", format!("r{position}"));
    }
    let _ = server.ask(&Request::post("/logs/a/trim?position=4")).expect(200);
    assert_eq!(server.info("a")["start_position"], 4);
    server
}

fn one(query: &str) -> Request {
    Request::get(&format!("/logs/a/records?{query}"))
}

#[test]
fn a_read_of_one_record_returns_its_body_and_position_headers() {
    let server = server();
    let mut table = Table::of(&server);
    let record = |body: &str, next: u64| {
        gives(200)
            .with("Content-Type", "application/octet-stream")
            .with("X-Content-Type-Options", "nosniff")
            .with("Content-Length", body.len())
            .with("X-Styx-Start-Position", 4)
            .with("X-Styx-End-Position", 10)
            .with("X-Styx-Next-Position", next)
            .body(body)
    };
    table.row("no Accept", &one("position=5"), &record("r5", 6));
    for accept in ["*/*", "application/json", "text/html,application/xml;q=0.9,*/*;q=0.8", "x"] {
        let request = one("position=5").header("Accept", accept);
        table.row(accept, &request, &record("r5", 6));
    }
    table.row(
        "count and follow are not for it",
        &one("position=5&count=abc&follow=maybe"),
        &record("r5", 6),
    );
    table.row(
        "X-Styx-Timeout neither",
        &one("position=5").header("X-Styx-Timeout", "x"),
        &record("r5", 6),
    );
    table.row("the last", &one("whence=end&position=-1"), &record("r9", 10));
    let end = gives(200).with("Content-Length", 0).with("X-Styx-Next-Position", 10).body("");
    table.row("at the end", &one("whence=end"), &end);
    table.row("at the end, counted", &one("position=10"), &end);
    table.row("a missing log", &Request::get("/logs/nope/records"), &error(404, "log_not_found"));
    table.check();
}

#[test]
fn an_empty_record_differs_from_the_end_of_the_log() {
    let server = TestServer::start();
    server.create("a");
    server.append_all("a", &["", "x"]);
    let mut table = Table::of(&server);
    let record = gives(200).with("Content-Length", 0).with("X-Styx-Next-Position", 1).body("");
    table.row("a record of 0 bytes", &one("position=0"), &record);
    let end = gives(200).with("Content-Length", 0).with("X-Styx-Next-Position", 2).body("");
    table.row("the end", &one("position=2"), &end);
    table.check();
}

#[test]
fn a_read_starts_at_whence_and_position() {
    let server = server();
    let mut table = Table::of(&server);
    let lines = |from: u64, to: u64| {
        let body: String = (from..to).map(|n| format!("r{n}\n")).collect();
        gives(200)
            .with("Content-Type", format!("{LINES}; line-ending=lf"))
            .with("X-Styx-Start-Position", 4)
            .with("X-Styx-End-Position", 10)
            .with("X-Styx-Next-Position", to)
            .body(body)
    };
    for (query, from, to) in [
        ("position=4", 4, 10),
        ("whence=origin&position=7", 7, 10),
        ("whence=start", 4, 10),
        ("whence=start&position=3", 7, 10),
        ("whence=current&position=1", 5, 10),
        ("whence=end", 10, 10),
        ("whence=end&position=-6", 4, 10),
        ("whence=end&position=-1", 9, 10),
        ("position=5&count=2", 5, 7),
        ("position=5&count=-1", 5, 10),
        ("position=5&count=-7", 5, 10),
        ("position=5&count=99", 5, 10),
        ("position=5&count=0", 5, 5),
        ("POSITION=5&Count=1", 5, 6),
        ("position=5&count=", 5, 10),
        ("whence=&position=5", 5, 10),
        ("position=9&position=5&count=3&count=1", 5, 6),
        ("position=5&unknown=1&count=1", 5, 6),
        ("p%6fsition=%35&count=1", 5, 6),
        ("whence=end&position=-2&count=1", 8, 9),
    ] {
        table.row(query, &read_lines("a", query), &lines(from, to));
    }
    for follow in ["0", "f", "F", "false", "False", "FALSE", ""] {
        let query = format!("position=9&follow={follow}");
        table.row(&query, &read_lines("a", &query), &lines(9, 10));
    }
    for follow in ["1", "t", "T", "true", "True", "TRUE"] {
        let query = format!("position=9&follow={follow}");
        table.row(&query, &read_lines("a", &query), &gives(200).body("r9\n"));
    }
    table.check();
}

#[test]
fn a_position_outside_the_log_is_out_of_range() {
    let server = server();
    let mut table = Table::of(&server);
    let outside = error(416, "out_of_range").field("start_position", 4).field("end_position", 10);
    for query in [
        "position=0",
        "position=3",
        "position=11",
        "position=-1",
        "whence=start&position=-1",
        "whence=start&position=7",
        "whence=end&position=1",
        "whence=end&position=-7",
        "whence=end&position=-11",
        "position=9223372036854775807",
        "position=-9223372036854775808",
        "",
    ] {
        table.row(&format!("one, {query}"), &one(query), &outside);
        table.row(&format!("lines, {query}"), &read_lines("a", query), &outside);
        table.row(&format!("binary, {query}"), &read_binary("a", query), &outside);
    }
    table.check();
}

#[test]
fn an_unparsable_parameter_is_rejected_by_name() {
    let server = server();
    let mut table = Table::of(&server);
    for (query, name, value) in [
        ("whence=sideways", "whence", "sideways"),
        ("whence=Origin%20", "whence", "Origin"),
        ("position=x", "position", "x"),
        ("position=1.5", "position", "1.5"),
        ("position=0x5", "position", "0x5"),
        ("position=99999999999999999999", "position", "99999999999999999999"),
        ("position=5&count=abc", "count", "abc"),
        ("position=5&follow=maybe", "follow", "maybe"),
        ("position=5&follow=tRUE", "follow", "tRUE"),
        ("whence=time&position=yesterday", "position", "yesterday"),
    ] {
        let bad = error(400, "invalid_params").says(name).says(value);
        table.row(query, &read_lines("a", query), &bad);
    }
    let bad = error(400, "invalid_params").says("line-ending");
    let accept = format!("{LINES};line-ending=zz");
    table.row(&accept, &one("position=5").header("Accept", &accept), &bad);
    let waiting = read_lines("a", "position=5&follow=1").header("X-Styx-Timeout", "soon");
    table.row("X-Styx-Timeout", &waiting, &error(400, "invalid_params").says("soon"));
    let ignored = read_lines("a", "position=9").header("X-Styx-Timeout", "soon");
    table.row("X-Styx-Timeout without follow", &ignored, &gives(200).body("r9\n"));
    table.check();
}

#[test]
fn records_are_encoded_as_accept_asks() {
    let server = TestServer::start();
    server.create("a");
    let records: [&[u8]; 4] = [b"one", b"", b"\0\xff", b"four"];
    server.append_all("a", &records);
    let mut table = Table::of(&server);
    for (accept, content_type, body) in [
        (BINARY.to_owned(), BINARY.to_owned(), binary(&records)),
        (
            LINES.to_owned(),
            format!("{LINES}; line-ending=lf"),
            records.map(|r| [r, b"\n"].concat()).concat(),
        ),
        (
            format!("{LINES};line-ending=cr"),
            format!("{LINES}; line-ending=cr"),
            records.map(|r| [r, b"\r"].concat()).concat(),
        ),
        (
            format!("{LINES}; Line-Ending=crlf"),
            format!("{LINES}; line-ending=crlf"),
            records.map(|r| [r, b"\r\n"].concat()).concat(),
        ),
        (BINARY.to_ascii_uppercase(), BINARY.to_owned(), binary(&records)),
    ] {
        let expected = gives(200).with("Content-Type", content_type).body(body);
        table.row(&accept, &one("").header("Accept", &accept), &expected);
    }
    table.check();
}

#[test]
fn a_finite_read_ends_where_the_log_ended_when_it_started() {
    let server = TestServer::start();
    server.create("a");
    for _ in 0..8 {
        server.append_all("a", &vec![vec![b'x'; 1000]; 1000]);
    }
    let mut connection = server.open_read(&read_binary("a", ""));
    let first = connection.piece().expect("a piece").expect("a piece").len();
    server.append_all("a", &["late"]);
    let (rest, _) = connection.body().expect("the rest");
    assert_eq!(first + rest.len(), 8000 * 1004);
}

#[test]
fn a_read_can_start_at_a_time() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=3");
    let mut times = Vec::new();
    for position in 0..10 {
        server.append("a", format!("r{position}"));
        let details = server.ask(&Request::get("/logs/a?details=true")).expect(200).json();
        times.push(details["timestamp_last"].as_u64().expect("a time"));
    }
    assert!(times.is_sorted(), "{times:?}");
    for (position, time) in times.iter().enumerate() {
        let first = times.iter().position(|t| t >= time).expect("itself");
        assert_eq!(first, position, "two appends within one µs: {times:?}");
        let answer = server.ask(&one(&format!("whence=time&position={time}"))).expect(200);
        assert_eq!(answer.text(), format!("r{position}"));
        let answer = server.ask(&one(&format!("whence=time&position={}", time + 1))).expect(200);
        let next = position + 1;
        assert_eq!(answer.text(), if next < 10 { format!("r{next}") } else { String::new() });
    }
    let mut table = Table::of(&server);
    table.row("long ago", &one("whence=time&position=1"), &gives(200).body("r0"));
    table.row("1970", &one("whence=time&position=1970-01-01T00:00:00Z"), &gives(200).body("r0"));
    let far = one("whence=time&position=2999-01-01T00:00:00.5%2B02:00");
    table.row("2999", &far, &gives(200).with("X-Styx-Next-Position", 10).body(""));
    let rfc3339 = rfc3339(times[4]);
    let lines = read_lines("a", &format!("whence=time&position={rfc3339}&count=1"));
    table.row(&rfc3339, &lines, &gives(200).body("r4\n"));
    table.check();
}

/// µs since the epoch, as `date` writes them.
fn rfc3339(us: u64) -> String {
    let mut date = std::process::Command::new("date");
    date.args(["-u", "-d", &format!("@{}", us / 1_000_000), "+%Y-%m-%dT%H:%M:%S"]);
    let output = date.output().expect("date can be run");
    let text = String::from_utf8(output.stdout).expect("text");
    format!("{}.{:06}Z", text.trim_end(), us % 1_000_000)
}
