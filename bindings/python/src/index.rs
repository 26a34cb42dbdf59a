//! [`Index`]: where each payload is in the memory of a batch.

use std::os::raw::c_int;

use pyo3::exceptions::PyValueError;
use pyo3::ffi as python;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple};

use crate::batch::RecordBatch;
use crate::ffi::{Layout, export};

/// The start and end of each payload in memoryview(batch): a read-only buffer of unsigned
/// 32-bit integers with the shape (records, 2), which numpy uses without a copy.
///
/// len(index) is the number of records, and index[i] is (start, end) of record i.
#[pyclass(frozen, module = "styx_client")]
pub(crate) struct Index {
    batch: Py<RecordBatch>,
    shape: [isize; 2],
}

/// The bytes from one pair to the next, and from a start to its end.
static STRIDES: [isize; 2] = [8, 4];

impl Index {
    pub(crate) fn new(batch: Py<RecordBatch>, records: usize) -> Index {
        Index { batch, shape: [isize::try_from(records).unwrap_or(isize::MAX), 2] }
    }
}

#[pymethods]
impl Index {
    fn __len__(&self) -> usize {
        self.batch.get().core().len()
    }

    fn __getitem__(&self, at: isize) -> PyResult<(u32, u32)> {
        let [length, _] = self.shape;
        let index = if at < 0 { at + length } else { at };
        let entry = usize::try_from(index)
            .ok()
            .and_then(|index| self.batch.get().core().index().get(index));
        let [start, end] = entry.copied().ok_or_else(|| {
            let text = format!("index {at} is out of range: the batch has {length} records");
            pyo3::exceptions::PyIndexError::new_err(text)
        })?;
        Ok((start, end))
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        let entries = slf.get().batch.get().core().index().iter();
        PyList::new(slf.py(), entries.map(|[start, end]| (*start, *end)))?.try_iter()
    }

    /// As index() of every Sequence: the index of the first record that equals value.
    #[pyo3(signature = (value, start=0, stop=None))]
    fn __call__(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        start: isize,
        stop: Option<isize>,
    ) -> PyResult<usize> {
        let [length, _] = self.shape;
        let clamp = |at: isize| if at < 0 { (at + length).max(0) } else { at.min(length) };
        let (start, stop) = (clamp(start), clamp(stop.unwrap_or(length)));
        for at in start..stop {
            let record = self.batch.bind(py).get_item(at)?;
            if record.eq(value)? {
                return Ok(at.unsigned_abs());
            }
        }
        Err(PyValueError::new_err("the batch has no such record"))
    }

    #[expect(unsafe_code, reason = "a buffer is a raw pointer")]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut python::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.clone();
        let index = this.get();
        let layout = Layout {
            bytes: crate::ffi::bytes_of(index.batch.get().core().index()),
            item: (4, c"I"),
            shape: &index.shape,
            strides: &STRIDES,
        };
        // SAFETY: `view` comes from the interpreter. The object is frozen, and owns the shape
        // and the batch with the entries.
        unsafe { export(slf, &layout, view, flags) }
    }

    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<String> {
        let pairs: Bound<'py, PyTuple> = PyTuple::new(
            slf.py(),
            slf.get().batch.get().core().index().iter().take(3).map(|[start, end]| (*start, *end)),
        )?;
        let more = if slf.get().__len__() > 3 { ", ..." } else { "" };
        Ok(format!("<styx_client.Index {}{more}>", pairs.repr()?))
    }
}
