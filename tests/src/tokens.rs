//! Tokens of a test's server, made with `styx token` as an operator does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::{self, Done};
use crate::{Request, Scratch, Settings, TestServer, wait};

/// Runs `styx token ARGUMENTS` for the data directory.
#[must_use]
pub fn token(data: &Path, arguments: &[&str]) -> Done {
    let mut command = cli::styx(&["token"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STYX_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).arg("--data-directory").arg(data);
    cli::run(command, b"")
}

/// Creates a token with these grants, and returns its secret.
///
/// # Panics
/// When that fails.
#[must_use]
#[track_caller]
pub fn create(data: &Path, name: &str, grants: &[&str]) -> String {
    create_with(data, name, grants, &[])
}

/// The same with further arguments.
///
/// # Panics
/// When that fails.
#[must_use]
#[track_caller]
pub fn create_with(data: &Path, name: &str, grants: &[&str], more: &[&str]) -> String {
    let mut arguments = vec!["create", "--name", name];
    arguments.extend(grants.iter().flat_map(|grant| ["--allow", grant]));
    arguments.extend(more);
    token(data, &arguments).expect_text().trim().to_owned()
}

/// Starts a server that has this administrator. Returns the secret too.
///
/// # Panics
/// When it does not start.
#[must_use]
#[track_caller]
pub fn start(settings: Settings) -> (TestServer, String) {
    let scratch = Arc::new(Scratch::new("server"));
    let secret = create(&scratch.join("data"), "admin", &["admin:*"]);
    let server = settings.start_in(scratch).unwrap_or_else(|refusal| panic!("{refusal}"));
    (server, secret)
}

/// The request with this token.
#[must_use]
pub fn with(request: Request, secret: &str) -> Request {
    request.header("Authorization", format!("Bearer {secret}"))
}

/// Waits until requests with this token get this status. It asks seldom, because wrong tokens
/// are throttled.
///
/// # Panics
/// When that takes longer than 10 s.
pub fn await_status(server: &TestServer, secret: &str, expected: u16) {
    wait::until_true("the server has read the tokens again", Duration::from_secs(10), || {
        let is_done = server.ask(&with(Request::get("/logs"), secret)).status() == expected;
        if !is_done {
            std::thread::sleep(Duration::from_millis(250));
        }
        is_done
    });
}
