//! The upgrade of a request to a stream of styx/1, and the errors when it fails.

use styx_protocol::frame::Route;
use styx_tests::styx1::{consume, consume_request, open, produce, produce_request};
use styx_tests::{Request, Settings, Table, TestServer, error, gives};

#[test]
fn a_producers_101_announces_its_limits() {
    let server = Settings::default().set("tcp_timeout = 7").start();
    server.create("a");
    server.append_all("a", &["one", "two"]);
    let producer = produce(&server, "a", "");
    let (head, id) = (&producer.head, server.log_id("a"));
    let expected = gives(101)
        .with("Connection", "Upgrade")
        .with("Upgrade", "styx/1")
        .with("X-Styx-Timeout", 7)
        .with("X-Styx-Log-Id", id)
        .with("X-Styx-Start-Position", 0)
        .with("X-Styx-End-Position", 2)
        .with("X-Styx-Max-Block-Size", 1 << 20)
        .with("X-Styx-Max-In-Flight-Blocks", 128)
        .without("X-Styx-Epoch")
        .without("X-Styx-Next-Sequence")
        .without("X-Styx-Position")
        .without("X-Styx-Features");
    let answer = styx_tests::Response {
        head: head.clone(),
        body: Vec::new(),
        ending: styx_tests::http::Ending::Whole,
        interim: Vec::new(),
    };
    assert_eq!(expected.faults(&answer), [""; 0]);
}

#[test]
fn a_consumers_101_announces_where_its_read_starts() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=2");
    server.append_all("a", &["0", "1"]);
    server.append_all("a", &["2", "3"]);
    server.append_all("a", &["4"]);
    let trim = server.ask(&Request::post("/logs/a/trim?position=2"));
    let _ = trim.expect(200);
    for (query, position) in [
        ("whence=start", 2),
        ("position=3", 3),
        ("whence=end", 5),
        ("whence=end&position=-1", 4),
        ("whence=start&position=1&follow=true", 3),
        ("whence=time&position=0", 2),
    ] {
        let consumer = consume(&server, "a", query);
        let numbers = ["X-Styx-Position", "X-Styx-Start-Position", "X-Styx-End-Position"];
        let found = numbers.map(|name| consumer.head.number(name));
        assert_eq!(found, [position, 2, 5], "{query}");
        assert_eq!(consumer.head.header("X-Styx-Max-Block-Size"), None);
    }
}

#[test]
fn known_features_are_granted() {
    let server = TestServer::start();
    server.create("a");
    for (asked, granted) in [
        ("lz4", Some("lz4")),
        ("ZSTD , tail-first, lz4", Some("lz4, zstd")),
        ("tail-first", None),
        ("", None),
    ] {
        for (request, route) in [
            (consume_request("a", ""), Route::ServerToConsumer),
            (produce_request("a", ""), Route::ServerToProducer),
        ] {
            let request = request.header("X-Styx-Features", asked);
            let stream = open(&server, &request, route);
            assert_eq!(stream.head.header("X-Styx-Features"), granted, "{asked:?}");
        }
    }
}

#[test]
fn the_protocol_name_is_accepted_in_any_letter_case() {
    let server = TestServer::start();
    server.create("a");
    let request = Request::new("GET", "/logs/a/records")
        .header("connection", "keep-alive, UPGRADE")
        .header("upgrade", "StYx/1");
    let mut consumer = open(&server, &request, Route::ServerToConsumer);
    consumer.ends();
}

#[test]
fn an_invalid_handshake_gets_an_http_error() {
    let server = TestServer::start();
    server.create("a");
    server.append("a", "one");
    let mut table = Table::of(&server);
    let produce = |query: &str| produce_request("a", query);
    let unknown = Request::new("POST", "/logs/a/records")
        .header("Connection", "Upgrade")
        .header("Upgrade", "styx/2");
    let upgrade = error(426, "invalid_params").says("styx/1").with("Connection", "Upgrade");
    table.row("another version", &unknown, &upgrade.with("Upgrade", "*"));
    for (query, says) in [
        ("producer=0", "producer"),
        ("producer=x", "producer"),
        ("producer=-1", "producer"),
        ("producer=18446744073709551616", "producer"),
        ("epoch=1", "producer"),
        ("producer=1&epoch=4294967296", "epoch"),
        ("producer=1&epoch=x", "epoch"),
    ] {
        table.row(query, &produce(query), &error(400, "invalid_params").says(says));
    }
    for seconds in ["1", "0", "-1", "x"] {
        let request = produce("").header("X-Styx-Timeout", seconds);
        let expected = error(400, "invalid_params").says("X-Styx-Timeout");
        table.row(seconds, &request, &expected);
    }
    table.row("no such log", &produce_request("b", ""), &error(404, "log_not_found"));
    table.row("no such log", &consume_request("b", ""), &error(404, "log_not_found"));
    let other =
        consume_request("a", "").header("X-Styx-Log-Id", "0123456789abcdef0123456789abcdef");
    table.row("another log", &other, &error(409, "log_changed"));
    let regressed = consume_request("a", "").header("X-Styx-Known-End", 2);
    let expected = error(409, "log_end_regressed").field("end_position", 1);
    table.row("more than there is", &regressed, &expected);
    let outside = error(416, "out_of_range").field("start_position", 0).field("end_position", 1);
    table.row("outside", &consume_request("a", "position=2"), &outside);
    table.row("whence", &consume_request("a", "whence=x"), &error(400, "invalid_params"));
    let body = produce("").body("x");
    table.row("a body", &body, &error(400, "invalid_params"));
    table.check();
}
