//! `styx benchmark`: every workload runs, verifies all that it wrote, and leaves
//! nothing behind. No test checks how fast anything is.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use styx_tests::cli::{Done, run, styx};
use styx_tests::{Request, Scratch, TestServer, cli};

use crate::alone;

const WORKLOADS: [&str; 14] = [
    "produce",
    "consume",
    "catch-up",
    "lagging",
    "post",
    "get",
    "get-large-blocks",
    "paced",
    "beside-readers",
    "fan-out",
    "logs",
    "followers",
    "memory",
    "open",
];

/// Runs the release binary: without optimisation the load generator takes minutes.
fn benchmark(scratch: &Scratch, arguments: &[&str]) -> Done {
    let mut command = std::process::Command::new(styx_tests::binary::released());
    command
        .args(["benchmark", "--quick"])
        .env_remove("STYX_HOST")
        .args(arguments)
        .arg("--directory")
        .arg(scratch.path());
    run(command, b"")
}

fn is_empty(scratch: &Scratch) -> bool {
    std::fs::read_dir(scratch.path()).expect("a directory").next().is_none()
}

/// Checks the fields that every report has, and returns its results.
#[track_caller]
fn results(done: Done) -> Vec<Value> {
    let report: Value = serde_json::from_slice(&done.expect_ok()).expect("JSON");
    for key in ["styx", "server", "filesystem", "kernel", "date", "directory"] {
        assert!(report[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {report:#}");
    }
    assert!(report["cores"].as_u64() > Some(0) && report["memory_bytes"].as_u64() > Some(0));
    for when in ["before", "after"] {
        for limit in ["disk", "read", "sync", "loop", "trip"] {
            assert!(report["limits"][when][limit].as_f64() > Some(0.0), "{limit} {when}");
        }
    }
    assert!(report["moved_most"]["share"].is_number());
    assert_eq!(
        (&report["quick"], &report["valid"]),
        (&true.into(), &false.into()),
        "a quick run is not valid"
    );
    let results = report["results"].as_array().expect("results").clone();
    for result in &results {
        let (written, checked) = (result["written"].as_u64(), result["checked"].as_u64());
        assert!(written > Some(0), "{result:#}");
        assert_eq!(written, checked, "every written record is read back: {result:#}");
        let limits: &[&str] = match result["workload"].as_str() {
            Some("produce") => &["disk"],
            Some("consume") => &["loop"],
            Some("catch-up") => &["loop", "read"],
            Some("lagging") => &["disk", "loop", "read"],
            Some("paced" | "beside-readers" | "fan-out") => &["sync", "trip"],
            _ => &[],
        };
        let measured = result["limits"].as_object().expect("limits");
        assert!(measured.keys().eq(limits), "{result:#}");
        for limit in measured.values() {
            assert!(limit["before"].as_f64() > Some(0.0) && limit["after"].as_f64() > Some(0.0));
        }
        assert!(result["counts"].is_boolean(), "{result:#}");
        for figure in result["figures"].as_array().expect("figures") {
            let number = |key: &str| figure[key].as_f64().expect("a number");
            assert!(number("low") <= number("median") && number("median") <= number("high"));
            assert_eq!(figure["limit"].is_null(), figure["share"].is_null(), "{figure:#}");
        }
        assert!(!result["figures"].as_array().expect("figures").is_empty(), "{result:#}");
    }
    results
}

#[test]
fn every_workload_is_measured_verified_and_cleaned_up() {
    let _alone = alone();
    let scratch = Scratch::new("benchmark");
    let results = results(benchmark(&scratch, &["-f", "json"]));
    for workload in WORKLOADS {
        assert!(results.iter().any(|result| result["workload"] == workload), "{workload}");
    }
    let of_get: Vec<_> = results.iter().filter(|r| is_get(r)).map(|r| &r["load"]).collect();
    assert_eq!(
        of_get,
        [
            "64 connections, 1 record a request, blocks of 1 record, warm",
            "64 connections, 1 record a request, 1 MiB in blocks of 128 KiB or more"
        ],
        "each tells what it reads from"
    );
    for (protocol, payloads) in [("styx/1", 5), ("styx/0", 4), ("websocket", 4), ("http", 4)] {
        for workload in ["produce", "consume"] {
            let of = |r: &&Value| r["workload"] == workload && r["protocol"] == protocol;
            assert_eq!(results.iter().filter(of).count(), payloads, "{workload} over {protocol}");
        }
    }
    let of_catch_up: Vec<_> = results.iter().filter(|r| r["workload"] == "catch-up").collect();
    assert_eq!(of_catch_up.len(), 4 * 3, "four protocols, three sizes");
    for result in of_catch_up {
        let figures = result["figures"].as_array().expect("figures").iter();
        let shown: Vec<_> = figures.map(|figure| (&figure["name"], &figure["limit"])).collect();
        let both = Value::from("min(READ, LOOP)");
        assert_eq!(shown, [(&"just written".into(), &both), (&"dropped".into(), &both)]);
    }
    assert!(is_empty(&scratch), "no file is left");
}

fn is_get(result: &Value) -> bool {
    result["workload"].as_str().is_some_and(|workload| workload.starts_with("get"))
}

#[test]
fn an_external_server_is_measured_and_left_unchanged() {
    let _alone = alone();
    let (server, scratch) = (TestServer::start(), Scratch::new("benchmark"));
    server.create("theirs");
    let before = server.ask(&Request::get("/logs")).expect(200).body;
    let url = server.url("");
    let workloads = ["produce", "post", "get", "get-large-blocks", "catch-up", "memory"];
    let options = ["--size", "100", "-H", &url, "-f", "json"];
    let done = benchmark(&scratch, &[&workloads[..], &options[..]].concat());
    for skipped in ["memory: skipped", "catch-up 100 B over styx/1: skipped"] {
        assert!(done.stderr.contains(skipped), "{skipped}: {}", done.stderr);
    }
    let results = results(done);
    assert_eq!(results.len(), 4 + 2 + 2, "four protocols, connections twice, two kinds of blocks");
    let large = results.iter().find(|r| r["workload"] == "get-large-blocks").expect("a result");
    let figures = large["figures"].as_array().expect("figures");
    let names: Vec<_> = figures.iter().map(|figure| &figure["name"]).collect();
    assert_eq!(names, ["warm", "repeated"], "the files of another server are not dropped");
    assert_eq!(server.ask(&Request::get("/logs")).expect(200).body, before);
    assert!(is_empty(&scratch), "no file is left");
}

#[test]
fn the_table_names_the_conditions_and_marks_a_quick_run() {
    let _alone = alone();
    let scratch = Scratch::new("benchmark");
    let text = benchmark(&scratch, &["produce", "--protocol", "styx/1", "--size", "1kB"]);
    let text = text.expect_text();
    for part in
        ["styx ", "directory ", "DISK ", "READ ", "SYNC ", "LOOP ", "TRIP ", "of DISK", "QUICK: "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let listed = cli::run(styx(&["benchmark", "--list"]), b"").expect_text();
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, WORKLOADS);
}

#[test]
fn an_unreachable_server_is_reported() {
    let _alone = alone();
    let scratch = Scratch::new("benchmark");
    let done = benchmark(&scratch, &["-H", "http://127.0.0.1:1"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("is the server running?"), "{}", done.stderr);
    assert!(is_empty(&scratch), "no file is left");
}

#[test]
fn ctrl_c_leaves_no_process_and_no_file() {
    let _alone = alone();
    let scratch = Scratch::new("benchmark");
    let (mut child, mut stderr) = long_benchmark(&scratch);
    let server = the_child_of(child.id());
    kill_process(Pid::from_child(&child), Signal::INT).expect("the signal can be sent");
    assert_eq!(child.wait().expect("the process exits").code(), Some(130));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).expect("text");
    assert!(!rest.contains("panicked"), "{rest}");
    assert!(is_empty(&scratch), "no file is left");
    wait_for_the_end_of(server);
}

/// The server of a killed benchmark used to keep running, with its port, its memory
/// and the lock on its directory.
#[test]
fn kill_9_leaves_no_process_and_a_directory_that_names_its_owner() {
    let _alone = alone();
    let scratch = Scratch::new("benchmark");
    let (mut child, _stderr) = long_benchmark(&scratch);
    let server = the_child_of(child.id());
    kill_process(Pid::from_child(&child), Signal::KILL).expect("it can be killed");
    child.wait().expect("the process exits");
    wait_for_the_end_of(server);
    let names = std::fs::read_dir(scratch.path()).expect("a directory");
    let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, [format!("styx-benchmark-{}", child.id()).as_str()]);
}

/// A long benchmark whose server is running, and its remaining standard error.
fn long_benchmark(scratch: &Scratch) -> (Child, BufReader<ChildStderr>) {
    let mut command = styx(&["benchmark", "produce", "--protocol", "styx/1", "--seconds", "600"]);
    command.arg("--directory").arg(scratch.path());
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let mut stderr = BufReader::new(child.stderr.take().expect("the stream is piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("the limits are measured");
    assert!(line.starts_with("limits of the machine: DISK"), "{line}");
    (child, stderr)
}

fn wait_for_the_end_of(process: u32) {
    styx_tests::wait::until("the server's end", std::time::Duration::from_secs(30), || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

/// The only child of a process.
fn the_child_of(process: u32) -> u32 {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = std::fs::read_to_string(path).expect("/proc can be read");
    children.trim().parse().unwrap_or_else(|_| panic!("expected one child, not {children:?}"))
}
