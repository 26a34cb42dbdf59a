//! A producer's events.

use std::future::Future;
use std::sync::Arc;

use super::{Outcome, Source, Ticket};
use crate::error::Error;
use crate::producer::Producer;
use crate::runtime::catch_panic;

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
        self.complete(ticket, async move { shared.flush().await });
    }

    /// As [`close`](Self::close), but returns at once. The ticket completes with
    /// [`Outcome::Done`], or with the error that `close` returns.
    pub fn close_to(&self, ticket: Ticket) {
        let (shared, timeout) = (Arc::clone(self.shared()), self.close_timeout());
        self.complete(ticket, async move { shared.close(timeout).await });
    }

    /// Completes the ticket with the future's result, on the client's threads.
    fn complete(
        &self,
        ticket: Ticket,
        future: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) {
        let runtime = self.client().runtime();
        match runtime.process().check() {
            Ok(()) => drop(runtime.spawn(async move {
                ticket.complete(catch_panic(future).await.map(|()| Outcome::Done));
            })),
            Err(error) => ticket.complete(Err(error)),
        }
    }
}
