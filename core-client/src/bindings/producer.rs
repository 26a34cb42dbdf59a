//! A producer's events.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Encoded, Outcome, Settled, Source, Ticket};
use crate::error::Error;
use crate::producer::{Ack, Producer};
use crate::wait::block_on_for;

/// For language bindings: see [`bindings`](crate::bindings).
impl Producer {
    /// From now on, notifies `source` whenever acks were settled, an append that failed
    /// with `would_block` may be retried, or the producer ended. It replaces an earlier
    /// source. It also notifies `source` once immediately, so that nothing that happened
    /// before is missed.
    pub fn notify(&self, source: Source) {
        self.shared().notify(source);
    }

    /// As [`flush`](Self::flush), but returns at once. The ticket completes with
    /// [`Outcome::Done`], or with the error that `flush` returns.
    pub fn flush_to(&self, ticket: Ticket) {
        let shared = Arc::clone(self.shared());
        let flush = async move { shared.flush().await.map(|()| Outcome::Done) };
        self.client().complete(ticket, flush);
    }

    /// As [`close`](Self::close), but returns at once. The ticket completes with
    /// [`Outcome::Done`], or with the error that `close` returns.
    pub fn close_to(&self, ticket: Ticket) {
        let (shared, limit) = (Arc::clone(self.shared()), self.close_limit());
        let close = async move { shared.close(limit).await.map(|()| Outcome::Done) };
        self.client().complete(ticket, close);
    }

    /// Appends encoded records, without waiting, as
    /// [`append_many`](Self::append_many) does. The ack covers the whole batch, which is
    /// empty afterwards.
    ///
    /// # Errors
    /// `would_block` if there was not enough space for all parts. Parts that were accepted
    /// are no longer in `batch`. Try again with the same batch: the ack that is then
    /// returned covers these parts too. Nothing is encoded or compressed in vain.
    ///
    /// Otherwise as [`append`](Self::append): the producer accepts no more records. What
    /// it has not accepted is still in `batch`, and can be given to another producer.
    /// [`flush`](Self::flush) and [`close`](Self::close) report what became of the other
    /// parts.
    pub fn try_append_encoded(&self, batch: &mut Encoded) -> Result<Ack, Error> {
        self.try_append_parts(batch)
    }

    /// As [`try_append_encoded`](Self::try_append_encoded), but waits for space before
    /// each part. The future borrows nothing. It appends when it is polled.
    ///
    /// A future that is dropped before it is ready has appended some of the parts; of a
    /// batch up to 1 MiB it has appended nothing. The other parts are dropped with it.
    ///
    /// # Errors
    /// As [`append`](Self::append). Earlier parts may have been appended.
    pub fn append_encoded(
        &self,
        batch: Encoded,
    ) -> impl Future<Output = Result<Ack, Error>> + Send + use<> {
        self.append_all_parts(batch)
    }

    /// Whether the producer still accepts records.
    ///
    /// # Errors
    /// `closed`, or the error that ended the producer.
    pub fn check(&self) -> Result<(), Error> {
        self.shared().admits().map(|_| ())
    }

    /// Waits on this thread until an append would not wait, and at most for `at_most`.
    /// Returns whether it would not wait: there is space, or the append would fail at
    /// once, because the producer has ended or this is a forked child.
    ///
    /// Another thread may use the space first.
    #[must_use]
    pub fn wait_room(&self, at_most: Duration) -> bool {
        block_on_for(pin!(self.shared().room()), at_most).is_some()
    }

    /// Whether the producer was opened with
    /// [`track_settled`](crate::producer::Builder::track_settled). False in a forked child.
    #[must_use]
    pub fn tracks_settled(&self) -> bool {
        self.shared().tracks_settled()
    }

    /// Moves the outcomes of all blocks that were settled since the last call to the end
    /// of `into`, in the order of their sequences. There is one for each block. Needs
    /// [`track_settled`](crate::producer::Builder::track_settled); without it, and in a
    /// forked child, there are none.
    ///
    /// [`flush`](Self::flush) and [`close`](Self::close) still report failures, unless
    /// [`Settled::mark_reported`] was called.
    pub fn take_settled(&self, into: &mut Vec<Settled>) {
        self.shared().take_settled(into);
    }
}
