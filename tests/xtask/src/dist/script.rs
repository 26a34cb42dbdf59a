//! The tests in `packaging/tests`, which are shell scripts.

use std::process::Command;

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
