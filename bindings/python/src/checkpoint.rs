//! [`Checkpoint`]: where reading continues, as one opaque string.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use pyo3::prelude::*;
use styx_client::Error;

use crate::errors::exception;

/// A log's id and the position of the next record to read.
///
/// Store str(checkpoint) together with the output of the records before it, in one
/// transaction, and pass it back as Consumer's start: Checkpoint(text) accepts exactly that
/// text. A consumer that starts at a checkpoint of a log that was truncated or recreated
/// raises LogChangedError. Another text raises InvalidArgumentError (a ValueError).
#[pyclass(frozen, eq, hash, module = "styx_client")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Checkpoint(pub(crate) styx_client::Checkpoint);

#[pymethods]
impl Checkpoint {
    #[new]
    fn new(py: Python<'_>, text: &str) -> PyResult<Checkpoint> {
        let invalid = |error| Error::invalid_argument(format!("{error}"));
        let parsed = text.parse::<styx_client::Checkpoint>().map_err(invalid);
        parsed.map(Checkpoint).map_err(|error| exception(py, &error))
    }

    /// The id of the log, as 32 hex digits.
    #[getter]
    fn log_id(&self) -> String {
        self.0.log_id.to_string()
    }

    /// The position of the next record to read.
    #[getter]
    fn position(&self) -> u64 {
        self.0.next.0
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("Checkpoint('{}')", self.0)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, pyo3::types::PyType>, (String,)) {
        (slf.get_type(), (slf.get().0.to_string(),))
    }
}

/// A hash for `__hash__`.
pub(crate) fn hashed(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
