//! Standard output. All commands print through these functions, so that a closed pipe
//! (`| head`) ends the command without an error.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Prints a text and flushes.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

/// JSON in the format of the API: indented, with a final newline.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|error| Failure::Failed(error.to_string()))
}

/// Writes bytes and flushes.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(failed)
}

fn failed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Failed(format!("cannot write to standard output: {error}")),
    }
}
