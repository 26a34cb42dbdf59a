//! Standard output: every byte that a command prints goes through here, so that
//! a reader who has gone away (`| head`) ends the command quietly.

use std::io::{self, Write};

use crate::failure::Failure;

/// Prints a text at once.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

/// Writes bytes at once.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(failed)
}

fn failed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ReaderGone,
        _ => Failure::Failed(format!("cannot write standard output: {error}")),
    }
}
