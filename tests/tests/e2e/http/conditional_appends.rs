//! Appends with conditions: expected position, idempotent producers, log id.

use std::time::Duration;

use styx_tests::api::{self, LINES, write_lines, write_one, written_json};
use styx_tests::table::Wanted;
use styx_tests::{Request, Table, TestServer, error, gives, wait};

#[test]
fn an_append_with_an_expected_position_succeeds_only_at_the_end() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let expecting =
        |position: &str| write_one("a", "x").header("X-Styx-Expected-Position", position);
    table.row("right", &expecting("0"), &gives(200).body(written_json(1, 1)));
    let nothing = |wanted: Wanted| wanted.field("position", 0).field("count", 0);
    let mismatch = |end| nothing(error(409, "position_mismatch").field("end_position", end));
    table.row("behind", &expecting("0"), &mismatch(1).says("0"));
    table.row("ahead", &expecting("2"), &mismatch(1));
    table.row("right again", &expecting("1"), &gives(200).body(written_json(2, 1)));
    let lines = write_lines("a", "1\n2\n3\n").header("X-Styx-Expected-Position", 2);
    table.row("a batch", &lines, &gives(200).body(written_json(5, 3)));
    for garbage in ["", "x", "-1", "1.0", "5\u{a0}", "99999999999999999999"] {
        table.row(garbage, &expecting(garbage), &error(400, "invalid_params").says("xpected-"));
    }
    table.check();
    assert_eq!(server.info("a")["end_position"], 5);
}

#[test]
fn one_of_many_appends_with_the_same_expected_position_succeeds() {
    let server = TestServer::with_log("a");
    let request = write_one("a", "x").header("X-Styx-Expected-Position", 0);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || server.ask(&request).status();
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|t| t.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 15, "{statuses:?}");
    assert_eq!(server.info("a")["end_position"], 1);
}

/// An append of a producer's lines, from a sequence on.
fn produce(producer: u64, epoch: u64, sequence: u64, lines: &str) -> Request {
    write_lines("a", lines)
        .header("X-Styx-Producer", producer)
        .header("X-Styx-Epoch", epoch)
        .header("X-Styx-Sequence", sequence)
}

#[test]
fn a_repeated_append_adds_nothing() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let wrote = |end, count| gives(200).body(written_json(end, count));
    table.row("first", &produce(7, 0, 0, "0\n1\n"), &wrote(2, 2));
    table.row("another's", &write_lines("a", "other\n"), &wrote(3, 1));
    table.row("repeated", &produce(7, 0, 0, "0\n1\n"), &wrote(2, 0));
    table.row("repeated in part", &produce(7, 0, 1, "1\n2\n3\n"), &wrote(5, 2));
    table.row("next", &produce(7, 0, 4, "4\n"), &wrote(6, 1));
    table.row("another producer", &produce(8, 0, 0, "a\n"), &wrote(7, 1));
    let gap = error(409, "sequence_gap").field("expected_sequence", 5);
    table.row("a gap", &produce(7, 0, 6, "6\n"), &gap.field("position", 0).field("count", 0));
    table.check();
    let expected: [&[u8]; 7] = [b"0", b"1", b"other", b"2", b"3", b"4", b"a"];
    assert_eq!(server.read_all("a"), expected);
}

/// Regression test: the answer was 200 with `count` 0, and the records were lost.
#[test]
fn other_records_with_a_used_sequence_are_refused() {
    let mut server = TestServer::with_log("a");
    let reused = || error(409, "sequence_reused").field("position", 0).field("count", 0);
    let mut table = Table::of(&server);
    table.row("lines", &produce(7, 0, 0, "0\n1\n"), &gives(200).body(written_json(2, 2)));
    table.row("other lines", &produce(7, 0, 0, "0\nx\n"), &reused().says("sequence 0"));
    table.row("with new lines", &produce(7, 0, 0, "x\n1\n2\n"), &reused());
    table.row("a higher epoch", &produce(7, 1, 0, "x\n1\n"), &reused());
    let one = |body: &str| {
        let request = write_one("a", body).header("X-Styx-Producer", 8);
        request.header("X-Styx-Sequence", 0)
    };
    table.row("one record", &one("paid 10"), &gives(200).body(written_json(3, 1)));
    table.row("another record", &one("paid 11"), &reused());
    table.row("the same record", &one("paid 10"), &gives(200).body(written_json(3, 0)));
    table.row("continued", &produce(7, 0, 0, "0\n1\n2\n"), &gives(200).body(written_json(4, 1)));
    table.check();

    server.kill();
    server.restart();
    let mut table = Table::of(&server);
    table.row("after a crash", &produce(7, 0, 0, "0\nx\n"), &reused());
    table.row("another record after it", &one("paid 11"), &reused());
    table.check();
    assert_eq!(server.read_all("a"), [&b"0"[..], b"1", b"paid 10", b"2"]);
}

#[test]
fn a_higher_epoch_fences_a_lower_one() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let wrote = |end, count| gives(200).body(written_json(end, count));
    table.row("epoch 1", &produce(7, 1, 0, "0\n"), &wrote(1, 1));
    table.row("epoch 2", &produce(7, 2, 1, "1\n"), &wrote(2, 1));
    let fenced = error(409, "producer_fenced").field("position", 0).field("count", 0);
    table.row("epoch 1 again", &produce(7, 1, 2, "late\n"), &fenced);
    table.row("epoch 2 continues", &produce(7, 2, 2, "2\n"), &wrote(3, 1));
    table.row("a repetition across epochs", &produce(7, 3, 0, "0\n"), &wrote(1, 0));
    table.check();
    assert_eq!(server.read_all("a"), [b"0", b"1", b"2"]);
}

#[test]
fn producers_are_remembered_across_a_crash_and_a_stop() {
    let mut server = TestServer::with_log("a");
    let wrote = |answer: styx_tests::Response| api::written(&answer.expect(200)).expect("written");
    let first = wrote(server.ask(&produce(7, 3, 0, "0\n1\n2\n")));
    server.kill();
    server.restart();
    let again = wrote(server.ask(&produce(7, 3, 0, "0\n1\n2\n")));
    assert_eq!((again.position, again.count), (first.position, 0));
    let _ = server.ask(&produce(7, 2, 3, "x\n")).expect_error(409, "producer_fenced");
    let _ = server.stop();
    server.restart();
    let again = wrote(server.ask(&produce(7, 3, 2, "2\n3\n")));
    assert_eq!((again.position, again.count), (4, 1));
    assert_eq!(server.read_all("a"), [b"0", b"1", b"2", b"3"]);
}

#[test]
fn producers_are_remembered_after_their_segments_expired() {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=5&log_max_count=5");
    let _ = server.ask(&produce(7, 0, 0, "0\n1\n")).expect(200);
    for _ in 0..30 {
        server.append("a", "filler");
    }
    wait::until_true("the blocks to go", Duration::from_secs(10), || {
        server.info("a")["start_position"].as_u64() > Some(2)
    });
    server.kill();
    server.restart();
    let again = server.ask(&produce(7, 0, 0, "0\n1\n2\n")).expect(200);
    assert_eq!(api::written(&again).expect("written").count, 1, "{}", again.shown());
}

#[test]
fn invalid_producer_headers_are_rejected() {
    let server = TestServer::with_log("a");
    let mut table = Table::of(&server);
    let bad = error(400, "invalid_params");
    let line = || Request::post("/logs/a/records").typed(LINES, "x\n");
    let named = |name: &str, value: &str| {
        let value_or = |header: &str, usual: &str| {
            if header == name { value.to_owned() } else { usual.to_owned() }
        };
        line()
            .header("X-Styx-Producer", value_or("Producer", "7"))
            .header("X-Styx-Epoch", value_or("Epoch", "0"))
            .header("X-Styx-Sequence", value_or("Sequence", "0"))
    };
    for name in ["Producer", "Epoch", "Sequence"] {
        for value in ["", "x", "-1", "7\u{a0}", "99999999999999999999"] {
            let request = named(name, value);
            table.row(&format!("{name} {value}"), &request, &bad.clone().says(name));
        }
    }
    table.row("producer 0", &named("Producer", "0"), &bad);
    table.row("epoch over 32 bits", &named("Epoch", "4294967296"), &bad);
    let alone = line().header("X-Styx-Producer", 7);
    table.row("no sequence", &alone, &bad.says("Sequence"));
    table.check();
    assert_eq!(server.info("a")["end_position"], 0);
}

#[test]
fn a_request_with_another_log_id_is_rejected() {
    let server = TestServer::with_log("a");
    server.append("a", "x");
    let id = server.log_id("a");
    let other = "0123456789abcdef0123456789abcdef";
    let mut table = Table::of(&server);
    let requests: [(&str, Request); 7] = [
        ("get", Request::get("/logs/a")),
        ("read one", Request::get("/logs/a/records")),
        ("read many", api::read_lines("a", "")),
        ("write", write_one("a", "y")),
        ("backup", Request::get("/logs/a/backup")),
        ("trim", Request::post("/logs/a/trim?position=0")),
        ("truncate", Request::post("/logs/a/truncate")),
    ];
    for (name, request) in &requests {
        let wrong = request.clone().header("X-Styx-Log-Id", other);
        let mut changed = error(409, "log_changed").with("X-Styx-Log-Id", &id);
        if *name == "write" {
            // A rejected write says what it appended.
            changed = changed.field("position", 0).field("count", 0);
        }
        table.row(&format!("{name}, another id"), &wrong, &changed);
        let regressed = gives(409).with("X-Styx-Log-Id", &id);
        let ahead = request.clone().header("X-Styx-Log-Id", &id).header("X-Styx-Known-End", 9);
        let answer = table.row(&format!("{name}, known end 9"), &ahead, &regressed);
        assert_eq!(answer.code(), "log_end_regressed", "{}", answer.shown());
        let garbage = request.clone().header("X-Styx-Log-Id", "garbage");
        table.row(&format!("{name}, no id"), &garbage, &error(400, "invalid_params"));
        let garbage = request.clone().header("X-Styx-Known-End", "x");
        table.row(&format!("{name}, no end"), &garbage, &error(400, "invalid_params"));
    }
    let delete = Request::delete("/logs/a").header("X-Styx-Log-Id", other);
    table.row("delete, another id", &delete, &error(409, "log_changed"));
    for (name, request) in requests {
        let right = request.header("X-Styx-Log-Id", &id).header("X-Styx-Known-End", 1);
        table.row(&format!("{name}, right"), &right, &gives(200).with("X-Styx-Log-Id", "*"));
    }
    table.check();
    assert_ne!(server.log_id("a"), id, "the last row truncated the log");
    let stale = write_one("a", "z").header("X-Styx-Log-Id", &id);
    let _ = server.ask(&stale).expect_error(409, "log_changed");
}

#[test]
fn every_response_about_a_log_carries_its_id() {
    let server = TestServer::with_log("a");
    server.append("a", "x");
    let id = server.log_id("a");
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let mut table = Table::of(&server);
    for (status, request) in [
        (200, Request::get("/logs/a")),
        (200, Request::get("/logs/a?details=true")),
        (200, Request::get("/logs/a/records")),
        (200, api::read_binary("a", "")),
        (200, write_one("a", "y")),
        (200, write_one("a", "")),
        (200, Request::get("/logs/a/backup")),
        (416, Request::get("/logs/a/records?position=99")),
        (400, api::read_binary("a", "whence=sideways")),
        (409, write_one("a", "y").header("X-Styx-Expected-Position", 99)),
    ] {
        table.row(&format!("{request:?}"), &request, &gives(status).with("X-Styx-Log-Id", &id));
    }
    table.check();
    let _ = server.ask(&Request::delete("/logs/a")).expect(200);
    server.create("a");
    assert_ne!(server.log_id("a"), id, "another log under the same name");
}
