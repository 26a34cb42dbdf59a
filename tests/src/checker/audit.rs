//! [`audit`]: compares the records of a log with the notes about it.

use std::collections::HashMap;

use super::{Notes, Payload};

/// The records of a log after a fault.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Position of the first kept record.
    pub start: u64,
    /// Position after the last one.
    pub end: u64,
    /// Everything from `start` to `end`.
    pub records: Vec<Vec<u8>>,
    /// Whether the log's retention may have removed its beginning.
    pub may_expire: bool,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the fields say where; the variants say what")]
pub enum Violation {
    /// An acked record is not in the log.
    Lost { producer: u32, sequence: u64 },
    /// An acked record is in the log, but not where the ack said.
    Moved { producer: u32, sequence: u64, acked: u64, found: u64 },
    /// A record has no valid payload of any producer.
    Changed { position: u64 },
    /// A record that no producer tried to append.
    NotAttempted { position: u64, producer: u32, sequence: u64 },
    /// A record that is in the log more than once.
    Twice { producer: u32, sequence: u64, first: u64, again: u64 },
    /// A producer's record comes after a later one of the same producer.
    Reordered { producer: u32, sequence: u64, position: u64 },
    /// An idempotent producer's record is missing before a later one.
    Gap { producer: u32, missing: u64 },
    /// An atomic append is incomplete, or other records are between its records.
    Torn { producer: u32, first: u64, count: u32, found: u32 },
    /// A record that a follower saw is missing or different.
    Unseen { position: u64 },
    /// The log ends before an acked or seen record.
    Regressed { end: u64, known: u64 },
    /// The log's beginning is missing, although retention is off.
    Vanished { start: u64 },
    /// There are more or fewer records than positions.
    NotDense { positions: u64, records: u64 },
}

/// Returns every broken promise, and nothing if all hold.
#[must_use]
pub fn audit(notes: &Notes, recovered: &Recovered) -> Vec<Violation> {
    let mut audit = Audit { notes, recovered, found: HashMap::new(), violations: Vec::new() };
    audit.positions();
    audit.records();
    audit.atomic_appends();
    audit.acks();
    audit.followers();
    audit.violations
}

struct Audit<'a> {
    notes: &'a Notes,
    recovered: &'a Recovered,
    /// Where each record is.
    found: HashMap<(u32, u64), u64>,
    violations: Vec<Violation>,
}

impl Audit<'_> {
    fn positions(&mut self) {
        let Recovered { start, end, .. } = *self.recovered;
        let records = self.recovered.records.len() as u64;
        if end.checked_sub(start) != Some(records) {
            let positions = end.saturating_sub(start);
            self.violations.push(Violation::NotDense { positions, records });
        }
        if start > 0 && !self.recovered.may_expire {
            self.violations.push(Violation::Vanished { start });
        }
        let acked = self.notes.acked.iter().filter_map(|acked| acked.end).max();
        let seen = self.notes.seen.last_key_value().map(|(position, _)| position + 1);
        let known = acked.max(seen).unwrap_or(0);
        if end < known {
            self.violations.push(Violation::Regressed { end, known });
        }
    }

    /// Each record is one that was attempted, once, in its producer's order.
    fn records(&mut self) {
        let mut last: HashMap<u32, u64> = HashMap::new();
        for (position, bytes) in (self.recovered.start..).zip(&self.recovered.records) {
            // Encoded again, so that the check does not depend on the checksum alone.
            let Some(payload) = Payload::decode(bytes).filter(|p| p.encode() == *bytes) else {
                self.violations.push(Violation::Changed { position });
                continue;
            };
            let Payload { producer, sequence, .. } = payload;
            if !self.attempted(producer, sequence) {
                self.violations.push(Violation::NotAttempted { position, producer, sequence });
            }
            if let Some(first) = self.found.insert((producer, sequence), position) {
                let again = position;
                self.violations.push(Violation::Twice { producer, sequence, first, again });
            } else if last.get(&producer).is_some_and(|last| sequence < *last) {
                self.violations.push(Violation::Reordered { producer, sequence, position });
            } else if self.notes.idempotent.contains(&producer) {
                let expected = match last.get(&producer) {
                    Some(last) => last + 1,
                    None if self.recovered.start > 0 => sequence,
                    None => 0,
                };
                if sequence > expected {
                    self.violations.push(Violation::Gap { producer, missing: expected });
                }
            }
            last.insert(producer, sequence);
        }
    }

    fn attempted(&self, producer: u32, sequence: u64) -> bool {
        let (from, to) = ((producer, 0), (producer, sequence));
        let attempt = self.notes.attempts.range(from..=to).next_back();
        attempt.is_some_and(|(_, a)| sequence < a.first + u64::from(a.count))
    }

    /// Each attempt is there complete and contiguous, or not at all.
    fn atomic_appends(&mut self) {
        for attempt in self.notes.attempts.values() {
            let sequences = attempt.first..attempt.first + u64::from(attempt.count);
            let at = |sequence| self.found.get(&(attempt.producer, sequence)).copied();
            let found: Vec<u64> = sequences.filter_map(at).collect();
            let whole = found.len() == attempt.count as usize;
            let begins_the_log = found.first() == Some(&self.recovered.start);
            let cut_by_retention =
                self.recovered.may_expire && self.recovered.start > 0 && begins_the_log;
            let together = found.windows(2).all(|pair| pair[1] == pair[0] + 1);
            if !(found.is_empty() || (whole || cut_by_retention) && together) {
                self.violations.push(Violation::Torn {
                    producer: attempt.producer,
                    first: attempt.first,
                    count: attempt.count,
                    found: u32::try_from(found.len()).unwrap_or(u32::MAX),
                });
            }
        }
    }

    /// Each acked record is where the ack said.
    fn acks(&mut self) {
        for acked in &self.notes.acked {
            let producer = acked.attempt.producer;
            for index in 0..u64::from(acked.attempt.count) {
                let sequence = acked.attempt.first + index;
                let after = u64::from(acked.attempt.count) - index;
                let position = acked.end.map(|end| end.saturating_sub(after));
                let expired = self.recovered.may_expire
                    && position.is_none_or(|position| position < self.recovered.start);
                match (self.found.get(&(producer, sequence)), position) {
                    (None, _) if expired => {}
                    (None, _) => self.violations.push(Violation::Lost { producer, sequence }),
                    (Some(&found), Some(acked)) if found != acked => {
                        let moved = Violation::Moved { producer, sequence, acked, found };
                        self.violations.push(moved);
                    }
                    (Some(_), _) => {}
                }
            }
        }
    }

    /// The records that followers saw are still there and unchanged.
    fn followers(&mut self) {
        for position in &self.notes.seen_changed {
            self.violations.push(Violation::Unseen { position: *position });
        }
        for (&position, &crc) in &self.notes.seen {
            let Some(index) = position.checked_sub(self.recovered.start) else {
                continue; // expired; `positions` checks whether that is allowed
            };
            let record = usize::try_from(index).ok().and_then(|i| self.recovered.records.get(i));
            if record.is_none_or(|record| crc32fast::hash(record) != crc) {
                self.violations.push(Violation::Unseen { position });
            }
        }
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
