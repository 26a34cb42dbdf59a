//! Errors of the client core as Python exceptions. The classes are in `styx_client._errors`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use styx_client::Error;

/// The exception for an error.
#[cold]
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    match instance(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failed) => failed,
    }
}

/// The exception as an object, for a caller that raises it later.
pub(crate) fn instance<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.get_or_try_init(py, || {
        py.import("styx_client._errors")?.getattr("from_native").map(Bound::unbind)
    })?;
    let facts = error.facts();
    let values = PyDict::new(py);
    for (name, value) in facts.numbers() {
        values.set_item(name, value)?;
    }
    if let Some(status) = facts.status {
        values.set_item("status", status.to_string())?;
    }
    if let Some(after) = facts.retry_after {
        values.set_item("retry_after", after.as_secs_f64())?;
    }
    let arguments =
        (error.code(), error.message(), error.is_retriable(), error.maybe_appended(), values);
    make.bind(py).call1(arguments)
}
