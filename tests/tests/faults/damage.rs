//! Damage on the disk: it is reported with its position, never repaired by truncation,
//! and other logs continue.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use styx_tests::api::{read_binary, unbinary, write_one};
use styx_tests::damage::{entries, flip_bit, segments};
use styx_tests::http::Ending;
use styx_tests::{Request, Settings, Table, TestServer, cli, error, gives};

/// A server whose log `a` has 40 records in segments of 10, and is stopped.
fn stopped() -> TestServer {
    let mut server = TestServer::start();
    server.create_with("a", "segment_max_count=10");
    server.create("other");
    for number in 0..40 {
        server.append("a", payload(number));
    }
    server.append("other", "well");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    server
}

/// The record at a position, from 0 to 39.
fn payload(position: u64) -> Vec<u8> {
    format!("this is record number {position}").into_bytes()
}

#[test]
fn a_flipped_bit_in_an_old_segment_is_reported_at_its_position() {
    let mut server = stopped();
    let (path, _) = flip_bit(&server.data().join("a"), b"record number 14");
    server.restart();
    let mut table = Table::of(&server);
    let one = |position: u64| Request::get(&format!("/logs/a/records?position={position}"));
    let corrupt = error(500, "corrupt_record").field("position", 14);
    table.row("the damaged record", &one(14), &corrupt);
    for position in [0, 9, 20, 39] {
        table.row("an intact record", &one(position), &gives(200).body(payload(position)));
    }
    let mut reader = server.open_read(&read_binary("a", ""));
    let (body, ending) = reader.body().expect("a partial body");
    assert_eq!(ending, Ending::Cut, "the response must not look complete");
    let expected: Vec<_> = (0..14).map(payload).collect();
    assert_eq!(unbinary(&body), expected, "the intact records before the damage");
    let after: Vec<_> = (15..40).map(payload).collect();
    assert_eq!(server.read_from("a", 15), after, "the intact records after the damage");
    let well = Request::get("/logs/other/records");
    table.row("another log", &well, &gives(200).body("well"));
    table.check();
    let other = server.append("other", "goes on");
    assert_eq!(other, 2);
    let size = std::fs::metadata(&path).expect("a segment").len();
    let _ = server.stop();
    assert_eq!(
        std::fs::metadata(&path).expect("a segment").len(),
        size,
        "the segment is not truncated"
    );

    let data = server.data().display().to_string();
    let verify = styx_tests::cli::run(styx_tests::cli::styx(&["verify", &data]), b"");
    assert_ne!(verify.code, 0, "{}", String::from_utf8_lossy(&verify.stdout));
    let output = String::from_utf8_lossy(&verify.stdout).into_owned() + &verify.stderr;
    let file = path.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(output.contains(&file) && output.contains("14"), "the file and the position: {output}");
}

#[test]
fn a_flipped_bit_below_the_watermark_stops_only_appends() {
    let mut server = stopped();
    flip_bit(&server.data().join("a"), b"record number 35");
    server.restart_with(Settings::default());
    let info = server.info("a");
    assert_eq!(info["status"], "corrupt", "{info}");
    let mut table = Table::of(&server);
    let refused = gives(503);
    let answer = table.row("an append", &write_one("a", "x"), &refused);
    let json = answer.json();
    assert_eq!((&json["code"], &json["status"]), (&"log_not_available".into(), &"corrupt".into()));
    assert!(json["message"].as_str().is_some_and(|m| m.contains("styx verify")), "{json}");
    let one = |position: u64| Request::get(&format!("/logs/a/records?position={position}"));
    let intact = gives(200).body("this is record number 12");
    table.row("an intact record", &one(12), &intact);
    let listed = server.ask(&Request::get("/logs")).expect(200).json();
    assert_eq!(listed[0]["status"], "corrupt");
    table.row("another log", &write_one("other", "x"), &gives(200));
    table.row("it can be truncated", &Request::post("/logs/a/truncate"), &gives(200));
    table.row("and is well again", &write_one("a", "x"), &gives(200));
    table.check();
}

#[test]
fn a_missing_segment_is_reported_as_damage() {
    let mut server = stopped();
    let second = segments(&server.data().join("a")).swap_remove(1);
    std::fs::remove_file(second).expect("it can be removed");
    server.restart();
    let mut table = Table::of(&server);
    let one = |position: u64| Request::get(&format!("/logs/a/records?position={position}"));
    table.row("a record of it", &one(12), &gives(500));
    table.row("a record before the damage", &one(5), &gives(200).body("this is record number 5"));
    let missing = server.ask(&one(12));
    assert!(["corrupt_record", "log_not_available"].contains(&missing.code().as_str()));
    table.check();
    assert_ne!(server.info("a")["status"], "ok");
}

#[test]
fn a_torn_tail_is_cut_off_and_the_rest_is_kept() {
    let mut server = stopped();
    let last = segments(&server.data().join("a")).pop().expect("a segment");
    let mut bytes = std::fs::read(&last).expect("a segment");
    bytes.extend_from_slice(b"STYXgarbage of a write that never was acknowledged");
    std::fs::write(&last, bytes).expect("it can be written");
    server.restart();
    assert_eq!(server.info("a")["status"], "ok");
    assert_eq!(server.read_all("a").len(), 40);
    assert_eq!(server.append("a", "next"), 41);
    server.kill();
    server.restart();
    assert_eq!(server.read_from("a", 40), [b"next"]);
}

#[test]
fn a_lost_index_is_rebuilt() {
    let mut server = stopped();
    let mut removed = 0;
    for path in segments(&server.data().join("a")) {
        let index = path.with_extension("idx");
        if index.exists() {
            std::fs::remove_file(index).expect("it can be removed");
            removed += 1;
        }
    }
    server.restart();
    assert_eq!(server.info("a")["status"], "ok", "{removed} index files were removed");
    for position in [0, 9, 10, 25, 39] {
        let one = Request::get(&format!("/logs/a/records?position={position}"));
        let text = format!("this is record number {position}");
        assert_eq!(server.ask(&one).expect(200).text(), text);
    }
}

#[test]
fn a_damaged_index_does_not_change_reads() {
    let mut server = stopped();
    for path in segments(&server.data().join("a")) {
        let index = path.with_extension("idx");
        if let Ok(mut bytes) = std::fs::read(&index) {
            for byte in &mut bytes {
                *byte ^= 0x5a;
            }
            std::fs::write(index, bytes).expect("it can be written");
        }
    }
    server.restart();
    assert_eq!(server.info("a")["status"], "ok");
    let records = server.read_all("a");
    let expected: Vec<_> = (0..40).map(payload).collect();
    assert_eq!(records, expected);
}

#[test]
fn a_log_with_damaged_metadata_is_listed_and_can_be_deleted() {
    let mut server = stopped();
    std::fs::write(server.data().join("a").join("log.toml"), "garbage").expect("a file");
    server.restart();
    let listed = server.ask(&Request::get("/logs")).expect(200).json();
    assert_eq!(listed[0]["name"], "a", "{listed}");
    assert_ne!(listed[0]["status"], "ok", "{listed}");
    let mut table = Table::of(&server);
    table.row("an append", &write_one("a", "x"), &gives(503));
    table.row("another log", &write_one("other", "x"), &gives(200));
    table.row("delete", &Request::delete("/logs/a"), &gives(200));
    table.row("make it anew", &Request::post("/logs").form("name=a"), &gives(200));
    table.check();
}

#[test]
fn verify_finds_nothing_wrong_in_an_intact_log() {
    let server = stopped();
    let data = server.data().display().to_string();
    let verify = styx_tests::cli::run(styx_tests::cli::styx(&["verify", &data]), b"");
    assert_eq!(verify.code, 0, "{}", verify.stderr);
}

/// Every file in a log's directory with its bytes, except the watermark, which every
/// opening changes.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else if !path.ends_with("watermark") {
            found.insert(path.clone(), std::fs::read(&path).expect("a file"));
        }
    }
    found
}

/// The steps of an operator with a damaged log and no backup: verify, dry run, repair,
/// serve.
#[test]
fn repair_keeps_the_readable_records_and_sets_the_damaged_log_aside() {
    for (keep, range) in [("longest", 15..40), ("first", 0..14)] {
        let mut server = stopped();
        let (file, _) = flip_bit(&server.data().join("a"), b"record number 14");
        let data = server.data().display().to_string();
        let run = |arguments: &[&str]| cli::run(cli::styx(arguments), b"");
        let repair = ["repair", &data, "--log", "a", "--keep", keep];

        let verify = run(&["verify", &data]);
        let output = String::from_utf8_lossy(&verify.stdout).into_owned() + &verify.stderr;
        assert_eq!(verify.code, 1, "{output}");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(output.contains(&name) && output.contains("position 14"), "{output}");

        // Without `--yes` it changes nothing.
        let log = server.data().join("a");
        let (before, id, names) = (tree(&log), id(&log), entries(&server.data()));
        let dry_run = run(&repair).expect_text();
        let lost = 40 - (range.end - range.start);
        assert!(dry_run.contains(&format!("{lost} records would be lost")), "{dry_run}");
        assert!(tree(&log) == before, "without --yes the log does not change");
        assert_eq!(entries(&server.data()), names, "without --yes no file is added");

        let done = run(&[&repair[..], &["--yes"]].concat()).expect_text();
        assert!(done.contains(&format!("{} to {} can be read: kept", range.start, range.end)));
        assert!(done.contains(&format!("{lost} records were lost")), "{done}");
        let aside: Vec<PathBuf> = entries(&server.data())
            .into_iter()
            .filter(|path| path.display().to_string().contains("/.damaged-a-"))
            .collect();
        let [aside] = &aside[..] else { panic!("expected one directory set aside: {aside:?}") };
        assert!(done.contains(&aside.display().to_string()), "the output has the path: {done}");
        let moved = |path: &PathBuf| aside.join(path.strip_prefix(&log).expect("of the log"));
        let kept: BTreeMap<_, _> =
            before.iter().map(|(p, bytes)| (moved(p), bytes.clone())).collect();
        assert!(tree(aside) == kept, "the damaged log is kept unchanged");

        assert_eq!(run(&["verify", &data]).code, 0, "the repaired log is intact");
        server.restart();
        let info = server.info("a");
        assert_eq!(info["status"], "ok", "{info}");
        assert_eq!(
            (&info["start_position"], &info["end_position"]),
            (&range.start.into(), &range.end.into())
        );
        let expected: Vec<_> = range.clone().map(payload).collect();
        assert_eq!(server.read_all("a"), expected);
        assert_ne!(server.log_id("a"), id, "a new id tells readers that the log has changed");
        assert_eq!(server.append("a", "goes on"), range.end + 1);
        assert_eq!(server.read_all("other"), [b"well"]);
        let listed = server.ask(&Request::get("/logs")).expect(200).json();
        assert_eq!(
            listed.as_array().map(Vec::len),
            Some(2),
            "the one set aside is no log: {listed}"
        );
        server.kill();
        server.restart();
        assert!(aside.is_dir(), "the directory set aside stays");
    }
}

/// The log's id in its file.
fn id(log: &Path) -> String {
    let text = std::fs::read_to_string(log.join("log.toml")).expect("a log's file");
    let line = text.lines().find(|line| line.starts_with("id")).expect("an id");
    line.split('"').nth(1).expect("a text").to_owned()
}
