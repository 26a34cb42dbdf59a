//! Runs tests again with another transport.
//!
//! A test program runs itself again, with [`TRANSPORT`] in its environment. Then every
//! `TestServer` speaks TLS, and a bridge encrypts what the tests send. With
//! [`TLS_WITH_TOKENS`], every server has access control too, and every request carries the
//! token of an administrator, unless the test has chosen its own.

use std::process::Command;
use std::sync::OnceLock;

use crate::{Scratch, tokens};

/// A variable that runs every server of the tests with another transport: [`TLS`] or
/// [`TLS_WITH_TOKENS`].
pub const TRANSPORT: &str = "STYX_TEST_TRANSPORT";
/// Every server speaks TLS.
pub const TLS: &str = "tls";
/// Every server speaks TLS, and has access control.
pub const TLS_WITH_TOKENS: &str = "tls-with-tokens";

/// Whether the tests run with TLS.
#[must_use]
pub fn is_tls() -> bool {
    std::env::var(TRANSPORT).is_ok_and(|transport| transport == TLS) || has_tokens()
}

/// Whether the tests run with access control.
#[must_use]
pub fn has_tokens() -> bool {
    std::env::var(TRANSPORT).is_ok_and(|transport| transport == TLS_WITH_TOKENS)
}

/// The administrator that all servers of this program share.
#[derive(Debug)]
pub struct Administrator {
    /// The secret of its token.
    pub secret: String,
    /// The token file with it.
    pub token_file: String,
}

/// The administrator of tests with tokens; `None` without them.
///
/// # Panics
/// When the token cannot be created.
pub fn administrator() -> Option<&'static Administrator> {
    static ADMINISTRATOR: OnceLock<Administrator> = OnceLock::new();
    has_tokens().then(|| {
        ADMINISTRATOR.get_or_init(|| {
            let scratch = Scratch::new("administrator");
            let secret = tokens::create(scratch.path(), "admin", &["admin:*"]);
            let token_file = std::fs::read_to_string(scratch.join("tokens.toml"));
            Administrator { secret, token_file: token_file.expect("a token file") }
        })
    })
}

/// The bytes of a request, with the administrator's token if tests run with tokens.
///
/// Bytes that do not begin with a request line stay as they are, and so does a request with
/// an `Authorization` header.
#[must_use]
pub fn authorized(bytes: &[u8]) -> Vec<u8> {
    match administrator() {
        Some(administrator) => with_token(bytes, &administrator.secret),
        None => bytes.to_vec(),
    }
}

fn with_token(bytes: &[u8], secret: &str) -> Vec<u8> {
    let is_request_line =
        |line: &[u8]| line.ends_with(b" HTTP/1.1\r\n") || line.ends_with(b" HTTP/1.0\r\n");
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").map(|at| at + 2);
    let head_end = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(bytes.len());
    let (Some(end), Some(head)) = (end, bytes.get(..head_end)) else { return bytes.to_vec() };
    let has_token =
        String::from_utf8_lossy(head).to_ascii_lowercase().contains("\r\nauthorization:");
    match bytes.split_at_checked(end) {
        Some((line, rest)) if is_request_line(line) && !has_token => {
            [line, format!("Authorization: Bearer {secret}\r\n").as_bytes(), rest].concat()
        }
        _ => bytes.to_vec(),
    }
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
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "these tests failed over {transport}:\n{output}\n{errors}");
    assert!(!summary.contains(" 0 passed"), "nothing was run: {summary}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_without_a_token_get_one() {
        let given = |text: &str| String::from_utf8(with_token(text.as_bytes(), "x")).expect("text");
        assert_eq!(
            given("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"),
            "GET / HTTP/1.1\r\nAuthorization: Bearer x\r\nHost: a\r\n\r\nbody"
        );
        for same in ["GET / HTTP/1.1\r\nauthorization: y\r\n\r\n", "GET /\r\n\r\n", "\r\n", ""] {
            assert_eq!(given(same), same);
        }
    }
}
