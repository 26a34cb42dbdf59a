//! `styx completions`: prints the completion script of a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::command_line::CommandLine;
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "styx", &mut script);
    output::write(&script)
}
