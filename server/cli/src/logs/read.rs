//! `styx logs read`: prints the records of a log to standard output as they arrive.
//!
//! ```text
//! consumer ─▶ selection (--until, --grep, --count) ─▶ printer ─▶ standard output
//! ```
//! The consumer reconnects: following continues after a restart of the server. A log
//! that was truncated in the meantime is an error; the command never prints other
//! records instead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use styx_client::blocking::{Client, Consumer};
use styx_client::consumer::Polled;
use styx_client::{Error, RecordBatch, Start};
use styx_protocol::{ReadParams, Whence};

use super::over_http;
use super::printer::Printer;
use super::selection::Selection;
use crate::command_line::{Format, ReadArguments};
use crate::failure::Failure;
use crate::output;

/// How long a follower still waits after the time of `--until`, for records from before it that
/// are on their way.
const UNTIL_GRACE: Duration = Duration::from_secs(1);

pub(super) fn run(
    client: &Client,
    arguments: &ReadArguments,
    format: Format,
) -> Result<(), Failure> {
    let now = Timestamp::now();
    let params = params(arguments, now)?;
    let ReadParams { whence, position, count, follow } = params;
    let until_us = arguments.until.map(|until| until.micros(now));
    // Without a cursor yet, the default is the first record that the log has. Position 0 may be
    // gone by then.
    let start = match arguments.cursor {
        Some(_) if (whence, position) == (Whence::Origin, 0) => Start::Start,
        _ => Start::Relative { whence, position },
    };
    let mut printer = Printer::new(arguments, format)?;
    let mut selection = Selection::new(arguments.grep.clone(), count, until_us);
    if follow {
        output::exit_when_closed();
    }
    // Fails immediately if the server or the log does not exist.
    client.get_log(&arguments.name)?;
    let mut builder = client.consumer(&arguments.name).start(start).follow(follow);
    if let Some(count) = count
        && arguments.grep.is_none()
    {
        builder = builder.count(count);
    }
    if let Some(cursor) = &arguments.cursor {
        builder = builder.cursor(cursor);
    }
    let mut consumer = match builder.open() {
        Err(error) if over_http::is_needed(&error) => {
            if let Some(flag) = needs_upgrade(arguments, &printer) {
                return Err(Failure::Failed(format!(
                    "{error}; {flag} needs such a connection: let the proxy pass on the headers \
                     Upgrade and Connection, or read without {flag}"
                )));
            }
            return over_http::read(
                client,
                &error,
                arguments,
                params,
                &mut selection,
                &mut printer,
            );
        }
        opened => opened?,
    };
    let deadline = until_us.filter(|_| follow).map(|micros| {
        let until = UNIX_EPOCH.checked_add(Duration::from_micros(micros));
        until.and_then(|until| until.checked_add(UNTIL_GRACE))
    });
    while !selection.is_over()
        && let Some(batch) = next(&mut consumer, deadline.flatten())?
    {
        let selected = selection.of(&batch);
        let rest = batch.slice(selected.done..batch.len());
        let batch = batch.slice(0..selected.done);
        match selected.printed {
            Some(printed) => {
                printer.print_records(printed.into_iter().filter_map(|index| batch.get(index)))?;
            }
            None if printer.needs_records() => printer.print_records(batch.iter())?,
            None => printer.print(batch.payloads())?,
        }
        if !rest.is_empty() {
            // The cursor must not pass records that were not printed.
            consumer.give_back(rest)?;
        }
        if arguments.cursor.is_some() {
            // Stored in the background. An error is that of an earlier commit.
            let _ = consumer.commit()?;
        }
        if selected.is_end {
            break;
        }
    }
    if arguments.cursor.is_some() {
        consumer.commit()?.position()?;
    }
    Ok(())
}

/// The next records; `None` at the end of the read or at the deadline.
fn next(
    consumer: &mut Consumer,
    deadline: Option<SystemTime>,
) -> Result<Option<RecordBatch>, Error> {
    let Some(deadline) = deadline else { return consumer.next_batch() };
    loop {
        let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
        match consumer.poll(left)? {
            Polled::Batch(batch) => return Ok(Some(batch)),
            Polled::End => return Ok(None),
            // The system clock may have been set back meanwhile.
            Polled::Nothing if left.is_zero() => return Ok(None),
            Polled::Nothing => {}
        }
    }
}

/// The flag that needs a connection of styx/1.
fn needs_upgrade(arguments: &ReadArguments, printer: &Printer) -> Option<&'static str> {
    match () {
        () if arguments.cursor.is_some() => Some("--cursor"),
        () if printer.needs_records() => Some("--format json"),
        () if arguments.until.is_some() => Some("--until"),
        () => None,
    }
}

fn params(arguments: &ReadArguments, now: Timestamp) -> Result<ReadParams, Failure> {
    let follow = if arguments.follow { "true" } else { "" };
    let since = arguments.since.map(|since| since.micros(now).to_string());
    let (whence, position) = match &since {
        Some(since) => ("time", since.as_str()),
        None => (arguments.whence.as_str(), arguments.position.as_str()),
    };
    ReadParams::parse([
        ("whence", whence),
        ("position", position),
        ("count", arguments.count.as_str()),
        ("follow", follow),
    ])
    .map_err(|error| Failure::Misuse(format!("--{error}")))
}
