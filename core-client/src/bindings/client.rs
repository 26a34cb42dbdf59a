//! A client's calls, whose results a completion queue reports.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::{Outcome, Ticket};
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::runtime::{AbortOnDrop, catch_panic};

/// A call that [`Client::start`] has started. Dropping it cancels the call, which means for
/// the call what it means to drop its future. The ticket then completes with `closed`.
#[derive(Debug)]
#[must_use = "dropping it cancels the call"]
pub struct Started<T> {
    result: Arc<Slot<T>>,
    /// `None` if the call could not be started.
    _task: Option<AbortOnDrop<()>>,
}

/// The result, once there is one.
#[derive(Debug)]
struct Slot<T>(Mutex<Option<Result<T, Error>>>);

impl<T> Started<T> {
    /// Takes the result out; `None` if the call is still running, or if the result was taken
    /// before. There is a result once the call's ticket has completed.
    pub fn take(&mut self) -> Option<Result<T, Error>> {
        // Never waits: before the ticket completes, the call has released the lock.
        match self.result.0.try_lock() {
            Ok(mut result) => result.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, Option<Result<T, Error>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For language bindings: see [`bindings`](crate::bindings).
impl Client {
    /// Checks that this process may use the client. Costs a system call. `append` checks only
    /// now and then, so a binding that learns of forks checks at the first call after one.
    ///
    /// # Errors
    /// [`Kind::Forked`] in a forked child.
    pub fn check_process(&self) -> Result<(), Error> {
        self.runtime().process().check()
    }

    /// Starts a call on the client's threads and returns at once. When the call is done, the
    /// ticket completes with [`Outcome::Done`] or with the call's error, and
    /// [`Started::take`] returns the result. `call` is a future of this crate, or one that
    /// needs no executor.
    ///
    /// If the client is dropped meanwhile, the ticket completes with `closed`. In a forked
    /// child it completes with `forked` at once, and the call is not started. If the call
    /// panics, it completes with `panicked`.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use styx_client::Client;
    /// use styx_client::bindings::CompletionQueue;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder("localhost").build()?;
    /// let queue = CompletionQueue::new(16)?;
    /// let calling = client.clone();
    /// let mut call = client.start(queue.ticket(7)?, async move { calling.get_log("orders").await });
    /// while !queue.wait(Duration::from_millis(50)) {}
    /// if let Some(info) = call.take() {
    ///     println!("{:?}", info?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn start<T: Send + 'static>(
        &self,
        ticket: Ticket,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Started<T> {
        let result = Arc::new(Slot(Mutex::new(None)));
        let cancelled = Cancelled(Some(ticket));
        if let Err(forked) = self.runtime().process().check() {
            *result.lock() = Some(Err(forked.clone()));
            cancelled.complete(Err(forked));
            return Started { result, _task: None };
        }
        let slot = Arc::clone(&result);
        let task = self.runtime().spawn_owned(async move {
            let done = catch_panic(call).await;
            let outcome = done.as_ref().map(|_| Outcome::Done).map_err(Clone::clone);
            // First the result, because the ticket says that it is there.
            *slot.lock() = Some(done);
            cancelled.complete(outcome);
        });
        Started { result, _task: Some(task) }
    }

    /// Completes the ticket with the future's result, on the client's threads.
    pub(super) fn complete(
        &self,
        ticket: Ticket,
        future: impl Future<Output = Result<Outcome, Error>> + Send + 'static,
    ) {
        match self.runtime().process().check() {
            Ok(()) => drop(self.runtime().spawn(async move {
                ticket.complete(catch_panic(future).await);
            })),
            Err(error) => ticket.complete(Err(error)),
        }
    }
}

/// A ticket that completes with `closed` if its call is dropped.
#[derive(Debug)]
struct Cancelled(Option<Ticket>);

impl Cancelled {
    fn complete(mut self, outcome: Result<Outcome, Error>) {
        if let Some(ticket) = self.0.take() {
            ticket.complete(outcome);
        }
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            let text = "the call was cancelled: its handle or its client was dropped";
            ticket.complete(Err(Error::new(Kind::Closed, text)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bindings::{Completion, CompletionQueue};

    const PATIENCE: Duration = Duration::from_secs(30);

    fn client() -> Client {
        Client::builder("localhost:1").build().expect("good options")
    }

    /// The next completion.
    fn next(queue: &CompletionQueue) -> Completion {
        assert!(queue.wait(PATIENCE), "a completion");
        let mut completions = Vec::new();
        assert_eq!(queue.drain(1, &mut completions).completions, 1);
        completions.pop().expect("one")
    }

    #[test]
    fn result_is_there_when_the_ticket_has_completed() {
        let (client, queue) = (client(), CompletionQueue::new(1).expect("a descriptor"));
        let ticket = queue.ticket(7).expect("a place");
        let mut call = client.start(ticket, async { Ok("result".to_owned()) });
        let completion = next(&queue);
        assert_eq!(completion.token, 7);
        assert_eq!(completion.result.expect("no error"), Outcome::Done);
        assert_eq!(call.take().expect("done").expect("no error"), "result");
        assert!(call.take().is_none(), "it was taken");
    }

    #[test]
    fn error_and_panic_are_told_to_the_ticket_and_the_caller() {
        async fn fails() -> Result<(), Error> {
            Err(Error::timed_out("too late"))
        }
        async fn panics() -> Result<(), Error> {
            panic!("boom")
        }
        let (client, queue) = (client(), CompletionQueue::new(1).expect("a descriptor"));
        let check = |mut call: Started<()>, kind, text: &str| {
            let told = next(&queue).result.expect_err(text);
            let taken = call.take().expect("done").expect_err(text);
            for error in [told, taken] {
                assert_eq!(error.kind(), kind);
                assert!(error.message().contains(text), "{error}");
            }
        };
        let ticket = || queue.ticket(1).expect("a place");
        check(client.start(ticket(), fails()), Kind::TimedOut, "too late");
        check(client.start(ticket(), panics()), Kind::Panicked, "boom");
    }

    /// The future is dropped with everything that it owns, such as a connection.
    #[test]
    fn dropping_the_handle_or_the_client_cancels_the_call() {
        for drop_client in [false, true] {
            let (client, queue) = (client(), CompletionQueue::new(1).expect("a descriptor"));
            let (alive, ended) = std::sync::mpsc::channel::<()>();
            let mut call = client.start(queue.ticket(1).expect("a place"), async move {
                let _alive = alive;
                std::future::pending::<Result<(), Error>>().await
            });
            assert!(call.take().is_none(), "it is running");
            let kept = if drop_client {
                drop(client);
                Some(call)
            } else {
                drop(call);
                None
            };
            let error = next(&queue).result.expect_err("cancelled");
            assert_eq!(error.kind(), Kind::Closed);
            assert!(error.message().contains("cancelled"), "{error}");
            assert!(ended.recv().is_err(), "its future was dropped");
            drop(kept);
        }
    }
}
