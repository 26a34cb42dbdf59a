//! `styx logs read`: records of a log to standard output, as they come.
//!
//! Records come as binary-records, whatever they are printed as, so that a
//! record is never mistaken for two and a cut answer never for a whole one.
//! Following is long polling: each request begins where the answer before it
//! ended, and names the log's id, so that a log that was truncated meanwhile is
//! an error and not other records.

use std::io::Read as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use styx_protocol::limits::MAX_RECORD_SIZE_MAX;
use styx_protocol::{LineEnding, ReadParams, ReadType, binary_records, lines};

use super::path;
use crate::command_line::Read;
use crate::failure::Failure;
use crate::http::{Answer, Body, Call, Client, Error};
use crate::output;

/// Seconds after which the server answers a request that waits for records,
/// even if there are none.
const POLL_SECONDS: u64 = 30;

/// A server that does not do so by then is taken for dead.
const ANSWERED_WITHIN: Duration = Duration::from_secs(POLL_SECONDS + 30);

const CHUNK_BYTES: usize = 128 << 10;

/// How records are printed.
#[derive(Debug, Clone, Copy)]
enum Form {
    Binary,
    Lines(LineEnding),
}

pub(super) fn run(client: &Client, arguments: &Read) -> Result<(), Failure> {
    let params = params(arguments)?;
    let path = path(&arguments.name, "/records")?;
    let form = if arguments.binary { Form::Binary } else { Form::Lines(arguments.line_ending) };
    let first = Call::get(path.as_str())
        .query("whence", params.whence.as_str())
        .query("position", params.position);
    let mut left = params.count;
    let mut call = first;
    loop {
        call = call.header("accept", ReadType::BinaryRecords.content_type());
        if let Some(left) = left {
            call = call.query("count", left);
        }
        if params.follow {
            call = call
                .query("follow", true)
                .header("x-styx-timeout", POLL_SECONDS)
                .answered_within(ANSWERED_WITHIN);
        }
        let answer = client.send(&call, Body::None)?;
        let next = next(&answer);
        let id = answer.header("x-styx-log-id").map(str::to_owned);
        let count = print(answer, form, arguments.unbuffered)?;
        left = left.map(|left| left.saturating_sub(count));
        if !params.follow || left == Some(0) {
            return Ok(());
        }
        call = Call::get(path.as_str()).query("whence", "origin").query("position", next?);
        if let Some(id) = id {
            call = call.header("x-styx-log-id", id);
        }
    }
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

/// Where the answer ends and the next request begins.
fn next(answer: &Answer) -> Result<u64, Failure> {
    let next = answer.header("x-styx-next-position").and_then(|text| text.parse().ok());
    next.ok_or_else(|| {
        let message = "the server does not say where its answer ends: to follow, it must be 1.0";
        Failure::Failed(message.to_owned())
    })
}

/// Prints an answer's records as they come and counts them.
fn print(answer: Answer, form: Form, unbuffered: bool) -> Result<u64, Failure> {
    let payload_bytes_max = usize::try_from(MAX_RECORD_SIZE_MAX).unwrap_or(usize::MAX);
    let mut decoder = binary_records::Decoder::new(payload_bytes_max);
    let mut body = answer.reader();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut out = BytesMut::new();
    let mut count = 0;
    loop {
        let read = match body.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(Error::lost)?,
        };
        decoder.push(Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default()));
        loop {
            let next = if read == 0 { decoder.finish() } else { decoder.next_payload() };
            let next =
                next.map_err(|error| Failure::Failed(format!("in the server's answer, {error}")))?;
            let Some(payload) = next else { break };
            match form {
                Form::Binary => binary_records::encode(&payload, &mut out),
                Form::Lines(ending) => lines::encode(&payload, ending, &mut out),
            }
            count += 1;
            if unbuffered || out.len() >= CHUNK_BYTES {
                flush(&mut out)?;
            }
        }
        flush(&mut out)?;
        if read == 0 {
            return Ok(count);
        }
    }
}

fn flush(out: &mut BytesMut) -> Result<(), Failure> {
    if !out.is_empty() {
        output::write(out)?;
        out.clear();
    }
    Ok(())
}
