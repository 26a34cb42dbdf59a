//! `styx cursors` and `styx logs read --cursor`.

use styx_tests::TestServer;
use styx_tests::cli::{self, styx};
use styx_tests::reverse_proxy::{DEFAULT_NGINX, ReverseProxy};

#[test]
fn cursors_are_set_shown_listed_and_deleted() {
    let server = TestServer::with_log("a");
    let _ = server.cli(&["logs", "write", "a"], b"0\n1\n2\n").expect_ok();
    let header = "CURSOR\t\tLOG ID\t\tPOSITION\tUPDATED\t\tVERSION\n";
    assert_eq!(server.cli(&["cursors", "list", "a"], b"").expect_text(), header);
    let set = server.cli(&["cursors", "set", "a", "c", "-P", "2"], b"").expect_text();
    let lines: Vec<_> = set.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[4]), (5, "cursor:\t\t\tc", "version:\t\t1"), "{set}");
    assert_eq!(server.cli(&["cursors", "get", "a", "c"], b"").expect_text(), set);
    let json = server.cli(&["cursors", "list", "a", "-f", "json"], b"").expect_text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[0]["cursor"], &json[0]["position"]), (&"c".into(), &2.into()));
    assert_eq!(server.cli(&["cursors", "delete", "a", "c"], b"").expect_text(), "");
    let missing = server.cli(&["cursors", "get", "a", "c"], b"");
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("there is no cursor c"), "{}", missing.stderr);
    let beyond = server.cli(&["cursors", "set", "a", "c", "-P", "4"], b"");
    assert!(beyond.stderr.contains("use a position up to 3"), "{}", beyond.stderr);
}

#[test]
fn a_read_with_a_cursor_continues_after_the_last_output() {
    let server = TestServer::with_log("a");
    let _ = server.cli(&["logs", "write", "a"], b"0\n1\n2\n3\n").expect_ok();
    let read = |arguments: &[&str]| {
        let arguments = [&["logs", "read", "a", "--cursor", "c"], arguments].concat();
        server.cli(&arguments, b"").expect_text()
    };
    assert_eq!(read(&["-n", "2"]), "0\n1\n");
    assert_eq!(read(&[]), "2\n3\n");
    assert_eq!(read(&[]), "");
    let _ = server.cli(&["logs", "write", "a"], b"4\n").expect_ok();
    // A cursor that exists decides where to start.
    assert_eq!(read(&["-w", "end"]), "4\n");
}

#[test]
fn a_read_with_a_cursor_fails_behind_a_proxy_without_upgrades() {
    let server = TestServer::with_log("a");
    let _ = server.cli(&["logs", "write", "a"], b"0\n").expect_ok();
    let proxy = ReverseProxy::nginx(DEFAULT_NGINX, server.address());
    let url = format!("http://{}", proxy.address());
    let done = cli::run(styx(&["logs", "read", "a", "--cursor", "c", "-H", &url]), b"");
    assert_eq!((done.code, done.stdout.as_slice()), (1, &b""[..]), "{}", done.stderr);
    assert!(done.stderr.contains("--cursor needs such a connection"), "{}", done.stderr);
}
