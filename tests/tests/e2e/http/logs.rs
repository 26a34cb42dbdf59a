//! Managing logs: create, list, get, delete, truncate, trim, and their errors.

use std::sync::Arc;

use styx_tests::api::{info_json, now_us, read_binary, write_one};
use styx_tests::{Request, Settings, Table, TestServer, error, gives};

fn create(form: &str) -> Request {
    Request::post("/logs").form(form)
}

fn create_json(json: &str) -> Request {
    Request::post("/logs").typed("application/json", json)
}

#[test]
fn a_log_is_created_listed_and_deleted() {
    let server = TestServer::start();
    let mut table = Table::of(&server);
    let json = "application/json";
    let list = Request::get("/logs");
    table.row("no logs", &list, &gives(200).with("Content-Type", json).body("[]\n"));
    let b = info_json("b", 0, 0, 0, 0);
    let created = gives(200).with("Content-Type", json).with("X-Styx-Log-Id", "*").body(&b);
    table.row("create b", &create("name=b"), &created);
    let a = info_json("A", 0, 0, 0, 0);
    table.row("create A", &create("name=A"), &gives(200).body(&a));
    table.row("get b", &Request::get("/logs/b"), &created);

    let indented = |info: &str| info.trim_end().replace('\n', "\n  ");
    let both = format!("[\n  {},\n  {}\n]\n", indented(&a), indented(&b));
    table.row("sorted by name", &list, &gives(200).body(both));

    table.row("delete b", &Request::delete("/logs/b"), &gives(200).body(""));
    table.row("b is gone", &Request::get("/logs/b"), &error(404, "log_not_found").says("b"));
    table.row("delete b again", &Request::delete("/logs/b"), &error(404, "log_not_found"));
    table.row("b can be created again", &create("name=b"), &created);
    table.check();
}

#[test]
fn form_fields_are_parsed_as_documented() {
    let server = TestServer::start();
    let mut table = Table::of(&server);
    let created = |name: &str| gives(200).body(info_json(name, 0, 0, 0, 0));
    table.row("names in any case", &create("NAME=a&Segment_Max_Count=5"), &created("a"));
    table.row("unknown fields", &create("name=b&colour=red"), &created("b"));
    table.row("an empty value", &create("name=c&segment_max_count="), &created("c"));
    table.row("the last one wins", &create("name=x&name=d"), &created("d"));
    table.row("escapes", &create("n%61me=%65"), &created("e"));
    let long = "l".repeat(255);
    table.row("255 bytes", &create(&format!("name={long}")), &created(&long));
    table.row("all letters", &create("name=aZ09_-"), &created("aZ09_-"));

    let missing = error(400, "invalid_params").says("name");
    table.row("no name", &create(""), &missing);
    table.row("no body at all", &Request::new("POST", "/logs"), &missing);
    table.row("an empty name", &create("name="), &missing);
    let too_long = format!("name={}", "l".repeat(256));
    for form in ["name=a.b", "name=a%2Fb", "name=..", "name=a+b", "name=%C3%A4", &too_long] {
        table.row(form, &create(form), &error(400, "log_invalid_name"));
    }
    table.row("it exists", &create("name=a"), &error(409, "log_exist").says("a"));
    table.check();
}

#[test]
fn a_log_can_be_created_from_json() {
    let server = TestServer::start();
    let mut table = Table::of(&server);
    let created = |name: &str| gives(200).body(info_json(name, 0, 0, 0, 0));
    let all = r#"{"name": "a", "segment_max_count": 7, "log_max_age": -1}"#;
    table.row("some fields", &create_json(all), &created("a"));
    let typed = "application/json; charset=utf-8";
    let request = Request::post("/logs").typed(typed, r#"{"name":"b"}"#);
    table.row("a media type with a parameter", &request, &created("b"));

    let bad = error(400, "invalid_params");
    table.row("not JSON", &create_json("{name: 1}"), &bad);
    table.row("no object", &create_json("[]"), &bad);
    table.row("no name", &create_json("{}"), &bad.clone().says("name"));
    let text = r#"{"name": "c", "segment_max_count": "many"}"#;
    table.row("no number", &create_json(text), &bad.says("segment_max_count"));
    let name = r#"{"name": "a.b"}"#;
    table.row("no name of a log", &create_json(name), &error(400, "log_invalid_name"));
    table.check();

    let details = server.ask(&Request::get("/logs/a?details=true")).expect(200).json();
    assert_eq!(details["config"]["segment_max_count"], 7);
}

/// Regression test: the object `config` was ignored, so the new log had no limits.
#[test]
fn a_log_can_be_created_from_the_description_of_another() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=10&log_max_count=100&log_max_age=3600");
    server.append("a", "x");
    let details = |name: &str| {
        let request = Request::get(&format!("/logs/{name}?details=true"));
        server.ask(&request).expect(200).json()
    };
    let mut description = details("a");
    description["name"] = "b".into();
    let _ = server.ask(&create_json(&description.to_string())).expect(200);
    assert_eq!(details("b")["config"], details("a")["config"]);
    assert_eq!(details("b")["end_position"], 0);

    let mut table = Table::of(&server);
    let same = r#"{"name": "c", "log_max_count": 5, "config": {"log_max_count": 5}}"#;
    table.row("the same in both places", &create_json(same), &gives(200));
    let bad = error(400, "invalid_params");
    let other = r#"{"name": "d", "log_max_count": 5, "config": {"log_max_count": 6}}"#;
    table.row("another value", &create_json(other), &bad.clone().says("log_max_count"));
    let list = r#"{"name": "d", "config": [{"log_max_count": 5}]}"#;
    table.row("no object", &create_json(list), &bad.clone().says("config"));
    let zero = r#"{"name": "d", "config": {"log_max_count": 0}}"#;
    table.row("out of range", &create_json(zero), &bad.clone().says("log_max_count"));
    for (fields, nearest) in [
        (r#""log_max_cuont": 5"#, "log_max_count"),
        (r#""config": {"log_max_cuont": 5}"#, "log_max_count"),
        (r#""configuration": {"log_max_count": 5}"#, "config"),
    ] {
        let text = format!(r#"{{"name": "d", {fields}}}"#);
        let hint = format!("did you mean {nearest}?");
        table.row(fields, &create_json(&text), &bad.clone().says(&hint));
    }
    let form = create("name=e&log_max_cuont=5");
    table.row("unknown form fields are ignored", &form, &gives(200));
    table.row("no log was created", &Request::get("/logs/d"), &error(404, "log_not_found"));
    table.check();
}

#[test]
fn an_out_of_range_configuration_is_rejected() {
    let server = Settings::default().set("max_log_record_size = 1073741824").start();
    let mut table = Table::of(&server);
    let fields = [
        "max_record_size",
        "index_after_size",
        "segment_max_count",
        "segment_max_size",
        "segment_max_age",
        "log_max_count",
        "log_max_size",
        "log_max_age",
    ];
    for field in fields {
        for value in ["0", "-2", "9007199254740993", "99999999999999999999", "x", "1.5"] {
            let form = format!("name=bad&{field}={value}");
            let refused = error(400, "invalid_params").says(field).says(value);
            table.row(&form, &create(&form), &refused);
        }
    }
    for form in ["max_record_size=-1", "max_record_size=1073741825", "index_after_size=-1"] {
        let refused = error(400, "invalid_params");
        table.row(form, &create(&format!("name=bad&{form}")), &refused);
    }
    table.row("no log was created", &Request::get("/logs"), &gives(200).body("[]\n"));
    let unlimited = "name=a&segment_max_count=-1&segment_max_size=-1&segment_max_age=-1\
                     &log_max_count=-1&log_max_size=-1&log_max_age=-1";
    table.row("no limits", &create(unlimited), &gives(200));
    let largest = "name=b&max_record_size=1073741824&segment_max_size=9007199254740992";
    table.row("the largest", &create(largest), &gives(200));
    table.check();
}

#[test]
fn creation_is_refused_beyond_max_log_record_size_and_older_logs_keep_theirs() {
    let server = TestServer::start();
    let mut table = Table::of(&server);
    table.row("the default", &create("name=a&max_record_size=67108864"), &gives(200));
    let refused = error(400, "invalid_params").says("67108865").says("67108864");
    let refused = refused.says("max_log_record_size");
    table.row("one more", &create("name=b&max_record_size=67108865"), &refused);
    let json = create_json(r#"{"name":"b","max_record_size":67108865}"#);
    table.row("one more as JSON", &json, &refused);
    table.row("it was not created", &Request::get("/logs/b"), &error(404, "log_not_found"));
    table.check();
    let archive = server.backup("a");
    let scratch = Arc::clone(server.scratch());
    drop(server);
    // The limit is only for new logs.
    let lower = Settings::default().set("max_log_record_size = 1048576");
    let server = lower.start_in(scratch).unwrap_or_else(|refusal| panic!("{refusal}"));
    let _ = server.restore("b", archive).expect(200);
    for log in ["a", "b"] {
        let request = Request::get(&format!("/logs/{log}?details=true"));
        let details = server.ask(&request).expect(200).json();
        assert_eq!(details["config"]["max_record_size"], 67_108_864, "{log}");
        assert_eq!(server.append(log, vec![b'x'; 2 << 20]), 1, "{log}");
    }
    let _ = server.ask(&create("name=c")).expect(200);
}

#[test]
fn details_include_the_configuration_and_the_timestamps() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=10&log_max_age=3600");
    let before = now_us();
    server.append("a", "x");
    server.append("a", "y");
    let after = now_us();
    let answer = server.ask(&Request::get("/logs/a?details=true")).expect(200);
    let json = answer.json();
    let keys: Vec<&str> = answer
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("  \"")?.split('"').next())
        .collect();
    let info = ["name", "status", "record_count", "file_size", "start_position", "end_position"];
    assert_eq!(keys[..6], info, "{}", answer.shown());
    let mut more = keys[6..].to_vec();
    more.sort_unstable();
    assert_eq!(more, ["config", "timestamp_first", "timestamp_last"]);
    assert_eq!(json["config"]["segment_max_count"], 10);
    assert_eq!(json["config"]["log_max_age"], 3600);
    assert_eq!(json["config"]["max_record_size"], 1_048_576);
    let (first, last) = (json["timestamp_first"].as_u64(), json["timestamp_last"].as_u64());
    let (first, last) = (first.expect("a time"), last.expect("a time"));
    assert!(before <= first && first <= last && last <= after, "{before} {json} {after}");

    let plain = server.ask(&Request::get("/logs/a?details=0")).expect(200);
    assert_eq!(plain.text(), info_json("a", 2, 18, 0, 2));
    let bad = server.ask(&Request::get("/logs/a?details=maybe"));
    let _ = bad.expect_error(400, "invalid_params");
}

#[test]
fn truncating_empties_a_log_and_changes_its_id() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=2");
    for payload in ["one", "two", "three"] {
        server.append("a", payload);
    }
    let old = server.log_id("a");
    let answer = server.ask(&Request::post("/logs/a/truncate")).expect(200);
    assert_eq!(answer.text(), "");
    assert_eq!(server.ask(&Request::get("/logs/a")).text(), info_json("a", 0, 0, 0, 0));
    assert_ne!(server.log_id("a"), old);
    assert_eq!(server.append("a", "again"), 1, "positions start again at 0");
    assert_eq!(server.read_all("a"), [b"again"]);
    let details = server.ask(&Request::get("/logs/a?details=1")).expect(200).json();
    assert_eq!(details["config"]["segment_max_count"], 2, "the configuration is kept");

    let missing = server.ask(&Request::post("/logs/b/truncate"));
    let _ = missing.expect_error(404, "log_not_found");
}

#[test]
fn trimming_removes_whole_segments_and_keeps_positions() {
    let server = TestServer::start();
    server.create_with("a", "segment_max_count=10");
    for position in 0..35 {
        server.append("a", format!("{position}"));
    }
    let trim = |query: &str| Request::post(&format!("/logs/a/trim?{query}"));
    let answer = server.ask(&trim("position=15")).expect(200).json();
    assert_eq!((&answer["start_position"], &answer["end_position"]), (&10.into(), &35.into()));
    assert_eq!(answer["record_count"], 25);
    assert_eq!(server.read_from("a", 10)[0], b"10");
    assert_eq!(server.read_all("a").len(), 25);

    let mut table = Table::of(&server);
    let outside = error(416, "out_of_range").field("start_position", 10).field("end_position", 35);
    table.row("what went", &read_binary("a", "position=9"), &outside);
    table.row("beyond the end", &trim("position=36"), &outside);
    table.row("already removed", &trim("position=10"), &gives(200));
    table.row("no position", &trim(""), &error(400, "invalid_params").says("position"));
    table.row("no number", &trim("position=x"), &error(400, "invalid_params").says("x"));
    let nope = Request::post("/logs/nope/trim?position=0");
    table.row("no log", &nope, &error(404, "log_not_found"));
    table.check();

    let answer = server.ask(&trim("position=35")).expect(200).json();
    assert_eq!(answer["end_position"], 35, "the end position is unchanged");
    assert_eq!(server.append("a", "next"), 36);
}

#[test]
fn trimmed_records_stay_gone_after_a_crash() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=10");
    for position in 0..35 {
        server.append("a", format!("{position}"));
    }
    let _ = server.ask(&Request::post("/logs/a/trim?position=20")).expect(200);
    server.kill();
    server.restart();
    assert_eq!(server.info("a")["start_position"], 20);
    assert_eq!(server.info("a")["status"], "ok");
    assert_eq!(server.read_all("a").len(), 15);
}

#[test]
fn unknown_paths_get_404_and_wrong_methods_get_405() {
    let server = TestServer::start();
    server.create("a");
    let mut table = Table::of(&server);
    for path in ["/x", "/logs/a/x", "/logs/a/records/x", "/logsx"] {
        table.row(path, &Request::get(path), &error(404, "not_found"));
    }
    table.row("the root by POST", &Request::post("/x"), &error(404, "not_found"));
    let wrong = error(405, "method_not_allowed").with("Allow", "*");
    for (method, path) in [
        ("PUT", "/logs"),
        ("DELETE", "/logs"),
        ("PATCH", "/logs/a"),
        ("POST", "/logs/a"),
        ("PUT", "/logs/a/records"),
        ("DELETE", "/logs/a/records"),
        ("GET", "/logs/a/truncate"),
        ("GET", "/logs/a/trim"),
        ("POST", "/logs/a/backup"),
        ("POST", "/metrics"),
        ("POST", "/version"),
    ] {
        table.row(&format!("{method} {path}"), &Request::new(method, path), &wrong);
    }
    // The path of a verb is also the path of a log with that name.
    let restore = error(405, "method_not_allowed").with("Allow", "GET, DELETE, POST");
    for method in ["OPTIONS", "PUT"] {
        let request = Request::new(method, "/logs/restore");
        table.row(&format!("{method} /logs/restore"), &request, &restore);
    }
    let head = gives(405).with("Allow", "*").body("");
    for path in ["/logs", "/logs/a", "/logs/a/records"] {
        table.row(&format!("HEAD {path}"), &Request::new("HEAD", path), &head);
    }
    let allowed = gives(405).with("Allow", "GET, POST");
    let put = table.row("what is allowed", &Request::new("PUT", "/logs"), &gives(405));
    let mut methods: Vec<&str> =
        put.header("Allow").unwrap_or_default().split(',').map(str::trim).collect();
    methods.retain(|method| !["OPTIONS", "HEAD"].contains(method));
    methods.sort_unstable();
    assert_eq!(methods, ["GET", "POST"], "{allowed:?}");
    table.check();
}

#[test]
fn invalid_log_names_are_not_found() {
    let server = TestServer::start();
    let mut table = Table::of(&server);
    let missing = error(404, "log_not_found");
    for name in ["nope", "a.b", "%2e%2e", "a%20b", "%ff", &"l".repeat(256)] {
        let path = format!("/logs/{name}");
        table.row("get", &Request::get(&path), &missing);
        table.row("delete", &Request::delete(&path), &missing);
        table.row("truncate", &Request::post(&format!("{path}/truncate")), &missing);
        table.row("trim", &Request::post(&format!("{path}/trim?position=0")), &missing);
        table.row("backup", &Request::get(&format!("{path}/backup")), &missing);
        table.row("read", &Request::get(&format!("{path}/records")), &missing);
        table.row("write", &write_one(name, "x"), &missing);
    }
    let bad = Request::post("/logs/restore?name=a.b").body("x");
    table.row("restore", &bad, &error(400, "log_invalid_name"));
    table.check();
}

#[test]
fn logs_and_their_configuration_survive_a_crash() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=3");
    server.create("b");
    server.create("gone");
    server.append("a", "x");
    let _ = server.ask(&Request::delete("/logs/gone")).expect(200);
    let ids = [server.log_id("a"), server.log_id("b")];
    server.kill();
    server.restart();
    let list = server.ask(&Request::get("/logs")).expect(200).json();
    let names: Vec<_> = list.as_array().expect("a list").iter().map(|l| &l["name"]).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!([server.log_id("a"), server.log_id("b")], ids);
    let details = server.ask(&Request::get("/logs/a?details=true")).expect(200).json();
    assert_eq!(details["config"]["segment_max_count"], 3);
}
