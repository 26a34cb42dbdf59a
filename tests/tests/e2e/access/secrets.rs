//! No secret is ever written to the server's log.

use std::sync::Arc;

use styx_tests::tokens::{self, with};
use styx_tests::{Request, Scratch, Settings, styx0, styx1, websocket};

#[test]
fn secrets_never_appear_in_the_log() {
    let scratch = Arc::new(Scratch::new("server"));
    let data = scratch.join("data");
    let admin = tokens::create(&data, "admin", &["admin:*"]);
    let reader = tokens::create(&data, "reader", &["read:b"]);
    // With --log-level, the audit log is off.
    let settings = Settings::default().argument("--log-level").argument("trace");
    let server = settings.start_in(scratch).expect("it starts");
    let _ = server.ask(&with(Request::post("/logs").form("name=a"), &admin)).expect(200);
    let wrong = format!("{}A", &admin[..admin.len() - 1]);
    for secret in [&admin, &reader, &wrong] {
        let query = format!("access_token={secret}&position=x&mode=sideways");
        let target = format!("/logs/a/records?{query}");
        let protocols = format!("styx, bearer.{secret}");
        for request in [
            Request::get(&target),
            Request::get(&target).header("Accept", "text/event-stream"),
            Request::new("BREW", &target),
            Request::get(&format!("/nowhere?{query}")),
            Request::get(&format!("/health/ready?{query}")),
            websocket::handshake(&target),
            websocket::handshake("/logs/a/records?position=x")
                .header("Sec-WebSocket-Protocol", &protocols),
            styx1::consume_request("a", &query),
            styx0::handshake("GET", "a", &query),
            with(Request::get("/logs/a/records?position=x"), secret),
            with(Request::post("/logs").form("name=a"), secret),
        ] {
            let answer = server.ask(&request);
            assert!(!answer.text().contains(secret.as_str()), "{}", answer.text());
        }
    }
    let log = server.log();
    assert!(log.contains("TRACE") && log.contains("request refused"), "{log}");
    for secret in [&admin, &reader, &wrong] {
        assert!(!log.contains(&secret[5..40]), "a secret is in the log");
    }
}
