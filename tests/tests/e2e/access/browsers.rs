//! The ways in which a browser sends its token.

use styx_tests::tokens::{self, with};
use styx_tests::{Connection, Request, Settings, TestServer, websocket};

fn start() -> (TestServer, String) {
    let (server, admin) = tokens::start(Settings::default());
    let _ = server.ask(&with(Request::post("/logs").form("name=a"), &admin)).expect(200);
    (server, admin)
}

/// The head of the answer; the connection is returned to keep it open.
fn head(server: &TestServer, request: &Request) -> (Connection, styx_tests::http::Head) {
    let mut connection = server.connect();
    connection.send(&request.bytes()).expect("it can be sent");
    let head = connection.head(request.method()).expect("an answer");
    (connection, head)
}

#[test]
fn query_parameter_is_accepted_from_event_source_and_websocket_only() {
    let (server, admin) = start();
    let target = format!("/logs/a/records?follow=true&access_token={admin}");
    let events = Request::get(&target).header("Accept", "text/event-stream");
    let (_open, events) = head(&server, &events);
    assert!(events.status_line.contains("200"), "{}", events.status_line);
    for target in [target.clone(), target.replace("access_token", "ACCESS%5Ftoken")] {
        let (_open, answer) = head(&server, &websocket::handshake(&target));
        assert!(answer.status_line.contains("101"), "{}", answer.status_line);
    }
    for request in [
        Request::get(&target).header("Accept", "application/vnd.styx.binary-records"),
        Request::get(&target),
        Request::post(&target).body("x").header("Accept", "text/event-stream"),
        styx_tests::styx1::consume_request("a", &format!("access_token={admin}")),
        styx_tests::styx0::handshake("GET", "a", &format!("access_token={admin}")),
        Request::get(&format!("/logs?access_token={admin}")).header("Accept", "text/event-stream"),
    ] {
        let refused = server.ask(&request).expect_error(401, "unauthorized");
        assert!(refused.text().contains("access_token is only accepted"), "{}", refused.text());
        assert!(!refused.text().contains(&admin));
    }
}

#[test]
fn subprotocol_with_a_token_selects_styx_if_it_was_offered() {
    let (server, admin) = start();
    let offer = |protocols: &str| {
        let request = websocket::handshake("/logs/a/records?follow=true");
        head(&server, &request.header("Sec-WebSocket-Protocol", protocols))
    };
    let (_open, answer) = offer(&format!("styx, bearer.{admin}"));
    assert!(answer.status_line.contains("101"), "{}", answer.status_line);
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("styx"));
    let (_open, answer) = offer(&format!("bearer.{admin}"));
    assert!(answer.status_line.contains("101"), "{}", answer.status_line);
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), None);
    for protocols in ["styx", "styx, bearer.styx_x", "styx, bearer."] {
        let (_open, answer) = offer(protocols);
        assert!(answer.status_line.contains("401"), "{protocols}: {}", answer.status_line);
    }
    // The token is for this purpose only.
    let request = Request::get("/logs").header("Sec-WebSocket-Protocol", format!("bearer.{admin}"));
    let _ = server.ask(&request).expect_error(401, "unauthorized");
}

#[test]
fn preflight_needs_no_token_and_refusals_have_cors_headers() {
    let (server, _) = start();
    let preflight = Request::new("OPTIONS", "/logs/a/records")
        .header("Origin", "http://example.com")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization");
    let answer = server.ask(&preflight).expect(204);
    assert_eq!(answer.header("Access-Control-Allow-Headers"), Some("authorization"));
    assert_eq!(answer.header("Access-Control-Allow-Methods"), Some("GET, POST"));
    let request = Request::get("/logs/a/records").header("Origin", "http://example.com");
    let refused = server.ask(&request).expect_error(401, "unauthorized");
    assert_eq!(refused.header("Access-Control-Allow-Origin"), Some("*"));
}
