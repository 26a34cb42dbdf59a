//! `styx logs write`: appends standard input to a log. Input of any length needs constant
//! memory.
//!
//! ```text
//! stdin → Input (a thread) → Producer → server, with retries if necessary
//! ```
//!
//! The producer reconnects: a restart of the server takes time, but no record is lost or
//! appended twice. Nothing is printed to standard output. Where a proxy does not pass on
//! upgrades, `over_http` writes.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use styx_client::Error;
use styx_client::blocking::{Client, Producer};
use styx_protocol::{binary_records, lines};

use super::input::{Decoder, Input};
use super::over_http;
use crate::command_line::WriteArguments;
use crate::failure::Failure;
use crate::progress::Progress;

/// How often progress is shown and a failure of the producer is noticed while no input
/// arrives.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn run(client: &Client, arguments: &WriteArguments) -> Result<(), Failure> {
    // Before any input is read: a missing log is reported immediately, and the decoder
    // knows the longest record that the log accepts.
    let details = client.get_log_details(&arguments.name)?;
    let payload_bytes_max = details.config.payload_bytes_max();
    let decoder = if arguments.binary {
        Decoder::Binary(binary_records::BinaryRecordsDecoder::new(payload_bytes_max))
    } else {
        Decoder::Lines(lines::LinesDecoder::new(arguments.line_ending, payload_bytes_max))
    };
    let mut builder = client.producer(&arguments.name).compression(arguments.compression);
    if let Some(id) = arguments.producer_id {
        builder = builder.producer_id(id);
    }
    let producer = match builder.open() {
        Err(error) if over_http::is_needed(&error) => {
            return over_http::write(client, &error, arguments, details.id, decoder);
        }
        opened => Arc::new(opened?),
    };
    let first = producer.next_sequence();
    let (done, is_done) = mpsc::channel();
    let writer = Writer {
        producer: Arc::clone(&producer),
        wait_for_each: arguments.unbuffered,
        to_skip: first,
    };
    // Not joined: after an error the thread may wait for input that never arrives.
    std::thread::spawn(move || drop(done.send(writer.write(decoder))));
    let mut progress = progress();
    let written = loop {
        match is_done.recv_timeout(CHECK_INTERVAL) {
            Ok(written) => break written,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                break Err(WriteFailure::Input("the reader of standard input panicked".to_owned()));
            }
        }
        progress.set_records(producer.durable_sequence() - first);
        if let Err(error) = producer.flush() {
            break Err(WriteFailure::Producer(error));
        }
    };
    // Records before a malformed part of the input are appended.
    let closed = producer.close();
    let appended = producer.durable_sequence() - first;
    progress.set_records(appended);
    let failure = match (written, closed) {
        (Ok(()), Ok(())) => {
            progress.finish("appended");
            return Ok(());
        }
        // `close` returns why the producer failed. An error of `append` only says that it did.
        (Ok(()) | Err(WriteFailure::Producer(_)), Err(error))
        | (Err(WriteFailure::Producer(error)), Ok(())) => WriteFailure::Producer(error),
        (Err(failure), _) => failure,
    };
    drop(progress);
    Err(failed(&failure, appended, producer.next_sequence() - first - appended))
}

/// Progress in records. A spinner would disturb the lines that a user types.
pub(super) fn progress() -> Progress {
    if std::io::stdin().is_terminal() { Progress::hidden() } else { Progress::of_records() }
}

/// Passes records to the producer.
struct Writer {
    producer: Arc<Producer>,
    wait_for_each: bool,
    /// The number of records at the start of the input that the log has already.
    to_skip: u64,
}

/// Why the input was not appended completely.
pub(super) enum WriteFailure {
    Input(String),
    Producer(Error),
}

impl From<String> for WriteFailure {
    fn from(message: String) -> WriteFailure {
        WriteFailure::Input(message)
    }
}

impl From<Error> for WriteFailure {
    fn from(error: Error) -> WriteFailure {
        WriteFailure::Producer(error)
    }
}

impl Writer {
    fn write(mut self, decoder: Decoder) -> Result<(), WriteFailure> {
        let mut input = Input::new(std::io::stdin().lock(), decoder);
        while input.read(|payload| self.take(payload))? {}
        Ok(())
    }

    fn take(&mut self, payload: &[u8]) -> Result<(), WriteFailure> {
        if self.to_skip > 0 {
            self.to_skip -= 1;
        } else if self.wait_for_each {
            self.producer.send(payload)?;
        } else {
            self.producer.append(payload)?;
        }
        Ok(())
    }
}

/// The message for a failure, with the number of records that were appended.
pub(super) fn failed(failure: &WriteFailure, appended: u64, left: u64) -> Failure {
    let records = |n: u64| if n == 1 { "1 record".to_owned() } else { format!("{n} records") };
    let (message, in_doubt) = match failure {
        WriteFailure::Input(message) => (message.clone(), 0),
        WriteFailure::Producer(error) if error.maybe_appended() => (error.to_string(), left),
        WriteFailure::Producer(error) => (error.to_string(), 0),
    };
    let appended = match appended {
        0 => "nothing was appended".to_owned(),
        1 => "1 record was appended".to_owned(),
        n => format!("{n} records were appended"),
    };
    let in_doubt = match in_doubt {
        0 => String::new(),
        n => format!("; the next {} may have been appended too", records(n)),
    };
    Failure::Failed(format!("{message} ({appended}{in_doubt})"))
}
