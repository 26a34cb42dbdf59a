//! Standard output. All commands print through these functions, so that a closed pipe
//! (`| head`) ends the command without an error.

use std::io::{self, Write};
use std::process;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
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

/// Ends the process without an error as soon as nobody reads standard output any more, for a command
/// that may wait long before it prints something. Has no effect if standard output is a file.
pub(crate) fn exit_when_closed() {
    let watch = || {
        let stdout = io::stdout();
        // Without events of its own, it waits only for an error or the end.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
        let closed = PollFlags::ERR | PollFlags::HUP;
        if watched[0].revents().intersects(closed) {
            process::exit(0);
        }
    };
    // Without the thread, the command ends with the next text that it prints.
    let _ = thread::Builder::new().name("output".to_owned()).spawn(watch);
}

fn failed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Failed(format!("cannot write to standard output: {error}")),
    }
}
