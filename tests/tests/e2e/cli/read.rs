//! `styx logs read`: --since, --until, --grep and --format json, alone and together.

use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use styx_tests::cli::{self, Done, styx};
use styx_tests::reverse_proxy::{DEFAULT_NGINX, ReverseProxy};
use styx_tests::{TestServer, transport, wait};

fn read(server: &TestServer, arguments: &[&str]) -> Done {
    server.cli(&[&["logs", "read", "a"], arguments].concat(), b"")
}

fn spawn(server: &TestServer, arguments: &[&str]) -> Child {
    let mut command = styx(&["logs", "read", "a", "-H", &server.url("")]);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(transport::administrator().map(|admin| ("STYX_TOKEN", &admin.secret)));
    command.spawn().expect("it starts")
}

/// A server with the records 0 to 9 in the log `a`.
fn server() -> TestServer {
    let server = TestServer::with_log("a");
    let records: Vec<_> = (0..10).map(|number| format!("record {number}")).collect();
    server.append_all("a", &records);
    server
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

/// A time this far from now, in RFC 3339.
fn time(after: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after the epoch");
    let seconds = (now + after).as_secs_f64().ceil() as u64;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // From days since 1970 to a date, as in Howard Hinnant's `civil_from_days`.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[test]
fn json_has_the_position_the_time_and_the_payload_of_each_record() {
    let server = TestServer::with_log("a");
    server.append_all("a", &[&b"two\nlines \"quoted\""[..], b"\xff\xfe", b""]);
    let objects = objects(&read(&server, &["-f", "json"]).expect_text());
    assert_eq!(objects.len(), 3);
    for (position, object) in objects.iter().enumerate() {
        assert_eq!(object["position"], position as u64);
        let time = object["time"].as_str().expect("a time");
        assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    }
    assert_eq!(objects[0]["payload"], "two\nlines \"quoted\"");
    assert_eq!(
        (&objects[1]["payload"], &objects[1]["payload_base64"]),
        (&Value::Null, &"//4=".into())
    );
    assert_eq!(objects[2]["payload"], "");
    for flags in [&["-b"][..], &["-l", "crlf"]] {
        let done = read(&server, &[&["-f", "json"], flags].concat());
        assert_eq!(done.code, 2, "{flags:?}: {}", done.stderr);
    }
}

#[test]
fn follower_prints_each_record_as_json_when_it_is_appended() {
    let server = server();
    let mut child = spawn(&server, &["-F", "-f", "json", "-w", "end"]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for position in 10..13_u64 {
        // Before it waits for the next record, the one before must be there.
        wait::until_true("it follows", Duration::from_secs(20), || {
            server.open_streams("styx/1") == 1
        });
        server.append("a", format!("{position}"));
        let line = lines.next().expect("a line").expect("text");
        let object: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(object["position"], position);
    }
    child.kill().expect("it runs");
    let _ = child.wait();
}

/// As in `styx logs read a -F | head -n 2`, on a log to which nothing is appended.
#[test]
fn closed_pipe_ends_a_silent_follower() {
    let server = server();
    let mut child = spawn(&server, &["-F", "-P", "8"]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for expected in ["record 8", "record 9"] {
        assert_eq!(lines.next().expect("a line").expect("text"), expected);
    }
    drop(lines);
    wait::until_true("it ends", Duration::from_secs(60), || {
        child.try_wait().expect("it was started").is_some()
    });
    assert_eq!(child.wait().expect("it has ended").code(), Some(0));
}

#[test]
fn since_and_until_select_records_by_time() {
    let server = server();
    let second = objects(&read(&server, &["-f", "json", "-P", "4", "-n", "1"]).expect_text());
    let time = second[0]["time"].as_str().expect("a time").to_owned();
    // One commit has one time.
    assert_eq!(read(&server, &["--since", &time]).expect_ok(), read(&server, &[]).expect_ok());
    assert_eq!(read(&server, &["--until", &time]).expect_text(), "");
    wait::until_true("the clock has moved", Duration::from_secs(20), || {
        server.append("a", "later");
        let all = objects(&read(&server, &["-f", "json"]).expect_text());
        all.last().is_some_and(|last| last["time"] != time.as_str())
    });
    let all = objects(&read(&server, &["-f", "json"]).expect_text());
    let first_later = all.iter().find(|object| object["time"].as_str() > Some(&time));
    let later = first_later.and_then(|object| object["time"].as_str()).expect("a time");
    let before = objects(&read(&server, &["-f", "json", "--until", later]).expect_text());
    let after = objects(&read(&server, &["-f", "json", "--since", later]).expect_text());
    assert_eq!([before.clone(), after].concat(), all);
    assert!(before.iter().all(|object| object["time"].as_str() < Some(later)));
    assert_eq!(read(&server, &["--since", "1h", "-n", "1"]).expect_text(), "record 0\n");
    assert_eq!(read(&server, &["--until", "1h"]).expect_text(), "");
    assert_eq!(read(&server, &["--since", "2999-01-01T00:00:00Z"]).expect_text(), "");
    for flags in [
        &["--since", "yesterday"][..],
        &["--until", "10"],
        &["--since", "1h", "--position", "0"],
        &["--since", "1h", "-w", "end"],
    ] {
        let done = read(&server, flags);
        assert_eq!((done.code, done.stdout.len()), (2, 0), "{flags:?}: {}", done.stderr);
    }
}

#[test]
fn follower_ends_at_the_time_of_until() {
    let server = server();
    let until = time(Duration::from_secs(2));
    let done = read(&server, &["-F", "--until", &until, "-P", "8"]);
    assert_eq!(done.expect_text(), "record 8\nrecord 9\n");
    let past = time(Duration::ZERO);
    let mut child = spawn(&server, &["-F", "--until", "1s", "-w", "end"]);
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(0), "{past}");
}

#[test]
fn grep_prints_matching_records_and_count_counts_them() {
    let server = server();
    server.append_all("a", &[&b"\xff7"[..], b"A\nB"]);
    assert_eq!(read(&server, &["--grep", "[37]$"]).expect_ok(), b"record 3\nrecord 7\n\xff7\n");
    assert_eq!(
        read(&server, &["--grep", "[37]$", "-n", "2"]).expect_text(),
        "record 3\nrecord 7\n"
    );
    assert_eq!(read(&server, &["--grep", "7", "-n", "0"]).expect_text(), "");
    assert_eq!(read(&server, &["--grep", "(?i)RECORD 5"]).expect_text(), "record 5\n");
    assert_eq!(read(&server, &["--grep", "nothing"]).expect_text(), "");
    assert_eq!(read(&server, &["--grep", "(?m)^B$"]).expect_text(), "A\nB\n");
    let binary = read(&server, &["-b", "--grep", "record 1"]).expect_ok();
    assert_eq!(binary, styx_tests::api::binary(&["record 1"]));
    let json = read(&server, &["-f", "json", "--grep", "9", "--since", "1h"]).expect_text();
    assert_eq!(objects(&json)[0]["position"], 9);
    let done = read(&server, &["--grep", "("]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("unclosed group"), "{}", done.stderr);
}

#[test]
fn grep_with_a_count_ends_a_follower() {
    let server = server();
    let mut child = spawn(&server, &["-F", "--grep", "wanted", "-n", "1"]);
    wait::until_true("it follows", Duration::from_secs(20), || server.open_streams("styx/1") == 1);
    server.append_all("a", &["other", "wanted", "wanted too"]);
    let mut text = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    assert_eq!((text.as_str(), child.wait().ok().and_then(|s| s.code())), ("wanted\n", Some(0)));
}

#[test]
fn cursor_never_passes_a_record_that_was_not_printed() {
    let server = server();
    let cursor = ["--cursor", "c"];
    let grep = ["--grep", "[2468]$", "-n", "2"];
    let read_on = || read(&server, &[&cursor[..], &grep].concat()).expect_text();
    assert_eq!(read_on(), "record 2\nrecord 4\n");
    assert_eq!(read_on(), "record 6\nrecord 8\n");
    assert_eq!(read(&server, &cursor).expect_text(), "record 9\n");
    assert_eq!(read(&server, &["--cursor", "d", "--until", "1h"]).expect_text(), "");
    assert_eq!(read(&server, &["--cursor", "d", "-n", "1"]).expect_text(), "record 0\n");
}

#[test]
fn reader_of_the_output_that_goes_away_ends_the_command_with_success() {
    let server = TestServer::with_log("a");
    server.fill("a", 4);
    for flags in [&["-f", "json"][..], &["--grep", "."], &["-f", "json", "-F", "--grep", "."]] {
        let mut child = spawn(&server, flags);
        let mut byte = [0];
        let mut stdout = child.stdout.take().expect("a pipe");
        stdout.read_exact(&mut byte).expect("output");
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{flags:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{flags:?}");
    }
}

#[test]
fn behind_a_proxy_without_upgrades_grep_and_since_work_and_others_say_what_they_need() {
    let server = server();
    let proxy = ReverseProxy::nginx(DEFAULT_NGINX, server.address());
    let url = format!("http://{}", proxy.address());
    let read = |arguments: &[&str]| {
        let mut command = styx(&["logs", "read", "a", "-H", &url]);
        command.args(arguments);
        cli::run(command, b"")
    };
    let found = read(&["--grep", "[37]$", "--since", "1h", "-n", "1"]);
    assert_eq!(found.expect_ok(), b"record 3\n");
    for flags in [&["-f", "json"][..], &["--until", "1s"]] {
        let done = read(flags);
        assert_eq!((done.code, done.stdout.len()), (1, 0), "{flags:?}: {}", done.stderr);
        assert!(done.stderr.contains("needs such a connection"), "{}", done.stderr);
    }
}
