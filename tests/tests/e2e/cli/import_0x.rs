//! A data directory of 0.x: refused by the server, and copied by `styx import`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use styx_tests::cli::{Done, run, styx};
use styx_tests::legacy::{golden, golden_directory, segment, small};
use styx_tests::{Scratch, Settings, TestServer, api};

fn import(old: &Path, new: &Path, more: &[&str]) -> Done {
    let mut command = styx(&["import"]);
    command.env_remove("STYX_DATA_DIRECTORY");
    command.arg(old).arg("--data-directory").arg(new).args(more);
    run(command, b"")
}

/// Every file below a directory, with its bytes and its modification time.
fn contents(directory: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let changed = path.metadata().and_then(|m| m.modified()).expect("a time");
        if path.is_dir() {
            found.extend(contents(&path));
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        found.insert(path.display().to_string(), (bytes, changed));
    }
    found
}

fn write_log(old: &Path, name: &str, files: &[styx_tests::legacy::File]) {
    std::fs::create_dir_all(old.join(name)).expect("a directory");
    for (file, bytes) in files {
        std::fs::write(old.join(name).join(file), bytes).expect("a file");
    }
}

#[test]
fn the_recorded_directory_is_copied_and_left_untouched() {
    let scratch = Arc::new(Scratch::new("import"));
    let old = golden_directory(scratch.path());
    let before = contents(&old);
    let done = import(&old, &scratch.join("data"), &[]);
    assert_eq!(done.stderr, "", "no progress bar without a terminal");
    let printed = done.expect_text();
    assert_eq!(printed, "v0: imported, 934 records in 64828 bytes, positions 300 to 1234\n");
    assert!(contents(&old) == before, "the source is unchanged");

    let server = Settings::default().start_in(scratch).expect("it can be started");
    let read = api::read_binary("v0", "whence=start");
    assert!(server.ask(&read).expect(200).body == golden("records-v0.bin"), "byte for byte");
    let info = server.info("v0");
    assert_eq!((&info["start_position"], &info["end_position"]), (&300.into(), &1234.into()));
    let details = styx_tests::Request::get("/logs/v0?details=true");
    let config = server.ask(&details).expect(200).json()["config"].clone();
    let recorded: Value = serde_json::from_slice(&golden("v0.json")).expect("JSON");
    for (field, value) in recorded["config"].as_object().expect("fields") {
        assert_eq!(&config[field], value, "{field}");
    }
    assert_eq!(server.append("v0", "goes on"), 1235);
}

#[test]
fn the_server_refuses_a_0x_directory_and_names_styx_import() {
    let scratch = Arc::new(Scratch::new("import"));
    let old = golden_directory(scratch.path());
    std::fs::rename(&old, scratch.join("data")).expect("renamed");
    let before = contents(&scratch.join("data"));
    let refusal = Settings::default().start_in(Arc::clone(&scratch)).expect_err("refused");
    assert!(refusal.output.contains("styx import"), "{refusal}");
    assert!(refusal.output.contains("--data-directory"), "{refusal}");
    assert!(contents(&scratch.join("data")) == before, "the directory is unchanged");
}

#[test]
fn damaged_logs_and_taken_names_are_reported_and_the_others_copied() {
    let scratch = Arc::new(Scratch::new("import"));
    let (old, new) = (scratch.join("old"), scratch.join("data"));
    let files = small(1_700_000_000, -1);
    write_log(&old, "good", &files);
    write_log(&old, "taken", &files);
    let mut damaged = files.clone();
    damaged[2].1[14 + 6] ^= 1;
    write_log(&old, "damaged", &damaged);
    let mut torn = files.clone();
    torn[3].1.truncate(20);
    write_log(&old, "torn", &torn);
    {
        let mut server =
            Settings::default().start_in(Arc::clone(&scratch)).expect("it can be started");
        server.create("taken");
        let running = import(&old, &new, &[]);
        assert_eq!((running.code, running.stdout.len()), (1, 0), "{}", running.stderr);
        assert!(running.stderr.contains("in use by process"), "{}", running.stderr);
        let _ = server.stop();
    }
    let before = contents(&old);
    let done = import(&old, &new, &["-f", "json"]);
    assert_eq!(done.code, 1);
    assert_eq!(done.stderr, "Error: 3 of 4 logs were not imported\n");
    let json: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let log = |name: &str| {
        let logs = json["logs"].as_array().expect("a list");
        logs.iter().find(|log| log["name"] == name).expect("the log is in the list").clone()
    };
    let path = |name: &str, position: u64, offset: u64| {
        old.join(name)
            .join(segment(position, offset, 1_700_000_000, "records"))
            .display()
            .to_string()
    };
    assert_eq!((&log("good")["imported"], &log("good")["records"]), (&true.into(), &6.into()));
    let place = |log: Value| (log["file"].clone(), log["offset"].clone(), log["position"].clone());
    let expected = (path("damaged", 6, 128).into(), 14.into(), 7.into());
    assert_eq!(place(log("damaged")), expected);
    assert_eq!(place(log("torn")), (path("torn", 8, 156).into(), 14.into(), 9.into()));
    assert!(log("taken")["message"].as_str().is_some_and(|m| m.contains("already exists")));
    assert!(contents(&old) == before, "the source is unchanged");

    let server: TestServer = Settings::default().start_in(scratch).expect("it can be started");
    let logs = server.ask(&styx_tests::Request::get("/logs")).expect(200).json();
    let names: Vec<_> = logs.as_array().expect("a list").iter().map(|l| &l["name"]).collect();
    assert_eq!(names, ["good", "taken"]);
    assert_eq!(server.info("taken")["end_position"], 0, "the existing log is unchanged");
    assert_eq!(server.read_all("good").len(), 6);
}

#[test]
fn exit_codes_distinguish_misuse_from_failure() {
    let scratch = Scratch::new("import");
    let old = golden_directory(scratch.path());
    let new = scratch.join("new");
    let help = run(styx(&["import", "--help"]), b"");
    assert!(help.code == 0 && help.stderr.contains("--data-directory"), "{}", help.stderr);
    assert_eq!(run(styx(&["import"]), b"").code, 2);
    assert_eq!(import(&old, &new, &["--log", "no.name"]).code, 2);
    for (from, to, log, why) in [
        (&old, &new, "w1", "contains no log w1"),
        (&scratch.join("nowhere"), &new, "v0", "cannot list"),
        (&old.join("v0"), &new, "v0", "single log"),
        (&old, &old.join("new"), "v0", "inside"),
    ] {
        let done = import(from, to, &["--log", log]);
        assert_eq!(done.code, 1, "{why}");
        assert!(done.stderr.starts_with("Error: ") && done.stderr.contains(why), "{}", done.stderr);
    }
    assert!(!new.exists() && !old.join("new").exists());
    let _ = import(&old, &new, &["--log", "v0"]).expect_ok();
}
