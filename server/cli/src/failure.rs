//! [`Failure`]: why a command failed, its message and its exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;

const HINT: &str = "For more information, try '--help'.";

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// clap refused the command line, or printed help.
    Usage(clap::Error),
    /// The command line is wrong in a way that clap does not detect.
    Misuse(String),
    /// The command line is correct, but the command failed.
    Failed(String),
    /// The reader of standard output closed it. This is not an error and has no message.
    OutputClosed,
}

impl Failure {
    /// Prints the message to standard error and returns the exit code. `command` is the
    /// selected command, to print its usage.
    pub(crate) fn report(self, mut command: clap::Command) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        // If standard error is closed, the message is lost; the exit code remains.
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
            Failure::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl Failure {
    /// The message alone, for commands that continue after a failure.
    pub(crate) fn into_message(self) -> String {
        match self {
            Failure::Usage(error) => error.to_string(),
            Failure::Misuse(message) | Failure::Failed(message) => message,
            Failure::OutputClosed => "standard output is closed".to_owned(),
        }
    }
}

/// The message of clap, with the usage if clap leaves it out.
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
