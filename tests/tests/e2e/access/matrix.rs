//! Every principal on every method of every path, and on every upgrade. The paths come from the
//! server's OpenAPI document, which has the rows of its route table.

use serde_json::Value;
use styx_tests::tokens::{self, with};
use styx_tests::{Request, Settings, TestServer, styx0, styx1, websocket};

/// The grant that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    AnyToken,
    /// Any grant on the log.
    Sight,
    /// This grant on the log.
    Grant(&'static str),
    /// This grant on some log.
    Somewhere(&'static str),
    /// A grant on a log on which no principal has one.
    Foreign,
    /// `manage`, or `read` if the principal has the cursor's name.
    Cursor,
}

/// The contract of docs/operating.md, written a second time.
fn needs(method: &str, path: &str) -> Needs {
    match (method, path) {
        (_, "/health/live" | "/health/ready" | "/version") => Needs::Nothing,
        ("get", "/logs") | (_, "/openapi.json") => Needs::AnyToken,
        (_, "/metrics" | "/status") => Needs::Somewhere("observe"),
        // The log with this name.
        ("get" | "delete", "/logs/restore") => Needs::Foreign,
        ("post", "/logs" | "/logs/restore") => Needs::Grant("manage"),
        ("get", "/logs/{name}" | "/logs/{name}/cursors" | "/logs/{name}/cursors/{cursor}") => {
            Needs::Sight
        }
        ("put" | "delete", "/logs/{name}/cursors/{cursor}") => Needs::Cursor,
        ("delete", "/logs/{name}") => Needs::Grant("manage"),
        ("get", "/logs/{name}/records") => Needs::Grant("read"),
        ("post", "/logs/{name}/records") => Needs::Grant("append"),
        (_, "/logs/{name}/backup" | "/logs/{name}/adopt" | "/logs/{name}/truncate")
        | (_, "/logs/{name}/trim") => Needs::Grant("manage"),
        _ => panic!(
            "{method} {path} is a new route: say here and in docs/operating.md what it needs"
        ),
    }
}

/// A token with one grant.
struct Principal {
    name: String,
    action: &'static str,
    log: &'static str,
    secret: String,
}

impl Principal {
    fn may(&self, needs: Needs) -> bool {
        let covers = |log: &str| match self.log.strip_suffix('*') {
            Some(prefix) => log.starts_with(prefix),
            None => log == self.log,
        };
        let has = |action: &str| self.action == action || self.action == "admin";
        match needs {
            Needs::Nothing | Needs::AnyToken => true,
            Needs::Sight => covers("orders"),
            Needs::Foreign => false,
            Needs::Grant(action) => has(action) && covers("orders"),
            Needs::Somewhere(action) => has(action),
            Needs::Cursor => {
                covers("orders") && (has("manage") || has("read") && self.name == "orders-reader")
            }
        }
    }
}

fn principals(server: &TestServer) -> Vec<Principal> {
    let mut all = Vec::new();
    for action in ["read", "append", "manage", "observe", "admin"] {
        for (kind, log) in [("one", "orders"), ("prefix", "ord*"), ("other", "orders-eu")] {
            let name = match (action, kind) {
                // The name of the cursor in the requests.
                ("read", "one") => "orders-reader".to_owned(),
                _ => format!("{action}-{kind}"),
            };
            let secret = tokens::create(&server.data(), &name, &[&format!("{action}:{log}")]);
            all.push(Principal { name, action, log, secret });
        }
    }
    all
}

/// A request for this row that changes nothing even if it is allowed.
fn request(method: &str, path: &str) -> Request {
    let target = path.replace("{name}", "orders").replace("{cursor}", "orders-reader");
    let request = Request::new(&method.to_ascii_uppercase(), &target);
    match (method, path) {
        ("post", "/logs") => request.form("name=orders"),
        ("post", "/logs/restore") => Request::post("/logs/restore?name=orders").body("no archive"),
        // The log has another id.
        ("post" | "delete" | "put", _) => {
            request.header("X-Styx-Log-Id", "0".repeat(31) + "1").body("{\"position\": 0}")
        }
        _ => request,
    }
}

/// Upgrades that read, and those that write.
fn upgrades() -> Vec<(&'static str, Request, Needs)> {
    let target = "/logs/orders/records";
    let write = Needs::Grant("append");
    let read = Needs::Grant("read");
    let overridden = |request: Request| request.header("X-HTTP-Method-Override", "POST");
    vec![
        ("styx/1 producer", styx1::produce_request("orders", ""), write),
        ("styx/1 consumer", styx1::consume_request("orders", ""), read),
        ("styx/1 override", overridden(styx1::consume_request("orders", "")), write),
        ("styx/0 producer", styx0::handshake("POST", "orders", ""), write),
        ("styx/0 consumer", styx0::handshake("GET", "orders", ""), read),
        ("styx/0 mode", styx0::handshake("GET", "orders", "mode=write"), read),
        ("WebSocket read", websocket::handshake(target), read),
        ("WebSocket mode", websocket::handshake(&format!("{target}?mode=write")), write),
        ("WebSocket MODE", websocket::handshake(&format!("{target}?x&MODE=write")), write),
        ("WebSocket POST", websocket::upgrade(Request::new("POST", target)), write),
        ("WebSocket override", overridden(websocket::handshake(target)), write),
        (
            "event stream",
            Request::get(&format!("{target}?follow=false")).header("Accept", "text/event-stream"),
            read,
        ),
    ]
}

/// The status of the answer; the connection is dropped.
fn status(server: &TestServer, request: &Request) -> u16 {
    let mut connection = server.connect();
    connection.send(&request.bytes()).expect("it can be sent");
    let head = connection.head(request.method()).expect("an answer");
    head.status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[test]
fn every_principal_gets_what_its_grant_allows_on_every_route_and_upgrade() {
    let (mut server, admin) = tokens::start(Settings::default());
    let create = |name: &str| {
        let request = Request::post("/logs").form(&format!("name={name}"));
        let _ = server.ask(&with(request, &admin)).expect(200);
    };
    create("orders");
    create("orders-eu");
    let principals = principals(&server);
    // The server reads the tokens at its start, so nothing has to be waited for.
    server.restart();
    let document: Value =
        server.ask(&with(Request::get("/openapi.json"), &admin)).expect(200).json();
    let mut rows = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            rows.push((format!("{method} {path}"), request(method, path), needs(method, path)));
        }
    }
    assert!(rows.len() > 20, "{}", rows.len());
    rows.extend(
        upgrades().into_iter().map(|(name, request, needs)| (name.to_owned(), request, needs)),
    );
    let mut faults = Vec::new();
    let mut check = |row: &str, who: &str, got: u16, expected: Option<u16>| {
        let is_right = match expected {
            Some(expected) => got == expected,
            None => got != 401 && got != 403,
        };
        if !is_right {
            faults.push(format!("{row} by {who}: {got}, not {expected:?}"));
        }
    };
    for (row, request, needs) in &rows {
        let is_public = *needs == Needs::Nothing;
        let unknown = (!is_public).then_some(401);
        check(row, "nobody", status(&server, request), unknown);
        let wrong = with(request.clone(), &tokens::mistyped(&admin));
        // Only a few wrong tokens are answered 401; see `guessing_is_throttled`.
        let got = status(&server, &wrong);
        check(row, "a wrong token", if got == 429 { 401 } else { got }, unknown);
        for principal in &principals {
            let expected = (!principal.may(*needs)).then_some(403);
            let got = status(&server, &with(request.clone(), &principal.secret));
            check(row, &principal.name, got, expected);
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn lists_show_only_what_the_principal_sees() {
    let (mut server, admin) = tokens::start(Settings::default());
    for name in ["a", "b-1", "b-2"] {
        let request = Request::post("/logs").form(&format!("name={name}"));
        let _ = server.ask(&with(request, &admin)).expect(200);
    }
    let reader = tokens::create(&server.data(), "reader", &["read:b-*"]);
    let watcher = tokens::create(&server.data(), "watcher", &["observe:b-2"]);
    server.restart();
    let listed = |secret: &str| {
        let list = server.ask(&with(Request::get("/logs"), secret)).expect(200).json();
        let names = list.as_array().expect("a list").iter();
        names.map(|log| log["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&admin), ["a", "b-1", "b-2"]);
    assert_eq!(listed(&reader), ["b-1", "b-2"]);
    assert_eq!(listed(&watcher), ["b-2"]);
    let metrics = server.ask(&with(Request::get("/metrics"), &watcher)).expect(200);
    assert!(metrics.text().contains("log_record_count{log=\"b-2\"}"), "{}", metrics.text());
    assert!(!metrics.text().contains("b-1"), "{}", metrics.text());
    let refused = server.ask(&with(Request::get("/metrics"), &reader));
    let refused = refused.expect_error(403, "forbidden");
    assert_eq!(refused.json()["grant"], "observe:LOG");
}

#[test]
fn refusals_say_what_is_missing_and_do_not_tell_whether_a_log_exists() {
    let (mut server, admin) = tokens::start(Settings::default());
    let _ = server.ask(&with(Request::post("/logs").form("name=a"), &admin)).expect(200);
    let reader = tokens::create(&server.data(), "reader", &["read:b"]);
    server.restart();
    let missing = server.ask(&Request::get("/logs/a/records"));
    let missing = missing.expect_error(401, "unauthorized");
    assert_eq!(missing.header("WWW-Authenticate"), Some("Bearer realm=\"styx\""));
    let wrong = server.ask(&with(Request::get("/logs/a/records"), "styx_x"));
    let wrong = wrong.expect_error(401, "unauthorized");
    let challenge = "Bearer realm=\"styx\", error=\"invalid_token\"";
    assert_eq!(wrong.header("WWW-Authenticate"), Some(challenge));
    for log in ["a", "none", "a.b"] {
        let request = Request::get(&format!("/logs/{log}/records"));
        let refused = server.ask(&with(request, &reader)).expect_error(403, "forbidden");
        assert_eq!(refused.json()["grant"], format!("read:{log}"));
        assert!(refused.text().contains(&format!("no grant read:{log};")), "{}", refused.text());
    }
    // A name in a body is checked too.
    let manager = tokens::create(&server.data(), "manager", &["manage:b*"]);
    server.restart();
    let create = |name: &str| server.ask(&with(Request::post("/logs").form(name), &manager));
    let refused = create("name=a2").expect_error(403, "forbidden");
    assert_eq!(refused.json()["grant"], "manage:a2");
    let _ = create("name=b2").expect(200);
    let restore = Request::post("/logs/restore?name=c").body("x");
    let refused = server.ask(&with(restore, &manager)).expect_error(403, "forbidden");
    assert_eq!(refused.json()["grant"], "manage:c");
}

#[test]
fn readiness_names_damaged_logs_only_to_observers() {
    let (mut server, admin) = tokens::start(Settings::default());
    let _ = server.ask(&with(Request::post("/logs").form("name=hidden"), &admin)).expect(200);
    let reader = tokens::create(&server.data(), "reader", &["read:hidden"]);
    let watcher = tokens::create(&server.data(), "watcher", &["observe:hid*"]);
    let _ = server.stop();
    std::fs::write(server.data().join("hidden/log.toml"), "damaged").expect("written");
    server.restart();
    let ask = |query: &str, secret: Option<&str>| {
        let request = Request::get(&format!("/health/ready{query}"));
        server.ask(&secret.map_or(request.clone(), |secret| with(request, secret)))
    };
    for (secret, is_named) in [(None, false), (Some(reader), false), (Some(watcher), true)] {
        let answer = ask("", secret.as_deref()).expect(200);
        assert_eq!(answer.json()["status"], "degraded");
        assert_eq!(answer.text().contains("hidden"), is_named, "{}", answer.text());
        let strict = ask("?strict=true", secret.as_deref());
        let strict = strict.expect_error(503, "log_not_available");
        assert_eq!(strict.text().contains("hidden"), is_named, "{}", strict.text());
    }
}
