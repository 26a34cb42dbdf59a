//! [`AppendStream`]: one request's records, cut into blocks and appended.
//!
//! ```text
//! push(payload) → block being filled (≤ 1 MiB) → engine's queue → durable
//!                 at most one                    at most one
//! ```
//!
//! The next block is filled while the last one is committed, and submitted only
//! when that one is durable. So if a request fails half-way, its appended blocks
//! are a prefix of it, and the failure of one block cannot satisfy the condition of
//! another. A record in pieces is a block of its own, and its pieces are not copied.

use std::time::Duration;

use styx_engine::{Append, AppendError, Log, Payload, Producer, Ticket};
use styx_protocol::record::Builder;
use styx_protocol::{Code, Position};

use super::{Error, OpenLog};
use crate::limits::{Direction, Meter, Part};

/// How long an append may wait for space in the log's queue.
const QUEUE_WAIT_MAX: Duration = Duration::from_secs(5);

/// The conditions on which a request's records are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Condition {
    /// The log must end at this position.
    pub(crate) expected: Option<Position>,
    /// The records must continue this producer's sequence.
    pub(crate) producer: Option<Producer>,
}

/// The records of a request that are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Written {
    /// The position after the last of them; 0 if there are none.
    pub(crate) position: Position,
    /// Records that the request added.
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
    meter: Meter,
    /// Bytes that were counted for the limits before they arrived.
    prepaid: usize,
    has_submitted: bool,
}

/// Bytes of a body that are counted when its request begins: a body that is one block. The
/// rest of a larger one is counted, and waits, block by block.
const PREPAID_BYTES_MAX: u64 = 1 << 20;

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
            meter: self.meter.clone(),
            prepaid: 0,
            has_submitted: false,
        }
    }
}

impl AppendStream {
    /// Counts a body of this length for the limits.
    pub(crate) fn prepay(&mut self, bytes: Option<u64>) {
        let bytes = bytes.unwrap_or(0).min(PREPAID_BYTES_MAX);
        self.prepaid = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.meter.charge(Direction::Append, self.prepaid, 0);
    }

    /// Whether more should arrive only after a wait, because a limit is reached. The first
    /// block never waits.
    pub(crate) fn is_limited(&self) -> bool {
        self.has_submitted && self.meter.delay(Direction::Append, Part::Bytes).is_some()
    }

    /// Appends what is held before a wait. The blocks of a request with a condition must not
    /// depend on when they arrive, because a producer that repeats the request repeats its
    /// blocks: they keep what is not a whole block.
    ///
    /// # Errors
    /// An earlier block failed.
    pub(crate) async fn free(&mut self) -> Result<(), Error> {
        if self.next == Condition::default() && !self.filling.is_empty() {
            self.hand_over().await?;
        }
        self.settle().await
    }

    /// Why a request that is limited must not go on: its memory is needed by others.
    pub(crate) fn limit_error(&self) -> Error {
        self.meter.out_of_patience(Direction::Append)
    }

    /// Waits while a limit is reached; call [`free`](Self::free) before.
    ///
    /// # Errors
    /// `too_many_requests` after `tcp_timeout`.
    pub(crate) async fn allowed(&self) -> Result<(), Error> {
        let allowed = self.meter.allowed(Direction::Append);
        let waited = tokio::time::timeout(self.meter.patience(), allowed).await;
        waited.map_err(|_| self.limit_error())
    }

    /// Adds a record; waits if the block is full and the last one is not durable yet.
    ///
    /// # Errors
    /// An earlier block failed.
    pub(crate) async fn push(&mut self, payload: &[u8]) -> Result<(), Error> {
        if !self.filling.push(payload) {
            self.hand_over().await?;
            // An empty builder accepts any record.
            let _ = self.filling.push(payload);
        }
        Ok(())
    }

    /// Adds a record in pieces; waits until everything before it is durable.
    ///
    /// # Errors
    /// An earlier block failed.
    pub(crate) async fn push_pieces(&mut self, payload: Payload) -> Result<(), Error> {
        if !self.filling.is_empty() {
            self.hand_over().await?;
        }
        self.settle().await?;
        let Condition { expected, producer } = self.next;
        self.submit(Append::Pieces { payload, expected, producer }).await
    }

    /// Bytes of records that are in memory for this stream.
    pub(crate) fn held_bytes(&self) -> usize {
        self.filling.len_bytes() + self.committing_bytes
    }

    /// Whether there are records that no block was submitted for.
    pub(crate) fn is_filling(&self) -> bool {
        !self.filling.is_empty()
    }

    /// Appends the rest and waits until everything is durable. More may be pushed after
    /// it.
    ///
    /// # Errors
    /// The error of the first block that failed; [`abandon`](Self::abandon) returns
    /// what was appended before it.
    pub(crate) async fn finish(&mut self) -> Result<Written, Error> {
        if !self.filling.is_empty() {
            self.hand_over().await?;
        }
        self.settle().await?;
        Ok(self.written)
    }

    /// Drops the block being filled, waits for the one in flight, and returns what is
    /// durable.
    pub(crate) async fn abandon(&mut self) -> Written {
        let _ = self.filling.take();
        // The caller already has an earlier error.
        let _ = self.settle().await;
        self.written
    }

    async fn hand_over(&mut self) -> Result<(), Error> {
        self.settle().await?;
        let records = self.filling.take();
        let Condition { expected, producer } = self.next;
        self.submit(Append::Records { records, expected, producer }).await
    }

    async fn submit(&mut self, mut append: Append) -> Result<(), Error> {
        self.meter.check_stored()?;
        let sent = u64::from(append.count());
        self.committing_bytes = append.len_bytes();
        let unpaid = self.committing_bytes.saturating_sub(self.prepaid);
        self.prepaid -= self.committing_bytes - unpaid;
        self.meter.charge(Direction::Append, unpaid, 0);
        self.has_submitted = true;
        let deadline = tokio::time::Instant::now() + QUEUE_WAIT_MAX;
        self.committing = loop {
            match self.log.append(append) {
                Ok(ticket) => break Some(ticket),
                Err(AppendError::QueueFull(returned)) => append = returned,
                Err(AppendError::Refused(error)) => return Err(error.into()),
            }
            if tokio::time::timeout_at(deadline, self.log.queue_space()).await.is_err() {
                return Err(Error::new(
                    Code::Overloaded,
                    "the log's append queue was full for 5 s; send again more slowly",
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
