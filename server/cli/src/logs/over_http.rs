//! Reads and writes over plain HTTP, if the server's answer to an upgrade shows that a proxy
//! does not pass it on.
//!
//! ```text
//! styx/1 ─▶ refused upgrade ─▶ one warning on standard error ─▶ over_http::{Reader, Appender}
//! ```
//! Everything else is as over styx/1: output, messages, exit codes, what happens when the server
//! restarts, and that no record is lost, repeated or appended twice.

use std::io::Write as _;

use styx_client::blocking::{Client, wait};
use styx_client::over_http::{Appender, Reader};
use styx_client::{Codec, Error, LogId};
use styx_protocol::ReadParams;

use super::input::{Decoder, Input};
use super::printer::Printer;
use super::selection::Selection;
use super::write::{WriteFailure, failed, progress};
use crate::command_line::{ReadArguments, WriteArguments};
use crate::failure::Failure;

/// Whether the stream could not be opened because an upgrade is not possible.
pub(super) fn is_needed(error: &Error) -> bool {
    error.facts().refused_upgrade.is_some()
}

/// Prints the records of a log.
pub(super) fn read(
    client: &Client,
    refused: &Error,
    arguments: &ReadArguments,
    mut params: ReadParams,
    selection: &mut Selection,
    printer: &mut Printer,
) -> Result<(), Failure> {
    warn(client, refused, "read", "");
    if arguments.grep.is_some() {
        params.count = None;
    }
    let mut reader = wait(Reader::open(client.as_async(), &arguments.name, params))?;
    while !selection.is_over()
        && let Some(payloads) = wait(reader.next_payloads())?
    {
        printer.print(payloads.iter().filter(|payload| selection.takes(payload)))?;
    }
    Ok(())
}

/// Appends standard input to a log. A request has what one read of standard input gave, so a
/// record does not wait for later ones.
pub(super) fn write(
    client: &Client,
    refused: &Error,
    arguments: &WriteArguments,
    log_id: LogId,
    decoder: Decoder,
) -> Result<(), Failure> {
    let mut costs = String::from(" Each request waits for the one before.");
    if arguments.compression != Codec::None {
        costs.push_str(" --compression has no effect.");
    }
    if arguments.producer_id.is_some() {
        costs.push_str(" An older command with the same --producer-id is not stopped.");
    }
    warn(client, refused, "appended", &costs);
    let (client, name, id) = (client.as_async(), &arguments.name, arguments.producer_id);
    let mut appender = Appender::new(client, name, log_id, id)?;
    let mut progress = progress();
    let mut input = Input::new(std::io::stdin().lock(), decoder);
    let failure = loop {
        let more = input.read(|payload| {
            wait(appender.append(payload))?;
            if arguments.unbuffered {
                wait(appender.flush())?;
            }
            Ok::<_, WriteFailure>(())
        });
        if let Err(failure @ WriteFailure::Producer(_)) = more {
            break failure;
        }
        // Records before a malformed part of the input are appended.
        if let Err(error) = wait(appender.flush()) {
            break WriteFailure::Producer(error);
        }
        progress.set_records(appender.appended());
        match more {
            Ok(true) => {}
            Ok(false) => {
                progress.finish("appended");
                return Ok(());
            }
            Err(failure) => break failure,
        }
    };
    drop(progress);
    Err(failed(&failure, appender.appended(), appender.unacknowledged()))
}

/// Prints the warning: what happened, what it costs, and what to do.
fn warn(client: &Client, refused: &Error, done: &str, costs: &str) {
    let address = client.address();
    let status = refused.facts().refused_upgrade.unwrap_or_default();
    // If standard error is closed, the warning is lost.
    let _ = writeln!(
        std::io::stderr(),
        "Warning: {address} answered {status} instead of 101 to an upgrade to styx/1, so a proxy \
         there does not pass on HTTP upgrades. The records are {done} over plain HTTP instead, \
         which is slower and without checksums on the way.{costs} To avoid this, let the proxy \
         pass on the headers Upgrade and Connection"
    );
}
