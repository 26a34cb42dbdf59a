//! [`Runtime`]: the threads that own a client's sockets.
//!
//! Each client has its own runtime, on threads named `styx-client`. Its clones,
//! producers and consumers share it. When the last of them is dropped, the runtime ends
//! without waiting. Callers' futures only use primitives that need no runtime, so any
//! executor may poll them.
//!
//! A forked child does not have these threads: see [`process`](crate::process).
//!
//! A panic of a task is a bug of this crate. It becomes an error of the calls that depend on
//! the task, so that it never unwinds into a caller.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle};
use tokio::task::{AbortHandle, JoinError, JoinHandle};

use crate::consumer::Bell;
use crate::error::{Error, Kind};
use crate::process::{ForgetInChild, Process};

/// See the module.
#[derive(Debug)]
pub(crate) struct Runtime {
    handle: Handle,
    /// Taken out when the last owner is dropped.
    owned: Mutex<Option<tokio::runtime::Runtime>>,
    process: Process,
    bell: Arc<Bell>,
}

impl Runtime {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system provides no thread or no poller.
    pub(crate) fn start(threads: usize) -> Result<Runtime, Error> {
        let failed = |error: std::io::Error| {
            let text = format!("cannot start the client's threads: {error}");
            Error::new(Kind::ConnectionFailed, text)
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("styx-client")
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed)?;
        let handle = runtime.handle().clone();
        let bell = {
            let _in_the_runtime = handle.enter();
            Bell::start().map_err(failed)?
        };
        let owned = Mutex::new(Some(runtime));
        Ok(Runtime { handle, owned, process: Process::current(), bell })
    }

    /// The bell that wakes consumers on behalf of signal handlers.
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// The process that the threads belong to.
    pub(crate) fn process(&self) -> Process {
        self.process
    }

    /// Starts a task in the background. In a forked child it never runs.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// As [`spawn`](Self::spawn), but dropping the returned task aborts it.
    pub(crate) fn spawn_owned<F>(&self, future: F) -> AbortOnDrop<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        AbortOnDrop(ForgetInChild::new(self.process, self.spawn(future)))
    }

    /// Runs a future on the client's threads. Dropping the returned future aborts it.
    ///
    /// # Errors
    /// Those of the future; [`Kind::Panicked`] if it panics; [`Kind::Forked`];
    /// [`Kind::Closed`] if the client is dropped meanwhile.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.process.check()?;
        self.spawn_owned(future).await.unwrap_or_else(|failed| Err(task_error(failed)))
    }
}

/// The error for a task that did not end by itself: it panicked, or its client was dropped.
pub(crate) fn task_error(failed: JoinError) -> Error {
    match failed.try_into_panic() {
        Ok(panic) => Error::panicked(&*panic),
        Err(_) => Error::closed("client"),
    }
}

/// Runs a future. If it panics, the result is an error with the panic's text.
pub(crate) async fn catch_panic<T>(
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // After a panic, the future is dropped and its state never seen again.
        let poll = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        poll.unwrap_or_else(|panic| Poll::Ready(Err(Error::panicked(&*panic))))
    })
    .await
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let owned = self.owned.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(runtime) = owned else { return };
        if self.process.is_current() {
            runtime.shutdown_background();
        } else {
            // Its threads are not in this process, so shutting it down would wait forever.
            std::mem::forget(runtime);
        }
    }
}

/// A task that is aborted when this is dropped. As a future, it is the task's result. In a
/// forked child, dropping it has no effect.
#[derive(Debug)]
pub(crate) struct AbortOnDrop<T>(ForgetInChild<JoinHandle<T>>);

impl<T> AbortOnDrop<T> {
    /// A handle that aborts the task earlier.
    pub(crate) fn abort_handle(&self) -> AbortHandle {
        self.0.abort_handle()
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.get_mut().0).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        // Aborting takes a lock of the runtime.
        if !self.0.is_in_child() {
            self.0.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_a_forked_child_fail_instead_of_waiting() {
        let mut runtime = Runtime::start(1).expect("threads");
        runtime.process = Process::of_a_parent();
        let error = crate::wait::block_on(runtime.run(async { Ok(()) })).expect_err("forked");
        assert_eq!(error.kind(), Kind::Forked);
    }

    #[test]
    fn futures_run_on_the_clients_threads_and_end_with_their_caller() {
        let runtime = Runtime::start(1).expect("threads");
        let name = crate::wait::block_on(
            runtime.run(async { Ok(std::thread::current().name().map(str::to_owned)) }),
        );
        assert_eq!(name.expect("it runs").as_deref(), Some("styx-client"));

        let (alive, ended) = std::sync::mpsc::channel::<()>();
        let mut call = Box::pin(runtime.run(async move {
            let _alive = alive;
            std::future::pending::<Result<(), Error>>().await
        }));
        assert!(crate::wait::block_on_for(call.as_mut(), std::time::Duration::ZERO).is_none());
        drop(call);
        assert!(ended.recv().is_err(), "dropping the call drops what it ran");
    }

    #[test]
    fn panic_of_a_task_becomes_an_error_with_its_text() {
        async fn panics() -> Result<(), Error> {
            panic!("boom {}", 1)
        }
        let runtime = Runtime::start(1).expect("threads");
        for result in [
            crate::wait::block_on(runtime.run(panics())),
            crate::wait::block_on(catch_panic(panics())),
        ] {
            let error = result.expect_err("a panic");
            assert_eq!(error.kind(), Kind::Panicked);
            assert!(error.message().contains("boom 1"), "{error}");
        }
        let next = crate::wait::block_on(runtime.run(async { Ok(7) }));
        assert!(next.is_ok_and(|seven| seven == 7), "the threads continue after a panic");
    }

    #[test]
    fn dropping_a_task_in_a_forked_child_does_not_abort_it() {
        let mut runtime = Runtime::start(1).expect("threads");
        let (aborted, is_aborted) = std::sync::mpsc::channel::<()>();
        let future = async move {
            let _aborted = aborted;
            std::future::pending::<()>().await;
        };
        runtime.process = Process::of_a_parent();
        drop(runtime.spawn_owned(future));
        let (done, is_done) = std::sync::mpsc::channel();
        drop(runtime.spawn(async move { done.send(()) }));
        is_done.recv().expect("the runtime runs tasks");
        assert_eq!(is_aborted.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
        runtime.process = Process::current();
        drop(runtime);
        assert!(is_aborted.recv().is_err(), "the end of the runtime ends it");
    }

    #[test]
    fn dropping_the_client_aborts_its_tasks() {
        let runtime = Runtime::start(1).expect("threads");
        let task = runtime.spawn(std::future::pending::<()>());
        drop(runtime);
        assert!(crate::wait::block_on(task).expect_err("ended").is_cancelled());
    }
}
