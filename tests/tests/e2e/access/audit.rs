//! The audit log.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use styx_tests::tokens::{self, with};
use styx_tests::wait::until_true;
use styx_tests::{Request, Scratch, Settings, TestServer, binary, websocket};

/// Starts a server whose `STYX_LOG` has this value.
fn start(filter: &str) -> (TestServer, String, String) {
    let scratch = Arc::new(Scratch::new("server"));
    let data = scratch.join("data");
    let admin = tokens::create(&data, "admin", &["admin:*"]);
    let reader = tokens::create(&data, "reader", &["read:a"]);
    let styx = binary::styx().display();
    let script = format!("export STYX_LOG={filter} STYX_LOG_FORMAT=json\nexec {styx} \"$@\"\n");
    let script = scratch.write("styx.sh", script);
    let server = Settings::default().script(Path::new(&script)).start_in(scratch);
    (server.expect("it starts"), admin, reader)
}

fn lines(server: &TestServer) -> Vec<Value> {
    let log = server.log();
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn audit_log_says_who_did_what_to_which_log_with_which_result() {
    let (server, admin, reader) = start("audit=info");
    let ask = |request: Request, secret: &str| {
        let request = request.header("X-Request-Id", "r1");
        drop(server.ask(&with(request, secret)));
    };
    ask(Request::post("/logs").form("name=a"), &admin);
    ask(Request::post("/logs").form("name=a"), &admin);
    ask(styx_tests::api::write_one("a", "payload"), &admin);
    ask(Request::post("/logs/a/truncate"), &reader);
    ask(Request::delete("/logs/none"), &admin);
    ask(Request::new("PUT", "/logs/a/cursors/c").body("{\"position\": 0}"), &admin);
    drop(server.ask(&Request::get("/logs/a/records?access_token=styx_x")));
    let stream = with(websocket::handshake("/logs/a/records?follow=true"), &reader);
    let open = server.upgrade(&stream).expect("an upgrade");
    assert_eq!(tokens::token(&server.data(), &["revoke", "reader"]).code, 0);
    let expected = [
        ("admin", "create_log", "a", "ok", "", "r1"),
        ("admin", "create_log", "a", "log_exist", "", "r1"),
        ("reader", "truncate_log", "a", "forbidden", "", "r1"),
        ("admin", "delete_log", "none", "log_not_found", "", "r1"),
        ("admin", "set_cursor", "c", "ok", "", "r1"),
        ("anonymous", "read", "a", "unauthorized", "", ""),
        ("reader", "read", "a", "ok", "websocket", ""),
        ("reader", "end_stream", "a", "unauthorized", "", ""),
    ];
    until_true("all lines are written", std::time::Duration::from_secs(10), || {
        lines(&server).len() >= expected.len()
    });
    drop(open);
    let lines = lines(&server);
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, (principal, operation, log, result, protocol, id)) in lines.iter().zip(expected) {
        // A cursor belongs to its log.
        let log = if operation == "set_cursor" { "a" } else { log };
        let shown = [
            ("target", "audit"),
            ("principal", principal),
            ("operation", operation),
            ("log", log),
            ("result", result),
            ("protocol", protocol),
            ("request_id", id),
        ];
        for (field, value) in shown {
            assert_eq!(line[field], value, "{field} of {line}");
        }
        assert!(line["remote"].as_str().is_some_and(|r| r.starts_with("127.0.0.1:")), "{line}");
        let text = line.to_string();
        assert!(!text.contains("payload") && !text.contains("styx_"), "{text}");
    }
}

#[test]
fn audit_log_is_off_by_default() {
    let (server, admin) = tokens::start(Settings::default());
    let _ = server.ask(&with(Request::post("/logs").form("name=a"), &admin)).expect(200);
    let _ = server.ask(&Request::get("/logs")).expect_error(401, "unauthorized");
    assert!(!server.log().contains("create_log"), "{}", server.log());
}
