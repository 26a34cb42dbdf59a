//! What an append asks for, and the [`Ticket`] on which its answer is waited for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use styx_protocol::{Position, Records};

use crate::Error;
use crate::log::Inner;
use crate::wait::{Answer, block_on};

/// One atomic append: all of its records or none.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// What to append; at least one record.
    pub records: Records,
    /// Append only if the log ends here.
    pub expected: Option<Position>,
    /// Who appends, so that a repetition is recognised.
    pub producer: Option<Producer>,
}

impl From<Records> for Append {
    /// An append without conditions.
    fn from(records: Records) -> Append {
        Append { records, ..Append::default() }
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
    /// Position after the append's last record: of the earlier append when all
    /// of it was a repetition; 0 if that one is no longer remembered.
    pub end: Position,
    /// Records that this append added; fewer than sent when some, or all, were
    /// there already.
    pub count: u32,
}

/// Resolves when the append is durable or has failed. Dropping it stops the
/// waiting, not the append. Cancel safe.
#[derive(Debug)]
#[must_use = "an append is durable only once its ticket says so"]
pub struct Ticket(pub(crate) Answer<Result<Appended, Error>>);

impl Ticket {
    /// Blocks this thread until the append is durable or has failed.
    ///
    /// # Errors
    /// As the append.
    pub fn wait(self) -> Result<Appended, Error> {
        block_on(self)
    }
}

impl Future for Ticket {
    type Output = Result<Appended, Error>;

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
