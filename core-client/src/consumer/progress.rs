//! [`ReadProgress`]: how far a read has come, and the request that continues it.
//!
//! The first connection requests what the caller asked for. The server's response
//! to it fixes the log, the first position and, unless the read follows the log,
//! the end. Every later connection requests the rest of that range, in that log.
//! This module does no I/O.
//!
//! Invariant: `next` only grows, and only past records that were queued for the
//! caller.

use styx_protocol::codec::Codecs;
use styx_protocol::{Checkpoint, LogId, LogName, Whence, header};

use super::Start;
use crate::error::{Error, check_restored_from};
use crate::transport::{Request, Upgraded};

/// What the caller asked for.
#[derive(Debug, Clone)]
pub(super) struct ReadOptions {
    pub(super) log: LogName,
    pub(super) start: Start,
    pub(super) count: Option<u64>,
    pub(super) follow: bool,
    pub(super) codecs: Codecs,
    /// The log that the positions belong to, and an end that it once had.
    pub(super) known_end: Option<(LogId, u64)>,
    /// Seconds of silence after which the client considers the server dead.
    pub(super) silence_seconds: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct ReadProgress {
    options: ReadOptions,
    range: Option<ReadRange>,
}

/// The range that the first response fixed, and how much of it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadRange {
    pub(super) log: LogId,
    /// The next record to hand out.
    pub(super) next: u64,
    /// The end of the range, exclusive.
    pub(super) until: u64,
    /// The highest end of the log that the server has reported. Everything before it
    /// is durable.
    pub(super) end: u64,
}

/// The headers of a `101` response to a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConsumerHandshake {
    pub(super) log: LogId,
    /// The expected log and the fork, if the log was restored from it.
    pub(super) restored_from: Option<Checkpoint>,
    /// The first record that the server will send.
    pub(super) position: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Seconds of silence after which the server ends the connection.
    pub(super) timeout_seconds: u64,
}

impl ConsumerHandshake {
    /// # Errors
    /// `bad_answer` when a header is missing or cannot be parsed.
    pub(super) fn read(upgraded: &Upgraded) -> Result<ConsumerHandshake, Error> {
        Ok(ConsumerHandshake {
            log: upgraded.required(header::LOG_ID)?,
            restored_from: upgraded.parsed(header::RESTORED_FROM)?,
            position: upgraded.required(header::POSITION)?,
            start: upgraded.required(header::START_POSITION)?,
            end: upgraded.required(header::END_POSITION)?,
            timeout_seconds: upgraded.required(header::TIMEOUT)?,
        })
    }
}

impl ReadProgress {
    pub(super) fn new(options: ReadOptions) -> ReadProgress {
        ReadProgress { options, range: None }
    }

    /// The name of the log.
    pub(super) fn log(&self) -> &LogName {
        &self.options.log
    }

    /// The request for the rest of the read.
    ///
    /// # Errors
    /// `invalid_argument`; see [`Start::parameters`].
    pub(super) fn request(&self) -> Result<Request, Error> {
        let ReadOptions { start, count, .. } = self.options;
        let (whence, position, count, known_end) = match self.range {
            None => {
                let (whence, position) = start.parameters()?;
                (whence, position, count, start.known_end().or(self.options.known_end))
            }
            Some(ReadRange { log, next, until, end }) => {
                let (_, position) = Start::Position(next).parameters()?;
                let count = (until != u64::MAX).then(|| until - next);
                (Whence::Origin, position, count, Some((log, end)))
            }
        };
        let mut request = Request::get(format!("/logs/{}/records", self.options.log))
            .query("whence", whence.as_str())
            .query("position", position)
            .query("follow", self.options.follow)
            .header(header::TIMEOUT, self.options.silence_seconds);
        if let Some(count) = count {
            // A count over i64::MAX is the same as no limit.
            request = request.query("count", i64::try_from(count).unwrap_or(-1));
        }
        if !self.options.codecs.is_plain() {
            request = request.header(header::FEATURES, self.options.codecs);
        }
        if let Some((log, end)) = known_end {
            request = request.header(header::LOG_ID, log).header(header::KNOWN_END, end);
        }
        Ok(request)
    }

    /// Checks a response against the read. The first response fixes the range. A log that was
    /// restored from the expected one continues it, if the read has not come past the fork.
    ///
    /// # Errors
    /// `log_changed` when it is not the expected log, and `bad_answer` when the
    /// records do not begin at the requested position. A server checks this
    /// itself; this protects against one that does not.
    pub(super) fn apply(&mut self, handshake: ConsumerHandshake) -> Result<ReadRange, Error> {
        let known = self.options.start.known_end().or(self.options.known_end).map(|(log, _)| log);
        let known = self.range.map(|range| range.log).or(known);
        if let Some(known) = known.filter(|known| *known != handshake.log) {
            let has_position = self.options.start.parameters()?.0 == Whence::Origin;
            let needed = match (self.range, self.options.known_end) {
                // It ends at an end of the expected log, and needs all records up to there.
                (Some(range), _) if !self.options.follow => range.until,
                (None, Some((_, end))) if !has_position => end,
                _ => handshake.position,
            };
            check_restored_from(handshake.restored_from, known, needed)?;
            if let Some(range) = &mut self.range {
                (range.log, range.end) = (handshake.log, handshake.end);
            }
        }
        let expected = match (self.range, self.options.start) {
            (Some(range), _) => Some(range.next),
            (None, Start::Position(position)) => Some(position),
            (None, Start::Checkpoint(checkpoint)) => Some(checkpoint.next.0),
            (None, _) => None,
        };
        if let Some(expected) = expected.filter(|expected| *expected != handshake.position) {
            let got = handshake.position;
            let text = format!("requested position {expected}, but the server begins at {got}");
            return Err(Error::bad_answer(text));
        }
        let range = self.range.get_or_insert_with(|| {
            let counted = self.options.count.map(|count| handshake.position.saturating_add(count));
            let log_end = handshake.end.max(handshake.position);
            let end = if self.options.follow { u64::MAX } else { log_end };
            let until = counted.unwrap_or(u64::MAX).min(end);
            ReadRange { log: handshake.log, next: handshake.position, until, end: handshake.end }
        });
        range.end = range.end.max(handshake.end);
        Ok(*range)
    }

    /// Advances to `next`: all records before it were queued for the caller. `end` is
    /// the highest end of the log that the server has reported.
    pub(super) fn advance(&mut self, next: u64, end: u64) {
        if let Some(range) = &mut self.range {
            range.next = range.next.max(next);
            range.end = range.end.max(end).max(next);
        }
    }

    /// The range; `None` before the first response.
    pub(super) fn range(&self) -> Option<ReadRange> {
        self.range
    }
}
