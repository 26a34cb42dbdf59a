//! What an append asks for, and the [`Ticket`] on which its answer is waited for.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use styx_protocol::block::Checked;
use styx_protocol::{Position, Records};

use crate::Error;

use crate::log::Inner;
use crate::wait::{Answer, block_on, lock};

/// One atomic append: all of its records or none.
#[derive(Debug, Clone)]
pub enum Append {
    /// Records that the log puts into blocks, those of many appends into one.
    Records {
        /// What to append.
        records: Records,
        /// Append only if the log ends here.
        expected: Option<Position>,
        /// Who appends, so that what is repeated is skipped, record by record.
        producer: Option<Producer>,
    },
    /// A block as a producer sent it. Its body is stored as it came; its header
    /// says who appends and where it must go. A repetition is recognised whole.
    Block(Checked),
}

impl Append {
    /// How many records.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self {
            Append::Records { records, .. } => records.count(),
            Append::Block(block) => block.header().count,
        }
    }

    /// Bytes of its records as they will be stored, without headers of blocks.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        match self {
            Append::Records { records, .. } => records.bytes().len(),
            Append::Block(block) => block.body().len(),
        }
    }

    /// Payload bytes of the longest record.
    pub(crate) fn longest(&self) -> usize {
        match self {
            Append::Records { records, .. } => records.longest(),
            Append::Block(block) => block.longest(),
        }
    }
}

impl From<Records> for Append {
    /// An append without conditions.
    fn from(records: Records) -> Append {
        Append::Records { records, expected: None, producer: None }
    }
}

impl From<Checked> for Append {
    fn from(block: Checked) -> Append {
        Append::Block(block)
    }
}

/// The producer of an idempotent append of loose records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Drawn by the client; not 0.
    pub id: u64,
    /// A higher epoch fences lower ones. `None`: the one in force.
    pub epoch: Option<u32>,
    /// The first record's number in the producer's stream.
    pub sequence: u64,
}

/// A durable append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Position of the first record that this append added. Of a block that was
    /// there already, the position it got then; of loose records that were all
    /// there already, the same as `end`.
    pub base: Position,
    /// Position after the append's last record; 0 if it was a repetition of loose
    /// records and is no longer remembered.
    pub end: Position,
    /// Records that this append added.
    pub count: u32,
    /// Records of it that were there already; a block's are all or none.
    pub repeated: u32,
}

/// What a log knows of an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// The epoch in force: lower ones are fenced.
    pub epoch: u32,
    /// What its next block has to begin with; `None` when none of its blocks is
    /// remembered, and any will do.
    pub next_sequence: Option<u64>,
}

/// Resolves when what was asked for is durable or has failed. Dropping it stops
/// the waiting, not the append. Cancel safe.
#[derive(Debug)]
#[must_use = "an append is durable only once its ticket says so"]
pub struct Ticket<T = Appended>(pub(crate) Answer<T>);

impl<T> Ticket<T> {
    /// Blocks this thread until it is durable or has failed.
    ///
    /// # Errors
    /// As what was asked for.
    pub fn wait(self) -> Result<T, Error> {
        block_on(self)
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

/// The log's queue is full: wait for [`Room`] and append again.
#[derive(Debug)]
pub struct Full(pub Append);

/// Resolves when the queue may take something again. Cancel safe.
#[derive(Debug)]
pub struct Room {
    pub(crate) log: Arc<Inner>,
    pub(crate) key: Option<u64>,
}

impl Room {
    /// Blocks this thread until then.
    pub fn wait(self) {
        block_on(self);
    }
}

impl Future for Room {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.log.queue.register_room(&mut this.key, context.waker()) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.log.queue.unregister_room(self.key);
    }
}

/// Appends that stand in a row, as one connection sends them: once one is refused
/// or fails, every later one is refused with the same error, however many were
/// queued behind it. So what is durable of a stream is a prefix of it.
#[derive(Debug, Clone)]
pub struct Stream {
    pub(crate) log: Arc<Inner>,
    pub(crate) stream_error: Arc<StreamError>,
}

impl Stream {
    /// As [`Log::append`](crate::Log::append), in the stream's order.
    ///
    /// # Errors
    /// As there, and of the first append that was refused.
    pub fn append(&self, append: impl Into<Append>) -> Result<Result<Ticket, Full>, Error> {
        if let Some(error) = self.stream_error.get() {
            return Err(error);
        }
        let queued = self.log.enqueue(append.into(), Some(Arc::clone(&self.stream_error)));
        if let Err(error) = &queued {
            self.stream_error.set(error);
        }
        queued
    }

    /// Resolves when the queue may take something again.
    #[must_use]
    pub fn room(&self) -> Room {
        Room { log: Arc::clone(&self.log), key: None }
    }
}

/// The first error of a stream, once there is one.
#[derive(Debug, Default)]
pub(crate) struct StreamError(Mutex<Option<Error>>);

impl StreamError {
    pub(crate) fn get(&self) -> Option<Error> {
        lock(&self.0).clone()
    }

    /// The first one counts.
    pub(crate) fn set(&self, error: &Error) {
        lock(&self.0).get_or_insert_with(|| error.clone());
    }

    /// What was planned, and with it why it was refused, came to nothing: this is
    /// the error.
    pub(crate) fn replace(&self, error: &Error) {
        *lock(&self.0) = Some(error.clone());
    }
}
