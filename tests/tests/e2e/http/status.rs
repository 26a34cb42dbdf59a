//! `GET /status`.

use std::time::Duration;

use serde_json::Value;
use styx_tests::api::{read_binary, read_lines};
use styx_tests::styx0::Styx0Stream;
use styx_tests::{Request, Settings, TestServer, styx1, tokens, wait};

const LIMIT: Duration = Duration::from_secs(20);

fn status(server: &TestServer, query: &str) -> Value {
    let answer = server.ask(&Request::get(&format!("/status{query}"))).expect(200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    serde_json::from_str(answer.text()).expect("JSON")
}

fn log(server: &TestServer) -> Value {
    let status = status(server, "");
    assert_eq!(status["logs"].as_array().map(Vec::len), Some(1), "{status}");
    status["logs"][0].clone()
}

/// Waits until this many records were read. Streams are counted when they read on or end.
#[track_caller]
fn read_is(server: &TestServer, records: u64) {
    let mut last = Value::Null;
    let is_there = || {
        last = log(server)["records_read"].clone();
        last == records
    };
    let what = format!("{records} records were read");
    wait::until_true(&what, LIMIT, is_there);
}

#[test]
fn status_describes_the_server_and_its_logs() {
    let server = TestServer::with_log("a");
    server.append_all("a", &["12345", "67"]);
    let status = status(&server, "");
    for (pointer, expected) in [
        ("/logs/0/name", Value::from("a")),
        ("/logs/0/status", "ok".into()),
        ("/logs/0/record_count", 2.into()),
        ("/logs/0/file_size", 23.into()),
        ("/logs/0/end_position", 2.into()),
        ("/logs/0/records_appended", 2.into()),
        ("/logs/0/segments", 1.into()),
        ("/logs/0/cursors", 0.into()),
        ("/warnings", Value::Array(Vec::new())),
        ("/streams/styx~11", 0.into()),
        ("/disk/is_reserve_reached", false.into()),
    ] {
        assert_eq!(status.pointer(pointer), Some(&expected), "{pointer}: {status}");
    }
    assert!(status["uptime_us"].as_u64() > Some(0) && status["disk"]["free_bytes"].is_u64());
    assert_eq!(status["details"], Value::Null);
}

#[test]
fn records_count_as_read_once_over_every_protocol() {
    let server = TestServer::with_log("a");
    server.append_all("a", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let _ = server.ask(&Request::get("/logs/a/records?position=3")).expect(200);
    read_is(&server, 1);
    assert_eq!(log(&server)["bytes_read"], 9);
    let _ = server.ask(&read_binary("a", "")).expect(200);
    read_is(&server, 11);
    // A part of a batch.
    let _ = server.ask(&read_lines("a", "count=4")).expect(200);
    read_is(&server, 15);
    let _ = server.ask(&read_lines("a", "count=2&follow=true")).expect(200);
    read_is(&server, 17);
    let events = Request::get("/logs/a/records?count=5").header("Accept", "text/event-stream");
    let _ = server.ask(&events).expect(200);
    read_is(&server, 22);
    let mut socket = server.websocket_read("a", "count=3");
    for _ in 0..3 {
        let _ = socket.record();
    }
    let _ = socket.expect_close(1000);
    read_is(&server, 25);
    drop(Styx0Stream::consume(&server, "a", "count=1"));
    read_is(&server, 26);
    let mut stream = styx1::consume(&server, "a", "");
    assert_eq!(stream.records(0, 10).len(), 10);
    read_is(&server, 36);
}

#[test]
fn followers_are_listed_from_their_start_to_their_end() {
    let server = TestServer::with_log("a");
    server.append_all("a", &["0", "1", "2"]);
    let socket = server.websocket_read("a", "whence=end&follow=true");
    let mut stream = styx1::consume(&server, "a", "follow=true");
    assert_eq!(stream.records(0, 3).len(), 3);
    wait::until_true("both are at the end", LIMIT, || {
        let log = log(&server);
        log["followers"] == 2 && log["follower_lag"] == 0
    });
    let details = status(&server, "?log=a")["details"].clone();
    let followers = details["followers"].as_array().expect("a list");
    let mut protocols: Vec<_> = followers.iter().filter_map(|f| f["protocol"].as_str()).collect();
    protocols.sort_unstable();
    assert_eq!(protocols, ["styx/1", "websocket"], "{details}");
    for follower in followers {
        assert_eq!((&follower["position"], &follower["lag"]), (&3.into(), &0.into()), "{details}");
        assert!(follower["peer"].is_string(), "{details}");
    }
    drop((socket, stream));
    wait::until_true("no follower is left", LIMIT, || log(&server)["followers"] == 0);
    // A read that ends is none.
    let _ = server.websocket_read("a", "").close();
    assert_eq!(log(&server)["followers"], 0);
}

#[test]
fn status_of_one_log_has_its_configuration_segments_and_cursors() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=2");
    server.create("b");
    for number in 0..5 {
        server.append("a", format!("{number}"));
    }
    let _ = server.cli(&["cursors", "set", "a", "c", "-P", "1"], b"").expect_ok();
    let status = status(&server, "?log=a");
    assert_eq!(status["logs"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&status["logs"][0]["cursors"], &status["logs"][0]["cursor_lag"]),
        (&1.into(), &4.into())
    );
    let details = &status["details"];
    assert_eq!(details["config"]["segment_max_count"], 2);
    assert_eq!(details["log_id"].as_str(), Some(server.log_id("a").as_str()));
    let segments = details["segments"].as_array().expect("a list");
    let bounds: Vec<_> = segments
        .iter()
        .map(|s| {
            (s["start_position"].as_u64(), s["end_position"].as_u64(), s["is_finished"].as_bool())
        })
        .collect();
    let expected = [(0, 2, true), (2, 4, true), (4, 5, false)];
    let expected = expected.map(|(start, end, done)| (Some(start), Some(end), Some(done)));
    assert_eq!(bounds, expected, "{details}");
    assert_eq!(
        (&details["cursors"][0]["cursor"], &details["cursors"][0]["lag"]),
        (&"c".into(), &4.into())
    );
    let _ = server.ask(&Request::get("/status?log=c")).expect_error(404, "log_not_found");
    let _ = server.ask(&Request::get("/status?log=..")).expect_error(404, "log_not_found");
    let _ = server.ask(&Request::post("/status")).expect_error(405, "method_not_allowed");
}

#[test]
fn cursor_of_a_truncated_log_has_no_lag() {
    let server = TestServer::with_log("a");
    server.append_all("a", &["0", "1"]);
    let _ = server.cli(&["cursors", "set", "a", "c", "-P", "0"], b"").expect_ok();
    let _ = server.ask(&Request::post("/logs/a/truncate")).expect(200);
    server.append("a", "2");
    let status = status(&server, "?log=a");
    assert_eq!(
        (&status["logs"][0]["cursors"], &status["logs"][0]["cursor_lag"]),
        (&1.into(), &0.into())
    );
    assert_eq!(status["details"]["cursors"][0]["lag"], Value::Null);
}

#[test]
fn status_shows_what_a_token_may_observe_and_names_the_missing_grant() {
    let (server, admin) = tokens::start(Settings::default());
    for log in ["mine", "other"] {
        let create = Request::post("/logs").form(&format!("name={log}"));
        let _ = server.ask(&tokens::with(create, &admin)).expect(200);
    }
    let secret = tokens::create(&server.data(), "watcher", &["observe:mine"]);
    tokens::await_status(&server, &secret, 200);
    let ask =
        |query: &str| server.ask(&tokens::with(Request::get(&format!("/status{query}")), &secret));
    let all: Value = serde_json::from_str(ask("").expect(200).text()).expect("JSON");
    let names: Vec<_> =
        all["logs"].as_array().expect("a list").iter().map(|log| &log["name"]).collect();
    assert_eq!(names, ["mine"]);
    let _ = ask("?log=mine").expect(200);
    for hidden in ["other", "missing"] {
        let refused = ask(&format!("?log={hidden}")).expect_error(403, "forbidden");
        assert!(refused.text().contains(&format!("observe:{hidden}")), "{}", refused.shown());
    }
}

#[test]
fn warnings_say_what_an_operator_should_look_at() {
    let mut server = TestServer::with_log("damaged");
    server.append("damaged", "a record that is to be found again");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    let segment = server.data().join("damaged/0/00000000000000000000.seg");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&segment, bytes).expect("it can be written");
    server.restart();
    wait::until_true("the log is known to be damaged", LIMIT, || {
        let status = status(&server, "");
        status["warnings"].as_array().is_some_and(|w| w.iter().any(|w| w["code"] == "logs_not_ok"))
    });
}
