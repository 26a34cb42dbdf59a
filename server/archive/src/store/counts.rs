//! [`Counts`]: requests and bytes, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{Error, Kind};

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads an object or a range of it.
    Get,
    /// Writes an object, or a part of one.
    Put,
    /// Reads the length and checksum of an object.
    Head,
    /// Lists keys.
    List,
    /// Removes an object.
    Delete,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With success.
    Success,
    /// There is no such object.
    Missing,
    /// The condition did not hold.
    Condition,
    /// The credentials do not allow it.
    Denied,
    /// Every other failure.
    Failed,
}

/// All verbs, with their names in metrics.
pub const VERBS: [(Verb, &str); 5] = [
    (Verb::Get, "get"),
    (Verb::Put, "put"),
    (Verb::Head, "head"),
    (Verb::List, "list"),
    (Verb::Delete, "delete"),
];

/// All outcomes, with their names in metrics.
pub const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Success, "success"),
    (Outcome::Missing, "missing"),
    (Outcome::Condition, "condition"),
    (Outcome::Denied, "denied"),
    (Outcome::Failed, "failed"),
];

/// Requests by verb and outcome, and bytes by direction, since the start.
#[derive(Debug, Default)]
pub struct Counts {
    requests: [[AtomicU64; 5]; 5],
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counts {
    /// The number of requests with this verb and outcome.
    pub fn requests(&self, verb: Verb, outcome: Outcome) -> u64 {
        self.cell(verb, outcome).map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// The number of requests with this verb.
    pub fn all(&self, verb: Verb) -> u64 {
        OUTCOMES.iter().map(|(outcome, _)| self.requests(verb, *outcome)).sum()
    }

    /// The bytes of uploaded objects.
    pub fn bytes_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The bytes of objects that were read.
    pub fn bytes_received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn add<T>(&self, verb: Verb, result: &Result<T, Error>) {
        let outcome = match result {
            Ok(_) => Outcome::Success,
            Err(error) => match error.kind {
                Kind::Missing => Outcome::Missing,
                Kind::Condition => Outcome::Condition,
                Kind::Denied => Outcome::Denied,
                Kind::Unavailable | Kind::Damaged | Kind::Invalid => Outcome::Failed,
            },
        };
        if let Some(cell) = self.cell(verb, outcome) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn add_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    fn cell(&self, verb: Verb, outcome: Outcome) -> Option<&AtomicU64> {
        self.requests.get(verb as usize)?.get(outcome as usize)
    }
}
