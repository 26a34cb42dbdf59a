//! [`Records`]: the records of a consumer one by one.
//!
//! It keeps the batch that it claims records of, so that most steps need no lock.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::batch::RecordBatch;
use crate::consumer::Consumer;
use crate::current::Current;
use crate::recent::Recent;
use crate::record::Record;

/// The records of a consumer one by one.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Records {
    consumer: Py<Consumer>,
    waits: bool,
    source: Py<Source>,
}

/// The batch that an iterator claims records of. No Python code runs while it is borrowed.
#[pyclass(module = "styx_client._native")]
struct Source {
    /// Records are left in it, unless the consumer or another iterator takes them.
    current: Option<(Arc<Current>, Recent)>,
}

impl Source {
    #[inline]
    fn next(&mut self, py: Python<'_>, consumer: &Consumer) -> PyResult<Option<Py<Record>>> {
        let Some((current, recent)) = &mut self.current else { return Ok(None) };
        let Some(at) = current.claim() else { return Ok(None) };
        let record = recent.record(py, at)?;
        if at + 1 == current.batch().len() {
            self.end(consumer);
        }
        Ok(Some(record))
    }

    /// Every record of the batch was claimed, so only these keep its memory.
    #[cold]
    fn end(&mut self, consumer: &Consumer) {
        if let Some((current, _)) = self.current.take() {
            consumer.forget(&current);
        }
    }
}

impl Records {
    pub(crate) fn new(py: Python<'_>, consumer: Py<Consumer>, waits: bool) -> PyResult<Records> {
        Ok(Records { consumer, waits, source: Py::new(py, Source { current: None })? })
    }

    /// The first record of the next batch. `None` at the end.
    #[cold]
    fn next_batch(&self, py: Python<'_>) -> PyResult<Option<Py<Record>>> {
        // Its memory is needed no more, whatever happens while this thread waits.
        self.keep(py, None);
        let consumer = self.consumer.get();
        while let Some(current) = consumer.current(py, self.waits)? {
            let batch = Py::new(py, RecordBatch::new(current.batch().clone()))?;
            let mut source = Source { current: Some((current, Recent::new(batch))) };
            if let Some(record) = source.next(py, consumer)? {
                self.keep(py, source.current);
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Another thread can only have borrowed the source in an interpreter without a lock. That
    /// thread then finds out that its batch has no more records.
    fn keep(&self, py: Python<'_>, current: Option<(Arc<Current>, Recent)>) {
        let before = match self.source.bind(py).try_borrow_mut() {
            Ok(mut source) => std::mem::replace(&mut source.current, current),
            Err(_) => None,
        };
        drop(before);
    }
}

#[pymethods]
impl Records {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<Record>>> {
        let record = match self.source.bind(py).try_borrow_mut() {
            Ok(mut source) => source.next(py, self.consumer.get())?,
            Err(_) => None,
        };
        match record {
            Some(record) => Ok(Some(record)),
            None => self.next_batch(py),
        }
    }
}
