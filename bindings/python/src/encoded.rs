//! [`Encoded`]: records in the core's memory. Encoding is done at the call, on the caller's
//! thread, so that no thread of the core needs a Python object.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use styx_client::bindings;

use crate::errors::exception;
use crate::ffi::with_bytes;

/// Records that were encoded and that no producer has accepted yet.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Encoded {
    batch: Mutex<bindings::Encoded>,
}

impl Encoded {
    pub(crate) fn lock(&self) -> MutexGuard<'_, bindings::Encoded> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Encoded {
    #[new]
    fn new() -> Encoded {
        Encoded { batch: Mutex::new(bindings::Encoded::new()) }
    }

    /// Adds every payload of an iterable. If one is invalid, none is added.
    fn extend(&self, py: Python<'_>, payloads: &Bound<'_, PyAny>) -> PyResult<()> {
        // Not under the lock: an iterator may run any code.
        let mut batch = bindings::Encoded::new();
        let mut push = |payload: &Bound<'_, PyAny>| {
            with_bytes(payload, |bytes| batch.push(bytes))?.map_err(|error| exception(py, &error))
        };
        if let Ok(list) = payloads.cast::<PyList>() {
            for payload in list {
                push(&payload)?;
            }
        } else if let Ok(tuple) = payloads.cast::<PyTuple>() {
            for payload in tuple {
                push(&payload)?;
            }
        } else if is_one_record(payloads) {
            return Err(PyTypeError::new_err(
                "append_many takes an iterable of records: for one record, use append",
            ));
        } else {
            for payload in payloads.try_iter()? {
                push(&payload?)?;
            }
        }
        *self.lock() = batch;
        Ok(())
    }

    /// Adds records that lie one after the other in `data`. `ends` has where each of them
    /// ends, as unsigned 32-bit integers in a buffer, or as any iterable of integers.
    fn extend_packed(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        ends: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let ends = ends_of(py, ends)?;
        with_bytes(data, |bytes| self.lock().extend_packed(bytes, &ends))?
            .map_err(|error| exception(py, &error))
    }

    /// The number of records that no producer has accepted.
    fn __len__(&self) -> usize {
        self.lock().len()
    }
}

/// Whether the object is the bytes of a record, and not an iterable of records.
fn is_one_record(object: &Bound<'_, PyAny>) -> bool {
    use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};
    object.is_instance_of::<PyBytes>()
        || object.is_instance_of::<PyByteArray>()
        || object.is_instance_of::<PyString>()
        || object.is_instance_of::<PyMemoryView>()
}

fn ends_of(py: Python<'_>, ends: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    if let Ok(buffer) = PyBuffer::<u32>::get(ends) {
        return buffer.to_vec(py);
    }
    let mut all = Vec::new();
    for end in ends.try_iter()? {
        all.push(end?.extract::<u32>()?);
    }
    Ok(all)
}
