//! `/logs/{name}/cursors`: durable, named positions, changed on conditions.

use serde_json::{Value, json};
use styx_tests::{Request, Response, TestServer, error};

const JSON: &str = "application/json";

fn path(cursor: &str) -> String {
    format!("/logs/a/cursors/{cursor}")
}

fn put(cursor: &str, body: &Value) -> Request {
    Request::new("PUT", &path(cursor)).typed(JSON, body.to_string())
}

fn at(position: u64) -> Value {
    json!({ "position": position })
}

fn server() -> TestServer {
    let server = TestServer::with_log("a");
    for _ in 0..5 {
        server.append("a", "x");
    }
    server
}

fn version(answer: &Response) -> u64 {
    let version = answer.json()["version"].as_u64().expect("a version");
    assert_eq!(answer.header("ETag"), Some(format!("\"{version}\"").as_str()));
    version
}

#[test]
fn a_cursor_is_set_read_listed_and_deleted() {
    let mut server = server();
    assert_eq!(server.ask(&Request::get("/logs/a/cursors")).expect(200).text(), "[]\n");
    let id = server.log_id("a");
    let set = server.ask(&put("billing", &at(3))).expect(200);
    let updated = set.json()["updated"].as_u64().expect("a time");
    assert!(updated > 1_700_000_000_000_000, "{updated}");
    let text = format!(
        "{{\n  \"cursor\": \"billing\",\n  \"log_id\": \"{id}\",\n  \"position\": 3,\n  \
         \"updated\": {updated},\n  \"version\": 1\n}}\n"
    );
    assert_eq!(set.text(), text);
    assert_eq!(set.header("X-Styx-Log-Id"), Some(id.as_str()));
    version(&set);
    server.kill();
    server.restart();
    let got = server.ask(&Request::get(&path("billing"))).expect(200);
    assert_eq!((got.text(), version(&got)), (text.as_str(), 1));
    let _ = server.ask(&put("audit", &json!({ "position": 5, "log_id": id }))).expect(200);
    let list = server.ask(&Request::get("/logs/a/cursors")).expect(200).json();
    let names: Vec<_> = list.as_array().expect("a list").iter().map(|c| &c["cursor"]).collect();
    assert_eq!(names, ["audit", "billing"]);
    assert_eq!(server.ask(&Request::delete(&path("billing"))).expect(200).text(), "");
    for request in [Request::get(&path("billing")), Request::delete(&path("billing"))] {
        let _ = server.ask(&request).expect_error(404, "cursor_not_found");
    }
    let _ = server.ask(&Request::get("/logs/b/cursors")).expect_error(404, "log_not_found");
}

#[test]
fn changes_are_made_only_on_their_condition() {
    let server = server();
    let create = put("c", &at(1)).header("If-None-Match", "*");
    let first = version(&server.ask(&create).expect(200));
    let taken = server.ask(&create).expect_error(412, "cursor_taken").json();
    assert_eq!((&taken["position"], &taken["version"]), (&json!(1), &json!(first)));
    assert_eq!(taken["replaced_version"], 0);
    let on = |tag: String| put("c", &at(2)).header("If-Match", tag);
    let second = version(&server.ask(&on(format!("\"{first}\""))).expect(200));
    let taken = server.ask(&on(format!("\"{first}\""))).expect_error(412, "cursor_taken").json();
    assert_eq!((&taken["version"], &taken["replaced_version"]), (&json!(second), &json!(first)));
    let third = version(&server.ask(&on("*".into())).expect(200));
    let delete = |tag: u64| Request::delete(&path("c")).header("If-Match", format!("\"{tag}\""));
    let _ = server.ask(&delete(second)).expect_error(412, "cursor_taken");
    let _ = server.ask(&delete(third)).expect(200);
    let _ = server.ask(&on("*".into())).expect_error(412, "cursor_taken");
    // A version is never used again.
    assert_eq!(version(&server.ask(&create).expect(200)), third + 1);
}

#[test]
fn invalid_requests_change_nothing_and_say_why() {
    let server = server();
    let other = "0".repeat(32);
    for (request, status, code, part) in [
        (put("c", &at(6)), 400, "invalid_params", "use a position up to 5"),
        (put("a.b", &at(0)), 400, "invalid_params", "is not a cursor name"),
        (put("c", &json!({})), 400, "invalid_params", "position is missing"),
        (put("c", &json!({ "position": -1 })), 400, "invalid_params", "position"),
        (put("c", &json!({ "position_": 1 })), 400, "invalid_params", "did you mean position?"),
        (put("c", &json!({ "position": 0, "log_id": other })), 409, "log_changed", "its id is now"),
        (put("c", &at(0)).header("X-Styx-Log-Id", &other), 409, "log_changed", "its id is now"),
        (put("c", &at(0)).header("If-Match", "7"), 400, "invalid_params", "If-Match"),
        (put("c", &at(0)).header("If-None-Match", "\"7\""), 400, "invalid_params", "If-None-Match"),
        (Request::get(&path("a.b")), 404, "cursor_not_found", "is not a cursor name"),
        (Request::get("/logs/a/cursors/"), 404, "not_found", ""),
        (Request::post(&path("c")), 405, "method_not_allowed", "GET, PUT, DELETE"),
    ] {
        let answer = server.ask(&request).expect_error(status, code);
        assert!(answer.text().contains(part), "no {part:?} in {}", answer.shown());
    }
    assert_eq!(server.ask(&Request::get("/logs/a/cursors")).expect(200).text(), "[]\n");
}

#[test]
fn a_truncated_log_answers_log_changed_for_its_old_cursors() {
    let server = server();
    let _ = server.ask(&put("c", &at(3))).expect(200);
    let _ = server.ask(&Request::post("/logs/a/truncate")).expect(200);
    let _ = server.ask(&Request::get(&path("c"))).expect_error(409, "log_changed");
    let on_version = put("c", &at(0)).header("If-Match", "\"1\"");
    let _ = server.ask(&on_version).expect_error(409, "log_changed");
    let list = server.ask(&Request::get("/logs/a/cursors")).expect(200).json();
    assert_ne!(list[0]["log_id"], server.log_id("a").as_str());
    let _ = server.ask(&put("c", &at(0))).expect(200);
    let _ = server.ask(&Request::get(&path("c"))).expect(200);
    // A deleted log takes its cursors along.
    let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    server.create("a");
    let _ = server.ask(&Request::get(&path("c"))).expect_error(404, "cursor_not_found");
}

#[test]
fn a_restored_log_has_the_cursors_of_its_backup() {
    let server = server();
    let _ = server.ask(&put("c", &at(4))).expect(200);
    let archive = server.ask(&Request::get("/logs/a/backup")).expect(200).body;
    let restore = Request::post("/logs/restore?name=b").typed("application/gzip", archive);
    let _ = server.ask(&restore).expect(200);
    let restored = server.ask(&Request::get("/logs/b/cursors/c")).expect(200).json();
    assert_eq!((&restored["position"], &restored["version"]), (&json!(4), &json!(1)));
    assert_eq!(restored["log_id"], server.log_id("b").as_str());
}

#[test]
fn a_log_has_at_most_1000_cursors() {
    let server = server();
    let mut connection = server.connect();
    for number in 0..1000 {
        let _ = connection
            .exchange(&put(&format!("c{number}"), &at(0)))
            .expect("an answer")
            .expect(200);
    }
    let _ = server.ask(&put("more", &at(0))).expect_error(409, "too_many_cursors");
    let _ = server.ask(&put("c7", &at(1))).expect(200);
}

#[test]
fn a_damaged_file_of_cursors_stops_only_the_cursors() {
    let mut server = server();
    let _ = server.ask(&put("c", &at(4))).expect(200);
    let _ = server.stop();
    let file = server.data().join("a/cursors");
    let mut bytes = std::fs::read(&file).expect("the file");
    bytes[20] ^= 1;
    std::fs::write(&file, bytes).expect("damaged");
    server.restart();
    let damaged = error(500, "unknown_error").says("fails its checksum");
    for request in [Request::get("/logs/a/cursors"), Request::get(&path("c")), put("c", &at(0))] {
        assert_eq!(damaged.faults(&server.ask(&request)), Vec::<String>::new());
    }
    server.append("a", "x");
    assert_eq!(server.read_all("a").len(), 6);
}
