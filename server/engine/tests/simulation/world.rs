//! The state that the producers know, and the audit of a log against it.
//!
//! Every payload is unique and names its append. So loss, change, repetition, reordering and
//! partial appends are all visible.

use std::collections::{BTreeMap, HashMap};

use styx_engine::{Found, Log};
use styx_protocol::codec::Codec;
use styx_protocol::{LogStatus, Position};

/// One append as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) payloads: Vec<Vec<u8>>,
    /// Whose it is, and its first sequence.
    pub(crate) of: Option<(Who, u64)>,
    /// How a block of it is packed; loose records are in no block yet.
    pub(crate) codec: Option<Codec>,
}

/// The idempotent producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    /// Sends loose records.
    Loose,
    /// Sends blocks under an epoch that it was given.
    Blocks,
}

/// What an idempotent producer keeps.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Appends that are not acked yet, in order.
    pub(crate) unacked: Vec<u64>,
    /// Appends that are, the newest last.
    pub(crate) acked: Vec<u64>,
    pub(crate) next_sequence: u64,
    /// The sequence after the last acked record.
    pub(crate) acked_sequence: u64,
    /// The last one it was given, durably.
    pub(crate) epoch: u32,
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) appends: u64,
    /// Every append since the log was created or emptied, by number.
    pub(crate) sent: HashMap<u64, Sent>,
    /// What is known to be durable: acked, or read.
    pub(crate) known: BTreeMap<u64, Vec<u8>>,
    /// First position that is certainly kept, and the last that may be first.
    pub(crate) start_min: u64,
    pub(crate) start_max: u64,
    pub(crate) lines: BTreeMap<Who, Line>,
}

const HEAD: usize = 16;

impl World {
    /// Draws up an append of records with these tails.
    pub(crate) fn append(
        &mut self,
        tails: Vec<Vec<u8>>,
        who: Option<Who>,
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
        let of = who.map(|who| {
            let line = self.line(who);
            let sequence = line.next_sequence;
            line.next_sequence += payloads.len() as u64;
            line.unacked.push(number);
            (who, sequence)
        });
        self.sent.insert(number, Sent { payloads, of, codec });
        number
    }

    pub(crate) fn line(&mut self, who: Who) -> &mut Line {
        self.lines.entry(who).or_default()
    }

    /// The append is durable and ends here.
    pub(crate) fn acked(&mut self, number: u64, end: u64) -> Result<(), String> {
        let Some(sent) = self.sent.get(&number) else { return Ok(()) };
        if let Some((who, sequence)) = sent.of {
            let end = sequence + sent.payloads.len() as u64;
            let line = self.lines.entry(who).or_default();
            line.acked_sequence = line.acked_sequence.max(end);
            if let Some(at) = line.unacked.iter().position(|other| *other == number) {
                line.unacked.remove(at);
                line.acked.push(number);
            }
        }
        let first = end
            .checked_sub(sent.payloads.len() as u64)
            .ok_or(format!("append {number} acked at {end}"))?;
        for (position, payload) in (first..).zip(&sent.payloads) {
            match self.known.insert(position, payload.clone()) {
                Some(other) if other != *payload => {
                    return Err(format!("two records are known at {position}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The log was created, or emptied: nothing is known of it.
    pub(crate) fn begin_anew(&mut self) {
        *self = World { appends: self.appends, ..World::default() };
    }

    /// Checks a recovered log against what is known; the content of the log is known from then on.
    pub(crate) fn audit(&mut self, log: &Log) -> Result<(), String> {
        if log.status() != LogStatus::Ok {
            return Err(format!(
                "the log is {} without a fault: {:?}",
                log.status(),
                log.append(styx_protocol::Records::one(b""))
            ));
        }
        let (start, end) = (log.start_position().0, log.end_position().0);
        if start < self.start_min || start > self.start_max.max(self.start_min) {
            return Err(format!("starts at {start}, not {}..={}", self.start_min, self.start_max));
        }
        self.start_min = start;
        self.start_max = start;
        let held = read_all(log)?;
        if held.len() as u64 != end - start {
            return Err(format!("{} records from {start} to {end}", held.len()));
        }
        for (position, payload) in self.known.range(start..) {
            match held.get(usize::try_from(position - start).expect("small")) {
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

    /// Every append is there whole, once, or not at all; but for its beginning,
    /// where retention has cut.
    fn audit_whole_appends(&self, start: u64, held: &[Vec<u8>]) -> Result<(), String> {
        let mut seen: HashMap<u64, usize> = HashMap::new();
        let mut sequences: BTreeMap<Who, u64> = BTreeMap::new();
        for (position, payload) in (start..).zip(held) {
            let word = |at: usize| {
                let bytes = payload.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
                bytes.map(u64::from_be_bytes).ok_or(format!("{position} is not ours"))
            };
            let (number, index) = (word(0)?, word(8)?);
            let index = usize::try_from(index).expect("small");
            let sent = self.sent.get(&number).ok_or(format!("{position} was never sent"))?;
            if sent.payloads.get(index) != Some(payload) {
                return Err(format!("{position} is not what append {number} sent"));
            }
            let next = seen.entry(number).or_insert(if position == start { index } else { 0 });
            if *next != index {
                return Err(format!("append {number}: record {index} instead of {next}"));
            }
            *next += 1;
            if let Some((who, first)) = sent.of {
                let this = first + index as u64;
                let last = sequences.insert(who, this);
                if last.is_some_and(|last| this != last + 1) {
                    return Err(format!("{who:?}: sequence {this} after {last:?}"));
                }
            }
        }
        for (number, next) in seen {
            if self.sent[&number].payloads.len() != next {
                return Err(format!("append {number} is there in part"));
            }
        }
        Ok(())
    }
}

/// Every record, in order; their times never go back.
pub(crate) fn read_all(log: &Log) -> Result<Vec<Vec<u8>>, String> {
    let mut reader = log.reader(log.start_position()).map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    let mut time = 0;
    let mut next = log.start_position();
    loop {
        match reader.read(5000).map_err(|e| format!("reading: {e}"))? {
            Found::Some(batch) => {
                for record in batch.records() {
                    if record.position != next || record.timestamp_us < time {
                        return Err(format!("{next}: position or time went wrong"));
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

/// Bytes in front of a payload's tail.
pub(crate) const OVERHEAD: usize = HEAD;
