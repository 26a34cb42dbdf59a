//! Reading back what was written: every record, after the clock has stopped.

use std::sync::Arc;

use styx_client::Start;

use crate::benchmark::payload::{Checker, Templates};
use crate::benchmark::place::Server;
use crate::benchmark::wire::visitor::Visitor;
use crate::failure::Failure;

/// Reads a log through the client core and hands its records to the visitor,
/// until their end or until it wants no more.
pub(super) fn read(server: &Server, log: &str, visitor: &mut impl Visitor) -> Result<(), Failure> {
    let mut consumer = server.client.consumer(log).start(Start::Start).open()?;
    while let Some(batch) = consumer.next_batch()? {
        if !visitor.visit(batch.payloads())? {
            break;
        }
    }
    consumer.close();
    Ok(())
}

/// Checks that a log holds what `producers` producers wrote, in all `written`
/// records and no other; gives back how many were checked.
///
/// # Errors
/// One is missing, changed or too many.
pub(super) fn check(
    server: &Server,
    log: &str,
    templates: &Arc<Templates>,
    producers: usize,
    written: u64,
) -> Result<u64, Failure> {
    let mut checker = Checker::new(templates, producers);
    read(server, log, &mut checker)?;
    expect(written, checker.checked())
}

/// Holds what was checked against what was acked.
pub(super) fn expect(written: u64, checked: u64) -> Result<u64, Failure> {
    if written == checked {
        return Ok(checked);
    }
    Err(Failure::Failed(format!("{written} records were acked, and {checked} were read back")))
}

/// Holds what was acked against what was sent and has to be acked.
pub(super) fn expect_acked(sent: u64, acked: u64) -> Result<(), Failure> {
    if sent == acked {
        return Ok(());
    }
    Err(Failure::Failed(format!("{sent} records were sent, and {acked} were acked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_record_fails_the_run() {
        assert_eq!(expect(3, 3).expect("all are there"), 3);
        for checked in [2, 4] {
            assert!(expect(3, checked).is_err());
            assert!(expect_acked(3, checked).is_err());
        }
    }
}
