//! Reads back every record that was written, after the measured time.

use std::sync::Arc;

use styx_client::Start;
use styx_client::blocking::Client;

use crate::Error;
use crate::environment::Server;
use crate::payload::{RecordChecker, Templates};
use crate::wire::record_sink::RecordSink;

/// Reads a log with the client core and passes its records to the sink, until the end of
/// the log or until the sink needs no more.
pub(super) fn read(server: &Server, log: &str, sink: &mut impl RecordSink) -> Result<(), Error> {
    read_with(&server.client, log, sink)
}

/// As [`read`], with this client.
pub(super) fn read_with(
    client: &Client,
    log: &str,
    sink: &mut impl RecordSink,
) -> Result<(), Error> {
    let mut consumer = client.consumer(log).start(Start::Start).open()?;
    while let Some(batch) = consumer.next_batch()? {
        if !sink.accept(batch.payloads())? {
            break;
        }
    }
    consumer.close();
    Ok(())
}

/// Checks that a log contains exactly the `written` records of `producers` producers.
/// Returns the number of checked records.
///
/// # Errors
/// A record is missing or changed, or there are too many.
pub(super) fn check(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    producers: usize,
    written: u64,
) -> Result<u64, Error> {
    let mut checker = RecordChecker::new(templates, producers);
    read(server, log, &mut checker)?;
    expect(written, checker.checked())
}

/// Checks that as many records were read back as were acked.
///
/// # Errors
/// The numbers differ.
pub(super) fn expect(written: u64, checked: u64) -> Result<u64, Error> {
    if written == checked {
        return Ok(checked);
    }
    Err(Error::Failed(format!("{written} records were acked, but {checked} were read back")))
}

/// Checks that all records that were sent were acked.
///
/// # Errors
/// The numbers differ.
pub(super) fn expect_acked(sent: u64, acked: u64) -> Result<(), Error> {
    if sent == acked {
        return Ok(());
    }
    Err(Error::Failed(format!("{sent} records were sent, but {acked} were acked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_surplus_records_are_errors() {
        assert_eq!(expect(3, 3).expect("all are there"), 3);
        for checked in [2, 4] {
            assert!(expect(3, checked).is_err());
            assert!(expect_acked(3, checked).is_err());
        }
    }
}
