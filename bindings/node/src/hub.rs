//! [`Hub`]: how the core tells a JavaScript thread that something has happened. There is one
//! for each thread: the main thread, and each worker.
//!
//! ```text
//! core's threads ─▶ queue ─▶ weak thread-safe function ─▶ JavaScript: drain, then take
//! ```
//!
//! A thread of the core only raises a flag. It never waits for JavaScript, and never touches
//! an object of it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use napi::bindgen_prelude::{BufferSlice, Either, Env, External, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use serde_json::Value;
use styx_client::bindings::{Completion, CompletionQueue, Source, Started, Ticket};
use styx_client::{Client, Error};

use crate::errors::{text, thrown};

/// Calls that run at a time in one JavaScript thread.
const CAPACITY: usize = 65_536;
/// Completions that are moved at once.
const DRAINED_MAX: usize = 4096;

/// See the module.
pub(crate) struct Hub {
    queue: CompletionQueue,
    calls: Mutex<HashMap<u64, Started<Answer>>>,
}

/// The result of a call.
pub(crate) enum Answer {
    Nothing,
    Json(Value),
    Bytes(Bytes),
}

/// A shared [`Hub`].
pub(crate) type SharedHub = Arc<Hub>;

impl Hub {
    /// Starts a call. When it is done, `drain` returns `token`, and then `take` its result.
    pub(crate) fn start(
        &self,
        client: &Client,
        token: i64,
        call: impl Future<Output = Result<Answer, Error>> + Send + 'static,
    ) -> napi::Result<()> {
        self.start_with(self.ticket(token)?, client, token, call);
        Ok(())
    }

    /// As `start`, with a ticket of that token: it cannot fail.
    pub(crate) fn start_with(
        &self,
        ticket: Ticket,
        client: &Client,
        token: i64,
        call: impl Future<Output = Result<Answer, Error>> + Send + 'static,
    ) {
        let started = client.start(ticket, call);
        self.calls().insert(token.unsigned_abs(), started);
    }

    /// A place for the outcome of one call of the core.
    pub(crate) fn ticket(&self, token: i64) -> napi::Result<Ticket> {
        self.queue.ticket(token.unsigned_abs()).map_err(|error| thrown(&error))
    }

    pub(crate) fn source(&self, token: i64) -> Source {
        self.queue.source(token.unsigned_abs())
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, Started<Answer>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is done, or a source that has something new.
#[napi(object)]
pub struct Completed {
    /// The number that JavaScript gave it.
    pub token: i64,
    /// The error, as JSON.
    pub error: Option<String>,
}

/// Makes the hub of this thread. `notify` is called when there is something to drain. It does
/// not keep the event loop alive.
#[napi]
pub fn create_hub(notify: Function<'_, (), ()>) -> napi::Result<External<SharedHub>> {
    let notify = notify.build_threadsafe_function::<()>().weak::<true>().build()?;
    let queue = CompletionQueue::with_notifier(CAPACITY, move || {
        // It fails while the thread ends, and then nobody waits.
        let _ = notify.call((), ThreadsafeFunctionCallMode::NonBlocking);
    });
    Ok(External::new(Arc::new(Hub { queue, calls: Mutex::default() })))
}

/// Takes everything that has happened, in order.
#[napi]
pub fn drain(hub: &External<SharedHub>) -> Vec<Completed> {
    let mut completions = Vec::new();
    while hub.queue.drain(DRAINED_MAX, &mut completions).completions > 0 {}
    let completed = |completion: Completion| Completed {
        token: i64::try_from(completion.token).unwrap_or(i64::MAX),
        error: completion.result.err().map(|error| text(&error)),
    };
    completions.into_iter().map(completed).collect()
}

/// The result of a call that is done: JSON, bytes or nothing.
#[napi]
pub fn take<'env>(
    env: &'env Env,
    hub: &External<SharedHub>,
    token: i64,
) -> napi::Result<Option<Either<String, BufferSlice<'env>>>> {
    let started = hub.calls().remove(&token.unsigned_abs());
    match started.and_then(|mut started| started.take()) {
        Some(Ok(Answer::Json(json))) => Ok(Some(Either::A(json.to_string()))),
        Some(Ok(Answer::Bytes(bytes))) => Ok(Some(Either::B(BufferSlice::copy_from(env, &bytes)?))),
        Some(Ok(Answer::Nothing)) | None => Ok(None),
        Some(Err(error)) => Err(thrown(&error)),
    }
}

/// Stops a call, if it is not done. Its token is drained nevertheless.
#[napi]
pub fn cancel(hub: &External<SharedHub>, token: i64) {
    let started = hub.calls().remove(&token.unsigned_abs());
    // Not under the lock: it drops the future of the call.
    drop(started);
}
