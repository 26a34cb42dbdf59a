//! The `styx` command as a child process.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::{TestServer, binary, transport};

/// The result of a command.
#[derive(Debug, Clone)]
pub struct Done {
    /// Its exit code; -1 after a signal.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

impl Done {
    /// Checks that the command succeeded, and returns its output.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    #[track_caller]
    pub fn expect_ok(self) -> Vec<u8> {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.stdout
    }

    /// As [`expect_ok`](Self::expect_ok), as text.
    ///
    /// # Panics
    /// As there, and when it is not UTF-8.
    #[must_use]
    #[track_caller]
    pub fn expect_text(self) -> String {
        String::from_utf8(self.expect_ok()).expect("text")
    }
}

/// `styx`, with these arguments.
#[must_use]
pub fn styx(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary::styx());
    command.args(arguments).env_remove("STYX_HOST");
    command
}

/// Runs a command with this standard input.
///
/// # Panics
/// When it cannot be run.
#[must_use]
pub fn run(mut command: Command, input: &[u8]) -> Done {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("the stream is piped");
    let input = input.to_vec();
    // Write and read at the same time: with a long input and a long output, both sides
    // would block otherwise.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the process exits");
    writer.join().expect("the writer does not panic");
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    Done { code: status.code().unwrap_or(-1), stdout, stderr }
}

impl TestServer {
    /// Runs `styx ARGUMENTS -H this server`.
    #[must_use]
    pub fn cli(&self, arguments: &[&str], input: &[u8]) -> Done {
        let mut command = styx(arguments);
        command.args(["-H", &self.url("")]);
        command.envs(transport::administrator().map(|admin| ("STYX_TOKEN", &admin.secret)));
        run(command, input)
    }
}
