//! A follower: long polls from its position, and notes the records that it receives.

use std::io;

use super::Gate;
use crate::api::{self, unbinary};
use crate::checker::Ledger;
use crate::http::Ending;
use crate::{Connection, Response};

pub(super) struct Follower<'a> {
    pub(super) log: &'a str,
    pub(super) ledger: &'a Ledger,
    pub(super) gate: &'a Gate,
    pub(super) may_expire: bool,
}

/// What a follower knows about the log, and sends when it reconnects.
#[derive(Default)]
struct Known {
    id: Option<String>,
    next: u64,
}

impl Follower<'_> {
    /// Follows until the gate ends it.
    pub(super) fn run(&self) {
        let mut known = Known::default();
        let mut opening = 0;
        while let Some((address, number)) = self.gate.pass(opening) {
            opening = number;
            let Ok(mut connection) = Connection::try_open(address) else { continue };
            while self.gate.is_open(opening) {
                if self.poll(&mut connection, &mut known).is_err() {
                    break;
                }
            }
        }
    }

    fn poll(&self, connection: &mut Connection, known: &mut Known) -> io::Result<()> {
        let query = format!("position={}&follow=true", known.next);
        let mut request = api::read_binary(self.log, &query).header("X-Styx-Timeout", 2);
        if let Some(id) = &known.id {
            request = request.header("X-Styx-Log-Id", id).header("X-Styx-Known-End", known.next);
        }
        let response = connection.exchange(&request)?;
        match response.status() {
            200 => {}
            416 if self.may_expire => {
                known.next = response.json()["start_position"].as_u64().expect("a position");
                return Ok(());
            }
            503 => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ if !self.ledger.has_power() => return Err(io::ErrorKind::ConnectionAborted.into()),
            _ => panic!("{}: {}", self.log, response.shown()),
        }
        self.note(&response, known)?;
        match response.ending {
            Ending::Whole => Ok(()),
            Ending::Cut => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn note(&self, response: &Response, known: &mut Known) -> io::Result<()> {
        // Complete records before a cut count as seen.
        let records = unbinary(&response.body[..whole_records(&response.body)]);
        if !self.ledger.seen(self.log, known.next, &records) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        known.next += records.len() as u64;
        let id = response.header("X-Styx-Log-Id").ok_or(io::ErrorKind::InvalidData)?;
        known.id = Some(id.to_owned());
        Ok(())
    }
}

/// The length of the complete records.
fn whole_records(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(size) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = at + 4 + u32::from_be_bytes(*size) as usize;
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}
