//! `styx logs write`: standard input into a log, of any length in constant
//! memory.
//!
//! ```text
//! stdin → Input (a thread) → Producer → server, again and again if need be
//! ```
//!
//! The producer heals: a server that is restarted meanwhile costs time, and
//! nothing is lost or doubled. Nothing is printed to standard output.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use styx_client::Error;
use styx_client::blocking::{Client, Producer};
use styx_protocol::{binary_records, lines};

use super::input::{Decoder, Input};
use crate::command_line::Write;
use crate::failure::Failure;
use crate::progress::Progress;

/// How often progress is shown and a failure of what was sent is looked for,
/// while the input says nothing.
const LOOK_AFTER: Duration = Duration::from_millis(100);

pub(super) fn run(client: &Client, arguments: &Write) -> Result<(), Failure> {
    // Asked before anything is read: a log that is not there is said at once, and
    // no line is collected that it would refuse.
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
    let producer = Arc::new(builder.open()?);
    let first = producer.next_sequence();
    let (done, is_done) = mpsc::channel();
    let writer = Writer {
        producer: Arc::clone(&producer),
        each_by_itself: arguments.unbuffered,
        to_skip: first,
    };
    // Not joined: on an error it may wait for input that never comes.
    std::thread::spawn(move || drop(done.send(writer.write(decoder))));
    // A spinner between the lines that somebody types would be in the way.
    let typed = std::io::stdin().is_terminal();
    let mut progress = if typed { Progress::hidden() } else { Progress::of_records() };
    let written = loop {
        match is_done.recv_timeout(LOOK_AFTER) {
            Ok(written) => break written,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                break Err(Fault::Input("the reader of standard input panicked".to_owned()));
            }
        }
        progress.at_record(producer.durable_sequence() - first);
        if let Err(error) = producer.flush() {
            break Err(Fault::Producer(error));
        }
    };
    // What was good before a fault goes into the log.
    let closed = producer.close();
    let appended = producer.durable_sequence() - first;
    progress.at_record(appended);
    let fault = match (written, closed) {
        (Ok(()), Ok(())) => {
            progress.finish("appended");
            return Ok(());
        }
        // The producer's own failure is why it takes no more.
        (Ok(()) | Err(Fault::Producer(_)), Err(error)) | (Err(Fault::Producer(error)), Ok(())) => {
            Fault::Producer(error)
        }
        (Err(fault), _) => fault,
    };
    drop(progress);
    Err(failed(&fault, appended, producer.next_sequence() - first - appended))
}

/// Takes records to the producer.
struct Writer {
    producer: Arc<Producer>,
    each_by_itself: bool,
    /// Records at the beginning of the input that are in the log already.
    to_skip: u64,
}

/// Why not all of the input is in the log.
enum Fault {
    Input(String),
    Producer(Error),
}

impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault::Input(message)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Producer(error)
    }
}

impl Writer {
    fn write(mut self, decoder: Decoder) -> Result<(), Fault> {
        let mut input = Input::new(std::io::stdin().lock(), decoder);
        while input.read(|payload| self.take(payload))? {}
        Ok(())
    }

    fn take(&mut self, payload: &[u8]) -> Result<(), Fault> {
        if self.to_skip > 0 {
            self.to_skip -= 1;
        } else if self.each_by_itself {
            self.producer.send(payload)?;
        } else {
            self.producer.append(payload)?;
        }
        Ok(())
    }
}

/// The fault, and what is in the log all the same.
fn failed(fault: &Fault, appended: u64, left: u64) -> Failure {
    let records = |n: u64| if n == 1 { "1 record".to_owned() } else { format!("{n} records") };
    let (message, in_doubt) = match fault {
        Fault::Input(message) => (message.clone(), 0),
        Fault::Producer(error) if error.maybe_appended() => (error.to_string(), left),
        Fault::Producer(error) => (error.to_string(), 0),
    };
    let appended = match appended {
        0 => "nothing was appended".to_owned(),
        1 => "1 record was appended".to_owned(),
        n => format!("{n} records were appended"),
    };
    let in_doubt = match in_doubt {
        0 => String::new(),
        n => format!(", and of the next {} it is not known", records(n)),
    };
    Failure::Failed(format!("{message} ({appended}{in_doubt})"))
}
