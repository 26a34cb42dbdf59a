//! [`World`]: the notes of producers and readers, and the audit that compares a log with them.
//!
//! Every payload is unique and contains the number of its append. So the audit detects lost,
//! changed, repeated, reordered and partial appends.

use std::collections::{BTreeMap, HashMap};

use styx_engine::{Found, Log};
use styx_protocol::codec::Codec;
use styx_protocol::{LogStatus, Position};

use crate::support::depot::read_through;

/// An append that was requested.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) payloads: Vec<Vec<u8>>,
    /// Its idempotent producer, and its first sequence.
    pub(crate) sender: Option<(Sender, u64)>,
    /// The codec of its block; `None` for loose records.
    pub(crate) codec: Option<Codec>,
}

/// The idempotent producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Sender {
    /// Sends loose records.
    Loose,
    /// Sends blocks with an epoch from the log.
    Blocks,
}

/// The notes of an idempotent producer.
#[derive(Debug, Default)]
pub(crate) struct ProducerNotes {
    /// The appends that are not acked yet, in order.
    pub(crate) unacked: Vec<u64>,
    /// The acked appends, the newest last.
    pub(crate) acked: Vec<u64>,
    pub(crate) next_sequence: u64,
    /// The sequence after the last acked record.
    pub(crate) acked_sequence: u64,
    /// The last epoch that the log gave out.
    pub(crate) epoch: u32,
}

/// Everything that producers and readers know about a log.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// The number of appends so far.
    pub(crate) appends: u64,
    /// Every append since the log was created or truncated, by number.
    pub(crate) sent: HashMap<u64, Sent>,
    /// The payloads that are known to be durable, because they were acked or read, by position.
    pub(crate) known: BTreeMap<u64, Vec<u8>>,
    /// The lowest possible start position.
    pub(crate) start_min: u64,
    /// The highest possible start position.
    pub(crate) start_max: u64,
    pub(crate) producers: BTreeMap<Sender, ProducerNotes>,
}

/// The bytes of a payload before its tail: the number of its append, and its index in it.
const HEAD: usize = 16;

impl World {
    /// Notes a new append of records with these tails. Returns its number.
    pub(crate) fn append(
        &mut self,
        tails: Vec<Vec<u8>>,
        sender: Option<Sender>,
        codec: Option<Codec>,
    ) -> u64 {
        self.appends += 1;
        let number = self.appends;
        let payload = |(i, tail): (usize, Vec<u8>)| {
            let mut payload = number.to_be_bytes().to_vec();
            payload.extend_from_slice(&(i as u64).to_be_bytes());
            payload.extend(tail);
            payload
        };
        let payloads: Vec<_> = tails.into_iter().enumerate().map(payload).collect();
        let sender = sender.map(|sender| {
            let notes = self.notes(sender);
            let sequence = notes.next_sequence;
            notes.next_sequence += payloads.len() as u64;
            notes.unacked.push(number);
            (sender, sequence)
        });
        self.sent.insert(number, Sent { payloads, sender, codec });
        number
    }

    pub(crate) fn notes(&mut self, sender: Sender) -> &mut ProducerNotes {
        self.producers.entry(sender).or_default()
    }

    /// Notes that an append was acked with this end position.
    ///
    /// # Errors
    /// Another record is already known at a position of the append.
    pub(crate) fn acked(&mut self, number: u64, end: u64) -> Result<(), String> {
        let Some(sent) = self.sent.get(&number) else { return Ok(()) };
        if let Some((sender, sequence)) = sent.sender {
            let end = sequence + sent.payloads.len() as u64;
            let notes = self.producers.entry(sender).or_default();
            notes.acked_sequence = notes.acked_sequence.max(end);
            if let Some(at) = notes.unacked.iter().position(|other| *other == number) {
                notes.unacked.remove(at);
                notes.acked.push(number);
            }
        }
        let first = end
            .checked_sub(sent.payloads.len() as u64)
            .ok_or(format!("append {number} was acked with the impossible end {end}"))?;
        for (position, payload) in (first..).zip(&sent.payloads) {
            match self.known.insert(position, payload.clone()) {
                Some(other) if other != *payload => {
                    return Err(format!(
                        "two different records were acked or read at position {position}"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets everything after the log was created or truncated.
    pub(crate) fn begin_anew(&mut self) {
        *self = World { appends: self.appends, ..World::default() };
    }

    /// Compares a recovered log with the notes. Afterwards, all its records are known.
    ///
    /// # Errors
    /// A description of the first difference.
    pub(crate) fn audit(&mut self, log: &Log) -> Result<(), String> {
        if log.status() != LogStatus::Ok {
            return Err(format!(
                "the status of the log is {} without a fault: {:?}",
                log.status(),
                log.append(styx_protocol::Records::one(b""))
            ));
        }
        let (start, end) = (log.start_position().0, log.end_position().0);
        if start < self.start_min || start > self.start_max.max(self.start_min) {
            return Err(format!(
                "the log starts at {start}, but {}..={} is allowed",
                self.start_min, self.start_max
            ));
        }
        self.start_min = start;
        self.start_max = start;
        let held = read_all(log)?;
        if held.len() as u64 != end - start {
            return Err(format!("the log has {} records from {start} to {end}", held.len()));
        }
        for (position, payload) in self.known.range(start..) {
            match held.get(usize::try_from(position - start).expect("it fits")) {
                None => return Err(format!("the durable record {position} is lost (end {end})")),
                Some(other) if other != payload => {
                    return Err(format!("the durable record {position} has changed"));
                }
                Some(_) => {}
            }
        }
        self.audit_whole_appends(start, &held)?;
        self.known.extend((start..).zip(held));
        Ok(())
    }

    /// Checks that every append is stored once and completely, or not at all. Only the first append
    /// may lack its beginning, because of retention.
    fn audit_whole_appends(&self, start: u64, held: &[Vec<u8>]) -> Result<(), String> {
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let mut sequences: BTreeMap<Sender, u64> = BTreeMap::new();
        for (position, payload) in (start..).zip(held) {
            let word = |at: usize| {
                let bytes = payload.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
                bytes
                    .map(u64::from_be_bytes)
                    .ok_or(format!("record {position} has an unknown payload"))
            };
            let (number, index) = (word(0)?, word(8)?);
            let index = usize::try_from(index).expect("it fits");
            let sent = self.sent.get(&number).ok_or(format!("record {position} was never sent"))?;
            if sent.payloads.get(index) != Some(payload) {
                return Err(format!("record {position} differs from what append {number} sent"));
            }
            let next = seen.entry(number).or_insert(if position == start { index } else { 0 });
            if *next != index {
                return Err(format!("append {number}: record {index} instead of {next}"));
            }
            *next += 1;
            if let Some((sender, first)) = sent.sender {
                let this = first + index as u64;
                let last = sequences.insert(sender, this);
                if last.is_some_and(|last| this != last + 1) {
                    return Err(format!("{sender:?}: sequence {this} after {last:?}"));
                }
            }
        }
        for (number, next) in seen {
            if self.sent[&number].payloads.len() != next {
                return Err(format!("append {number} is stored only in part"));
            }
        }
        Ok(())
    }
}

/// Reads every record, and checks that positions have no gaps and times never decrease.
pub(crate) fn read_all(log: &Log) -> Result<Vec<Vec<u8>>, String> {
    let mut reader = log.reader(log.start_position()).map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    let mut time = 0;
    let mut next = log.start_position();
    loop {
        let found = read_through(&mut reader, |reader| reader.read(5000));
        match found.map_err(|e| format!("reading: {e}"))? {
            Found::Some(batch) => {
                for record in batch.records() {
                    if record.position != next || record.timestamp_us < time {
                        return Err(format!("record {next} has a wrong position or time"));
                    }
                    next = Position(next.0 + 1);
                    time = record.timestamp_us;
                    all.push(record.payload.to_vec());
                }
            }
            _ => return Ok(all),
        }
    }
}

/// The bytes of a payload before its tail.
pub(crate) const OVERHEAD: usize = HEAD;
