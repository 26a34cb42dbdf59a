//! [`Failure`]: how a command that did not work ends the process.

use std::io::Write;
use std::process::ExitCode;

use crate::http;

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
    pub(crate) fn report(self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        // Nobody is left to tell if standard error is closed.
        match self {
            Failure::Usage(error) if error.kind() == clap::error::ErrorKind::DisplayVersion => {
                let _ = error.print();
                ExitCode::SUCCESS
            }
            Failure::Usage(error) => {
                let _ = write!(stderr, "{}", error.render());
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            }
            Failure::Misuse(message) => {
                let _ = writeln!(stderr, "Error: {message}\n\nFor the usage, try '--help'.");
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

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Failure {
        Failure::Usage(error)
    }
}

impl From<http::Error> for Failure {
    fn from(error: http::Error) -> Failure {
        Failure::Failed(error.to_string())
    }
}
