//! `styx top`, once and in a pseudo-terminal.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use styx_tests::cli::{self, Done, styx};
use styx_tests::proxy::Proxy;
use styx_tests::terminal::Terminal;
use styx_tests::tls::TlsProxy;
use styx_tests::{Scratch, Settings, TestServer, tokens, transport, wait};

const SECONDS_20: std::time::Duration = std::time::Duration::from_secs(20);

fn top(server: &TestServer, arguments: &[&str]) -> Command {
    let mut command = styx(&["top", "-i", "0.2", "-H", &server.url("")]);
    command.args(arguments);
    command.envs(transport::administrator().map(|admin| ("STYX_TOKEN", &admin.secret)));
    command
}

fn once(server: &TestServer, arguments: &[&str]) -> Done {
    cli::run(top(server, &[&["--once"], arguments].concat()), b"")
}

fn start(server: &TestServer) -> Terminal {
    Terminal::start(&top(server, &[]), 24, 80)
}

/// A server with the logs `orders`, 3 records, and `events`.
fn server() -> TestServer {
    let server = TestServer::with_log("orders");
    server.create("events");
    server.append_all("orders", &["0", "1", "2"]);
    server
}

#[test]
fn top_once_prints_sizes_followers_lags_and_rates() {
    let server = server();
    let _ = server.cli(&["cursors", "set", "orders", "c", "-P", "1"], b"").expect_ok();
    let follower = server.websocket_read("events", "follow=true");
    let table = once(&server, &["--sort", "lag"]).expect_text();
    let cells = |line: &str| -> Vec<String> {
        line.split('\t').filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let lines: Vec<_> = table.lines().map(cells).collect();
    assert_eq!(lines[0][..3], ["NAME", "STATUS", "APPEND/s"], "{table}");
    assert_eq!(
        (&lines[1][0], &lines[1][1], &lines[1][8]),
        (&"orders".into(), &"ok".into(), &"2".into())
    );
    assert_eq!((&lines[2][0], &lines[2][7]), (&"events".into(), &"1".into()), "{table}");

    let text = once(&server, &["--format", "json", "--filter", "ORD"]).expect_text();
    let json: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["logs"].as_array().map(Vec::len), Some(1), "{text}");
    let log = &json["logs"][0];
    assert_eq!((&log["name"], &log["end_position"]), (&"orders".into(), &3.into()));
    assert_eq!((&log["cursors"], &log["cursor_lag"]), (&1.into(), &2.into()));
    assert_eq!(log["appended_records_per_second"], 0.0);
    assert_eq!(json["streams"]["websocket"], 1);
    drop(follower);
}

#[test]
fn top_once_has_the_rates_of_the_interval() {
    let server = server();
    let mut command = styx(&["top", "--once", "-fjson", "-i3", "-sname", "-H", &server.url("")]);
    command.envs(transport::administrator().map(|admin| ("STYX_TOKEN", &admin.secret)));
    command.stdout(std::process::Stdio::piped());
    let child = command.spawn().expect("it starts");
    wait::until_true("the first sample was taken", SECONDS_20, || {
        let requests = "styx_http_requests_total{method=\"GET\",route=\"/status\",status=\"200\"}";
        server.metric(requests).is_some_and(|count| count >= 1.0)
    });
    server.append_all("orders", &["3"; 300]);
    let _ = server.read_all("orders");
    let output = child.wait_with_output().expect("it ends");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let log = &json["logs"][1];
    // On a slow machine, the interval is longer.
    let appended = log["appended_records_per_second"].as_f64().expect("a rate");
    let read = log["read_records_per_second"].as_f64().expect("a rate");
    assert!(appended > 0.0 && appended <= 101.0, "{json}");
    let ratio = read / appended;
    assert!((ratio - 1.01).abs() < 1e-6, "303 were read and 300 appended: {json}");
    assert_eq!(json["total"]["appended_records_per_second"], appended);
}

#[test]
fn top_lists_filters_and_opens_logs_and_quits() {
    let server = server();
    let mut terminal = start(&server);
    let text = terminal.shows("enter details");
    assert!(text.contains("orders") && text.contains("events"), "{text}");
    terminal.types("/ORD");
    let _ = terminal.until("only orders", |text| !text.contains("events"));
    terminal.types("\r");
    let _ = terminal.shows("filter: ORD (1 of 2)");
    terminal.types("\r");
    let text = terminal.shows("1 SEGMENT");
    for part in ["LOG orders", "positions 0 to 3", "segment_max_size 1073741824", "1 SEGMENT"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    // An escape key alone is known to be one after the terminal has been quiet.
    terminal.types("\x1b");
    let _ = terminal.shows("filter: ORD");
    terminal.types("?");
    let _ = terminal.shows("sort by name, append rate");
    terminal.types("q");
    assert_eq!(terminal.ends_restored().code(), Some(0));
}

#[test]
fn top_restores_the_terminal_after_control_c_and_after_signals() {
    let server = server();
    let mut terminal = start(&server);
    let _ = terminal.shows("orders");
    terminal.types("\x03");
    assert_eq!(terminal.ends_restored().code(), Some(0));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let terminal = start(&server);
        let _ = terminal.shows("orders");
        terminal.tell(signal);
        assert_eq!(terminal.ends_restored().code(), Some(0), "{signal:?}");
    }
}

#[test]
fn top_shows_that_the_server_is_away_and_continues_after_its_restart() {
    let mut server = server();
    // The server's port changes with a restart.
    let network = Proxy::start(server.address(), 1);
    let mut command = styx(&["top", "-i", "0.2", "-H", &format!("http://{}", network.address())]);
    command.envs(transport::administrator().map(|admin| ("STYX_TOKEN", &admin.secret)));
    let mut terminal = Terminal::start(&command, 24, 80);
    let _ = terminal.shows("orders");
    let stopped = server.stop();
    assert!(stopped.status.success(), "{stopped:?}");
    let text = terminal.shows("NO ANSWER");
    assert!(text.contains("orders"), "the last numbers stay\n{text}");
    server.restart();
    network.forward_to(server.address());
    server.await_ready();
    let _ = terminal.until("an answer", |text| !text.contains("NO ANSWER"));
    server.create("later");
    let _ = terminal.shows("later");
    terminal.types("q");
    assert_eq!(terminal.ends_restored().code(), Some(0));
}

#[test]
fn top_shows_that_a_log_was_deleted_while_it_is_open() {
    let server = server();
    let mut terminal = Terminal::start(&top(&server, &["--filter", "orders"]), 24, 80);
    let _ = terminal.shows("filter: orders");
    terminal.types("\r");
    let _ = terminal.shows("CONFIGURATION");
    let _ = server.cli(&["logs", "delete", "orders"], b"").expect_ok();
    let _ = terminal.shows("does not have this log any more");
    terminal.types("q");
    assert_eq!(terminal.ends_restored().code(), Some(0));
}

#[test]
fn top_fits_the_smallest_and_every_new_size() {
    let server = server();
    let mut terminal = start(&server);
    let _ = terminal.shows("orders");
    terminal.resize(30, 132);
    let _ = terminal.shows("BYTES/s");
    terminal.resize(3, 20);
    terminal.resize(24, 80);
    let _ = terminal.until("the narrow list", |t| t.contains("orders") && !t.contains("BYTES/s"));
    terminal.types("q");
    assert_eq!(terminal.ends_restored().code(), Some(0));
}

#[test]
fn top_uses_colours_unless_no_color_is_set() {
    let server = server();
    server.append("orders", "x");
    for (no_color, is_coloured) in [("", true), ("1", false)] {
        let mut command = top(&server, &[]);
        command.env("NO_COLOR", no_color);
        let mut terminal = Terminal::start(&command, 24, 80);
        // The bars of the header.
        let _ = terminal.shows("▁");
        terminal.types("q");
        let raw = terminal.raw();
        // Foregrounds of crossterm: 38;5;N.
        assert_eq!(raw.contains("38;5;"), is_coloured, "NO_COLOR={no_color:?}: {raw:?}");
        assert_eq!(terminal.ends_restored().code(), Some(0));
    }
}

#[test]
fn top_without_a_terminal_needs_once() {
    let server = server();
    let done = cli::run(top(&server, &[]), b"");
    assert_eq!((done.code, done.stdout.len()), (2, 0), "{}", done.stderr);
    assert!(done.stderr.contains("add --once"), "{}", done.stderr);
    let done = cli::run(top(&server, &["-f", "json"]), b"");
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("--format json needs --once"), "{}", done.stderr);
    for interval in ["0", "-1", "x", "3601", "NaN", "inf"] {
        let done = cli::run(styx(&["top", "--once", &format!("--interval={interval}")]), b"");
        assert_eq!(done.code, 2, "{interval}");
        assert!(done.stderr.contains("0.1 to 3600"), "{}", done.stderr);
    }
}

#[test]
fn top_names_the_missing_grant_and_the_server_that_is_not_there() {
    let (server, _) = tokens::start(Settings::default());
    server_fails(
        &server,
        &tokens::create(&server.data(), "reader", &["read:*"]),
        "no grant observe",
    );
    let mut command = styx(&["top", "-H", "http://127.0.0.1:9"]);
    command.arg("--once");
    let done = cli::run(command, b"");
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("is the server running?"), "{}", done.stderr);
}

/// Checks the message in a terminal too: the screen is not taken for a failure at the start.
fn server_fails(server: &TestServer, secret: &str, expected: &str) {
    tokens::await_status(server, secret, 200);
    let command = || {
        let mut command = styx(&["top", "-H", &server.url("")]);
        command.env("STYX_TOKEN", secret);
        command
    };
    let mut once = command();
    once.arg("--once");
    let done = cli::run(once, b"");
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains(expected), "{}", done.stderr);
    let terminal = Terminal::start(&command(), 24, 80);
    let _ = terminal.shows(expected);
    assert_eq!(terminal.ends_restored().code(), Some(1));
}

#[test]
fn top_shows_only_logs_that_its_token_may_observe() {
    let (server, admin) = tokens::start(Settings::default());
    for log in ["mine", "other"] {
        let create = styx_tests::Request::post("/logs").form(&format!("name={log}"));
        let _ = server.ask(&tokens::with(create, &admin)).expect(200);
    }
    let secret = tokens::create(&server.data(), "watcher", &["observe:mine"]);
    tokens::await_status(&server, &secret, 200);
    let mut command = styx(&["top", "--once", "-i", "0.1", "-H", &server.url("")]);
    command.env("STYX_TOKEN", &secret);
    let table = cli::run(command, b"").expect_text();
    assert!(table.contains("\nmine") && !table.contains("other"), "{table}");
}

#[test]
fn top_works_over_tls_and_over_a_unix_socket() {
    let server = Settings::default()
        .file("bind_address = [\"127.0.0.1:0\", \"unix://DATA.sock\"]\n[log_manager]\ndata_directory = \"DATA\"\n")
        .start();
    server.create("orders");
    let socket = format!("unix://{}.sock", server.data().display());
    let done = cli::run(styx(&["top", "--once", "-i", "0.1", "-H", &socket]), b"");
    assert!(done.expect_text().contains("\norders"));
    let proxy = TlsProxy::start(server.address());
    let scratch = Scratch::new("top-tls");
    let ca = scratch.write("ca.pem", proxy.authority()).display().to_string();
    let url = proxy.url();
    let over_tls = ["top", "--once", "-i", "0.1", "-H", &url, "--ca-file", &ca];
    assert!(cli::run(styx(&over_tls), b"").expect_text().contains("\norders"));
}
