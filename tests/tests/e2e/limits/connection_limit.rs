//! More connections than `max_connections`, or than the limit of open files: idle ones
//! are closed, busy ones continue, and health and metrics are always served.

use std::sync::Arc;
use std::time::Duration;

use styx_tests::api::write_one;
use styx_tests::{Connection, Request, Scratch, Settings, TestServer, binary, wait};

const PATIENCE: Duration = Duration::from_secs(15);

fn with_four_connections() -> TestServer {
    let server = Settings::default().set("max_connections = 4").start();
    server.create("a");
    server
}

/// A connection whose request has begun and does not end.
fn busy(server: &TestServer) -> Connection {
    let mut connection = server.connect();
    let bytes = write_one("a", "hello").bytes();
    connection.send(&bytes[..bytes.len() - 2]).expect("a part can be sent");
    connection
}

/// As many busy connections as the server accepts.
fn all_busy(server: &TestServer) -> Vec<Connection> {
    let connections = (0..4).map(|_| busy(server)).collect();
    wait::until_true("four connections", PATIENCE, || server.count("styx_connections") == 4);
    connections
}

#[track_caller]
fn is_served(connection: &mut Connection) -> bool {
    connection.exchange(&Request::get("/logs/a")).is_ok_and(|answer| answer.status() == 200)
}

/// The lines of the server's log about refused connections.
fn refusal_lines(server: &TestServer) -> usize {
    server.log().matches("connections were refused").count()
}

#[test]
fn health_and_metrics_are_served_while_every_connection_is_busy() {
    let server = with_four_connections();
    let busy = all_busy(&server);
    for path in ["/health/live", "/health//ready", "/metrics"] {
        let answer = server.ask(&Request::get(path)).expect(200);
        assert_eq!(answer.header("Connection"), Some("close"), "{path}");
    }
    for request in [Request::get("/logs"), write_one("a", vec![b'x'; 1 << 20])] {
        let answer = server.ask(&request).expect_error(503, "overloaded");
        assert_eq!(answer.header("Connection"), Some("close"));
        assert_eq!(answer.header("Retry-After"), Some("1"));
        assert!(answer.header("X-Request-Id").is_some(), "{}", answer.shown());
    }
    assert_eq!(server.count("styx_connections"), 4);
    assert_eq!(server.count("styx_connections_max"), 4);
    wait::until_true("a line about them", PATIENCE, || refusal_lines(&server) > 0);
    assert_eq!(refusal_lines(&server), 1, "{}", server.log());
    for mut connection in busy {
        connection.send(b"lo").expect("the rest can be sent");
        let _ = connection.response("POST").expect("an answer").expect(200);
    }
    assert!(is_served(&mut server.connect()), "there is room again");
}

#[test]
fn the_connection_that_is_idle_the_longest_makes_room() {
    let server = with_four_connections();
    let mut connections: Vec<Connection> = Vec::new();
    for _ in 0..4 {
        let mut connection = server.connect();
        assert!(is_served(&mut connection));
        connections.push(connection);
    }
    // The first one is not the oldest any more.
    assert!(is_served(&mut connections[0]));
    let mut newcomer = server.connect();
    assert!(is_served(&mut newcomer), "an idle connection makes room");
    let mut oldest = connections.remove(1);
    assert_eq!(oldest.until_close().expect("it was closed"), b"");
    for connection in &mut connections {
        assert!(is_served(connection), "only one is closed");
    }
    assert!(is_served(&mut newcomer), "it has a place now");
    assert!(server.count("styx_connections_closed_idle_total") >= 1);
}

#[test]
fn connections_that_send_nothing_keep_nobody_out() {
    let server = with_four_connections();
    let mut silent: Vec<Connection> = (0..300).map(|_| server.connect()).collect();
    let _ = server.ask(&Request::get("/health/live")).expect(200);
    wait::until_true("a silent connection makes room", PATIENCE, || {
        let mut connection = server.connect();
        is_served(&mut connection)
    });
    let refused = silent.pop().expect("one").until_close().expect("the answer and the end");
    let refused = String::from_utf8_lossy(&refused);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
    assert!(refused.contains("\"code\": \"overloaded\""), "{refused}");
    assert_eq!(refusal_lines(&server), 1, "{}", server.log());
}

/// Starts a server that may open so many files.
pub(super) fn with_open_files(count: usize) -> TestServer {
    let scratch = Arc::new(Scratch::new("open-files"));
    let styx = binary::styx().display().to_string();
    let script = scratch.write("few-files", format!("ulimit -n {count}\nexec {styx:?} \"$@\"\n"));
    let started = Settings::default().script(&script).start_in(scratch);
    started.unwrap_or_else(|refusal| panic!("{refusal}"))
}

#[test]
fn connections_leave_descriptors_for_logs_and_health() {
    let server = with_open_files(128);
    assert_eq!(server.count("styx_connections_max"), 48);
    server.expect_log("too few open files for max_connections");
    server.create("a");
    let busy: Vec<Connection> = (0..48).map(|_| busy(&server)).collect();
    wait::until_true("48 connections", PATIENCE, || server.count("styx_connections") == 48);
    let _silent: Vec<Connection> = (0..200).map(|_| server.connect()).collect();
    let _ = server.ask(&Request::get("/health/live")).expect(200);
    let _ = server.ask(&Request::get("/logs")).expect_error(503, "overloaded");
    drop(busy);
    wait::until_true("room again", PATIENCE, || is_served(&mut server.connect()));
    server.create("b");
    server.append("b", "x");
    assert!(!server.log().contains("cannot accept connections"), "{}", server.log());
}
