//! The tests in `packaging/tests`, which are shell scripts.

use std::process::{Command, Stdio};

use super::source;
use crate::run;

/// A script, to which the caller adds arguments.
pub(super) fn script(name: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg(source("tests").join(name));
    command
}

/// Runs a command. Reports it if it fails.
pub(super) fn succeeds(name: &str, command: &mut Command) -> Option<()> {
    run(name, command).then_some(())
}

/// The output of a command. `None` if it fails, which is reported.
pub(super) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::inherit()).output();
    let text = output.ok().filter(|output| output.status.success());
    if text.is_none() {
        eprintln!("failed: {command:?}");
    }
    Some(String::from_utf8_lossy(&text?.stdout).into_owned())
}
