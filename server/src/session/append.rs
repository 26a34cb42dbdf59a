//! [`AppendStream`]: one request's records, cut into blocks and appended.
//!
//! ```text
//! push(payload) → block being filled (≤ 1 MiB) → engine's queue → durable
//!                 at most one                    at most one
//! ```
//!
//! The next block is filled while the one before is committed, and handed over
//! only once that one is durable: so the blocks of a request that fails half-way
//! are a prefix of it, and a condition on one block cannot be met by another's
//! failure.

use std::time::Duration;

use styx_engine::{Append, AppendError, Log, Producer, Ticket};
use styx_protocol::record::Builder;
use styx_protocol::{Code, Position, Records};

use super::{Error, OpenLog};

/// How long an append may wait for room in the log's queue.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);

/// What has to hold for a request's records to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Condition {
    /// The log ends here.
    pub(crate) expected: Option<Position>,
    /// They continue this producer's stream.
    pub(crate) producer: Option<Producer>,
}

/// What is durable of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Written {
    /// The position after the last of its records; 0 if there is none.
    pub(crate) position: Position,
    /// Records that it added.
    pub(crate) count: u64,
}

/// Appends records in order.
#[derive(Debug)]
pub(crate) struct AppendStream {
    log: Log,
    next: Condition,
    filling: Builder,
    committing: Option<Ticket>,
    committing_bytes: usize,
    written: Written,
}

impl OpenLog {
    /// Begins to append under a condition.
    pub(crate) fn append(&self, condition: Condition) -> AppendStream {
        AppendStream {
            log: self.log.clone(),
            next: condition,
            filling: Builder::new(),
            committing: None,
            committing_bytes: 0,
            written: Written::default(),
        }
    }
}

impl AppendStream {
    /// Adds a record; waits when a block is full and the one before it is not
    /// durable yet.
    ///
    /// # Errors
    /// An earlier block failed.
    pub(crate) async fn push(&mut self, payload: &[u8]) -> Result<(), Error> {
        if !self.filling.push(payload) {
            self.hand_over().await?;
            // An empty builder takes any record.
            let _ = self.filling.push(payload);
        }
        Ok(())
    }

    /// Bytes of records that are in memory for this stream.
    pub(crate) fn held_bytes(&self) -> usize {
        self.filling.len_bytes() + self.committing_bytes
    }

    /// Appends what is left and waits until everything is durable.
    ///
    /// # Errors
    /// The first block that failed; [`written`](Self::written) tells what was
    /// appended before it.
    pub(crate) async fn finish(&mut self) -> Result<Written, Error> {
        if !self.filling.is_empty() {
            self.hand_over().await?;
        }
        self.settle().await?;
        Ok(self.written)
    }

    /// Appends one record, when nothing else is pushed.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub(crate) async fn one(&mut self, payload: &[u8]) -> Result<Written, Error> {
        self.submit(Records::one(payload)).await?;
        self.settle().await?;
        Ok(self.written)
    }

    /// Gives up the block being filled, waits for the one on its way, and says
    /// what is durable.
    pub(crate) async fn abandon(&mut self) -> Written {
        let _ = self.filling.take();
        // The caller failed already, with something that came first.
        let _ = self.settle().await;
        self.written
    }

    async fn hand_over(&mut self) -> Result<(), Error> {
        self.settle().await?;
        let records = self.filling.take();
        self.submit(records).await
    }

    async fn submit(&mut self, records: Records) -> Result<(), Error> {
        let sent = u64::from(records.count());
        self.committing_bytes = records.bytes().len();
        let Condition { expected, producer } = self.next;
        let mut append = Append::Records { records, expected, producer };
        let deadline = tokio::time::Instant::now() + ROOM_WAIT_MAX;
        self.committing = loop {
            match self.log.append(append) {
                Ok(ticket) => break Some(ticket),
                Err(AppendError::QueueFull(returned)) => append = returned,
                Err(AppendError::Refused(error)) => return Err(error.into()),
            }
            if tokio::time::timeout_at(deadline, self.log.queue_space()).await.is_err() {
                return Err(Error::new(
                    Code::Overloaded,
                    "the log has more appends waiting than it takes: send again, more slowly",
                ));
            }
        };
        if let Some(producer) = &mut self.next.producer {
            producer.sequence = producer.sequence.saturating_add(sent);
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Error> {
        let Some(ticket) = self.committing.take() else { return Ok(()) };
        let appended = ticket.await;
        self.committing_bytes = 0;
        let appended = appended?;
        self.written.position = appended.end;
        self.written.count += u64::from(appended.count);
        if self.next.expected.is_some() {
            self.next.expected = Some(appended.end);
        }
        Ok(())
    }
}
