//! [`Consumer`]: takes what is there while the interpreter is held, and waits without it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use styx_client::bindings::CompletionQueue;
use styx_client::consumer::{self, Handle, Polled};
use styx_client::{Error, Start};

use crate::batch::RecordBatch;
use crate::call::Call;
use crate::checkpoint::Checkpoint;
use crate::completions::Completions;
use crate::current::Current;
use crate::errors::exception;
use crate::records::Records;
use crate::shared::{Deadline, Shared};

/// An open consumer. No lock is held while a thread waits.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Consumer {
    shared: Arc<Shared>,
    handle: Handle,
    state: Mutex<State>,
    /// Every record of the read was returned, or the consumer was closed.
    ended: AtomicBool,
    closed: AtomicBool,
}

struct State {
    /// `None` after `close`.
    consumer: Option<styx_client::Consumer>,
    /// The batch whose records are returned next.
    current: Option<Arc<Current>>,
}

/// The answer of a consumer that does not wait.
pub(crate) enum Taken<T> {
    Some(T),
    Nothing,
    End,
}

impl State {
    fn consumer(&mut self) -> Result<&mut styx_client::Consumer, Error> {
        self.consumer.as_mut().ok_or_else(|| Error::closed("consumer"))
    }

    /// The batch whose records are returned next. It has some left, unless another thread
    /// takes them.
    fn fill(&mut self) -> Result<Taken<&Arc<Current>>, Error> {
        if self.rest() == 0 {
            match self.consumer()?.try_next_batch()? {
                Polled::Batch(batch) => self.current = Some(Arc::new(Current::new(batch, 0))),
                Polled::Nothing => return Ok(Taken::Nothing),
                Polled::End => return Ok(Taken::End),
            }
        }
        Ok(self.current.as_ref().map_or(Taken::Nothing, Taken::Some))
    }

    /// The batch whose records an iterator claims one by one.
    fn current(&mut self) -> Result<Taken<Arc<Current>>, Error> {
        Ok(match self.fill()? {
            Taken::Some(current) => Taken::Some(Arc::clone(current)),
            Taken::Nothing => Taken::Nothing,
            Taken::End => Taken::End,
        })
    }

    /// Up to `max` records.
    fn batch(&mut self, max: usize) -> Result<Taken<styx_client::RecordBatch>, Error> {
        loop {
            match self.fill()? {
                Taken::Nothing => return Ok(Taken::Nothing),
                Taken::End => return Ok(Taken::End),
                Taken::Some(_) => {}
            }
            let rest = self.stop_current();
            let part = rest.as_ref().map(|rest| rest.slice(0..max));
            let (Some(rest), Some(part)) = (rest, part) else { continue };
            if part.len() < rest.len() {
                self.current = Some(Arc::new(Current::new(rest, part.len())));
            }
            return Ok(Taken::Some(part));
        }
    }

    /// The number of records that the core counts as returned, but that were not.
    fn rest(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.rest() as u64)
    }

    /// Takes the rest of the current batch, if there is one. No iterator claims its records any
    /// more.
    fn stop_current(&mut self) -> Option<styx_client::RecordBatch> {
        let rest = self.current.take()?.stop();
        (!rest.is_empty()).then_some(rest)
    }

    /// Gives the rest of the current batch back, so that the core's position is exact.
    fn give_back(&mut self) -> Result<(), Error> {
        match self.stop_current() {
            Some(rest) => self.consumer()?.give_back(rest),
            None => Ok(()),
        }
    }
}

impl Consumer {
    pub(crate) fn new(shared: Arc<Shared>, consumer: styx_client::Consumer) -> Consumer {
        let handle = consumer.handle();
        let state = Mutex::new(State { consumer: Some(consumer), current: None });
        let (ended, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        Consumer { shared, handle, state, ended, closed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch whose records are returned next. If there is none now, waits for it, or
    /// returns `None`, which also is the end.
    pub(crate) fn current(&self, py: Python<'_>, waits: bool) -> PyResult<Option<Arc<Current>>> {
        let forever = Deadline::after(None).map_err(|error| exception(py, &error))?;
        let taken = match waits {
            true => self.wait(py, forever, State::current),
            false => self.take_now(py, State::current),
        };
        match taken {
            // Another thread has closed the consumer: the iteration ends.
            Err(_) if self.closed.load(Ordering::Acquire) => Ok(None),
            taken => taken,
        }
    }

    /// Every record of a batch was claimed.
    pub(crate) fn forget(&self, claimed: &Arc<Current>) {
        let mut state = self.state();
        if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, claimed)) {
            state.current = None;
        }
    }

    /// Takes something, or waits for it. `None` at the deadline, at the end, and when another
    /// thread closes the consumer.
    fn wait<T>(
        &self,
        py: Python<'_>,
        deadline: Deadline,
        mut take: impl FnMut(&mut State) -> Result<Taken<T>, Error>,
    ) -> PyResult<Option<T>> {
        loop {
            let taken = take(&mut self.state());
            match taken {
                Ok(Taken::Some(something)) => return Ok(Some(something)),
                Ok(Taken::End) => {
                    self.ended.store(true, Ordering::Relaxed);
                    self.shared.log_events(py)?;
                    return Ok(None);
                }
                Ok(Taken::Nothing) => {}
                Err(error) => {
                    self.shared.log_events(py)?;
                    return Err(exception(py, &error));
                }
            }
            if !self.shared.wait_until(py, deadline, |slice| self.handle.wait(slice))? {
                return Ok(None);
            }
            if self.closed.load(Ordering::Acquire) {
                return Ok(None);
            }
        }
    }

    /// Takes something without waiting. `None` if there is nothing, or at the end.
    fn take_now<T>(
        &self,
        py: Python<'_>,
        take: impl FnOnce(&mut State) -> Result<Taken<T>, Error>,
    ) -> PyResult<Option<T>> {
        let taken = take(&mut self.state());
        match taken {
            Ok(Taken::Some(something)) => Ok(Some(something)),
            Ok(Taken::Nothing) => Ok(None),
            Ok(Taken::End) => {
                self.ended.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(exception(py, &error)),
        }
    }
}

#[pymethods]
impl Consumer {
    /// Up to `max` records; waits for them. `None` at the timeout and at the end.
    fn poll(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        max: usize,
    ) -> PyResult<Option<RecordBatch>> {
        let deadline = Deadline::after(timeout).map_err(|error| exception(py, &error))?;
        let batch = self.wait(py, deadline, |state| state.batch(max))?;
        Ok(batch.map(RecordBatch::new))
    }

    /// Up to `max` records that are there; `None` if there are none, or at the end.
    fn take(&self, py: Python<'_>, max: usize) -> PyResult<Option<RecordBatch>> {
        Ok(self.take_now(py, |state| state.batch(max))?.map(RecordBatch::new))
    }

    /// The records one by one. The iterator waits for them.
    fn records(slf: Bound<'_, Self>) -> PyResult<Records> {
        Records::new(slf.py(), slf.clone().unbind(), true)
    }

    /// The records that are there, one by one. The iterator ends when it would wait.
    fn records_now(slf: Bound<'_, Self>) -> PyResult<Records> {
        Records::new(slf.py(), slf.clone().unbind(), false)
    }

    /// Continues at another place. Waits until that has happened.
    fn seek(&self, py: Python<'_>, start: &str) -> PyResult<()> {
        let queue = CompletionQueue::new(1)?;
        let ticket = queue.ticket(0).map_err(|error| exception(py, &error))?;
        self.seek_with(py, start, ticket)?;
        let forever = Deadline::after(None).map_err(|error| exception(py, &error))?;
        self.shared.wait_until(py, forever, |slice| queue.wait(slice))?;
        let mut completions = Vec::new();
        let _ = queue.drain(1, &mut completions);
        match completions.pop() {
            Some(completion) => completion.result.map(drop).map_err(|error| exception(py, &error)),
            None => Ok(()),
        }
    }

    /// Continues at another place. `completions` returns `token` when that has happened.
    fn seek_to(
        &self,
        py: Python<'_>,
        start: &str,
        completions: &Completions,
        token: u64,
    ) -> PyResult<()> {
        self.seek_with(py, start, completions.ticket(py, token)?)
    }

    /// Stores the position behind the last record that was returned in the cursor.
    fn commit(&self, py: Python<'_>) -> PyResult<Commit> {
        let committed = {
            let mut state = self.state();
            state.give_back().and_then(|()| state.consumer()?.commit())
        };
        let commit = committed.map_err(|error| exception(py, &error))?;
        Ok(Commit { shared: Arc::clone(&self.shared), commit: Arc::new(commit) })
    }

    /// Closes the consumer, and wakes the threads that wait in it.
    fn close(&self) -> Call {
        self.closed.store(true, Ordering::Release);
        self.ended.store(true, Ordering::Relaxed);
        self.handle.close();
        let mut state = self.state();
        drop(state.stop_current());
        let consumer = state.consumer.take();
        Call::nothing(&self.shared, "close", async move {
            if let Some(mut consumer) = consumer {
                consumer.close().await;
            }
            Ok(())
        })
    }

    /// `completions` returns `token` when a call would no longer wait.
    fn notify(&self, py: Python<'_>, completions: &Completions, token: u64) -> PyResult<()> {
        let mut state = self.state();
        let consumer = state.consumer().map_err(|error| exception(py, &error))?;
        consumer.notify(completions.source(token));
        Ok(())
    }

    #[getter]
    fn position(&self) -> u64 {
        let state = self.state();
        self.handle.position() - state.rest()
    }

    #[getter]
    fn checkpoint(&self, py: Python<'_>) -> PyResult<Checkpoint> {
        let mut state = self.state();
        let rest = state.rest();
        let consumer = state.consumer().map_err(|error| exception(py, &error))?;
        let mut checkpoint = consumer.checkpoint();
        checkpoint.next.0 -= rest;
        Ok(Checkpoint(checkpoint))
    }

    #[getter]
    fn lag(&self) -> u64 {
        let state = self.state();
        self.handle.lag() + state.rest()
    }

    #[getter]
    fn caught_up(&self) -> bool {
        let state = self.state();
        state.rest() == 0 && self.handle.caught_up()
    }

    #[getter]
    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The numbers of the consumer, as a dict; `None` after `close`.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(stats) = self.state().consumer.as_ref().map(styx_client::Consumer::stats) else {
            return Ok(None);
        };
        let values = PyDict::new(py);
        values.set_item("received_records", stats.received_records)?;
        values.set_item("received_bytes", stats.received_bytes)?;
        values.set_item("received_batches", stats.received_batches)?;
        values.set_item("buffered_bytes", stats.buffered_bytes)?;
        values.set_item("is_connected", stats.is_connected)?;
        values.set_item("reconnects", stats.reconnects)?;
        let silence = stats.since_last_heard.map(|time| time.as_secs_f64());
        values.set_item("since_last_heard", silence)?;
        Ok(Some(values))
    }
}

impl Consumer {
    fn seek_with(
        &self,
        py: Python<'_>,
        start: &str,
        ticket: styx_client::bindings::Ticket,
    ) -> PyResult<()> {
        let mut state = self.state();
        let moved = start.parse::<Start>().and_then(|start| {
            state.consumer()?;
            Ok(start)
        });
        let start = moved.map_err(|error| exception(py, &error))?;
        drop(state.stop_current());
        let consumer = state.consumer().map_err(|error| exception(py, &error))?;
        consumer.seek_to(start, ticket);
        self.ended.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// A position that is being stored in a cursor.
#[pyclass(frozen, module = "styx_client")]
pub(crate) struct Commit {
    shared: Arc<Shared>,
    commit: Arc<consumer::Commit>,
}

#[pymethods]
impl Commit {
    /// Waits until the position is durable, and returns it. It is a later position if the
    /// consumer has committed more meanwhile.
    ///
    /// Raises TimedOutError if that takes longer than timeout seconds, and CursorTakenError if
    /// another consumer has taken the cursor over.
    #[pyo3(signature = (timeout=None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        let deadline = Deadline::after(timeout).map_err(|error| exception(py, &error))?;
        let waiting = pin!(self.commit.position());
        let result = self.shared.wait(py, waiting, deadline)?.unwrap_or_else(|| {
            let seconds = timeout.unwrap_or_default();
            Err(Error::unfinished(format!("the position was not stored within {seconds} s")))
        });
        result.map_err(|error| exception(py, &error))
    }

    /// Whether the outcome is known: result() returns or raises at once.
    fn done(&self) -> bool {
        self.commit.try_position().is_some()
    }

    /// The call returns what `result` returns.
    fn _call(&self) -> Call {
        let commit = Arc::clone(&self.commit);
        Call::new(&self.shared, "commit", async move { commit.position().await }, |py, position| {
            Ok(position.into_pyobject(py)?.into_any().unbind())
        })
    }
}
