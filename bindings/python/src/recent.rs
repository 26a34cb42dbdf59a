//! [`Recent`]: the objects of the records that an iterator has returned last.
//!
//! A loop has dropped the record before the last one when it asks for the next one. Its object
//! is used again, which takes less time than to free it and make another one. `zip` does the
//! same with its tuples.
//!
//! ```text
//! for record in batch:      iterator
//!     record ──▶ 7     ◀──── last
//!                6     ◀──── before     nothing else refers to it: becomes record 8
//! ```

use std::mem;

use pyo3::prelude::*;

use crate::batch::RecordBatch;
use crate::ffi::is_unshared;
use crate::record::Record;

/// See the module. Iterators borrow it instead of locking it, which takes less time; one that
/// cannot borrow it makes a new record.
#[pyclass(module = "styx_client._native")]
pub(crate) struct Recent {
    batch: Py<RecordBatch>,
    last: Option<Py<Record>>,
    before: Option<Py<Record>>,
}

impl Recent {
    pub(crate) fn new(batch: Py<RecordBatch>) -> Recent {
        Recent { batch, last: None, before: None }
    }

    /// The record `at` of the batch, which has it.
    #[inline]
    pub(crate) fn record(&mut self, py: Python<'_>, at: usize) -> PyResult<Py<Record>> {
        mem::swap(&mut self.last, &mut self.before);
        if let Some(record) = &self.last
            && is_unshared(py, record)
        {
            record.get().move_to(at);
            return Ok(record.clone_ref(py));
        }
        let record = Py::new(py, Record::new(self.batch.clone_ref(py), at))?;
        self.last = Some(record.clone_ref(py));
        Ok(record)
    }
}
