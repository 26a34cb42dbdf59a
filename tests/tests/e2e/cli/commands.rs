//! The command line against a real server: bytes in, bytes out, exit codes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use styx_tests::api::{binary, info_json, read_binary};
use styx_tests::cli::{run, styx};
use styx_tests::proxy::Proxy;
use styx_tests::{Request, TestServer};

#[test]
fn json_output_equals_the_api_response() {
    let server = TestServer::with_log("a");
    server.append("a", "x");
    let api = |path: &str| server.ask(&Request::get(path)).expect(200).body;
    assert_eq!(server.cli(&["logs", "list", "-f", "json"], b"").expect_ok(), api("/logs"));
    assert_eq!(server.cli(&["logs", "get", "a", "-f", "json"], b"").expect_ok(), api("/logs/a"));
    let created = server.cli(&["logs", "create", "b", "--format", "json"], b"").expect_text();
    assert_eq!(created, info_json("b", 0, 0, 0, 0));
}

#[test]
fn create_passes_every_flag_on() {
    let server = TestServer::with_log("a");
    let flags = [
        ("max-record-size", "max_record_size"),
        ("index-after-size", "index_after_size"),
        ("segment-max-count", "segment_max_count"),
        ("segment-max-size", "segment_max_size"),
        ("segment-max-age", "segment_max_age"),
        ("log-max-count", "log_max_count"),
        ("log-max-size", "log_max_size"),
        ("log-max-age", "log_max_age"),
    ];
    let mut arguments = vec!["logs".to_owned(), "create".to_owned(), "b".to_owned()];
    for (number, (flag, _)) in flags.iter().enumerate() {
        arguments.extend([format!("--{flag}"), (1000 + number).to_string()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let _ = server.cli(&arguments, b"").expect_ok();
    let details = server.ask(&Request::get("/logs/b?details=true")).expect(200).json();
    for (number, (_, field)) in flags.iter().enumerate() {
        assert_eq!(details["config"][field], 1000 + number, "{field}");
    }
    let refused = server.cli(&["logs", "create", "c", "--segment-max-count", "0"], b"");
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.starts_with("Error: ") && refused.stderr.contains("segment_max_count"));
}

#[test]
fn written_records_are_read_back() {
    let server = TestServer::with_log("a");
    let write = |arguments: &[&str], input: &[u8]| {
        let written = server.cli(&[&["logs", "write", "a"], arguments].concat(), input);
        assert_eq!(written.expect_ok(), b"");
    };
    let read = |arguments: &[&str]| {
        server.cli(&[&["logs", "read", "a"], arguments].concat(), b"").expect_ok()
    };
    write(&[], b"0\n\n2");
    write(&["-l", "cr"], b"3\r4\r");
    write(&["--line-ending", "crlf"], b"5\r\n6");
    write(&["-b"], &binary(&["seven\n", ""]));
    write(&["-u"], b"9\n10\n");
    write(&["-u", "-b"], &binary(&["11", "12"]));
    write(&[], b"");
    let expected: [&[u8]; 13] =
        [b"0", b"", b"2", b"3", b"4", b"5", b"6", b"seven\n", b"", b"9", b"10", b"11", b"12"];
    assert_eq!(server.read_all("a"), expected);
    assert_eq!(read(&["-b"]), binary(&expected));
    assert_eq!(read(&["-n", "2"]), b"0\n\n");
    assert_eq!(read(&["-w", "end", "-P", "-1", "-l", "crlf"]), b"12\r\n");
    assert_eq!(read(&["--position", "5", "--count", "1", "--unbuffered"]), b"5\n");
    assert_eq!(read(&["-w", "start", "-P=9", "-n1", "-l=cr"]), b"9\r");
    assert_eq!(read(&["-w", "end"]), b"");
    assert_eq!(read(&["-n", "0"]), b"");
}

#[test]
fn a_follower_prints_records_as_they_arrive() {
    let server = TestServer::with_log("a");
    server.append("a", "old");
    let mut command = styx(&["logs", "read", "a", "-F", "-n", "4", "-H", &server.url("")]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it can be started");
    let mut lines = BufReader::new(child.stdout.take().expect("the stream is piped")).lines();
    let mut next = || lines.next().expect("a line").expect("a line");
    assert_eq!(next(), "old");
    for number in 1..=3 {
        server.append("a", format!("{number}"));
        assert_eq!(next(), number.to_string());
    }
    assert!(child.wait().expect("the process exits").success(), "the reader exits after its count");
}

#[test]
fn a_writer_on_a_slow_pipe_exits_only_after_its_records_are_durable() {
    let mut server = TestServer::with_log("a");
    let mut command = styx(&["logs", "write", "a", "-H", &server.url("")]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it can be started");
    let mut stdin = child.stdin.take().expect("the stream is piped");
    stdin.write_all(b"one\ntw").expect("it can be written");
    styx_tests::wait::until_true("the first record", std::time::Duration::from_secs(10), || {
        server.info("a")["end_position"] == 1
    });
    stdin.write_all(b"o\n").expect("it can be written");
    drop(stdin);
    assert!(child.wait().expect("the process exits").success());
    server.kill();
    server.restart();
    assert_eq!(server.read_all("a"), [b"one", b"two"]);
}

#[test]
fn backup_and_restore_work_through_pipes() {
    let server = TestServer::with_log("a");
    let records: Vec<String> = (0..500).map(|n| format!("record {n}")).collect();
    server.append_all("a", &records);
    let archive = server.cli(&["logs", "backup", "a"], b"").expect_ok();
    assert_eq!(server.cli(&["logs", "restore", "b"], &archive).expect_ok(), b"");
    assert_eq!(server.read_all("b"), server.read_all("a"));
    let bad = server.cli(&["logs", "restore", "c"], b"garbage");
    assert_eq!((bad.code, bad.stdout.as_slice()), (1, &b""[..]), "{}", bad.stderr);
    let again = server.cli(&["logs", "restore", "b"], &archive);
    assert_eq!(again.code, 1, "{}", again.stderr);
}

#[test]
fn a_failed_write_reports_an_error_and_keeps_earlier_records() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=108");
    let long = "x".repeat(101);
    let done = server.cli(&["logs", "write", "a", "-u"], format!("ok\n{long}\nno\n").as_bytes());
    assert_eq!(done.code, 1);
    assert!(done.stderr.starts_with("Error: "), "{}", done.stderr);
    assert_eq!(server.read_all("a"), [b"ok"]);
}

#[test]
fn an_unreachable_server_exits_1_and_misuse_exits_2() {
    let nobody = ["-H", "http://127.0.0.1:1"];
    for command in ["list", "get a", "create a", "delete a", "read a", "write a", "backup a"] {
        let words: Vec<&str> = command.split(' ').collect();
        let done = run(styx(&[&["logs"], &words[..], &nobody].concat()), b"x\n");
        assert_eq!(done.code, 1, "{command}: {}", done.stderr);
        assert!(done.stderr.starts_with("Error: "), "{command}: {}", done.stderr);
        assert!(done.stdout.is_empty(), "{command}");
    }
    for misuse in ["logs get", "logs read", "logs read a -n x", "logs list -f xml", "nonsense", ""]
    {
        let words: Vec<&str> = misuse.split(' ').filter(|w| !w.is_empty()).collect();
        let done = run(styx(&words), b"");
        assert_eq!(done.code, 2, "{misuse}: {}", done.stderr);
        assert!(done.stderr.to_lowercase().contains("usage"), "{misuse}: {}", done.stderr);
    }
}

#[test]
fn a_read_into_a_closed_pipe_exits_quietly() {
    let server = TestServer::with_log("a");
    server.append_all("a", &vec!["x".repeat(100); 50_000]);
    let mut command = styx(&["logs", "read", "a", "-H", &server.url("")]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("the stream is piped"));
    stdout.read_line(&mut first).expect("a line");
    drop(stdout);
    let output = child.wait_with_output().expect("the process exits");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(output.status.code(), Some(0), "like `styx logs read a | head -1`: {stderr}");
    assert_eq!(server.ask(&read_binary("a", "count=1")).expect(200).body.len(), 104);
}

/// The server's port changes with a restart; the proxy's does not.
#[test]
fn a_follower_continues_after_the_server_is_killed_and_restarted() {
    let mut server = TestServer::with_log("a");
    let proxy = Proxy::start(server.address(), 1);
    let mut command = styx(&["logs", "read", "a", "-F"]);
    command.args(["-H", &format!("http://{}", proxy.address())]);
    let mut follower = command.stdout(Stdio::piped()).spawn().expect("it can be started");
    let mut lines = BufReader::new(follower.stdout.take().expect("the stream is piped")).lines();
    for number in 0..5 {
        let text = format!("record {number}");
        server.append("a", text.as_str());
        assert_eq!(lines.next().expect("a line").expect("text"), text);
        server.kill();
        server.restart();
        proxy.forward_to(server.address());
    }
    follower.kill().expect("the process is running");
    follower.wait().expect("the process exits");
}

#[test]
fn a_write_continues_after_the_server_is_killed_and_restarted() {
    let mut server = TestServer::with_log("a");
    let proxy = Proxy::start(server.address(), 1);
    let mut command = styx(&["logs", "write", "a"]);
    command.args(["-H", &format!("http://{}", proxy.address())]);
    let mut writer = command.stdin(Stdio::piped()).spawn().expect("it can be started");
    let mut input = writer.stdin.take().expect("the stream is piped");
    let mut expected = Vec::new();
    for round in 0..3 {
        for number in 0..5000 {
            let line = format!("round {round}, line {number}");
            writeln!(input, "{line}").expect("the writer reads its input");
            expected.push(line.into_bytes());
        }
        server.kill();
        server.restart();
        proxy.forward_to(server.address());
    }
    drop(input);
    assert!(writer.wait().expect("the process exits").success());
    assert!(server.read_all("a") == expected, "each line is stored once and in order");
}

#[test]
fn a_write_with_a_producer_id_can_be_repeated() {
    let server = TestServer::with_log("a");
    let lines: Vec<String> = (0..3000).map(|number| format!("line {number}\n")).collect();
    let write = |lines: &[String]| {
        let arguments = ["logs", "write", "a", "--producer-id", "7", "-c", "lz4"];
        let _ = server.cli(&arguments, lines.concat().as_bytes()).expect_ok();
    };
    write(&lines[..1000]);
    write(&lines);
    write(&lines);
    let stored = server.cli(&["logs", "read", "a"], b"").expect_text();
    assert!(stored == lines.concat(), "each line is stored once and in order");
}

#[test]
fn an_address_without_a_scheme_is_a_styx_address() {
    let server = TestServer::with_log("a");
    let address = server.address().to_string();
    let by_flag = styx(&["-H", &address, "logs", "get", "a", "-f", "json"]);
    assert_eq!(run(by_flag, b"").expect_text(), info_json("a", 0, 0, 0, 0));
    let mut by_variable = styx(&["logs", "get", "a", "-f", "json"]);
    by_variable.env("STYX_HOST", &address);
    assert_eq!(run(by_variable, b"").expect_text(), info_json("a", 0, 0, 0, 0));
}
