//! [`Ack`]: where records that were appended are in the log, once they are durable.

use std::pin::pin;

use pyo3::prelude::*;
use styx_client::Error;

use crate::errors::exception;
use crate::shared::{Deadline, SharedObject};

/// The acknowledgement of appended records: their position once they are durable, or why they
/// were not appended.
///
/// Wait for it with result(), poll it with done(), or ignore it: Producer.flush() and
/// Producer.close() report failures that no ack has reported. It may be used from any thread.
#[pyclass(frozen, module = "styx_client")]
pub(crate) struct Ack {
    /// An object of Python, because counting its references takes no atomic instruction. There
    /// is an ack for each record.
    shared: Py<SharedObject>,
    ack: styx_client::Ack,
}

impl Ack {
    #[inline]
    pub(crate) fn new(shared: Py<SharedObject>, ack: styx_client::Ack) -> Ack {
        Ack { shared, ack }
    }
}

#[pymethods]
impl Ack {
    /// Waits until the records are durable, and returns the position of the first one.
    ///
    /// Raises TimedOutError if that takes longer than timeout seconds; the records may become
    /// durable later. Raises the error of the records if they were not acknowledged: its
    /// maybe_appended says whether they may be in the log.
    #[pyo3(signature = (timeout=None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        if let Some(result) = self.ack.try_position() {
            return result.map_err(|error| exception(py, &error));
        }
        let deadline = Deadline::after(timeout).map_err(|error| exception(py, &error))?;
        let waiting = pin!(self.ack.position());
        let result = self.shared.get().0.wait(py, waiting, deadline)?.unwrap_or_else(|| {
            let seconds = timeout.unwrap_or_default();
            let text = format!("the records were not acknowledged within {seconds} s");
            Err(Error::unfinished(text))
        });
        result.map_err(|error| exception(py, &error))
    }

    /// Whether the outcome is known: result() returns or raises at once.
    fn done(&self) -> bool {
        self.ack.try_position().is_some()
    }

    /// The position of the first record; None while it is not durable. Raises the error of the
    /// records if they were not acknowledged.
    #[getter]
    fn position(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        self.ack.try_position().transpose().map_err(|error| exception(py, &error))
    }

    /// The number of the first record in its producer, from 0.
    #[getter]
    fn sequence(&self) -> u64 {
        self.ack.sequence()
    }

    /// The number of records.
    #[getter]
    fn count(&self) -> u64 {
        self.ack.count()
    }

    fn __repr__(&self) -> String {
        let state = match self.ack.try_position() {
            None => "pending".to_owned(),
            Some(Ok(position)) => format!("position={position}"),
            Some(Err(error)) => format!("failed: {}", error.code()),
        };
        format!(
            "<styx_client.Ack sequence={} count={} {state}>",
            self.ack.sequence(),
            self.ack.count()
        )
    }
}
