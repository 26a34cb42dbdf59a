//! Iterators over the records and payloads of a batch.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::batch::RecordBatch;
use crate::recent::Recent;
use crate::record::Record;

/// The records of a batch.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct BatchIterator {
    batch: Py<RecordBatch>,
    next: AtomicUsize,
    recent: Py<Recent>,
}

impl BatchIterator {
    pub(crate) fn new(py: Python<'_>, batch: Py<RecordBatch>) -> PyResult<BatchIterator> {
        let recent = Py::new(py, Recent::new(batch.clone_ref(py)))?;
        Ok(BatchIterator { batch, next: AtomicUsize::new(0), recent })
    }
}

#[pymethods]
impl BatchIterator {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<Record>>> {
        let Some(at) = claim(&self.next, self.batch.get().core().len()) else { return Ok(None) };
        match self.recent.bind(py).try_borrow_mut() {
            Ok(mut recent) => recent.record(py, at),
            Err(_) => Py::new(py, Record::new(self.batch.clone_ref(py), at)),
        }
        .map(Some)
    }

    fn __length_hint__(&self) -> usize {
        self.batch.get().core().len().saturating_sub(self.next.load(Ordering::Relaxed))
    }
}

/// The payloads of a batch.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct PayloadIterator {
    batch: Py<RecordBatch>,
    next: AtomicUsize,
}

impl PayloadIterator {
    pub(crate) fn new(batch: Py<RecordBatch>) -> PayloadIterator {
        PayloadIterator { batch, next: AtomicUsize::new(0) }
    }
}

#[pymethods]
impl PayloadIterator {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let batch = self.batch.get();
        let at = claim(&self.next, batch.core().len())?;
        Some(PyBytes::new(py, batch.payload(at)?))
    }

    fn __length_hint__(&self) -> usize {
        self.batch.get().core().len().saturating_sub(self.next.load(Ordering::Relaxed))
    }
}

/// The next index below `end`. Two threads that share an iterator in an interpreter without a
/// lock may get the same index: an atomic addition would cost a tenth of the speed.
#[inline]
fn claim(next: &AtomicUsize, end: usize) -> Option<usize> {
    let at = next.load(Ordering::Relaxed);
    if at >= end {
        return None;
    }
    next.store(at + 1, Ordering::Relaxed);
    Some(at)
}
