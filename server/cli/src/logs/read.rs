//! `styx logs read`: prints the records of a log to standard output as they arrive.
//!
//! The consumer reconnects: following continues after a restart of the server. A log
//! that was truncated in the meantime is an error; the command never prints other
//! records instead.

use bytes::BytesMut;
use styx_client::blocking::{Client, wait};
use styx_client::{RecordBatch, Start};
use styx_protocol::{LineEnding, ReadParams, binary_records, lines};

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
    let ReadParams { whence, position, count, follow } = params(arguments)?;
    let start = Start::Relative { whence, position };
    // Fails immediately if the server or the log does not exist.
    client.get_log(&arguments.name)?;
    let mut builder = client.as_async().consumer(&arguments.name).start(start).follow(follow);
    if let Some(count) = count {
        builder = builder.count(count);
    }
    let format = if arguments.binary {
        OutputFormat::Binary
    } else {
        OutputFormat::Lines(arguments.line_ending)
    };
    let mut consumer = wait(builder.open())?;
    let mut out = BytesMut::new();
    while let Some(batch) = wait(consumer.next_batch())? {
        print(&batch, format, arguments.unbuffered, &mut out)?;
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

fn print(
    batch: &RecordBatch,
    format: OutputFormat,
    unbuffered: bool,
    out: &mut BytesMut,
) -> Result<(), Failure> {
    for payload in batch.payloads() {
        match format {
            OutputFormat::Binary => binary_records::encode(payload, out),
            OutputFormat::Lines(ending) => lines::encode(payload, ending, out),
        }
        if unbuffered || out.len() >= OUTPUT_BYTES {
            flush(out)?;
        }
    }
    flush(out)
}

fn flush(out: &mut BytesMut) -> Result<(), Failure> {
    if !out.is_empty() {
        output::write(out)?;
        out.clear();
    }
    Ok(())
}
