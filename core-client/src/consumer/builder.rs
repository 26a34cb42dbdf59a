//! [`Builder`]: the options of a consumer, and how it is opened.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::{Checkpoint, Codecs, LogId, Position};

use super::batch_queue::BatchQueue;
use super::cursor::{ConsumerCursor, Opened, TakeOver};
use super::progress::ReadOptions;
use super::task::RetryPolicy;
use super::{BUFFER_BYTES, Consumer, Start};
use crate::client::Client;
use crate::error::Error;
use crate::logs::{CursorPlace, known_name};
use crate::options::{self, Given, OptionOf, TIMEOUT_MAX, TIMEOUT_MIN};

/// How long a read without `follow` may be without a connection by default.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The accepted range of [`Builder::buffer_bytes`].
const BUFFER_BYTES_RANGE: std::ops::RangeInclusive<usize> = 64 << 10..=1 << 30;

/// Options of a [`Consumer`]. [`Client::consumer`] returns it.
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
    /// `None`: the default, which depends on `follow`.
    deadline: Option<Option<Duration>>,
    cursor: Option<String>,
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
            cursor: None,
        }
    }

    /// Sets an option by its name, for language bindings and configuration files.
    /// [`OPTIONS`](crate::options::OPTIONS) lists the names and how values are written.
    ///
    /// # Errors
    /// `invalid_argument`: there is no such option, and the error names the nearest one; or
    /// the value is not allowed, and the error says which are.
    pub fn set(mut self, key: &str, value: &str) -> Result<Builder, Error> {
        let given = Given::new(key, value);
        Ok(match key {
            "start" => self.start(value.parse::<Start>()?),
            "count" => {
                self.count = given.optional(|given| given.number(0..=u64::MAX))?;
                self
            }
            "follow" => self.follow(given.flag()?),
            "deadline" => {
                let range = TIMEOUT_MIN..=TIMEOUT_MAX;
                self.deadline(given.optional(|given| given.duration(range))?)
            }
            "buffer_bytes" => self.buffer_bytes(given.bytes(BUFFER_BYTES_RANGE)?),
            "codecs" => self.codecs(given.codecs()?),
            "cursor" => self.cursor(value),
            _ => return Err(given.unknown(OptionOf::Consumer)),
        })
    }

    /// Where to begin: a [`Start`], a position or a checkpoint. Default: the first
    /// record that the log still has.
    pub fn start(mut self, start: impl Into<Start>) -> Builder {
        self.start = start.into();
        self
    }

    /// The read ends after this number of records. Default: no limit.
    pub fn count(mut self, count: u64) -> Builder {
        self.count = Some(count);
        self
    }

    /// Whether to wait for new records at the end of the log. Default: no; the read
    /// ends at the end that the log has when the consumer is opened.
    pub fn follow(mut self, follow: bool) -> Builder {
        self.follow = follow;
        self
    }

    /// The codecs that the server may use. It sends blocks stored with one of these
    /// codecs as they are, and decompresses all others. Default: all codecs.
    pub fn codecs(mut self, codecs: Codecs) -> Builder {
        self.codecs = codecs;
        self
    }

    /// The approximate size of the queue of received batches, 64 KiB to 1 GiB. When it
    /// is full, the client stops reading from the server (back-pressure).
    /// Default: 8 MiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Builder {
        self.buffer_bytes = bytes;
        self
    }

    /// How long to try to reconnect after the connection broke. Then calls fail with
    /// `timed_out`. `None` means no limit. Default: no limit with `follow`, 120 s
    /// without.
    pub fn deadline(mut self, deadline: Option<Duration>) -> Builder {
        self.deadline = Some(deadline);
        self
    }

    /// The cursor in which the server keeps the consumer's position. The consumer begins where
    /// the cursor is. If there is no such cursor, it begins at [`start`](Self::start), and the
    /// cursor is created there. [`Consumer::commit`] moves it.
    ///
    /// Opening takes the cursor over: if another consumer uses it, that consumer's next commit
    /// fails with `cursor_taken`. Default: none.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Builder {
        self.cursor = Some(cursor.into());
        self
    }

    /// Opens the consumer. Returns when the server has accepted the read.
    /// Temporary failures are retried until the client's
    /// [timeout](crate::client::Builder::timeout).
    ///
    /// Cancel safe: a dropped future closes its connection.
    ///
    /// # Errors
    /// - `log_not_found`, `log_not_available`, and other errors of the server.
    /// - `out_of_range`: the position is outside the log; the error has both ends of
    ///   the log.
    /// - `log_changed`, `log_end_regressed`: the checkpoint belongs to another log, or
    ///   to a position that the log does not reach.
    /// - `invalid_argument`: an option is out of range.
    /// - `connection_failed`, `timed_out`.
    ///
    /// With a cursor also:
    /// - `log_changed`: the log was truncated after the cursor was set. Set the cursor to a
    ///   position of the new log, or delete it.
    /// - `out_of_range`: retention has removed the record at the cursor. The error has the first
    ///   position that is left; set the cursor to continue there.
    /// - `too_many_cursors`.
    pub async fn open(mut self) -> Result<Consumer, Error> {
        let Some(cursor) = self.cursor.take() else { return self.open_read().await };
        self.client.runtime().process().check()?;
        let cursor = cursor.parse().map_err(|e| Error::invalid_argument(format!("{e}")))?;
        let place = CursorPlace { log: known_name(&self.log)?, cursor };
        let take_over = TakeOver::new(Arc::clone(self.client.transport()), place.clone());
        let runtime = Arc::clone(self.client.runtime());
        loop {
            let (mut consumer, taken) = match runtime.run(take_over.clone().existing()).await? {
                Some(taken) => {
                    let next = Position(taken.position);
                    let start = Checkpoint { log_id: taken.log_id, next };
                    (self.clone().start(start).open_read().await?, taken)
                }
                None => {
                    let consumer = self.clone().open_read().await?;
                    let created = take_over.clone().create(consumer.checkpoint());
                    match runtime.run(created).await? {
                        Opened::Taken(taken) => (consumer, taken),
                        Opened::Exists => continue,
                    }
                }
            };
            consumer.cursor = Some(ConsumerCursor::start(&self.client, place, &taken));
            return Ok(consumer);
        }
    }

    /// Opens a consumer without a cursor.
    async fn open_read(self) -> Result<Consumer, Error> {
        let Builder { client, buffer_bytes, .. } = &self;
        client.runtime().process().check()?;
        if !BUFFER_BYTES_RANGE.contains(buffer_bytes) {
            let (min, max) = (BUFFER_BYTES_RANGE.start(), BUFFER_BYTES_RANGE.end());
            let text = format!("buffer_bytes is {buffer_bytes}: use {min} to {max} bytes");
            return Err(Error::invalid_argument(text));
        }
        let (options, policy) = (self.options()?, self.policy()?);
        let queue = Arc::new(BatchQueue::new(*buffer_bytes, client.runtime().process()));
        client.runtime().bell().add(&queue);
        let sender = queue.replace_sender(None);
        let task = super::read(client, &queue, sender, options.clone(), policy);
        let opened = poll_fn(|context| queue.poll_open(context)).await?;
        let mut consumer = Consumer {
            client: self.client,
            options,
            policy,
            queue,
            task: Some(task),
            log: LogId(0),
            current: None,
            cursor: None,
        };
        consumer.moved_to(opened);
        Ok(consumer)
    }

    /// For tests that make a consumer without a server.
    #[cfg(test)]
    pub(super) fn parts(&self) -> Result<(ReadOptions, RetryPolicy), Error> {
        Ok((self.options()?, self.policy()?))
    }

    fn options(&self) -> Result<ReadOptions, Error> {
        self.start.parameters()?;
        Ok(ReadOptions {
            log: known_name(&self.log)?,
            start: self.start,
            count: self.count,
            follow: self.follow,
            codecs: self.codecs,
            known_end: None,
            silence_seconds: self.client.transport().options().silence_timeout.as_secs(),
        })
    }

    fn policy(&self) -> Result<RetryPolicy, Error> {
        let by_default = if self.follow { None } else { Some(DEADLINE) };
        let reconnect_timeout = self.deadline.unwrap_or(by_default);
        if let Some(timeout) = reconnect_timeout {
            options::check_timeout("deadline", timeout, Duration::from_millis(1))?;
        }
        let options = self.client.transport().options();
        Ok(RetryPolicy {
            open_timeout: options.call_timeout.min(TIMEOUT_MAX),
            retry: options.retry,
            reconnect_timeout,
        })
    }
}
