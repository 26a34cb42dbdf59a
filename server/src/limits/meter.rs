//! [`Meter`]: counts the usage of a request or stream against the limits of its principal and log.
//!
//! Invariant: without a limits file it is `None`, and every call is one comparison.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use styx_protocol::Code;

use super::account::{Account, Owner, Place};
use super::bucket::Bucket;
use super::{Inner, LOOK_AFTER};
use crate::auth::Access;
use crate::session::Error;

/// The value of `Retry-After` if the time of the next free place is unknown.
const TRY_AGAIN_S: u32 = 1;

/// Whether records are appended or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Append,
    Read,
}

/// The buckets that the next part of a request or stream takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes of a request or stream that was counted when it began.
    Bytes,
    /// An append of a stream, which counts as a request too.
    Append,
}

/// Counts the usage of a request or stream against the limits of its principal and log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(pub(super) Option<Arc<Metered>>);

#[derive(Debug)]
pub(super) struct Metered {
    pub(super) limits: Arc<Inner>,
    pub(super) accounts: [Arc<Account>; 2],
    pub(super) access: Access,
}

/// A place among the connections of a principal and of a log, until it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionPlace(#[expect(dead_code, reason = "held")] Arc<[Place; 2]>);

impl Meter {
    /// Counts a request, or the opening of a stream.
    ///
    /// # Errors
    /// `too_many_requests` if a bucket is empty, `quota_exceeded` if too much is stored.
    pub(crate) fn begin(&self, direction: Direction) -> Result<(), Error> {
        let Some(metered) = &self.0 else { return Ok(()) };
        if direction == Direction::Append {
            metered.check_stored()?;
        }
        if let Some(wait) = metered.longest_wait(direction, Part::Append) {
            return Err(metered.refusal(&wait));
        }
        metered.charge(direction, 0, 1);
        Ok(())
    }

    /// Takes a place among the connections; `None` without limits.
    ///
    /// # Errors
    /// `too_many_requests`.
    pub(crate) fn connect(&self) -> Result<Option<ConnectionPlace>, Error> {
        let Some(metered) = &self.0 else { return Ok(None) };
        let take = |account: &Arc<Account>| {
            Place::take(account).ok_or_else(|| {
                metered.limits.note("connections");
                let most = account.connections_max.load(Ordering::Relaxed);
                let owner = account.shown();
                let message = format!(
                    "{owner} has {most} requests for records and streams at the same time \
                     (connections in the limits file); close one of them, or try again later"
                );
                limited(Code::TooManyRequests, message, "connections", most, Some(TRY_AGAIN_S))
            })
        };
        let [principal, log] = &metered.accounts;
        Ok(Some(ConnectionPlace(Arc::new([take(principal)?, take(log)?]))))
    }

    /// Counts what was appended or is sent.
    pub(crate) fn charge(&self, direction: Direction, bytes: usize, requests: u64) {
        if let Some(metered) = &self.0 {
            metered.charge(direction, bytes as u64, requests);
        }
    }

    /// How long to wait before the next part; `None` for not at all.
    pub(crate) fn delay(&self, direction: Direction, part: Part) -> Option<Duration> {
        Some(self.0.as_ref()?.longest_wait(direction, part)?.time)
    }

    /// Counts the beginning of a wait, for the metrics.
    pub(crate) fn note_wait(&self, direction: Direction, part: Part) {
        if let Some(metered) = &self.0
            && let Some(wait) = metered.longest_wait(direction, part)
        {
            metered.limits.note(wait.limit);
        }
    }

    /// Waits until the next bytes may be sent or received. Cancel safe.
    pub(crate) async fn allowed(&self, direction: Direction) {
        let mut is_first = true;
        while let Some(delay) = self.delay(direction, Part::Bytes) {
            if std::mem::take(&mut is_first) {
                self.note_wait(direction, Part::Bytes);
            }
            tokio::time::sleep(delay.min(LOOK_AFTER)).await;
        }
    }

    /// Refuses an append if too much is stored.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub(crate) fn check_stored(&self) -> Result<(), Error> {
        self.0.as_ref().map_or(Ok(()), |metered| metered.check_stored())
    }

    /// How long a producer may wait for its bucket.
    pub(crate) fn patience(&self) -> Duration {
        self.0.as_ref().map_or(Duration::MAX, |metered| metered.limits.patience)
    }

    /// The error of a producer that has waited for too long.
    pub(crate) fn out_of_patience(&self, direction: Direction) -> Error {
        let wait = self.0.as_ref().and_then(|metered| {
            metered.longest_wait(direction, Part::Append).map(|wait| metered.refusal(&wait))
        });
        wait.unwrap_or_else(|| {
            let message = "a limit of this principal or log was reached; send more slowly";
            Error::new(Code::TooManyRequests, message)
        })
    }

    /// The largest part to read at a time: the bytes that one second adds to the bucket.
    pub(crate) fn part_bytes(&self, bytes_max: usize) -> usize {
        const PART_BYTES_MIN: u64 = 4 << 10;
        let Some(metered) = &self.0 else { return bytes_max };
        let rates = metered.accounts.iter().map(|account| account.read_bytes.rate());
        let Some(rate) = rates.filter(|rate| *rate > 0).min() else { return bytes_max };
        bytes_max.min(usize::try_from(rate.max(PART_BYTES_MIN)).unwrap_or(usize::MAX))
    }
}

/// The longest wait for a bucket.
struct Wait<'a> {
    time: Duration,
    limit: &'static str,
    rate: u64,
    account: &'a Account,
}

impl Metered {
    fn longest_wait(&self, direction: Direction, part: Part) -> Option<Wait<'_>> {
        let now = self.limits.now();
        // Bytes are the first of the buckets.
        let buckets = match part {
            Part::Bytes => 1,
            Part::Append => 2,
        };
        let waits = self.accounts.iter().flat_map(|account| {
            let counted = account.buckets(direction).into_iter().take(buckets);
            counted.filter_map(move |(limit, bucket)| {
                let time = bucket.delay(now)?;
                Some(Wait { time, limit, rate: bucket.rate(), account })
            })
        });
        waits.max_by_key(|wait| wait.time)
    }

    fn charge(&self, direction: Direction, bytes: u64, requests: u64) {
        let now = self.limits.now();
        for account in &self.accounts {
            let [(_, of_bytes), (_, of_requests)] = account.buckets(direction);
            of_bytes.charge(now, bytes);
            of_requests.charge(now, requests);
        }
    }

    fn refusal(&self, wait: &Wait<'_>) -> Error {
        self.limits.note(wait.limit);
        let seconds = u32::try_from(wait.time.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let (limit, rate) = (wait.limit, wait.rate);
        let (verb, unit) = match limit {
            "append_bytes" => ("append", "bytes"),
            "append_requests" => ("append with", "requests"),
            "read_bytes" => ("read", "bytes"),
            _ => ("read with", "requests"),
        };
        let message = match wait.account.owner {
            Owner::Principal => {
                let name = wait.account.shown();
                format!("{name} may {verb} {rate} {unit} a second ({limit} in the limits file)")
            }
            Owner::Log => format!(
                "all principals together may {verb} {rate} {unit} a second on {} ({limit} in the \
                 limits file)",
                wait.account.shown()
            ),
        };
        let message = format!("{message}; wait {seconds} s, and go on more slowly");
        limited(Code::TooManyRequests, message, limit, rate, Some(seconds))
    }
}

impl Account {
    fn buckets(&self, direction: Direction) -> [(&'static str, &Bucket); 2] {
        match direction {
            Direction::Append => {
                [("append_bytes", &self.append_bytes), ("append_requests", &self.append_requests)]
            }
            Direction::Read => {
                [("read_bytes", &self.read_bytes), ("read_requests", &self.read_requests)]
            }
        }
    }

    /// How messages name it.
    pub(super) fn shown(&self) -> String {
        match (self.owner, self.name.is_empty()) {
            (Owner::Principal, false) => format!("the principal {}", self.name),
            (Owner::Log, false) => format!("the log {}", self.name),
            (Owner::Principal, true) => "a principal beyond the first 65,536".to_owned(),
            (Owner::Log, true) => "the logs beyond the first 65,536".to_owned(),
        }
    }
}

/// An error that names its limit and the value of it.
pub(super) fn limited(
    code: Code,
    message: String,
    limit: &'static str,
    value: u64,
    retry_after: Option<u32>,
) -> Error {
    let error = Error::new(code, message).with_text("limit", limit).with("limit_value", value);
    Error { retry_after, ..error }
}
