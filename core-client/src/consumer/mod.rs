//! [`Consumer`]: reads a log, from any place, over connections that heal.
//!
//! ```text
//! Builder ─ open ─▶ Consumer ◀─ take ─ Waiting ◀─ push ─ Link ◀─ socket
//!                      │                                  ▲ one connection
//!                      └─ seek, close ─▶ Reader ──────────┘ and the next
//! ```
//! The reader's task runs on the core's threads; it checks, unpacks and puts
//! records into batches there. The consumer only takes what waits.
//!
//! Invariant: what a caller gets is every record of the range, each once, in
//! order, or an error. A position moves only past records that were given out.

mod builder;
mod course;
mod handle;
mod link;
mod reader;
mod records;
mod start;
mod waiting;

pub use builder::{Builder, DEADLINE};
pub use handle::Handle;
pub use records::Records;
pub use start::Start;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use styx_protocol::{Checkpoint, LogId, Position};

use crate::batch::{Record, RecordBatch};
use crate::client::Client;
use crate::completion::Source;
use crate::error::Error;
use crate::runtime::AbortOnDrop;

use course::{Asked, Course};
use reader::{Patience, Reader};
use waiting::{Opened, Taken, Waiting};

/// Bytes of batches that wait for a consumer's caller, unless it says
/// otherwise.
pub const BUFFER_BYTES: usize = 8 << 20;

/// Reads the records of one log, in order.
///
/// Made by [`Client::consumer`]. It connects again by itself when its
/// connection breaks, and goes on where it was: no record is given out twice or
/// left out. Dropping it ends the connection.
pub struct Consumer {
    client: Client,
    asked: Asked,
    patience: Patience,
    waiting: Arc<Waiting>,
    /// `None` once closed.
    reader: Option<AbortOnDrop<()>>,
    log: LogId,
    /// The next record to give out.
    position: u64,
    /// A seek was begun, and it is not known here yet where it leads.
    is_seeking: bool,
    /// A batch of which [`next_record`](Self::next_record) has given out some
    /// records, or none yet.
    current: Option<(RecordBatch, usize)>,
}

/// What a consumer has at the moment.
#[derive(Debug, Clone)]
pub enum Polled {
    /// The next records.
    Batch(RecordBatch),
    /// Nothing now.
    Nothing,
    /// Nothing any more: all that was asked for was given out.
    End,
}

impl Client {
    /// A consumer of this log: options first, then [`Builder::open`].
    pub fn consumer(&self, log: &str) -> Builder {
        Builder::new(self.clone(), log)
    }
}

impl Consumer {
    /// The next records, at least one; `None` when all that was asked for was
    /// given out. With `follow` it waits for records that are not there yet.
    ///
    /// Cancel safe: a batch that was not returned comes with the next call.
    ///
    /// # Errors
    /// - `log_changed`, `log_end_regressed`: the log is another one than it was,
    ///   or has lost records that were durable.
    /// - `out_of_range`: retention has removed records that were not read yet;
    ///   the error names the first kept one.
    /// - `corrupt_record`: the record at the error's position is damaged.
    /// - `timed_out`: there was no connection for the
    ///   [deadline](Builder::deadline).
    /// - `closed`, `forked`, and what the server refuses, such as
    ///   `log_not_found` once the log was deleted.
    ///
    /// An error is lasting: every further call gives it again, until
    /// [`seek`](Self::seek).
    pub async fn next_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        poll_fn(|context| self.poll_batch(context)).await
    }

    fn poll_batch(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<RecordBatch>, Error>> {
        loop {
            if let Some(batch) = self.take_current() {
                return Poll::Ready(Ok(Some(batch)));
            }
            self.client.runtime().process().check()?;
            match ready!(self.waiting.poll_take(context)) {
                Taken::Batch(batch) => return Poll::Ready(Ok(Some(self.give_out(batch)))),
                Taken::Over(outcome) => return Poll::Ready(outcome.map(|()| None)),
                Taken::Woken => {}
            }
        }
    }

    /// As [`next_batch`](Self::next_batch), but returns [`Polled::Nothing`]
    /// when [`Handle::wakeup`] is called.
    ///
    /// # Errors
    /// As there.
    pub async fn poll(&mut self) -> Result<Polled, Error> {
        if let Some(batch) = self.take_current() {
            return Ok(Polled::Batch(batch));
        }
        self.client.runtime().process().check()?;
        let taken = poll_fn(|context| self.waiting.poll_take(context)).await;
        self.polled(taken)
    }

    /// What there is at the moment, without waiting.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub fn try_next_batch(&mut self) -> Result<Polled, Error> {
        if let Some(batch) = self.take_current() {
            return Ok(Polled::Batch(batch));
        }
        self.client.runtime().process().check()?;
        let taken = self.waiting.take();
        taken.map_or(Ok(Polled::Nothing), |taken| self.polled(taken))
    }

    /// The next record, borrowed from its batch; `None` as with
    /// [`next_batch`](Self::next_batch), which it can be mixed with.
    ///
    /// Cancel safe: a record that was not returned comes with the next call.
    ///
    /// # Errors
    /// As there.
    pub async fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        match poll_fn(|context| self.poll_current(context)).await? {
            true => Ok(self.take_record()),
            false => Ok(None),
        }
    }

    /// Waits until `current` has a record to give out; `false`: none comes.
    fn poll_current(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        let is_over = |(batch, given): &(RecordBatch, usize)| *given >= batch.len();
        if self.current.as_ref().is_none_or(is_over) {
            self.current = None;
            let Some(batch) = ready!(self.poll_batch(context))? else {
                return Poll::Ready(Ok(false));
            };
            self.position = batch.first_position();
            self.current = Some((batch, 0));
        }
        Poll::Ready(Ok(true))
    }

    fn take_record(&mut self) -> Option<Record<'_>> {
        let (batch, given) = self.current.as_mut()?;
        let record = batch.get(*given);
        *given += 1;
        self.position += 1;
        record
    }

    /// Gives records back that were the last of what was given out, such as
    /// those of a batch that are too many for now. They come again next.
    ///
    /// # Errors
    /// `invalid_argument` when they are not.
    pub fn give_back(&mut self, rest: RecordBatch) -> Result<(), Error> {
        let is_last = rest.log_id() == self.log && rest.next_position() == self.position();
        if !is_last || self.take_current().is_some() {
            return Err(Error::invalid("these records are not the last that were given out"));
        }
        self.position = rest.first_position();
        self.current = Some((rest, 0));
        Ok(())
    }

    /// Goes on from another place; what waits is dropped. The count begins
    /// anew, and without `follow` the read ends at the end that the log has
    /// then. The position is one of the same log: `log_changed` if that is not
    /// there any more.
    ///
    /// Cancelling it stops the waiting, not the seek: the next records come from
    /// the new place.
    ///
    /// # Errors
    /// As [`Builder::open`]. The consumer then gives the same error until
    /// another seek.
    pub async fn seek(&mut self, start: impl Into<Start>) -> Result<(), Error> {
        self.client.runtime().process().check()?;
        let start = start.into();
        start.parameters()?;
        let end = self.waiting.ends().map_or(0, |ends| ends.end.0).max(self.position);
        let asked = Asked { start, known: Some((self.log, end)), ..self.asked.clone() };
        (self.current, self.is_seeking) = (None, true);
        self.reader = Some(read(&self.client, &self.waiting, asked, self.patience));
        let opened = poll_fn(|context| self.waiting.poll_open(context)).await?;
        self.moved_to(opened);
        Ok(())
    }

    /// The position of the next record to be given out.
    #[must_use]
    pub fn position(&self) -> u64 {
        match self.waiting.opened().filter(|_| self.is_seeking) {
            Some(opened) => opened.position,
            None => self.position,
        }
    }

    /// The log's identity and the [position](Self::position): where to go on
    /// when all that was given out has been dealt with.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { log_id: self.log, next: Position(self.position()) }
    }

    /// The identity of the log.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.log
    }

    /// How many records lie between the position and the log's durable end, as
    /// far as the server has told: at the opening, whenever this side has
    /// caught up, and at least once in half the silence time-out.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let end = self.waiting.ends().map_or(0, |ends| ends.end.0);
        end.saturating_sub(self.position())
    }

    /// Whether all records were given out that the server has told of.
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.lag() == 0 && self.waiting.is_empty()
    }

    /// What other threads may do with this consumer.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.waiting))
    }

    /// Tells this source whenever a call would no longer have to wait: then take
    /// until there is nothing.
    pub fn notify(&self, source: Source) {
        self.waiting.notify(source);
    }

    /// A descriptor that is readable exactly while a call would not have to
    /// wait, for level-triggered watching. Made at the first call; never read
    /// from it or close it.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.waiting.signal().map(AsFd::as_fd)
    }

    /// Ends the connection. Calls give `closed` afterwards; closing again is
    /// fine. Nothing can be lost: what was not given out is in the log.
    pub async fn close(&mut self) {
        self.current = None;
        self.waiting.close();
        if self.client.runtime().process().check().is_ok()
            && let Some(reader) = &mut self.reader
        {
            // Either it is done or it was ended just now.
            let _ = (&mut reader.0).await;
            self.reader = None;
        }
    }

    fn give_out(&mut self, batch: RecordBatch) -> RecordBatch {
        self.is_seeking = false;
        self.position = batch.next_position();
        batch
    }

    /// What `next_record` has left of its batch.
    fn take_current(&mut self) -> Option<RecordBatch> {
        let (batch, given) = self.current.take()?;
        let rest = batch.slice(given..batch.len());
        if rest.is_empty() { None } else { Some(self.give_out(rest)) }
    }

    fn polled(&mut self, taken: Taken) -> Result<Polled, Error> {
        match taken {
            Taken::Batch(batch) => Ok(Polled::Batch(self.give_out(batch))),
            Taken::Over(outcome) => outcome.map(|()| Polled::End),
            Taken::Woken => Ok(Polled::Nothing),
        }
    }

    fn moved_to(&mut self, opened: Opened) {
        (self.log, self.position, self.is_seeking) = (opened.log, opened.position, false);
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.waiting.close();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("log", &self.asked.log)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

/// Starts the task that fills `waiting` from now on.
fn read(
    client: &Client,
    waiting: &Arc<Waiting>,
    asked: Asked,
    patience: Patience,
) -> AbortOnDrop<()> {
    let transport = Arc::clone(client.transport());
    let reader = Reader::new(transport, waiting.begin(), Course::new(asked), patience);
    let task = AbortOnDrop(client.runtime().spawn(reader.run()));
    waiting.set_task(task.0.abort_handle());
    task
}
