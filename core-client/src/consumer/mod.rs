//! [`Consumer`]: reads a log from any position, and reconnects by itself.
//!
//! ```text
//! Builder ─ open ─▶ Consumer ◀─ take ─ BatchQueue ◀─ push ─ ConsumerConnection ◀─ socket
//!                      │                                       ▲ one at a time
//!                      └─ seek, close ─▶ ConsumerTask ─────────┘
//! ```
//! The consumer's task runs on the client's threads. It checks and decompresses
//! blocks, and puts their records into batches. The consumer only takes batches from
//! the queue.
//!
//! Invariant: a caller receives every record of the range once and in order, or an
//! error. The position only moves past records that the caller has received.

mod batch_queue;
mod bell;
mod builder;
mod connection;
mod cursor;
mod handle;
mod progress;
mod records;
mod start;
mod stats;
mod task;
#[cfg(test)]
mod tests;

pub use builder::{Builder, DEADLINE};
pub use cursor::Commit;
pub use handle::Handle;
pub use records::Records;
pub use start::Start;
pub use stats::ConsumerStats;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use styx_protocol::{Checkpoint, LogId, Position};
use tracing::Instrument;

use crate::batch::{Record, RecordBatch};
use crate::client::Client;
use crate::completion::Ticket;
use crate::error::Error;
use crate::runtime::AbortOnDrop;

pub(crate) use batch_queue::BatchQueue;
use batch_queue::{BatchSender, OpenedRead, QueueItem, Returned};
pub(crate) use bell::Bell;
use cursor::ConsumerCursor;
use progress::{ReadOptions, ReadProgress};
use task::{ConsumerTask, RetryPolicy};

/// The default size of the queue of received batches, in bytes.
pub const BUFFER_BYTES: usize = 8 << 20;

/// Reads the records of one log, in order.
///
/// [`Client::consumer`] makes one. When its connection breaks, it reconnects and
/// continues at its position: no record is returned twice or skipped. Dropping it
/// closes the connection.
pub struct Consumer {
    client: Client,
    options: ReadOptions,
    policy: RetryPolicy,
    queue: Arc<BatchQueue>,
    /// `None` after `close`.
    task: Option<AbortOnDrop<()>>,
    log: LogId,
    /// A batch that [`next_record`](Self::next_record) is working through, and the
    /// number of its records that were returned. While some are left, the queue counts
    /// as readable.
    current: Option<(RecordBatch, usize)>,
    /// `None` without a cursor, and after `close`.
    cursor: Option<ConsumerCursor>,
}

/// What a consumer has to return at the moment.
#[derive(Debug, Clone)]
pub enum Polled {
    /// The next records.
    Batch(RecordBatch),
    /// Nothing at the moment.
    Nothing,
    /// Nothing more: every record of the read was returned.
    End,
}

impl Client {
    /// A builder for a consumer of the log `log`: set options, then call
    /// [`Builder::open`].
    pub fn consumer(&self, log: &str) -> Builder {
        Builder::new(self.clone(), log)
    }
}

impl Consumer {
    /// The next records, at least one; `None` when every record of the read was
    /// returned. With `follow` it waits for records that do not exist yet.
    ///
    /// Cancel safe: the next call returns the batch that a cancelled call did not.
    ///
    /// # Errors
    /// - `log_changed`, `log_end_regressed`: the log was replaced by another one, or
    ///   has lost durable records. A log that was restored from an archive with all records that
    ///   were received is no other log.
    /// - `out_of_range`: retention has removed records that were not read yet; the
    ///   error has the position of the first record that is left.
    /// - `corrupt_record`: the record at the error's position is damaged.
    /// - `timed_out`: there was no connection for the whole
    ///   [deadline](Builder::deadline).
    /// - `closed`, `forked`, and errors of the server, such as `log_not_found` after
    ///   the log was deleted.
    ///
    /// After an error, every further call returns the same error, until
    /// [`seek`](Self::seek).
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        poll_fn(|context| self.poll_batch(context, Returned::AsBatch)).await
    }

    /// The next batch. If its records are returned one by one, the position stays before
    /// it.
    fn poll_batch(
        &mut self,
        context: &mut Context<'_>,
        returned: Returned,
    ) -> Poll<Result<Option<RecordBatch>, Error>> {
        loop {
            if let Some(batch) = self.take_current() {
                return Poll::Ready(Ok(Some(batch)));
            }
            match ready!(self.queue.poll_take(context, returned))? {
                QueueItem::Batch(batch) if returned == Returned::OneByOne => {
                    return Poll::Ready(Ok(Some(batch)));
                }
                QueueItem::Batch(batch) => return Poll::Ready(Ok(Some(self.give_out(batch)))),
                QueueItem::End(outcome) => return Poll::Ready(outcome.map(|()| None)),
                QueueItem::Woken => {}
            }
        }
    }

    /// As [`next_batch`](Self::next_batch), but returns [`Polled::Nothing`] when
    /// [`Handle::wakeup`] is called.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub async fn poll(&mut self) -> Result<Polled, Error> {
        if let Some(batch) = self.take_current() {
            return Ok(Polled::Batch(batch));
        }
        let item = poll_fn(|context| self.queue.poll_take(context, Returned::AsBatch)).await?;
        self.polled(item)
    }

    /// Returns what the consumer has at the moment, without waiting.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub fn try_next_batch(&mut self) -> Result<Polled, Error> {
        if let Some(batch) = self.take_current() {
            return Ok(Polled::Batch(batch));
        }
        let item = self.queue.take()?;
        item.map_or(Ok(Polled::Nothing), |item| self.polled(item))
    }

    /// The next record, borrowed from its batch; `None` as in
    /// [`next_batch`](Self::next_batch). The two methods can be mixed.
    ///
    /// Cancel safe: the next call returns the record that a cancelled call did not.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub async fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        match poll_fn(|context| self.poll_current(context)).await? {
            true => Ok(self.take_record()),
            false => Ok(None),
        }
    }

    /// Waits until `current` has a record to return; `false` if the read has ended.
    fn poll_current(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let is_over = |(batch, given): &(RecordBatch, usize)| *given >= batch.len();
        if self.current.as_ref().is_none_or(is_over) {
            self.current = None;
            let Some(batch) = ready!(self.poll_batch(context, Returned::OneByOne))? else {
                return Poll::Ready(Ok(false));
            };
            self.log = batch.log_id();
            self.current = Some((batch, 0));
        }
        Poll::Ready(Ok(true))
    }

    fn take_record(&mut self) -> Option<Record<'_>> {
        let (batch, given) = self.current.as_mut()?;
        let record = batch.get(*given);
        *given += 1;
        self.queue.set_position(batch.first_position() + *given as u64);
        // The queue counts a batch of one record as returned already.
        if *given == batch.len() && *given > 1 {
            self.queue.release();
        }
        record
    }

    /// Gives back the last records that were returned, such as the part of a batch that
    /// the caller cannot handle now. The next call returns them again.
    ///
    /// # Errors
    /// `invalid_argument` when they are not the last ones, or when a
    /// [`seek`](Self::seek) has not finished; `closed`, `forked`. Then nothing changes.
    pub fn give_back(&mut self, rest: RecordBatch) -> Result<(), Error> {
        if rest.log_id() != self.log || rest.next_position() != self.position() {
            return Err(Error::invalid_argument(
                "these records cannot be given back: they are not the last ones returned",
            ));
        }
        let first = rest.first_position();
        let batches = [Some(rest), self.rest_of_current()];
        self.queue.put_back(batches.map(|batch| batch.filter(|batch| !batch.is_empty())))?;
        self.queue.set_position(first);
        self.current = None;
        Ok(())
    }

    /// Continues at another place, and drops the received batches. The count starts
    /// again, and without `follow` the read ends at the end that the log has then.
    /// The position belongs to the same log: if that log no longer exists, the seek
    /// fails with `log_changed`.
    ///
    /// A dropped future stops waiting, but the seek takes place: the next records come
    /// from the new place.
    ///
    /// # Errors
    /// As [`Builder::open`]. The consumer then returns the same error until another
    /// seek. `closed` after [`close`](Self::close).
    pub async fn seek(&mut self, start: impl Into<Start>) -> Result<(), Error> {
        self.begin_seek(start.into(), &mut None)?;
        poll_fn(|context| self.queue.poll_open(context)).await.map(|_| ())
    }

    /// Starts a seek. If it cannot start, the ticket stays where it is.
    pub(crate) fn begin_seek(
        &mut self,
        start: Start,
        opening: &mut Option<Ticket>,
    ) -> Result<(), Error> {
        self.client.runtime().process().check()?;
        if self.queue.is_closed() {
            return Err(Error::closed("consumer"));
        }
        start.parameters()?;
        let end = self.queue.log_end().max(self.position());
        let log = self.queue.log().unwrap_or(self.log);
        let options = ReadOptions { start, known_end: Some((log, end)), ..self.options.clone() };
        let sender = self.start_over(opening.take());
        self.task = Some(read(&self.client, &self.queue, sender, options, self.policy));
        Ok(())
    }

    /// Drops every record that was not returned. The next ones come from the new sender.
    fn start_over(&mut self, opening: Option<Ticket>) -> BatchSender {
        self.current = None;
        self.queue.replace_sender(opening)
    }

    /// The position of the next record that will be returned.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.queue.position()
    }

    /// The log's id and the [position](Self::position): where to continue once every
    /// returned record was processed.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { log_id: self.log, next: Position(self.position()) }
    }

    /// Stores the [position](Self::position) in the consumer's
    /// [cursor](Builder::cursor): a consumer that is opened with this cursor later continues
    /// there. Commit after the output of the returned records is safe. Records that were
    /// returned but not committed are returned again, so each is processed at least once.
    ///
    /// It returns at once. The position is stored in the background, however often connections
    /// break. To know that it is durable, wait for [`Commit::position`]. A commit of a position
    /// before one that was committed, such as after a seek, changes nothing.
    /// [`close`](Self::close) waits for the last commit; after a drop it is still stored, as long
    /// as the client exists.
    ///
    /// # Errors
    /// - `cursor_taken`: another consumer has taken the cursor over since an earlier commit, or
    ///   it was set or deleted.
    /// - `invalid_argument`: the consumer has no cursor. `closed`, `forked`.
    /// - The other errors of [`Commit::position`], if an earlier commit failed for good.
    pub fn commit(&mut self) -> Result<Commit, Error> {
        self.client.runtime().process().check()?;
        match &self.cursor {
            Some(cursor) => cursor.commit(self.position()),
            None if self.task.is_none() => Err(Error::closed("consumer")),
            None => Err(cursor::no_cursor()),
        }
    }

    /// The id of the log. It changes when the log is restored from an archive and the consumer
    /// continues in the restored log.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.log
    }

    /// The number of records between the position and the log's durable end, as last
    /// reported by the server. It reports its end when the consumer is opened, whenever
    /// the consumer has caught up, and at least once per half silence timeout.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.queue.lag()
    }

    /// Whether every record that the server has reported was returned.
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.queue.caught_up()
    }

    /// A handle that closes, wakes or watches this consumer from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.queue), Arc::clone(self.client.runtime().bell()))
    }

    /// The client that has made this consumer.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The queue of received batches.
    pub(crate) fn queue(&self) -> &BatchQueue {
        &self.queue
    }

    /// Closes the connection. With a cursor, waits until the last [commit](Self::commit) is stored
    /// or was given up. Later calls return `closed`; closing again has no
    /// effect. Nothing is lost: records that were not returned are in the log.
    pub async fn close(&mut self) {
        self.current = None;
        self.queue.close();
        if self.client.runtime().process().is_current() {
            if let Some(task) = &mut self.task {
                // The task has ended, or was aborted just now.
                let _ = task.await;
                self.task = None;
            }
            if let Some(cursor) = self.cursor.take() {
                cursor.finish().await;
            }
        }
    }

    fn give_out(&mut self, batch: RecordBatch) -> RecordBatch {
        self.log = batch.log_id();
        self.queue.set_position(batch.next_position());
        batch
    }

    /// The records that `next_record` has not returned of its batch.
    fn take_current(&mut self) -> Option<RecordBatch> {
        let rest = self.rest_of_current();
        if self.current.take().is_some() && rest.is_some() {
            self.queue.release();
        }
        rest.map(|rest| self.give_out(rest))
    }

    fn rest_of_current(&self) -> Option<RecordBatch> {
        let (batch, given) = self.current.as_ref()?;
        (*given < batch.len()).then(|| batch.slice(*given..batch.len()))
    }

    fn polled(&mut self, item: QueueItem) -> Result<Polled, Error> {
        match item {
            QueueItem::Batch(batch) => Ok(Polled::Batch(self.give_out(batch))),
            QueueItem::End(outcome) => outcome.map(|()| Polled::End),
            QueueItem::Woken => Ok(Polled::Nothing),
        }
    }

    /// The first read is open. A seek stays in the same log.
    fn moved_to(&mut self, opened: OpenedRead) {
        self.log = opened.log;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("log", &self.options.log)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// Starts the task that fills `queue` through `sender`, in place of the current one.
fn read(
    client: &Client,
    queue: &BatchQueue,
    sender: BatchSender,
    options: ReadOptions,
    policy: RetryPolicy,
) -> AbortOnDrop<()> {
    let transport = Arc::clone(client.transport());
    let span = tracing::debug_span!("consumer", log = %options.log);
    let task = ConsumerTask::new(transport, sender, ReadProgress::new(options), policy);
    let task = client.runtime().spawn_owned(task.run().instrument(span));
    queue.set_task(task.abort_handle());
    task
}
