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
mod batches;
mod block_buffer;
mod builder;
mod calls;
mod connection;
mod encoded;
mod handshake;
pub mod options;
mod outgoing;
mod pending;
mod sealed;
mod settings;
mod settled;
mod shared;
mod stats;
mod task;
mod window;
mod work;

#[cfg(test)]
mod tests;

pub use ack::Ack;
pub use builder::Builder;
pub use encoded::Encoded;
pub use settled::Settled;
pub use stats::ProducerStats;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use styx_protocol::LogId;

use crate::client::Client;
use crate::error::{Error, Kind};
use encoded::header_of;
use outgoing::OpenedProducer;
pub(crate) use shared::{CloseLimit, ProducerShared};

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

impl Producer {
    fn new(shared: Arc<ProducerShared>, client: Client, opened: OpenedProducer) -> Producer {
        Producer { shared, client, opened }
    }

    /// What the producer's task and callers share.
    pub(crate) fn shared(&self) -> &Arc<ProducerShared> {
        &self.shared
    }

    /// See [`Builder::close_timeout`].
    pub(crate) fn close_limit(&self) -> CloseLimit {
        CloseLimit { within: self.opened.close_timeout, name: "close_timeout" }
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
        self.shared.close(self.close_limit()).await
    }

    /// As [`close`](Self::close), but waits at most for `at_most`, which may be up to 24
    /// hours. If the producer is closing already, the earlier limit counts.
    ///
    /// The future does not borrow the producer. Closing begins when it is first polled.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_within(
        &self,
        at_most: Duration,
    ) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let limit = CloseLimit { within: at_most, name: "close_within" };
        async move { shared.close(limit).await }
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

    /// The numbers of the producer and its present state. The call waits for nothing, so it also
    /// works while the server does not answer. In a forked child all numbers are 0.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        self.shared.stats()
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
