//! What an append asks for, and the [`Ticket`] on which its answer is waited for.

use styx_protocol::{Position, Records};

use crate::Error;

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
pub struct Ticket {}

impl Ticket {
    /// Blocks this thread until the append is durable or has failed.
    ///
    /// # Errors
    /// As the append.
    pub fn wait(self) -> Result<Appended, Error> {
        unimplemented!()
    }
}

impl Future for Ticket {
    type Output = Result<Appended, Error>;
    fn poll(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        unimplemented!()
    }
}

/// The log's queue is full: wait for [`Room`] and append again.
#[derive(Debug)]
pub struct Full(pub Append);

/// Resolves when the queue may take something again. Cancel safe.
#[derive(Debug)]
pub struct Room {}

impl Room {
    /// Blocks this thread until then.
    pub fn wait(self) {
        unimplemented!()
    }
}

impl Future for Room {
    type Output = ();
    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        unimplemented!()
    }
}
