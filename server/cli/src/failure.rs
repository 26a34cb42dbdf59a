//! [`Failure`]: how a command that did not work ends the process.

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;

const HINT: &str = "For more information, try '--help'.";

/// Why a command did not work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was called wrongly, or asked for help: what clap has to say.
    Usage(clap::Error),
    /// It was called wrongly in a way that clap does not know.
    Misuse(String),
    /// It was called rightly and failed.
    Failed(String),
    /// Whoever read standard output has gone: nothing to say, and no failure.
    ReaderGone,
}

impl Failure {
    /// Says what is to be said on standard error and gives the exit code.
    /// `command` is the one that was called, for its usage.
    pub(crate) fn report(self, mut command: clap::Command) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        // Nobody is left to tell if standard error is closed.
        match self {
            Failure::Usage(error) if error.kind() == ErrorKind::DisplayVersion => {
                let _ = error.print();
                ExitCode::SUCCESS
            }
            Failure::Usage(error) => {
                let text = usage(&error, &mut command);
                let _ = stderr.write_all(text.as_bytes());
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            }
            Failure::Misuse(message) => {
                let usage = command.render_usage();
                let _ = writeln!(stderr, "Error: {message}\n\n{usage}\n\n{HINT}");
                ExitCode::from(2)
            }
            Failure::Failed(message) => {
                let _ = writeln!(stderr, "Error: {message}");
                ExitCode::from(1)
            }
            Failure::ReaderGone => ExitCode::SUCCESS,
        }
    }
}

/// What clap says, and the usage where it leaves that out.
fn usage(error: &clap::Error, command: &mut clap::Command) -> String {
    if error.kind() == ErrorKind::MissingSubcommand {
        return command.render_help().to_string();
    }
    let text = error.render().to_string();
    match text.split_once(HINT) {
        Some((what, _)) if !text.contains("Usage:") => {
            format!("{}\n\n{}\n\n{HINT}\n", what.trim_end(), command.render_usage())
        }
        _ => text,
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Failure {
        Failure::Usage(error)
    }
}
