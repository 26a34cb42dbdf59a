//! What an append contains, and the [`Ticket`] that resolves to its result.

use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use styx_protocol::block::Checked;
use styx_protocol::limits::RECORD_HEADER_BYTES;
use styx_protocol::{Position, Records};

use crate::Error;
use crate::sync::lock;
use crate::wait::Completion;

/// One atomic append: either all of its records are appended or none.
#[derive(Debug, Clone)]
pub enum Append {
    /// Records that the log puts into blocks. One block may hold the records of many appends.
    Records {
        /// What to append.
        records: Records,
        /// Append only if the log ends at this position.
        expected: Option<Position>,
        /// The idempotent producer. Records that it has already appended are skipped, one by one.
        producer: Option<Producer>,
    },
    /// One record whose payload is in pieces. It gets a block of its own. A large one is written
    /// from these pieces, without a copy.
    Pieces {
        /// The payload.
        payload: Payload,
        /// Append only if the log ends at this position.
        expected: Option<Position>,
        /// The idempotent producer.
        producer: Option<Producer>,
    },
    /// A block as a producer sent it. Its body is stored unchanged; its header names the producer
    /// and the expected position. A block that was already appended is recognised as a whole.
    Block(Checked),
}

impl Append {
    /// The number of records.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self {
            Append::Records { records, .. } => records.count(),
            Append::Pieces { .. } => 1,
            Append::Block(block) => block.header().count,
        }
    }

    /// Bytes of its records as they will be stored, without block headers.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        match self {
            Append::Records { records, .. } => records.bytes().len(),
            Append::Pieces { payload, .. } => RECORD_HEADER_BYTES + payload.len_bytes(),
            Append::Block(block) => block.body().len(),
        }
    }

    /// Payload bytes of the longest record.
    pub(crate) fn longest(&self) -> usize {
        match self {
            Append::Records { records, .. } => records.longest(),
            Append::Pieces { payload, .. } => payload.len_bytes(),
            Append::Block(block) => block.longest(),
        }
    }
}

/// A record's payload as consecutive pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    pieces: Vec<Bytes>,
    len_bytes: usize,
}

impl Payload {
    /// Adds bytes at the end.
    pub fn push(&mut self, piece: Bytes) {
        self.len_bytes += piece.len();
        self.pieces.push(piece);
    }

    /// The number of bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// The pieces in order.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The encoded record: its header, followed by the pieces. A record has at most 1 GiB, see
    /// [`MAX_RECORD_SIZE_MAX`](styx_protocol::limits::MAX_RECORD_SIZE_MAX).
    pub(crate) fn encoded(&self) -> Vec<Bytes> {
        let size = u32::try_from(self.len_bytes).expect("a record has at most 1 GiB").to_be_bytes();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&size);
        self.pieces.iter().for_each(|piece| crc.update(piece));
        let header = [crc.finalize().to_be_bytes(), size].concat();
        std::iter::once(Bytes::from(header)).chain(self.pieces.iter().cloned()).collect()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        let mut payload = Payload::default();
        payload.push(bytes);
        payload
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
    /// Chosen at random by the client; not 0.
    pub id: u64,
    /// A higher epoch fences lower ones. `None` means the epoch in force.
    pub epoch: Option<u32>,
    /// The sequence number of the first record.
    pub sequence: u64,
}

/// The result of a durable append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Position of the first record that this append added. For a block that was already stored,
    /// its position. For loose records that were all already stored, the same as `end`.
    pub base: Position,
    /// Position after the append's last record. It is 0 for repeated loose records whose position
    /// is no longer remembered.
    pub end: Position,
    /// Records that this append added.
    pub count: u32,
    /// Records of this append that were already stored; for a block, either all or none.
    pub repeated: u32,
}

/// What a log knows about an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// The epoch in force: lower ones are fenced.
    pub epoch: u32,
    /// The sequence number with which its next block must begin. `None` if no block of it is
    /// remembered; then any sequence number is accepted.
    pub next_sequence: Option<u64>,
}

/// Resolves when the request is durable or has failed. Dropping a ticket stops the waiting, not
/// the append. Cancel safe.
#[derive(Debug)]
#[must_use = "an append is durable only once its ticket says so"]
pub struct Ticket<T = Appended>(pub(crate) Completion<T>);

impl<T> Ticket<T> {
    /// Blocks this thread until the request is durable or has failed.
    ///
    /// # Errors
    /// Those of the request.
    pub fn wait(self) -> Result<T, Error> {
        pollster::block_on(self)
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

/// Why an append was not queued.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log's queue is full. The append comes back: wait for
    /// [`Log::queue_space`](crate::Log::queue_space) and append it again.
    #[error("the log's queue is full: wait for space in it and append again")]
    QueueFull(Append),
    /// The append is refused; the same append would be refused again.
    #[error(transparent)]
    Refused(#[from] Error),
}

/// The first error of a stream.
#[derive(Debug, Default)]
pub(crate) struct StreamError(Mutex<Option<Error>>);

impl StreamError {
    pub(crate) fn get(&self) -> Option<Error> {
        lock(&self.0).clone()
    }

    /// Sets the error unless there is one.
    pub(crate) fn set(&self, error: &Error) {
        lock(&self.0).get_or_insert_with(|| error.clone());
    }

    /// Replaces the error. This is needed when a planned group failed: the refusals in its plan are
    /// void, and this is the error instead.
    pub(crate) fn replace(&self, error: &Error) {
        *lock(&self.0) = Some(error.clone());
    }
}
