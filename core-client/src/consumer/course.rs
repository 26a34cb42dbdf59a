//! [`Course`]: how far a read has come, and what its next connection asks for.
//!
//! The first connection asks for what the caller asked for. Its answer settles
//! the log, the first position and, unless it follows, the end; from then on
//! every connection asks for what is missing of that, in that log. Pure: it
//! knows no sockets.
//!
//! Invariant: `next` only grows, and only past records that were handed on.

use styx_protocol::codec::Codecs;
use styx_protocol::{Code, LogId, LogName, Whence, header};

use super::Start;
use crate::error::Error;
use crate::transport::{Request, Upgraded};

/// What a caller asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) log: LogName,
    pub(super) start: Start,
    pub(super) count: Option<u64>,
    pub(super) follow: bool,
    pub(super) codecs: Codecs,
    /// The log that positions are known to be of, and an end that it had.
    pub(super) known: Option<(LogId, u64)>,
    /// Seconds of silence after which the server's end is taken for dead.
    pub(super) silence_seconds: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Course {
    asked: Asked,
    settled: Option<Settled>,
}

/// What the first answer settled, and how far it has come since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) log: LogId,
    /// The next record to hand on.
    pub(super) next: u64,
    /// The first record that is not asked for.
    pub(super) until: u64,
    /// The furthest end that the server has told of, all of it durable.
    pub(super) end: u64,
}

/// What a `101` to a consumer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) log: LogId,
    /// The first record that comes.
    pub(super) position: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Seconds of silence after which the server ends the connection.
    pub(super) timeout_seconds: u64,
}

impl Agreed {
    /// # Errors
    /// `bad_answer` when a header is missing or cannot be understood.
    pub(super) fn read(upgraded: &Upgraded) -> Result<Agreed, Error> {
        Ok(Agreed {
            log: upgraded.required(header::LOG_ID)?,
            position: upgraded.required(header::POSITION)?,
            start: upgraded.required(header::START_POSITION)?,
            end: upgraded.required(header::END_POSITION)?,
            timeout_seconds: upgraded.required(header::TIMEOUT)?,
        })
    }
}

impl Course {
    pub(super) fn new(asked: Asked) -> Course {
        Course { asked, settled: None }
    }

    /// What is asked of the server.
    ///
    /// # Errors
    /// `invalid_argument`; see [`Start::parameters`].
    pub(super) fn request(&self) -> Result<Request, Error> {
        let Asked { start, count, .. } = self.asked;
        let (whence, position, count, known) = match self.settled {
            None => {
                let (whence, position) = start.parameters()?;
                (whence, position, count, start.known().or(self.asked.known))
            }
            Some(Settled { log, next, until, end }) => {
                let (_, position) = Start::Position(next).parameters()?;
                let count = (until != u64::MAX).then(|| until - next);
                (Whence::Origin, position, count, Some((log, end)))
            }
        };
        let mut request = Request::get(format!("/logs/{}/records", self.asked.log))
            .query("whence", whence.as_str())
            .query("position", position)
            .query("follow", self.asked.follow)
            .header(header::TIMEOUT, self.asked.silence_seconds);
        if let Some(count) = count {
            // More than the protocol has room for is no limit.
            request = request.query("count", i64::try_from(count).unwrap_or(-1));
        }
        if !self.asked.codecs.is_plain() {
            request = request.header(header::FEATURES, self.asked.codecs);
        }
        if let Some((log, end)) = known {
            request = request.header(header::LOG_ID, log).header(header::KNOWN_END, end);
        }
        Ok(request)
    }

    /// Takes what the server agreed to. A first answer settles the read.
    ///
    /// # Errors
    /// `log_changed` when it is another log than the one meant, and
    /// `bad_answer` when the records that come are not those asked for: a server
    /// says so itself, and this is in case one does not.
    pub(super) fn agree(&mut self, agreed: Agreed) -> Result<Settled, Error> {
        let known = self.asked.start.known().or(self.asked.known).map(|(log, _)| log);
        let known = self.settled.map(|settled| settled.log).or(known);
        if known.is_some_and(|known| known != agreed.log) {
            let text = "the log was recreated or truncated: its positions mean other records now";
            return Err(Error::code_error(Code::LogChanged, text));
        }
        let expected = match (self.settled, self.asked.start) {
            (Some(settled), _) => Some(settled.next),
            (None, Start::Position(position)) => Some(position),
            (None, Start::Checkpoint(checkpoint)) => Some(checkpoint.next.0),
            (None, _) => None,
        };
        if let Some(expected) = expected.filter(|expected| *expected != agreed.position) {
            let got = agreed.position;
            let text = format!("asked for position {expected}, the server begins at {got}");
            return Err(Error::bad_answer(text));
        }
        let settled = self.settled.get_or_insert_with(|| {
            let counted = self.asked.count.map(|count| agreed.position.saturating_add(count));
            let end = if self.asked.follow { u64::MAX } else { agreed.end.max(agreed.position) };
            let until = counted.unwrap_or(u64::MAX).min(end);
            Settled { log: agreed.log, next: agreed.position, until, end: agreed.end }
        });
        settled.end = settled.end.max(agreed.end);
        Ok(*settled)
    }

    /// How far it has come: records before `next` were handed on, and the
    /// server has told of the end `end`.
    pub(super) fn advance(&mut self, next: u64, end: u64) {
        if let Some(settled) = &mut self.settled {
            settled.next = settled.next.max(next);
            settled.end = settled.end.max(end).max(next);
        }
    }

    /// What was settled, once it was.
    pub(super) fn settled(&self) -> Option<Settled> {
        self.settled
    }
}
