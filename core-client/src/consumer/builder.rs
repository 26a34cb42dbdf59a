//! [`Builder`]: the options of a consumer, and opening it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::{Codecs, LogId};

use super::course::Asked;
use super::reader::Patience;
use super::waiting::Waiting;
use super::{BUFFER_BYTES, Consumer, Start};
use crate::client::Client;
use crate::error::Error;
use crate::logs::known_name;
use crate::options::{self, TIMEOUT_MAX};

/// How long a read without `follow` may be without a connection, unless it
/// says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The least and the most bytes of batches that may wait.
const BUFFER_BYTES_RANGE: std::ops::RangeInclusive<usize> = 64 << 10..=1 << 30;

/// Options of a [`Consumer`]; made by [`Client::consumer`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it opens"]
pub struct Builder {
    client: Client,
    log: String,
    start: Start,
    count: Option<u64>,
    follow: bool,
    codecs: Codecs,
    buffer_bytes: usize,
    /// `None`: as `follow` has it.
    deadline: Option<Option<Duration>>,
}

impl Builder {
    pub(super) fn new(client: Client, log: &str) -> Builder {
        Builder {
            client,
            log: log.to_owned(),
            start: Start::default(),
            count: None,
            follow: false,
            codecs: Codecs::ALL,
            buffer_bytes: BUFFER_BYTES,
            deadline: None,
        }
    }

    /// Where to begin: a [`Start`], a position or a checkpoint. Default: at the
    /// first record that is kept.
    pub fn start(mut self, start: impl Into<Start>) -> Builder {
        self.start = start.into();
        self
    }

    /// End after so many records. Default: no limit.
    pub fn count(mut self, count: u64) -> Builder {
        self.count = Some(count);
        self
    }

    /// Whether to wait for new records at the end of the log. Default: no, the
    /// read ends at the end that the log has when it is opened.
    pub fn follow(mut self, follow: bool) -> Builder {
        self.follow = follow;
        self
    }

    /// The codecs in which the server may send blocks that are stored so; it
    /// unpacks others. Default: all.
    pub fn codecs(mut self, codecs: Codecs) -> Builder {
        self.codecs = codecs;
        self
    }

    /// About how many bytes of batches may wait to be taken, 64 KiB to 1 GiB.
    /// Beyond that the connection is not read: the server waits. Default: 8 MiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Builder {
        self.buffer_bytes = bytes;
        self
    }

    /// How long to go on without a connection, once one broke, before calls
    /// fail with `timed_out`; `None` is for ever. Default: for ever with
    /// `follow`, 120 s without.
    pub fn deadline(mut self, deadline: Option<Duration>) -> Builder {
        self.deadline = Some(deadline);
        self
    }

    /// Opens the consumer: returns when the server has agreed to the read.
    /// Passing failures are tried again until the client's
    /// [time-out](crate::client::Builder::timeout).
    ///
    /// Cancel safe: nothing is left behind.
    ///
    /// # Errors
    /// - `log_not_found`, `log_not_available`, and what else the server refuses.
    /// - `out_of_range`: the position is outside the log; the error has the
    ///   log's ends.
    /// - `log_changed`, `log_end_regressed`: the checkpoint is of another log,
    ///   or of more than the log has.
    /// - `invalid_argument`: an option cannot be used.
    /// - `connection_failed`, `timed_out`.
    pub async fn open(self) -> Result<Consumer, Error> {
        let Builder { client, buffer_bytes, .. } = &self;
        client.runtime().process().check()?;
        if !BUFFER_BYTES_RANGE.contains(buffer_bytes) {
            let (min, max) = (BUFFER_BYTES_RANGE.start(), BUFFER_BYTES_RANGE.end());
            let text = format!("buffer_bytes is {buffer_bytes}: use {min} to {max}");
            return Err(Error::invalid(text));
        }
        let (asked, patience) = (self.asked()?, self.patience()?);
        let waiting = Arc::new(Waiting::new(*buffer_bytes));
        let reader = super::read(client, &waiting, asked.clone(), patience);
        let opened = poll_fn(|context| waiting.poll_open(context)).await?;
        let mut consumer = Consumer {
            client: self.client,
            asked,
            patience,
            waiting,
            reader: Some(reader),
            log: LogId(0),
            position: 0,
            is_seeking: false,
            current: None,
        };
        consumer.moved_to(opened);
        Ok(consumer)
    }

    fn asked(&self) -> Result<Asked, Error> {
        self.start.parameters()?;
        Ok(Asked {
            log: known_name(&self.log)?,
            start: self.start,
            count: self.count,
            follow: self.follow,
            codecs: self.codecs,
            known: None,
            silence_seconds: self.client.transport().options().silence_timeout.as_secs(),
        })
    }

    fn patience(&self) -> Result<Patience, Error> {
        let by_default = if self.follow { None } else { Some(DEADLINE) };
        let again = self.deadline.unwrap_or(by_default);
        if let Some(again) = again {
            options::timeout("deadline", again, Duration::from_millis(1))?;
        }
        let options = self.client.transport().options();
        Ok(Patience { open: options.call_timeout.min(TIMEOUT_MAX), retry: options.retry, again })
    }
}
