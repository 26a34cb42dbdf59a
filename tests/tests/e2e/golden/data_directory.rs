//! The committed data directory is opened, and the committed backups are restored.
//!
//! A log forgets a producer after a week, so the clock of these servers is a minute after the last
//! committed record.

use std::sync::Arc;

use serde_json::Value;
use styx_protocol::Code;
use styx_tests::api::now_us;
use styx_tests::cli::{run, styx};
use styx_tests::clock::WrongClock;
use styx_tests::styx1::{block_of, produce, run as positions};
use styx_tests::{Request, Scratch, TestServer};

use super::Golden;
use super::description::describe;
use super::write::{CURSORS, PRODUCER, PRODUCER_BLOCKS, payloads_of, set_cursor};

/// The content of the logs.
fn expected(golden: Golden) -> serde_json::Map<String, Value> {
    let expected = golden.json("expected.json");
    expected["logs"].as_object().expect("logs by name").clone()
}

/// Starts a server at the time of the recording.
fn start_in(scratch: &Arc<Scratch>, golden: Golden) -> TestServer {
    let logs = expected(golden);
    let blocks = logs.values().flat_map(|log| log["blocks"].as_array().expect("blocks"));
    let times = blocks.map(|block| block["timestamp_us"].as_i64().expect("a time"));
    let last_us = times.max().expect("one block");
    let clock = WrongClock::new(scratch);
    clock.set_offset((last_us - now_us().cast_signed()) / 1_000_000 + 60);
    clock.settings().start_in(Arc::clone(scratch)).expect("it starts")
}

/// Compares everything of a log that was recorded. A later version may add to the description.
#[track_caller]
fn is_as_recorded(server: &TestServer, log: &str, recorded: &Value) {
    let found = describe(server, log);
    for (field, value) in recorded.as_object().expect("fields") {
        match value.as_object() {
            Some(config) => {
                for (key, value) in config {
                    assert_eq!(&found[field][key], value, "{field}.{key} of {log}");
                }
            }
            None => assert_eq!(&found[field], value, "{field} of {log}"),
        }
    }
}

/// Checks that the log still knows its producers: what they sent again is not appended again.
#[track_caller]
fn knows_its_producers(server: &TestServer, log: &str) {
    let [count, blocks] = PRODUCER_BLOCKS;
    let end = server.info(log)["end_position"].clone();
    let again = || {
        let stream = produce(server, log, &format!("producer={PRODUCER}&epoch=1"));
        assert_eq!(stream.head.number("X-Styx-Next-Sequence"), count * blocks);
        stream
    };
    let last = count * (blocks - 1);
    let mut stream = again();
    stream.send_blocks(&[block_of(PRODUCER, 1, last, &payloads_of(blocks - 1))]);
    assert_eq!(stream.acked(count), [positions(last, count as u32)]);
    let mut stream = again();
    stream.send_blocks(&[block_of(PRODUCER, 1, last, &payloads_of(blocks))]);
    let _ = stream.fails_with(Code::SequenceReused);
    assert_eq!(server.info(log)["end_position"], end);
    let fenced = produce(server, log, &format!("producer={}&epoch=2", PRODUCER + 1));
    assert_eq!(fenced.head.number("X-Styx-Next-Sequence"), 2);
}

/// Checks that the cursors are as recorded, and that their versions continue.
#[track_caller]
fn keeps_its_cursors(server: &TestServer, log: &str, recorded: &Value) {
    let Some(cursors) = recorded["cursors"].as_array() else { return };
    assert_eq!(describe(server, log)["cursors"], recorded["cursors"]);
    let version = |cursor: &Value| cursor["version"].as_u64().expect("a version");
    let newest = cursors.iter().map(version).max().expect("there are cursors");
    let current: Vec<_> = cursors.iter().filter(|one| one["is_of_this_log"] == true).collect();
    assert_eq!(current.len(), 2);
    for cursor in current {
        let name = cursor["cursor"].as_str().expect("a name");
        let position = cursor["position"].as_u64().expect("a position");
        let set =
            |version: u64| set_cursor(name, position).header("If-Match", format!("\"{version}\""));
        let _ = server.ask(&set(version(cursor) + 1)).expect_error(412, "cursor_taken");
        let set = server.ask(&set(version(cursor))).expect(200).json();
        assert!(version(&set) > newest, "{set}");
    }
}

#[test]
fn data_directory_of_an_earlier_version_is_opened_read_and_continued() {
    Golden::all().for_each(open_read_and_continue);
}

fn open_read_and_continue(golden: Golden) {
    let scratch = Arc::new(Scratch::new("golden"));
    golden.unpack_data(scratch.path());
    let data = scratch.join("data").display().to_string();
    let report = run(styx(&["verify", &data]), b"").expect_text();
    let logs = expected(golden);
    assert_eq!(report.matches(": ok, ").count(), logs.len(), "{report}");

    let mut server = start_in(&scratch, golden);
    for (log, recorded) in &logs {
        is_as_recorded(&server, log, recorded);
    }
    knows_its_producers(&server, "producers");
    let ends = |server: &TestServer| -> Vec<u64> {
        logs.keys().map(|log| server.info(log)["end_position"].as_u64().expect("one")).collect()
    };
    let before = ends(&server);
    for (log, end) in logs.keys().zip(&before) {
        assert_eq!(server.append(log, "one more"), end + 1);
    }
    server.kill();
    server.restart();
    for (log, end) in logs.keys().zip(&before) {
        assert_eq!(server.read_from(log, *end), [b"one more"], "{log}");
    }
    knows_its_producers(&server, "producers");
    if let Some(recorded) = logs.get(CURSORS) {
        keeps_its_cursors(&server, CURSORS, recorded);
    }
}

#[test]
fn backups_of_an_earlier_version_are_restored() {
    Golden::all().for_each(restore);
}

/// The expected content of a restored log: its cursors are those of its current id.
fn restored(recorded: &Value) -> Value {
    let mut restored = recorded.clone();
    if let Some(cursors) = restored.get_mut("cursors").and_then(Value::as_array_mut) {
        cursors.retain(|cursor| cursor["is_of_this_log"] == true);
    }
    restored
}

fn restore(golden: Golden) {
    let server = start_in(&Arc::new(Scratch::new("golden-backups")), golden);
    let logs = expected(golden);
    for (log, archive) in golden.backups() {
        let recorded = restored(&logs[&log]);
        let _ = server.restore(&log, archive).expect(200);
        is_as_recorded(&server, &log, &recorded);
        if log == "producers" {
            knows_its_producers(&server, &log);
        }
        // This version writes a backup with the same content.
        let _ = server.restore("again", server.backup(&log)).expect(200);
        is_as_recorded(&server, "again", &recorded);
        let _ = server.ask(&Request::delete("/logs/again")).expect(200);
        if log == CURSORS {
            keeps_its_cursors(&server, &log, &recorded);
        }
    }
}
