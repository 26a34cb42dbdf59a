//! [`Shared`]: the client that all objects of this module belong to, and how a thread of
//! Python waits: without holding the interpreter, in slices, between which signals are
//! checked and events are logged.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyList;
use styx_client::blocking::wait_for;
use styx_client::events::{Event, EventKind, Subject};
use styx_client::{Client, Error};

use crate::errors::exception;

/// The time between two checks for signals, so that Ctrl-C is noticed within 100 ms.
const SLICE: Duration = Duration::from_millis(50);

/// How often Python has forked on the way to this process.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Python calls this in a forked child.
#[pyfunction]
pub(crate) fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    /// The forks before the client was made.
    forks: u32,
    /// Logs a list of events.
    log_events: Py<PyAny>,
}

/// [`Shared`] as an object of Python.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct SharedObject(pub(crate) Arc<Shared>);

/// When a wait ends without a result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// After `timeout` seconds; `None` for no limit.
    ///
    /// # Errors
    /// `invalid_argument`: it is negative or not a number.
    pub(crate) fn after(timeout: Option<f64>) -> Result<Deadline, Error> {
        let Some(seconds) = timeout else { return Ok(Deadline(None)) };
        if seconds.is_nan() || seconds < 0.0 {
            let text = format!("timeout is {seconds}: use seconds of at least 0, or None");
            return Err(Error::invalid_argument(text));
        }
        // A time that is too long for the clock means no limit.
        let duration = Duration::try_from_secs_f64(seconds).ok();
        Ok(Deadline(duration.and_then(|duration| Instant::now().checked_add(duration))))
    }

    fn has_passed(self) -> bool {
        self.0.is_some_and(|end| end <= Instant::now())
    }

    fn slice(self) -> Duration {
        self.0.map_or(SLICE, |end| end.saturating_duration_since(Instant::now()).min(SLICE))
    }
}

impl Shared {
    pub(crate) fn new(client: Client, log_events: Py<PyAny>) -> Shared {
        Shared { client, forks: FORKS.load(Ordering::Relaxed), log_events }
    }

    /// Checks that this process may use the client.
    ///
    /// # Errors
    /// `ForkedError` in a forked child.
    #[inline]
    pub(crate) fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        // The core asks for the process id, which is too slow for each record.
        if FORKS.load(Ordering::Relaxed) == self.forks {
            return Ok(());
        }
        self.client.check_process().map_err(|error| exception(py, &error))
    }

    /// Waits for a future; `None` if the deadline passes.
    ///
    /// # Errors
    /// An exception of a signal handler, such as `KeyboardInterrupt`.
    pub(crate) fn wait<F>(
        &self,
        py: Python<'_>,
        mut future: Pin<&mut F>,
        deadline: Deadline,
    ) -> PyResult<Option<F::Output>>
    where
        F: Future + Send + ?Sized,
        F::Output: Send,
    {
        let mut output = None;
        self.wait_until(py, deadline, |slice| {
            output = wait_for(future.as_mut(), slice);
            output.is_some()
        })?;
        Ok(output)
    }

    /// Calls `wait` with short times until it returns `true`; returns whether it did before
    /// the deadline. The interpreter is only held between the calls.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub(crate) fn wait_until(
        &self,
        py: Python<'_>,
        deadline: Deadline,
        mut wait: impl FnMut(Duration) -> bool + Send,
    ) -> PyResult<bool> {
        loop {
            let done = py.detach(|| wait(deadline.slice()));
            self.log_events(py)?;
            if done {
                return Ok(true);
            }
            py.check_signals()?;
            if deadline.has_passed() {
                return Ok(false);
            }
        }
    }

    /// Logs the events that have happened.
    ///
    /// # Errors
    /// An exception of the function for events.
    pub(crate) fn log_events(&self, py: Python<'_>) -> PyResult<()> {
        let mut events = Vec::new();
        let dropped = self.client.take_events(&mut events);
        if events.is_empty() && dropped == 0 {
            return Ok(());
        }
        let list = PyList::empty(py);
        for event in &events {
            list.append(described(py, event)?)?;
        }
        self.log_events.bind(py).call1((list, dropped)).map(drop)
    }
}

/// An event as `(subject, log, kind, error, seconds, position)`.
fn described<'py>(py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyAny>> {
    let subject = match event.subject {
        Subject::Producer => "producer",
        Subject::Consumer => "consumer",
        _ => "client",
    };
    let (kind, error, seconds, position) = match &event.kind {
        EventKind::Connected => ("connected", None, None, None),
        EventKind::Lost(error) => ("lost", Some(exception(py, error)), None, None),
        EventKind::Again { wait } => ("again", None, Some(wait.as_secs_f64()), None),
        EventKind::Damaged { position } => ("damaged", None, None, Some(*position)),
        EventKind::Closed => ("closed", None, None, None),
        _ => ("changed", None, None, None),
    };
    let error = error.map(|error| error.into_value(py));
    Ok((subject, event.log.as_str(), kind, error, seconds, position).into_pyobject(py)?.into_any())
}
