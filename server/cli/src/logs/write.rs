//! `styx logs write`: standard input into a log, of any length in constant
//! memory.
//!
//! ```text
//! stdin → decoder (lines or binary-records) → Batches → one request at a time
//! ```
//!
//! One request is under way at a time, so records keep their order, and the
//! input is read meanwhile. Nothing is printed to standard output.

use std::io::{IsTerminal, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use styx_protocol::limits::MAX_RECORD_SIZE_MAX;
use styx_protocol::{Code, WriteType, binary_records, lines};

use super::batches::{Batch, Batches, Flush};
use super::path;
use crate::command_line::Write;
use crate::failure::Failure;
use crate::http::{Body, Call, Client, Error};
use crate::progress::Progress;

/// How often a server that has too much to do is asked again.
const TRIES_MAX: u32 = 30;

/// Bytes read from standard input at a time.
const CHUNK_BYTES: usize = 128 << 10;

pub(super) fn run(client: &Client, arguments: &Write) -> Result<(), Failure> {
    let log = Log::ask(client, &arguments.name)?;
    let payload_bytes_max = log.payload_bytes_max;
    let flush = if arguments.unbuffered { Flush::EachRecord } else { Flush::FullOrOld };
    let batches = Arc::new(Batches::new(flush));
    let decoder = if arguments.binary {
        Decoder::Binary(binary_records::Decoder::new(payload_bytes_max))
    } else {
        Decoder::Lines(lines::Decoder::new(arguments.line_ending, payload_bytes_max))
    };
    let filled = Arc::clone(&batches);
    // Not joined: on an error it may wait for input that never comes.
    std::thread::spawn(move || filled.end(fill(&filled, decoder)));
    let mut sender = Sender::new(client, &arguments.name, log)?;
    loop {
        match batches.take() {
            Ok(Some(batch)) => sender.send(&batch)?,
            Ok(None) => break,
            Err(error) => return Err(sender.failed(&error, 0)),
        }
    }
    sender.progress.finish("appended");
    Ok(())
}

/// What is asked before anything is read: a log that is not there is said at
/// once, and no line is collected that the log would refuse.
struct Log {
    payload_bytes_max: usize,
    /// Sent with every write, so that the rest of the input never lands in a log
    /// that was truncated or created anew meanwhile.
    id: Option<String>,
}

impl Log {
    fn ask(client: &Client, name: &str) -> Result<Log, Failure> {
        let call = Call::get(path(name, "")?).query("details", true);
        let answer = client.send(&call, Body::None)?;
        let id = answer.header("x-styx-log-id").map(str::to_owned);
        let info: Value = serde_json::from_slice(&answer.bytes()?).unwrap_or_default();
        let record_bytes_max = info["config"]["max_record_size"].as_u64();
        let payload_bytes_max = record_bytes_max.unwrap_or(MAX_RECORD_SIZE_MAX).saturating_sub(8);
        let payload_bytes_max = usize::try_from(payload_bytes_max).unwrap_or(usize::MAX);
        Ok(Log { payload_bytes_max, id })
    }
}

enum Decoder {
    Lines(lines::Decoder),
    Binary(binary_records::Decoder),
}

impl Decoder {
    fn push(&mut self, chunk: Bytes) {
        match self {
            Decoder::Lines(decoder) => decoder.push(chunk),
            Decoder::Binary(decoder) => decoder.push(chunk),
        }
    }

    fn next_payload(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Decoder::Lines(decoder) => decoder.next_payload().map_err(|e| e.to_string()),
            Decoder::Binary(decoder) => decoder.next_payload().map_err(|e| e.to_string()),
        }
    }

    fn finish(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Decoder::Lines(decoder) => decoder.finish().map_err(|e| e.to_string()),
            Decoder::Binary(decoder) => decoder.finish().map_err(|e| e.to_string()),
        }
    }
}

/// Reads standard input to its end.
fn fill(batches: &Batches<String>, mut decoder: Decoder) -> Result<(), String> {
    let mut stdin = std::io::stdin().lock();
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = match stdin.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(|error| format!("cannot read standard input: {error}"))?,
        };
        let chunk = buffer.get(..read).unwrap_or_default();
        decoder.push(Bytes::copy_from_slice(chunk));
        let mut fault = None;
        batches.push(std::iter::from_fn(|| {
            let next = if read == 0 { decoder.finish() } else { decoder.next_payload() };
            next.unwrap_or_else(|error| {
                fault = Some(error);
                None
            })
        }));
        match fault {
            Some(error) => return Err(format!("in standard input, {error}")),
            None if read == 0 => return Ok(()),
            None => {}
        }
    }
}

/// Sends batches one after the other and knows what came of them.
struct Sender<'a> {
    client: &'a Client,
    call: Call,
    progress: Progress,
    /// Records that are durable.
    appended: u64,
    /// Position after the last of them.
    position: u64,
}

impl Sender<'_> {
    fn new<'a>(client: &'a Client, name: &str, log: Log) -> Result<Sender<'a>, Failure> {
        let mut call = Call::post(path(name, "/records")?)
            .header("content-type", WriteType::BinaryRecords.content_type());
        if let Some(id) = log.id {
            call = call.header("x-styx-log-id", id);
        }
        // A spinner between the lines that somebody types would be in the way.
        let typed = std::io::stdin().is_terminal();
        let progress = if typed { Progress::hidden() } else { Progress::of_records() };
        Ok(Sender { client, call, progress, appended: 0, position: 0 })
    }

    fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.client.send(&self.call, Body::Bytes(&batch.body)) {
                Ok(answer) => {
                    // The status says that all of it is durable.
                    let answer =
                        answer.bytes().map_err(|error| self.failed(&error, batch.count))?;
                    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
                    self.count(batch.count, answer["position"].as_u64());
                    let payload_bytes = batch.body.len() as u64 - 4 * batch.count;
                    self.progress.add(batch.count, payload_bytes);
                    return Ok(());
                }
                Err(error) => match wait(&error).filter(|_| tries < TRIES_MAX) {
                    Some(wait) => std::thread::sleep(wait),
                    None => return Err(self.refused(&error, batch.count)),
                },
            }
        }
    }

    fn count(&mut self, records: u64, position: Option<u64>) {
        self.appended += records;
        self.position = position.unwrap_or(self.position);
    }

    fn refused(&mut self, error: &Error, in_doubt: u64) -> Failure {
        match error {
            Error::Refused(refusal) => {
                if refusal.count > 0 {
                    self.count(refusal.count, refusal.position);
                }
                let unknown = refusal.code.is_none_or(Code::maybe_appended);
                let in_doubt = if unknown { in_doubt - refusal.count.min(in_doubt) } else { 0 };
                self.failed(error, in_doubt)
            }
            Error::Lost { .. } => self.failed(error, in_doubt),
            Error::Host { .. } | Error::Unreachable { .. } => self.failed(error, 0),
        }
    }

    /// The error, and what is in the log all the same.
    fn failed(&self, error: &dyn std::fmt::Display, in_doubt: u64) -> Failure {
        let appended = match self.appended {
            0 => "nothing was appended".to_owned(),
            1 => format!("1 record was appended, up to position {}", self.position),
            n => format!("{n} records were appended, up to position {}", self.position),
        };
        let in_doubt = match in_doubt {
            0 => String::new(),
            n => format!(", and of the next {n} it is not known"),
        };
        Failure::Failed(format!("{error} ({appended}{in_doubt})"))
    }
}

/// How long to wait before sending again, if the server only has too much to do
/// and has appended nothing.
fn wait(error: &Error) -> Option<Duration> {
    match error {
        Error::Refused(refusal)
            if refusal.count == 0
                && matches!(refusal.code, Some(Code::Overloaded | Code::TooManyRequests)) =>
        {
            Some(Duration::from_secs(refusal.retry_after.unwrap_or(1).clamp(1, 10)))
        }
        _ => None,
    }
}
