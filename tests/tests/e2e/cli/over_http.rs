//! The command line behind a proxy that does not pass on HTTP upgrades: nginx without settings.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use styx_tests::api::binary;
use styx_tests::cli::{self, Done, styx};
use styx_tests::proxy::{LinkFaults, Proxy};
use styx_tests::reverse_proxy::{DEFAULT_NGINX, ReverseProxy};
use styx_tests::{TestServer, wait};

fn nginx(server: &TestServer) -> (ReverseProxy, String) {
    let proxy = ReverseProxy::nginx(DEFAULT_NGINX, server.address());
    let url = format!("http://{}", proxy.address());
    (proxy, url)
}

/// Checks for success and for the one warning about the proxy. Returns the output.
#[track_caller]
fn warned(done: Done, parts: &[&str]) -> Vec<u8> {
    let stderr = &done.stderr;
    assert!(stderr.starts_with("Warning: ") && stderr.lines().count() == 1, "{stderr}");
    for part in [&["200 instead of 101", "over plain HTTP"], parts].concat() {
        assert!(stderr.contains(part), "no {part:?} in {stderr}");
    }
    done.expect_ok()
}

fn spawn(arguments: &[&str]) -> Child {
    let mut command = styx(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("it can be started")
}

#[test]
fn records_are_written_and_read_with_every_flag() {
    let server = TestServer::with_log("a");
    let (_proxy, url) = nginx(&server);
    let write = |arguments: &[&str], input: &[u8]| {
        let arguments = [&["logs", "write", "a", "-H", &url], arguments].concat();
        assert_eq!(warned(cli::run(styx(&arguments), input), &["are appended"]), b"");
    };
    let read = |arguments: &[&str]| {
        let arguments = [&["logs", "read", "a", "-H", &url], arguments].concat();
        warned(cli::run(styx(&arguments), b""), &["are read"])
    };
    write(&[], b"0\n\n2");
    write(&["-l", "crlf"], b"3\r\n4");
    write(&["-b"], &binary(&["five\n", ""]));
    write(&["-u"], b"7\n8\n");
    write(&[], b"");
    let expected: [&[u8]; 9] = [b"0", b"", b"2", b"3", b"4", b"five\n", b"", b"7", b"8"];
    assert_eq!(server.read_all("a"), expected);
    assert_eq!(read(&["-b"]), binary(&expected));
    assert_eq!(read(&["-n", "2"]), b"0\n\n");
    assert_eq!(read(&["-w", "end", "-P", "-1", "-l", "crlf"]), b"8\r\n");
    assert_eq!(read(&["-w", "start", "-P=3", "-n1", "-u"]), b"3\n");
    assert_eq!(read(&["-w", "time", "-P", "0", "-n", "1"]), b"0\n");
    assert_eq!(read(&["-w", "end"]), b"");
    assert_eq!(read(&["-n", "0"]), b"");
    assert_eq!(read(&["-F", "-n", "3"]), b"0\n\n2\n");
    assert_eq!(read(&["-F", "-n", "0"]), b"");
}

#[test]
fn many_and_large_records_are_written_and_read() {
    let server = TestServer::with_log("a");
    let (_proxy, url) = nginx(&server);
    let mut records: Vec<Vec<u8>> = (0..200_000u32).map(|n| n.to_string().into_bytes()).collect();
    // Larger than a request is otherwise, but not than nginx allows by default.
    records.push(vec![b'x'; 1_000_000]);
    records.extend(vec![Vec::new(); 200_000]);
    let bytes = binary(&records);
    let write = ["logs", "write", "a", "-b", "-H", &url, "-c", "lz4"];
    let _ = warned(cli::run(styx(&write), &bytes), &["--compression has no effect"]);
    let read = styx(&["logs", "read", "a", "-b", "-H", &url]);
    assert!(warned(cli::run(read, b""), &[]) == bytes, "other records");
}

#[test]
fn write_with_a_producer_id_is_repeated() {
    let server = TestServer::with_log("a");
    let (_proxy, url) = nginx(&server);
    let lines: Vec<String> = (0..30_000).map(|number| format!("line {number}\n")).collect();
    let write = |lines: &[String], url: &str| {
        let write = styx(&["logs", "write", "a", "--producer-id", "7", "-H", url]);
        let _ = cli::run(write, lines.concat().as_bytes()).expect_ok();
    };
    write(&lines[..500], &url);
    write(&lines[..1000], &server.url(""));
    write(&lines[..20_000], &url);
    write(&lines, &server.url(""));
    write(&lines, &url);
    let stored = server.cli(&["logs", "read", "a"], b"").expect_text();
    assert!(stored == lines.concat(), "each line is stored once and in order");
}

#[test]
fn errors_are_those_of_a_direct_connection() {
    let server = TestServer::start();
    server.create_with("a", "max_record_size=108");
    let (_proxy, url) = nginx(&server);
    let long = format!("ok\n{}\n", "x".repeat(101)).into_bytes();
    for (arguments, input, warns) in [
        (&["logs", "read", "none"][..], &b""[..], false),
        (&["logs", "write", "none"], b"", false),
        (&["logs", "read", "a", "-P", "5"], b"", false),
        (&["logs", "read", "a", "-P", "5", "-F"], b"", false),
        (&["logs", "write", "a"], &long, true),
    ] {
        let direct = server.cli(arguments, input);
        let behind = cli::run(styx(&[arguments, &["-H", &url]].concat()), input);
        assert_eq!((direct.code, behind.code), (1, 1), "{arguments:?}: {}", behind.stderr);
        let error = behind.stderr.lines().last().unwrap_or_default();
        assert_eq!(direct.stderr.trim_end(), error, "{arguments:?}");
        assert_eq!(behind.stderr.starts_with("Warning: "), warns, "{arguments:?}");
    }
    assert_eq!(server.read_all("a"), [b"ok", b"ok"]);
}

#[test]
fn log_that_is_truncated_ends_a_follower_with_an_error() {
    let server = TestServer::with_log("a");
    let (_proxy, url) = nginx(&server);
    server.append("a", "old");
    let mut follower = styx(&["logs", "read", "a", "-F", "-H", &url]);
    follower.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = follower.spawn().expect("it can be started");
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("the stream is piped"));
    stdout.read_line(&mut first).expect("a line");
    let _ = server.cli(&["logs", "truncate", "a"], b"").expect_ok();
    server.append("a", "new");
    let output = child.wait_with_output().expect("the process exits");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.lines().last().is_some_and(|line| line.starts_with("Error: ")), "{stderr}");
    let mut rest = String::new();
    stdout.read_line(&mut rest).expect("the end");
    assert_eq!((first.as_str(), rest.as_str()), ("old\n", ""), "no record of another log");
}

#[test]
fn write_over_http_on_a_faulty_network_appends_each_line_once() {
    let server = TestServer::with_log("a");
    let (nginx, _) = nginx(&server);
    let network = Proxy::start(nginx.address(), 1);
    let url = format!("http://{}", network.address());
    let mut writer = spawn(&["logs", "write", "a", "-H", &url]);
    let mut input = writer.stdin.take().expect("the stream is piped");
    let mut expected = vec![b"first".to_vec()];
    writeln!(input, "first").expect("the writer reads its input");
    wait::until_true("the first record", Duration::from_secs(20), || {
        server.info("a")["end_position"] == 1
    });
    network.inject(Some(LinkFaults::frequent()));
    for number in 0..60_000 {
        let line = format!("line {number} {}", "x".repeat(40));
        writeln!(input, "{line}").expect("the writer reads its input");
        expected.push(line.into_bytes());
    }
    drop(input);
    assert!(writer.wait().expect("the process exits").success());
    assert!(network.cuts() > 0, "the test proves nothing");
    assert!(server.read_all("a") == expected, "each line is stored once and in order");
}

#[test]
fn reads_over_http_on_a_faulty_network_have_no_gap_and_no_repetition() {
    let server = TestServer::with_log("a");
    let (nginx, _) = nginx(&server);
    let network = Proxy::start(nginx.address(), 2);
    let url = format!("http://{}", network.address());
    server.append("a", "first");
    let mut follower = spawn(&["logs", "read", "a", "-F", "-n", "20301", "-H", &url]);
    let stdout = follower.stdout.take().expect("the stream is piped");
    let mut lines = BufReader::new(stdout).lines().map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("first"));
    network.inject(Some(LinkFaults::frequent()));
    for number in 0..300 {
        server.append("a", number.to_string());
        assert_eq!(lines.next(), Some(number.to_string()));
    }
    let many: Vec<String> = (0..20_000).map(|number| format!("{number:0>100}")).collect();
    server.append_all("a", &many);
    assert!(lines.eq(many), "each record once and in order");
    assert!(follower.wait().expect("the process exits").success());
    assert!(network.cuts() > 0, "the test proves nothing");
}

/// The server's port changes with a restart; the one of the network between it and nginx does
/// not.
#[test]
fn commands_over_http_continue_after_the_server_is_killed_and_restarted() {
    let mut server = TestServer::with_log("a");
    let network = Proxy::start(server.address(), 3);
    let nginx = ReverseProxy::nginx(DEFAULT_NGINX, network.address());
    let url = format!("http://{}", nginx.address());
    let mut follower = spawn(&["logs", "read", "a", "-F", "-n", "15000", "-H", &url]);
    let mut writer = spawn(&["logs", "write", "a", "-H", &url]);
    let mut input = writer.stdin.take().expect("the stream is piped");
    let stdout = follower.stdout.take().expect("the stream is piped");
    let mut lines = BufReader::new(stdout).lines().map(|line| line.expect("text"));
    for round in 0..3 {
        for number in 0..5000 {
            writeln!(input, "round {round}, line {number}").expect("the writer reads its input");
        }
        // Both commands have begun.
        assert_eq!(lines.next(), Some(format!("round {round}, line 0")));
        server.kill();
        server.restart();
        network.forward_to(server.address());
        for number in 1..5000 {
            assert_eq!(lines.next(), Some(format!("round {round}, line {number}")));
        }
    }
    drop(input);
    assert!(writer.wait().expect("the process exits").success());
    assert!(follower.wait().expect("the process exits").success());
    assert_eq!(server.info("a")["end_position"], 15_000);
}
