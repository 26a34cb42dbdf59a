//! `styx logs read`: records of a log to standard output, as they come.
//!
//! The consumer heals: following goes on after the server was restarted, and a
//! log that was truncated meanwhile is an error and not other records.

use bytes::BytesMut;
use styx_client::blocking::{Client, wait};
use styx_client::{RecordBatch, Start};
use styx_protocol::{LineEnding, ReadParams, binary_records, lines};

use crate::command_line::Read;
use crate::failure::Failure;
use crate::output;

const OUTPUT_BYTES: usize = 128 << 10;

/// How records are printed.
#[derive(Debug, Clone, Copy)]
enum Form {
    Binary,
    Lines(LineEnding),
}

pub(super) fn run(client: &Client, arguments: &Read) -> Result<(), Failure> {
    let ReadParams { whence, position, count, follow } = params(arguments)?;
    let start = Start::Relative { whence, position };
    // Whether the server and the log are there at all is said at once.
    client.get_log(&arguments.name)?;
    let mut builder = client.as_async().consumer(&arguments.name).start(start).follow(follow);
    if let Some(count) = count {
        builder = builder.count(count);
    }
    let form = if arguments.binary { Form::Binary } else { Form::Lines(arguments.line_ending) };
    let mut consumer = wait(builder.open())?;
    let mut out = BytesMut::new();
    while let Some(batch) = wait(consumer.next_batch())? {
        print(&batch, form, arguments.unbuffered, &mut out)?;
    }
    Ok(())
}

fn params(arguments: &Read) -> Result<ReadParams, Failure> {
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
    form: Form,
    unbuffered: bool,
    out: &mut BytesMut,
) -> Result<(), Failure> {
    for payload in batch.payloads() {
        match form {
            Form::Binary => binary_records::encode(payload, out),
            Form::Lines(ending) => lines::encode(payload, ending, out),
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
