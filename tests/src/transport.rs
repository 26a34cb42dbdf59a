//! Runs tests again with another transport.
//!
//! A test program runs itself again, with [`TRANSPORT`] in its environment: then every
//! `TestServer` speaks TLS, and a bridge encrypts what the tests send.

use std::process::Command;

/// A variable that runs every server of the tests with another transport: `tls`.
pub const TRANSPORT: &str = "STYX_TEST_TRANSPORT";

/// Whether the tests run with TLS.
#[must_use]
pub fn is_tls() -> bool {
    std::env::var(TRANSPORT).is_ok_and(|transport| transport == "tls")
}

/// Runs the tests of this program whose names contain one of `filters`, except those whose
/// names contain one of `skipped`.
///
/// # Panics
/// When one of them fails, or when there are none.
pub fn run_again(transport: &str, filters: &[&str], skipped: &[&str]) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.env(TRANSPORT, transport).args(filters);
    for name in skipped {
        command.args(["--skip", name]);
    }
    let done = command.output().expect("it can be run");
    let output = String::from_utf8_lossy(&done.stdout);
    let summary = output.lines().find(|line| line.starts_with("test result:"));
    let summary = summary.unwrap_or("no result");
    assert!(done.status.success(), "{output}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(!summary.contains(" 0 passed"), "nothing was run: {summary}");
}
