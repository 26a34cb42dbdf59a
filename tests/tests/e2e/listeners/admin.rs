//! `admin_address`: metrics and health alone.

use std::net::SocketAddr;
use std::time::Duration;

use styx_tests::api::write_one;
use styx_tests::{Connection, Request, Response, Settings, TestServer, wait, websocket};

fn start(more: &str) -> (TestServer, SocketAddr) {
    let server = Settings::default().set("admin_address = \"127.0.0.1:0\"").set(more).start();
    let address = wait::until("the admin address", Duration::from_secs(10), || {
        let log = server.log();
        let line = log.lines().find_map(|line| line.strip_prefix("metrics and health on http://"));
        line.map(|address| address.parse().expect("an address"))
    });
    (server, address)
}

fn ask(address: SocketAddr, request: &Request) -> Response {
    Connection::open(address).exchange(request).expect("an answer")
}

#[test]
fn admin_address_serves_metrics_and_health_and_nothing_else() {
    let (server, admin) = start("");
    server.create("a");
    for path in ["/metrics", "/health/live", "/health/ready", "/version"] {
        assert_eq!(ask(admin, &Request::get(path)).status(), 200, "{path}");
    }
    let upgrade = websocket::upgrade(Request::get("/logs/a/records"));
    for request in [
        Request::get("/logs"),
        Request::post("/logs").form("name=b"),
        Request::get("/logs/a"),
        Request::delete("/logs/a"),
        write_one("a", "x"),
        Request::post("/logs/restore?name=b"),
        Request::get("/openapi.json"),
        upgrade,
    ] {
        let answer = ask(admin, &request).expect_error(404, "not_found");
        assert!(answer.text().contains("admin_address"), "{}", answer.shown());
    }
    assert_eq!(server.info("a")["end_position"], 0, "nothing was appended or deleted");
}

#[test]
fn metrics_move_to_the_admin_address_and_health_stays_on_the_others() {
    let (server, _) = start("");
    let refused = server.ask(&Request::get("/metrics")).expect_error(404, "not_found");
    assert!(refused.text().contains("admin_address"), "{}", refused.shown());
    for path in ["/health/live", "/health/ready", "/version", "/openapi.json"] {
        assert_eq!(server.ask(&Request::get(path)).status(), 200, "{path}");
    }
}

#[test]
fn connections_to_the_admin_address_do_not_count() {
    let (server, admin) = start("max_connections = 2");
    server.create("a");
    let monitors: Vec<_> = (0..8)
        .map(|_| {
            let mut connection = Connection::open(admin);
            let answer = connection.exchange(&Request::get("/metrics")).expect("an answer");
            assert_eq!(answer.status(), 200);
            connection
        })
        .collect();
    let mut clients: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for client in &mut clients {
        let answer = client.exchange(&Request::get("/logs/a")).expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    let text = ask(admin, &Request::get("/metrics")).text().to_owned();
    for line in ["styx_connections 2", "styx_connections_max 2"] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    drop(monitors);
}
