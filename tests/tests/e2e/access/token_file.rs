//! A token file that is broken, or that vanishes.

use std::time::Duration;

use styx_tests::tokens::{self, with};
use styx_tests::wait::until_true;
use styx_tests::{Request, Settings};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn broken_file_keeps_the_tokens_and_refuses_a_start() {
    let (mut server, admin) = tokens::start(Settings::default());
    let path = server.data().join("tokens.toml");
    let good = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(&path, good.replace("[[token]]", "[[tokn]]")).expect("written");
    until_true("the server says so", PATIENCE, || server.log().contains("stay valid"));
    server.expect_log("tokens.toml is not a valid token file");
    let _ = server.ask(&with(Request::get("/logs"), &admin)).expect(200);
    let _ = server.ask(&Request::get("/logs")).expect_error(401, "unauthorized");
    // The command line does not replace a file that it cannot read.
    let done = tokens::token(&server.data(), &["revoke", "admin"]);
    assert!(done.code == 1 && done.stderr.contains("not a valid token file"), "{}", done.stderr);
    server.kill();
    let refusal = server.try_restart().expect_err("fewer rules than the operator wrote");
    assert!(refusal.output.contains("tokens.toml is not a valid token file"), "{refusal}");
    std::fs::write(&path, good).expect("written");
    server.restart();
    let _ = server.ask(&with(Request::get("/logs"), &admin)).expect(200);
}

#[test]
fn vanished_file_locks_everybody_out_until_it_is_back() {
    let (server, admin) = tokens::start(Settings::default());
    let path = server.data().join("tokens.toml");
    let text = std::fs::read(&path).expect("a file");
    std::fs::remove_file(&path).expect("removed");
    let status = |request: Request| server.ask(&request).status();
    tokens::await_status(&server, &admin, 401);
    assert_eq!(status(Request::get("/logs")), 401);
    assert_eq!(status(Request::get("/health/ready")), 200);
    server.expect_log("the token file is gone");
    std::fs::write(&path, text).expect("written");
    tokens::await_status(&server, &admin, 200);
}
