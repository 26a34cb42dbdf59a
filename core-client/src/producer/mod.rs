//! [`Producer`]: appends records, and sees to it that each is in the log once.
//!
//! ```text
//! append ─▶ filling ─▶ sealed ─▶ window ─▶ connection ─▶ server
//!   Ack ◀── outcome ◀─────────── ack ◀─────────────────────┘
//! └ callers' threads ┘ └ link: one task on the core's threads ┘
//! ```
//! A block stays in the window, as it was sent, until it is acked; a reconnect
//! sends the same blocks again, under the same producer id and sequence.

mod ack;
mod connection;
mod filling;
mod handshake;
mod link;
pub mod options;
mod sealed;
mod shared;
mod window;

#[cfg(test)]
mod peer;
#[cfg(test)]
mod tests;

pub use ack::Ack;
pub use options::Builder;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::block::Codec;
use styx_protocol::limits::{MAX_RECORD_SIZE_MAX, RECORD_HEADER_BYTES};
use styx_protocol::record::checksum;
use styx_protocol::{Code, LogId};

use crate::client::Client;
use crate::completion::{self, Source, Ticket};
use crate::error::{Error, Kind};
use filling::Run;
use shared::Shared;

/// Appends records to one log, in order, each once.
///
/// All methods take `&self` and may be called from several threads; the records
/// of one thread keep their order. The connection heals itself: while it is
/// away, records wait, until the deadline of the oldest one is missed. An error
/// that cannot be mended ends the producer: the records that were unacked fail
/// with it, and so does every later call.
///
/// Dropping a producer gives up what is not acked; [`close`](Self::close) waits
/// for it and reports.
pub struct Producer {
    shared: Arc<Shared>,
    client: Client,
    opened: Opened,
}

/// What is known once a producer is open.
#[derive(Debug, Clone, Copy)]
struct Opened {
    log_id: LogId,
    producer_id: Option<u64>,
    epoch: Option<u32>,
    block_bytes_max: usize,
    codec: Codec,
    close_timeout: Duration,
}

/// A batch from this size on is packed where it is appended, when the link has more
/// to pack than it can: smaller ones gain more from sharing a block.
const PACKED_BYTES_MIN: usize = 64 << 10;

impl Producer {
    /// Appends a record, waiting only while
    /// [`in_flight_bytes`](Builder::in_flight_bytes) are under way. Its position
    /// comes with the ack.
    ///
    /// Cancel safe: a future that is dropped before it is ready has appended
    /// nothing.
    ///
    /// # Errors
    /// `record_too_large` for one that no log takes; [`Kind::Closed`], or the
    /// error that ended the producer. The record was not appended then. One that
    /// is over the log's own `max_record_size` is refused by the server, which
    /// ends the producer.
    pub async fn append(&self, payload: &[u8]) -> Result<Ack, Error> {
        let header = header_of(payload)?;
        match self.shared.push(header, payload)? {
            Some(ack) => Ok(ack),
            None => self.shared.when_room(|| self.shared.push(header, payload)).await,
        }
    }

    /// As [`append`](Self::append), without waiting.
    ///
    /// # Errors
    /// [`Kind::WouldBlock`] where `append` would wait.
    #[inline]
    pub fn try_append(&self, payload: &[u8]) -> Result<Ack, Error> {
        self.shared.push(header_of(payload)?, payload)?.ok_or_else(no_room)
    }

    /// Appends records one after the other. Those that are at most 1 MiB
    /// together, 8 bytes for each and its payload, are appended all or none; a
    /// larger batch is cut into such parts.
    ///
    /// With [`compression`](Builder::compression), a batch of 64 KiB and more is packed
    /// by the caller's thread while the producer's own cannot keep up.
    ///
    /// The ack of a batch is there when all of it is, with the position of the
    /// first record; that of no records is there at once, with position 0.
    ///
    /// A future that is dropped before it is ready has appended a number of
    /// whole parts, of a batch up to 1 MiB nothing.
    ///
    /// # Errors
    /// As [`append`](Self::append); of a batch over 1 MiB, parts before may have
    /// been appended.
    pub async fn append_many<I>(&self, batch: I) -> Result<Ack, Error>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let block_bytes_max = self.opened.block_bytes_max;
        let mut parts = Vec::new();
        let mut run = Run::new();
        let mut batch = batch.into_iter();
        while let Some(payload) = batch.next() {
            let payload = payload.as_ref();
            let header = header_of(payload)?;
            let record_bytes = RECORD_HEADER_BYTES + payload.len();
            if !run.fits(record_bytes, block_bytes_max) {
                parts.push(self.append_run(std::mem::take(&mut run)).await?);
            }
            run.expect(record_bytes, batch.size_hint().0, block_bytes_max);
            run.push(header, payload);
        }
        if !run.is_empty() {
            parts.push(self.append_run(run).await?);
        }
        Ok(Ack::join(parts).unwrap_or_else(|| self.ack_of_nothing()))
    }

    /// As [`append_many`](Self::append_many), without waiting, for a batch that
    /// is at most 1 MiB.
    ///
    /// # Errors
    /// [`Kind::WouldBlock`] where `append_many` would wait;
    /// [`Kind::InvalidArgument`] for a larger batch.
    pub fn try_append_many<I>(&self, batch: I) -> Result<Ack, Error>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let block_bytes_max = self.opened.block_bytes_max;
        let mut run = Run::new();
        let mut batch = batch.into_iter();
        while let Some(payload) = batch.next() {
            let payload = payload.as_ref();
            let header = header_of(payload)?;
            let record_bytes = RECORD_HEADER_BYTES + payload.len();
            if !run.fits(record_bytes, block_bytes_max) {
                return Err(Error::invalid("the batch is over 1 MiB: append it in parts, or wait"));
            }
            run.expect(record_bytes, batch.size_hint().0, block_bytes_max);
            run.push(header, payload);
        }
        if run.is_empty() {
            return Ok(self.ack_of_nothing());
        }
        self.help_to_pack(&mut run, false);
        self.shared.push_run(&mut Some(run))?.ok_or_else(no_room)
    }

    /// Appends a record and waits until it is durable: its position.
    ///
    /// A future that is dropped stops the waiting; the record may have been
    /// appended.
    ///
    /// # Errors
    /// As [`append`](Self::append) and [`Ack::position`].
    pub async fn send(&self, payload: &[u8]) -> Result<u64, Error> {
        self.append(payload).await?.position().await
    }

    /// Waits until every record that was appended before is durable; what
    /// lingers is sent at once.
    ///
    /// Cancel safe: it only waits.
    ///
    /// # Errors
    /// The first failure that no ack has told, which is told hereby, or the
    /// error that ended the producer.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared.flush().await
    }

    /// Takes no more records, waits until those that were appended are durable,
    /// at most the [close time-out](Builder::close_timeout), and ends the
    /// connection. Closing twice is closing once.
    ///
    /// A future that is dropped stops the waiting, not the closing.
    ///
    /// # Errors
    /// The first failure that no ack has told.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.close(self.opened.close_timeout).await
    }

    /// The sequence that the next record will get. Right after opening with a
    /// [`producer_id`](Builder::producer_id) it says how many records that
    /// producer has in the log: an import goes on with this one.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.shared.next_sequence()
    }

    /// The sequence before which every record is durable. Of a producer that is
    /// not idempotent: before which every record is durable or has failed.
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.shared.settled_before()
    }

    /// The producer's id; `None` when it is not idempotent.
    #[must_use]
    pub fn producer_id(&self) -> Option<u64> {
        self.opened.producer_id
    }

    /// The producer's epoch; `None` when it is not idempotent.
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        self.opened.epoch
    }

    /// The id of the log, without which positions mean nothing.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.opened.log_id
    }

    /// The client it was made by.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Tells this source, instead of another, whenever acks came, an append that
    /// had to wait may go on, or the producer ended; and once at once. For
    /// bindings: look at acks in their order, which is that of their settling.
    pub fn notify(&self, source: Source) {
        self.shared.notify(source);
    }

    /// As [`flush`](Self::flush), for bindings: whoever holds the queue is told.
    pub fn flush_to(&self, ticket: Ticket) {
        let shared = Arc::clone(&self.shared);
        self.complete(ticket, async move { shared.flush().await });
    }

    /// As [`close`](Self::close), for bindings: whoever holds the queue is told.
    pub fn close_to(&self, ticket: Ticket) {
        let (shared, patience) = (Arc::clone(&self.shared), self.opened.close_timeout);
        self.complete(ticket, async move { shared.close(patience).await });
    }

    /// Waits on the core's threads.
    fn complete(
        &self,
        ticket: Ticket,
        waiting: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        let runtime = self.client.runtime();
        match runtime.process().check() {
            Ok(()) => drop(runtime.spawn(async move {
                ticket.complete(waiting.await.map(|()| completion::Outcome::Done));
            })),
            Err(error) => ticket.complete(Err(error)),
        }
    }

    async fn append_run(&self, mut run: Run) -> Result<Ack, Error> {
        self.help_to_pack(&mut run, true);
        let mut run = Some(run);
        match self.shared.push_run(&mut run)? {
            Some(ack) => Ok(ack),
            None => self.shared.when_room(|| self.shared.push_run(&mut run)).await,
        }
    }

    /// The link packs blocks one after the other; with one that is full still waiting
    /// for it, this thread packs too.
    fn help_to_pack(&self, run: &mut Run, would_wait: bool) {
        let codec = self.opened.codec;
        let is_large = run.raw_bytes() >= PACKED_BYTES_MIN;
        if codec != Codec::None && is_large && self.shared.is_behind(would_wait) {
            run.pack(codec);
        }
    }

    fn ack_of_nothing(&self) -> Ack {
        Ack::of_nothing(self.next_sequence(), self.client.runtime().process())
    }
}

/// A record's checksum and size.
#[inline]
fn header_of(payload: &[u8]) -> Result<[u8; RECORD_HEADER_BYTES], Error> {
    if (payload.len() + RECORD_HEADER_BYTES) as u64 > MAX_RECORD_SIZE_MAX {
        return Err(too_large(payload.len()));
    }
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let [a, b, c, d] = checksum(size, payload).to_be_bytes();
    let [e, f, g, h] = size;
    Ok([a, b, c, d, e, f, g, h])
}

#[cold]
fn too_large(payload_bytes: usize) -> Error {
    let text = format!(
        "a record of {payload_bytes} bytes and 8 more is over the {MAX_RECORD_SIZE_MAX} that any \
         log takes"
    );
    Error::code_error(Code::RecordTooLarge, text)
}

#[cold]
fn no_room() -> Error {
    Error::new(Kind::WouldBlock, "too many records are under way")
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("opened", &self.opened).finish_non_exhaustive()
    }
}
