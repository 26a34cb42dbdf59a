//! [`Producer`]: appends records to a log, each exactly once.
//!
//! ```text
//! append ─▶ pending ─▶ sealed ─▶ window ─▶ connection ─▶ server
//!   Ack ◀── outcome ◀─────────── ack ◀─────────────────────┘
//! └ callers' threads ┘ └ one task on the client's threads ┘
//! ```
//! A block stays in the window, with the bytes that were sent, until it is
//! acknowledged. A reconnect sends the same blocks again, with the same producer id and
//! sequences, so the server can tell which ones it already has.

mod ack;
mod builder;
mod calls;
mod connection;
mod handshake;
pub mod options;
mod outgoing;
mod pending;
mod sealed;
mod settings;
mod shared;
mod task;
mod window;
mod work;

#[cfg(test)]
mod tests;

pub use ack::Ack;
pub use builder::Builder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::block::Codec;
use styx_protocol::limits::{MAX_RECORD_SIZE_MAX, RECORD_HEADER_BYTES};
use styx_protocol::record::checksum;
use styx_protocol::{Code, LogId};

use crate::client::Client;
use crate::error::{Error, Kind};
use outgoing::OpenedProducer;
use pending::EncodedBatch;
pub(crate) use shared::ProducerShared;

/// Appends records to one log, in order and each exactly once.
///
/// All methods take `&self` and may be called from several threads; the records of one
/// thread keep their order. The producer reconnects by itself. Until it is connected
/// again, records wait, up to the [deadline](Builder::deadline) of the oldest one. An
/// error that cannot be retried ends the producer: all unacknowledged records fail with
/// it, and so does every later call.
///
/// Dropping a producer abandons its unacknowledged records. [`close`](Self::close)
/// waits for them and returns what failed.
pub struct Producer {
    shared: Arc<ProducerShared>,
    client: Client,
    opened: OpenedProducer,
}

/// If the task is behind, the caller's thread compresses batches of at least this size.
/// A smaller batch gains more from sharing a block with other records.
const COMPRESSED_BYTES_MIN: usize = 64 << 10;

impl Producer {
    fn new(shared: Arc<ProducerShared>, client: Client, opened: OpenedProducer) -> Producer {
        Producer { shared, client, opened }
    }

    /// What the producer's task and callers share.
    pub(crate) fn shared(&self) -> &Arc<ProducerShared> {
        &self.shared
    }

    /// See [`Builder::close_timeout`].
    pub(crate) fn close_timeout(&self) -> Duration {
        self.opened.close_timeout
    }

    /// Appends a record. Waits only while [`in_flight_bytes`](Builder::in_flight_bytes)
    /// are pending or unacknowledged (back-pressure). The ack provides the record's
    /// position.
    ///
    /// Cancel safe: a future that is dropped before it is ready has appended nothing.
    ///
    /// # Errors
    /// `record_too_large` for a record that exceeds the limit of every log;
    /// [`Kind::Closed`], or the error that ended the producer. In these cases the record
    /// was not appended. The server rejects a record over the log's own
    /// `max_record_size`, and that ends the producer.
    pub async fn append(&self, payload: &[u8]) -> Result<Ack, Error> {
        let header = header_of(payload)?;
        match self.shared.push(header, payload)? {
            Some(ack) => Ok(ack),
            None => self.shared.when_space(|| self.shared.push(header, payload)).await,
        }
    }

    /// As [`append`](Self::append), without waiting.
    ///
    /// # Errors
    /// [`Kind::WouldBlock`] if `append` would wait; otherwise as `append`.
    #[inline]
    pub fn try_append(&self, payload: &[u8]) -> Result<Ack, Error> {
        self.shared.push(header_of(payload)?, payload)?.ok_or_else(no_space)
    }

    /// Appends records in their order. A batch of at most 1 MiB is atomic: all of its
    /// records are appended, or none. Each record counts 8 bytes plus its payload. A
    /// larger batch is split into parts of at most 1 MiB, each of them atomic.
    ///
    /// With [`compression`](Builder::compression), the caller's thread compresses a batch
    /// of at least 64 KiB if the producer's own thread cannot keep up.
    ///
    /// The ack is ready when the whole batch is durable, and has the position of the
    /// first record. The ack of an empty batch is ready at once, with position 0.
    ///
    /// A future that is dropped before it is ready has appended some of the parts; of a
    /// batch up to 1 MiB it has appended nothing.
    ///
    /// # Errors
    /// As [`append`](Self::append). Earlier parts of a batch over 1 MiB may have been
    /// appended.
    pub async fn append_many<I>(&self, batch: I) -> Result<Ack, Error>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let block_bytes_max = self.opened.block_bytes_max;
        let mut parts = Vec::new();
        let mut encoded = EncodedBatch::new();
        let mut batch = batch.into_iter();
        while let Some(payload) = batch.next() {
            let payload = payload.as_ref();
            let header = header_of(payload)?;
            let record_bytes = RECORD_HEADER_BYTES + payload.len();
            if !encoded.fits(record_bytes, block_bytes_max) {
                parts.push(self.append_encoded(std::mem::take(&mut encoded)).await?);
            }
            encoded.expect(record_bytes, batch.size_hint().0, block_bytes_max);
            encoded.push(header, payload);
        }
        if !encoded.is_empty() {
            parts.push(self.append_encoded(encoded).await?);
        }
        Ok(Ack::join(parts).unwrap_or_else(|| self.ack_of_nothing()))
    }

    /// As [`append_many`](Self::append_many), without waiting, for a batch of at most
    /// 1 MiB.
    ///
    /// # Errors
    /// [`Kind::WouldBlock`] if `append_many` would wait; [`Kind::InvalidArgument`] for a
    /// larger batch; otherwise as `append_many`.
    pub fn try_append_many<I>(&self, batch: I) -> Result<Ack, Error>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let block_bytes_max = self.opened.block_bytes_max;
        let mut encoded = EncodedBatch::new();
        let mut batch = batch.into_iter();
        while let Some(payload) = batch.next() {
            let payload = payload.as_ref();
            let header = header_of(payload)?;
            let record_bytes = RECORD_HEADER_BYTES + payload.len();
            if !encoded.fits(record_bytes, block_bytes_max) {
                return Err(Error::invalid(
                    "the batch is larger than 1 MiB: append it in parts, or use append_many",
                ));
            }
            encoded.expect(record_bytes, batch.size_hint().0, block_bytes_max);
            encoded.push(header, payload);
        }
        if encoded.is_empty() {
            return Ok(self.ack_of_nothing());
        }
        self.compress_if_behind(&mut encoded, false);
        self.shared.push_batch(&mut Some(encoded))?.ok_or_else(no_space)
    }

    /// Appends a record, waits until it is durable, and returns its position.
    ///
    /// A dropped future only stops waiting; the record may have been appended.
    ///
    /// # Errors
    /// As [`append`](Self::append) and [`Ack::position`].
    pub async fn send(&self, payload: &[u8]) -> Result<u64, Error> {
        self.append(payload).await?.position().await
    }

    /// Waits until every record that was appended before this call is durable. Blocks
    /// that linger are sent at once.
    ///
    /// Cancel safe: it only waits.
    ///
    /// # Errors
    /// The first failure that was not reported by an ack or an earlier call, or the error
    /// that ended the producer. Such failures count as reported afterwards.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared.flush().await
    }

    /// Accepts no more records, waits until the appended records are durable, and closes
    /// the connection. Waits at most for the [close timeout](Builder::close_timeout).
    /// Closing twice has no further effect.
    ///
    /// A dropped future only stops waiting; the producer still closes.
    ///
    /// # Errors
    /// The first failure that was not reported by an ack or an earlier call.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.close(self.opened.close_timeout).await
    }

    /// The sequence of the next record. Right after opening with a
    /// [`producer_id`](Builder::producer_id), it is the number of records that this
    /// producer has already appended: an import continues with this record.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.shared.next_sequence()
    }

    /// The sequence before which every record is durable. If the producer is not
    /// idempotent: before which every record is durable or has failed.
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.shared.settled_before()
    }

    /// The producer's id; `None` if it is not idempotent.
    #[must_use]
    pub fn producer_id(&self) -> Option<u64> {
        self.opened.producer_id
    }

    /// The producer's epoch; `None` if it is not idempotent.
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        self.opened.epoch
    }

    /// The id of the log. Positions are only meaningful together with it.
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.opened.log_id
    }

    /// The client that opened this producer.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    async fn append_encoded(&self, mut encoded: EncodedBatch) -> Result<Ack, Error> {
        self.compress_if_behind(&mut encoded, true);
        let mut encoded = Some(encoded);
        match self.shared.push_batch(&mut encoded)? {
            Some(ack) => Ok(ack),
            None => self.shared.when_space(|| self.shared.push_batch(&mut encoded)).await,
        }
    }

    /// The task compresses one block after the other. If a full block is already
    /// pending, this thread compresses the batch.
    fn compress_if_behind(&self, encoded: &mut EncodedBatch, would_wait: bool) {
        let codec = self.opened.codec;
        let is_large = encoded.raw_bytes() >= COMPRESSED_BYTES_MIN;
        if codec != Codec::None && is_large && self.shared.is_behind(would_wait) {
            encoded.compress(codec);
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
        "the record is too large: {payload_bytes} bytes plus 8 exceed {MAX_RECORD_SIZE_MAX}, the \
         limit of every log"
    );
    Error::code_error(Code::RecordTooLarge, text)
}

#[cold]
fn no_space() -> Error {
    Error::new(
        Kind::WouldBlock,
        "in_flight_bytes are used up: wait for acks, or use an append that waits",
    )
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
