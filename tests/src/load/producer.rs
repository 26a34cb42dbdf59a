//! A producer: sends one request at a time, with a note before and after each.

use std::io;

use super::Gate;
use crate::api::{self, Written};
use crate::checker::{Ledger, Payload};
use crate::random::Random;
use crate::{Connection, Request, Response};

/// How a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One record per request. Unacked records are not retried.
    Single,
    /// Up to 40 records per request. Unacked records are not retried.
    Batch,
    /// Up to 10 records per request, with a producer id and sequence numbers. Unacked
    /// records are retried until they are acked.
    Idempotent,
}

pub(super) struct Producer<'a> {
    pub(super) log: &'a str,
    pub(super) number: u32,
    pub(super) style: Style,
    pub(super) ledger: &'a Ledger,
    pub(super) gate: &'a Gate,
}

impl Producer<'_> {
    /// Appends until the gate ends it.
    pub(super) fn run(&self) {
        if self.style == Style::Idempotent {
            self.ledger.idempotent(self.log, self.number);
        }
        let mut random = Random::new(u64::from(self.number) << 16);
        let mut next = 0;
        let mut unsettled = None;
        let mut opening = 0;
        while let Some((address, number)) = self.gate.pass(opening) {
            opening = number;
            let Ok(mut connection) = Connection::try_open(address) else { continue };
            while self.gate.is_open(opening) {
                let batch = unsettled.take().unwrap_or_else(|| self.batch(next, &mut random));
                next = batch.first + batch.records.len() as u64;
                if self.send(&mut connection, &batch).is_err() {
                    unsettled = (self.style == Style::Idempotent).then_some(batch);
                    break;
                }
            }
        }
    }

    fn batch(&self, first: u64, random: &mut Random) -> Batch {
        let count = match self.style {
            Style::Single => 1,
            Style::Batch => random.between(1, 41),
            Style::Idempotent => random.between(1, 11),
        };
        let record = |sequence| {
            // Mostly short, sometimes larger than a page.
            let longest = if random.between(0, 20) == 0 { 9000 } else { 120 };
            let length = u32::try_from(random.between(0, longest)).expect("a small number");
            Payload { producer: self.number, sequence, length }.encode()
        };
        Batch { first, records: (first..first + count).map(record).collect() }
    }

    /// Sends a batch. An error means that its outcome is unknown.
    fn send(&self, connection: &mut Connection, batch: &Batch) -> io::Result<()> {
        let Batch { first, records } = batch;
        let count = u32::try_from(records.len()).expect("a small batch");
        let mut request = match (self.style, records.as_slice()) {
            (Style::Single, [one]) => api::write_one(self.log, one.clone()),
            _ => api::write_binary(self.log, records),
        };
        if self.style == Style::Idempotent {
            request = self.identified(request, *first);
        }
        self.ledger.attempt(self.log, self.number, *first, count);
        let response = connection.exchange(&request)?;
        let Written { position, .. } = self.judge(&response, u64::from(count))?;
        let end = (position > 0).then_some(position);
        match self.ledger.acked(self.log, self.number, *first, count, end) {
            true => Ok(()),
            false => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    fn identified(&self, request: Request, sequence: u64) -> Request {
        request
            .header("X-Styx-Producer", u64::from(self.number) + 1_000_000)
            .header("X-Styx-Epoch", 0)
            .header("X-Styx-Sequence", sequence)
    }

    fn judge(&self, response: &Response, sent: u64) -> io::Result<Written> {
        match (response.status(), api::written(response)) {
            (200, Some(written)) => {
                let all = written.count == sent;
                let repeated = self.style == Style::Idempotent && written.count <= sent;
                assert!(all || repeated, "{sent} sent: {}", response.shown());
                Ok(written)
            }
            // The server is stopping. Other tests check this answer.
            (503, _) => Err(io::ErrorKind::ConnectionAborted.into()),
            _ if !self.ledger.has_power() => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => panic!("{:?} {}: {}", self.style, self.log, response.shown()),
        }
    }
}

struct Batch {
    first: u64,
    records: Vec<Vec<u8>>,
}
