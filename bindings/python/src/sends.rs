//! [`Sends`]: the records of an asyncio producer whose positions are awaited as futures.
//!
//! ```text
//! send(payload) ──▶ core    sequence ─┐
//!        └────────▶ create_future() ──┴▶ waiting    (7, future) (8, future) (12, future)
//! take_settled() ─▶ core    block of 7 to 8 at position 100 ──▶ 100, [future, future]
//! ```
//! A future is made, kept and found again here, because Python would take longer for that than
//! for the record. Python sets the results, so no lock is held while that runs code.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::producer::{Failed, Producer};

/// The futures of one producer, in the order of the sequences of their records.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Sends {
    producer: Py<Producer>,
    create_future: Py<PyAny>,
    waiting: Mutex<VecDeque<(u64, Py<PyAny>)>>,
}

/// The outcome of a block: the sequence behind it, what failed, and the positions and futures
/// of its records.
type Outcome<'py> = (u64, Option<Py<Failed>>, Bound<'py, PyList>);

impl Sends {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<(u64, Py<PyAny>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Sends {
    #[new]
    fn new(producer: Py<Producer>, create_future: Py<PyAny>) -> Sends {
        Sends { producer, create_future, waiting: Mutex::default() }
    }

    /// Appends a record without waiting, and returns a future of its position; `None` if there
    /// is no space.
    fn send(&self, py: Python<'_>, payload: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        let future = self.create_future.bind(py).call0()?;
        Ok(self.send_as(py, payload, &future)?.then_some(future.unbind()))
    }

    /// Appends a record without waiting. Its position becomes the result of `future`. `False`
    /// if there is no space.
    fn send_as(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyAny>,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let Some(sequence) = self.producer.get().try_send(py, payload)? else { return Ok(false) };
        self.waiting().push_back((sequence, future.clone().unbind()));
        Ok(true)
    }

    /// The outcomes of blocks, in order: `(end, failed, runs)` each. The records have sequences
    /// below `end`. A run is the position of its first record, and the futures of consecutive
    /// records. If the block has failed, the positions mean nothing.
    fn take_settled<'py>(&self, py: Python<'py>) -> PyResult<Vec<Outcome<'py>>> {
        let mut outcomes = Vec::new();
        for block in self.producer.get().settled() {
            let (first, end) = (block.first_sequence, block.first_sequence + block.count);
            let position = block.result.as_ref().map_or(0, |position| *position);
            let failed = match block.result {
                Ok(_) => None,
                Err(_) => Some(Py::new(py, Failed::new(block))?),
            };
            let runs = PyList::empty(py);
            while let Some((sequence, futures)) = self.next_run(end) {
                let before = sequence.saturating_sub(first);
                runs.append((position + before, PyList::new(py, futures)?))?;
            }
            outcomes.push((end, failed, runs));
        }
        Ok(outcomes)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.producer)?;
        visit.call(&self.create_future)?;
        // No collection begins while a thread of this interpreter has the lock.
        if let Ok(waiting) = self.waiting.try_lock() {
            waiting.iter().try_for_each(|(_, future)| visit.call(future))?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        // Not under the lock: it may run code of Python.
        drop(waiting);
    }
}

impl Sends {
    /// Takes the futures of consecutive records, all below `end`, and the first one's sequence.
    fn next_run(&self, end: u64) -> Option<(u64, Vec<Py<PyAny>>)> {
        let mut waiting = self.waiting();
        let first = waiting.front().map(|(sequence, _)| *sequence).filter(|first| *first < end)?;
        let count = waiting
            .iter()
            .zip(first..end)
            .take_while(|((sequence, _), expected)| sequence == expected)
            .count();
        Some((first, waiting.drain(..count).map(|(_, future)| future).collect()))
    }
}
