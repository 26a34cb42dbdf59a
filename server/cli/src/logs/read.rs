//! `styx logs read`: prints the records of a log to standard output as they arrive.
//!
//! The consumer reconnects: following continues after a restart of the server. A log
//! that was truncated in the meantime is an error; the command never prints other
//! records instead.

use bytes::BytesMut;
use styx_client::Start;
use styx_client::blocking::{Client, wait};
use styx_protocol::{LineEnding, ReadParams, Whence, binary_records, lines};

use super::over_http;
use crate::command_line::ReadArguments;
use crate::failure::Failure;
use crate::output;

const OUTPUT_BYTES: usize = 128 << 10;

/// The format of the output.
#[derive(Debug, Clone, Copy)]
enum OutputFormat {
    Binary,
    Lines(LineEnding),
}

pub(super) fn run(client: &Client, arguments: &ReadArguments) -> Result<(), Failure> {
    let params = params(arguments)?;
    let ReadParams { whence, position, count, follow } = params;
    // Without a cursor yet, the default is the first record that the log has. Position 0 may be
    // gone by then.
    let start = match arguments.cursor {
        Some(_) if (whence, position) == (Whence::Origin, 0) => Start::Start,
        _ => Start::Relative { whence, position },
    };
    // Fails immediately if the server or the log does not exist.
    client.get_log(&arguments.name)?;
    let mut builder = client.as_async().consumer(&arguments.name).start(start).follow(follow);
    if let Some(count) = count {
        builder = builder.count(count);
    }
    if let Some(cursor) = &arguments.cursor {
        builder = builder.cursor(cursor);
    }
    let mut printer = Printer::new(arguments);
    let mut consumer = match wait(builder.open()) {
        Err(error) if over_http::is_needed(&error) && arguments.cursor.is_some() => {
            return Err(Failure::Failed(format!(
                "{error}; --cursor needs such a connection: let the proxy pass on the headers \
                 Upgrade and Connection, or read without --cursor"
            )));
        }
        Err(error) if over_http::is_needed(&error) => {
            return over_http::read(client, &error, arguments, params, &mut printer);
        }
        opened => opened?,
    };
    while let Some(batch) = wait(consumer.next_batch())? {
        printer.print(batch.payloads())?;
        if arguments.cursor.is_some() {
            // Stored in the background. An error is that of an earlier commit.
            let _ = consumer.commit()?;
        }
    }
    if arguments.cursor.is_some() {
        wait(consumer.commit()?.position())?;
    }
    Ok(())
}

fn params(arguments: &ReadArguments) -> Result<ReadParams, Failure> {
    let follow = if arguments.follow { "true" } else { "" };
    ReadParams::parse([
        ("whence", arguments.whence.as_str()),
        ("position", arguments.position.as_str()),
        ("count", arguments.count.as_str()),
        ("follow", follow),
    ])
    .map_err(|error| Failure::Misuse(format!("--{error}")))
}

/// Prints records to standard output.
pub(super) struct Printer {
    format: OutputFormat,
    unbuffered: bool,
    out: BytesMut,
}

impl Printer {
    fn new(arguments: &ReadArguments) -> Printer {
        let format = if arguments.binary {
            OutputFormat::Binary
        } else {
            OutputFormat::Lines(arguments.line_ending)
        };
        Printer { format, unbuffered: arguments.unbuffered, out: BytesMut::new() }
    }

    /// Prints these records, and returns when they are written.
    pub(super) fn print(
        &mut self,
        payloads: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<(), Failure> {
        for payload in payloads {
            match self.format {
                OutputFormat::Binary => binary_records::encode(payload.as_ref(), &mut self.out),
                OutputFormat::Lines(ending) => {
                    lines::encode(payload.as_ref(), ending, &mut self.out);
                }
            }
            if self.unbuffered || self.out.len() >= OUTPUT_BYTES {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if !self.out.is_empty() {
            output::write(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }
}
