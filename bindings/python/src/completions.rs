//! [`Completions`]: the queue that an asyncio event loop watches.

use pyo3::prelude::*;
use pyo3::types::PyList;
use std::os::fd::{AsFd, AsRawFd};
use styx_client::bindings::{CompletionQueue, Source, Ticket};

use crate::errors::{exception, instance};

/// Control calls that run at a time. More of them wait in Python.
const CAPACITY: usize = 65_536;
/// Completions that are taken at once.
const DRAINED_MAX: usize = 4096;

/// The queue of completions of one client. A descriptor is readable while it has some.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Completions {
    queue: CompletionQueue,
}

impl Completions {
    pub(crate) fn ticket(&self, py: Python<'_>, token: u64) -> PyResult<Ticket> {
        self.queue.ticket(token).map_err(|error| exception(py, &error))
    }

    pub(crate) fn source(&self, token: u64) -> Source {
        self.queue.source(token)
    }
}

#[pymethods]
impl Completions {
    #[new]
    fn new() -> PyResult<Completions> {
        Ok(Completions { queue: CompletionQueue::new(CAPACITY)? })
    }

    /// The descriptor to watch.
    fn fileno(&self) -> i32 {
        self.queue.as_fd().as_raw_fd()
    }

    /// Takes completions: `(token, error)` each, where the error is an exception or `None`.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut completions = Vec::new();
        let _ = self.queue.drain(DRAINED_MAX, &mut completions);
        let list = PyList::empty(py);
        for completion in completions {
            let error = match &completion.result {
                Ok(_) => None,
                Err(error) => Some(instance(py, error)?),
            };
            list.append((completion.token, error))?;
        }
        Ok(list)
    }
}
