//! `traceparent`: the lines of the log about a request have the ids of its trace.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use styx_client::LogConfig;
use styx_client::blocking::Client;
use styx_tests::wait::until_true;
use styx_tests::{Request, Scratch, Settings, TestServer, binary, styx0, styx1, websocket};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

/// Starts a server that logs everything, as JSON.
fn start() -> TestServer {
    let scratch = Arc::new(Scratch::new("server"));
    let styx = binary::styx().display();
    let script = format!("export STYX_LOG=debug STYX_LOG_FORMAT=json\nexec {styx} \"$@\"\n");
    let script = scratch.write("styx.sh", script);
    Settings::default().script(Path::new(&script)).start_in(scratch).expect("it starts")
}

/// The lines that belong to the trace. A line of a stream has it in its span.
fn traced(server: &TestServer) -> Vec<Value> {
    let log = server.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let has = |ids: &Value| ids["trace_id"] == TRACE && ids["parent_id"] == PARENT;
    lines.filter(|line| has(line) || has(&line["span"])).collect()
}

fn await_line(server: &TestServer, what: &str, is_it: impl Fn(&Value) -> bool) {
    until_true(what, Duration::from_secs(10), || traced(server).iter().any(&is_it));
}

#[test]
fn log_lines_of_a_request_have_its_trace_and_parent() {
    let server = start();
    server.create("a");
    let trace = |request: Request| request.header("Traceparent", traceparent());
    let _ = server.ask(&trace(Request::get("/logs/none"))).expect_error(404, "log_not_found");
    let _ = server.ask(&trace(Request::delete("/logs/a"))).expect(200);
    await_line(&server, "the refused request", |line| {
        line["code"] == "log_not_found" && line["path"] == "/logs/none"
    });
    await_line(&server, "its answer", |line| {
        line["message"] == "answered" && line["status"] == 404
    });
    await_line(&server, "the audit log", |line| {
        line["target"] == "audit" && line["operation"] == "delete_log"
    });
}

/// A long poll forgets most of the head of its request while it waits.
#[test]
fn a_request_that_waits_keeps_its_trace() {
    let server = start();
    server.create("a");
    let poll =
        Request::get("/logs/a/records?whence=end&timeout=1").header("Traceparent", traceparent());
    let _ = server.ask(&poll).expect(200);
    await_line(&server, "its answer", |line| line["path"] == "/logs/a/records");
}

#[test]
fn an_invalid_traceparent_is_ignored() {
    let server = start();
    for value in [
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
        format!("ff-{TRACE}-{PARENT}-01"),
        format!("00-{TRACE}-{PARENT}-01-more"),
        format!("{}, {}", traceparent(), traceparent()),
    ] {
        let request = Request::get("/logs/none").header("Traceparent", &value);
        let _ = server.ask(&request).expect_error(404, "log_not_found");
    }
    let twice = Request::get("/logs/none")
        .header("Traceparent", traceparent())
        .header("Traceparent", traceparent());
    let _ = server.ask(&twice).expect_error(404, "log_not_found");
    let last = Request::get("/logs/none").header("Traceparent", traceparent());
    let _ = server.ask(&last).expect_error(404, "log_not_found");
    await_line(&server, "the only valid one", |line| line["message"] == "answered");
    let answered = traced(&server);
    let answered = answered.iter().filter(|line| line["message"] == "answered").count();
    assert_eq!(answered, 1);
    assert_eq!(server.log().matches("trace_id").count(), traced(&server).len(), "{}", server.log());
}

#[test]
fn streams_of_every_protocol_have_the_trace_of_their_handshake() {
    let server = start();
    server.create("a");
    let handshakes = [
        ("websocket", websocket::handshake("/logs/a/records?follow=true")),
        ("styx/0", styx0::handshake("GET", "a", "follow=true")),
        ("styx/1", styx1::consume_request("a", "follow=true")),
    ];
    for (protocol, handshake) in handshakes {
        let mut connection = server.connect();
        let handshake = handshake.header("Traceparent", traceparent());
        connection.send(&handshake.bytes()).expect("sent");
        await_line(&server, protocol, |line| {
            line["target"] == "audit" && line["protocol"] == protocol
        });
        drop(connection);
    }
    // A line of the stream itself, when it has ended.
    await_line(&server, "the end of a stream", |line| line["span"]["name"] == "stream");
}

#[test]
fn the_client_sends_its_traceparent_with_every_request_and_handshake() {
    let server = start();
    let client = Client::builder(&server.url("")).traceparent(traceparent()).connect();
    let client = client.expect("connected");
    client.create_log("a", LogConfig::default(), false).expect("created");
    let producer = client.producer("a").open().expect("open");
    producer.append(b"record").and_then(|ack| ack.position()).expect("durable");
    producer.close().expect("closed");
    let mut consumer = client.consumer("a").open().expect("open");
    let batch = consumer.next_batch().expect("a batch").expect("records");
    assert_eq!(batch.len(), 1);
    await_line(&server, "the management call", |line| {
        line["operation"] == "create_log" && line["log"] == "a"
    });
    for operation in ["append", "read"] {
        await_line(&server, operation, |line| {
            line["operation"] == operation && line["protocol"] == "styx/1"
        });
    }
    let refused = Client::builder(&server.url("")).traceparent("00-1-2-03").connect();
    let refused = refused.expect_err("it is no value of W3C Trace Context");
    assert!(refused.message().contains("traceparent"), "{refused}");
}
