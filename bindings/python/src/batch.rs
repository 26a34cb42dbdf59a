//! [`RecordBatch`]: consecutive records of one log, in memory that is shared with Python.

use std::os::raw::c_int;

use pyo3::exceptions::{PyIndexError, PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi as python;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyNotImplemented, PySlice, PyTuple, PyType};
use styx_client::LogId;

use crate::checkpoint::{Checkpoint, hashed};
use crate::ffi::{Layout, export, with_bytes};
use crate::index::Index;
use crate::iterators::{BatchIterator, PayloadIterator};
use crate::record::Record;

/// The most bytes of records that a batch made in Python may have.
const BYTES_MAX: usize = 1 << 30;

/// Consecutive records of one log: a Sequence of Record. A slice is a batch too.
///
/// Its memory is not copied: memoryview(batch) is the read-only buffer that the records were
/// received into, and batch.index has the start and end of each payload in it. The memory is
/// freed when the last batch, record and view of it is gone.
///
/// payloads: the payloads, as bytes. A test can make batches with it.
/// first_position: the position of the first record.
/// timestamp: when the records were appended, in µs since 1970-01-01 UTC.
/// log_id: the id of the log, as 32 hex digits.
#[pyclass(frozen, module = "styx_client", sequence)]
pub(crate) struct RecordBatch {
    batch: styx_client::RecordBatch,
    /// The shape of the exported buffer.
    shape: [isize; 1],
}

/// The distance between two bytes.
static STRIDES: [isize; 1] = [1];

impl RecordBatch {
    pub(crate) fn new(batch: styx_client::RecordBatch) -> RecordBatch {
        let bytes = isize::try_from(batch.data().len()).unwrap_or(isize::MAX);
        RecordBatch { batch, shape: [bytes] }
    }

    #[inline]
    pub(crate) fn core(&self) -> &styx_client::RecordBatch {
        &self.batch
    }

    /// The payload of a record, which takes less work than the record.
    #[inline]
    pub(crate) fn payload(&self, at: usize) -> Option<&[u8]> {
        let [start, end] = *self.batch.index().get(at)?;
        self.batch.data().get(start as usize..end as usize)
    }
}

#[pymethods]
impl RecordBatch {
    #[new]
    #[pyo3(signature = (payloads, *, first_position=0, timestamp=0, log_id=None))]
    fn make(
        payloads: &Bound<'_, PyAny>,
        first_position: u64,
        timestamp: u64,
        log_id: Option<&str>,
    ) -> PyResult<RecordBatch> {
        let mut records = Vec::new();
        for payload in payloads.try_iter()? {
            records.push((timestamp, with_bytes(&payload?, <[u8]>::to_vec)?));
        }
        from_records(log_id, first_position, &records)
    }

    /// The batch of records with different timestamps, for pickle.
    #[classmethod]
    fn _from_records(
        _class: &Bound<'_, PyType>,
        log_id: &str,
        first_position: u64,
        records: &Bound<'_, PyList>,
    ) -> PyResult<RecordBatch> {
        let mut all = Vec::new();
        for record in records {
            let (timestamp, payload): (u64, Bound<'_, PyBytes>) = record.extract()?;
            all.push((timestamp, payload.as_bytes().to_vec()));
        }
        from_records(Some(log_id), first_position, &all)
    }

    fn __len__(&self) -> usize {
        self.batch.len()
    }

    fn __getitem__(slf: &Bound<'_, Self>, at: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let (py, batch) = (slf.py(), slf.get().core());
        if let Ok(slice) = at.cast::<PySlice>() {
            let range = slice.indices(isize::try_from(batch.len()).unwrap_or(isize::MAX))?;
            if range.step != 1 {
                return Err(PyValueError::new_err(
                    "a batch has consecutive records: its slices have the step 1",
                ));
            }
            let (start, length) = (range.start.unsigned_abs(), range.slicelength);
            let part = RecordBatch::new(batch.slice(start..start + length));
            return Ok(Py::new(py, part)?.into_any());
        }
        let length = isize::try_from(batch.len()).unwrap_or(isize::MAX);
        let at: isize = at
            .extract()
            .map_err(|_| PyTypeError::new_err("an index of a batch is an integer or a slice"))?;
        let index = if at < 0 { at + length } else { at };
        if !(0..length).contains(&index) {
            let text = format!("index {at} is out of range: the batch has {length} records");
            return Err(PyIndexError::new_err(text));
        }
        let record = Record::new(slf.clone().unbind(), index.unsigned_abs());
        Ok(Py::new(py, record)?.into_any())
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<BatchIterator> {
        BatchIterator::new(slf.py(), slf.clone().unbind())
    }

    /// The number of records that equal value.
    fn count(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut count = 0;
        for record in slf.try_iter()? {
            count += usize::from(record?.eq(value)?);
        }
        Ok(count)
    }

    /// All payloads, as a list of bytes. For more than a few thousand records,
    /// iter_payloads() is faster.
    fn payloads<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let payloads = self.batch.payloads().map(|payload| PyBytes::new(py, payload));
        // An iterator of known length: `Payloads` has one.
        PyList::new(py, payloads)
    }

    /// The payloads one by one, as bytes.
    fn iter_payloads(slf: Bound<'_, Self>) -> PayloadIterator {
        PayloadIterator::new(slf.unbind())
    }

    /// The position of the first record.
    #[getter]
    fn first_position(&self) -> u64 {
        self.batch.first_position()
    }

    /// The position after the last record.
    #[getter]
    fn next_position(&self) -> u64 {
        self.batch.next_position()
    }

    /// Where reading continues after this batch.
    #[getter]
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint(self.batch.checkpoint())
    }

    /// The id of the log, as 32 hex digits.
    #[getter]
    fn log_id(&self) -> String {
        self.batch.log_id().to_string()
    }

    /// The bytes of memory that the batch keeps.
    #[getter]
    fn nbytes(&self) -> usize {
        self.batch.memory_bytes()
    }

    /// The start and end of each payload in memoryview(batch), as unsigned 32-bit integers of
    /// the shape (records, 2). numpy.asarray(batch.index) does not copy. It can also be
    /// called, as index() of every Sequence: batch.index(record).
    #[getter]
    fn index(slf: &Bound<'_, Self>) -> Index {
        Index::new(slf.clone().unbind(), slf.get().batch.len())
    }

    /// The records in the Arrow C data interface: a struct array of position (uint64),
    /// timestamp (timestamp[us, UTC]) and payload (binary_view, which is not copied).
    /// pyarrow.record_batch(batch) and polars.from_dataframe(batch) use it.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        // The exporter may ignore a requested schema, which is only a wish.
        let _ = requested_schema;
        crate::arrow::array(py, &self.batch)
    }

    #[expect(unsafe_code, reason = "a buffer is a raw pointer")]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut python::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.clone();
        let batch = this.get();
        let layout = Layout {
            bytes: batch.batch.data(),
            item: (1, c"B"),
            shape: &batch.shape,
            strides: &STRIDES,
        };
        // SAFETY: `view` comes from the interpreter. The object is frozen, and owns the data
        // and the shape.
        unsafe { export(slf, &layout, view, flags) }
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        match other.cast::<RecordBatch>() {
            Ok(other) => Ok((self.batch == other.get().batch)
                .into_pyobject(py)?
                .to_owned()
                .into_any()
                .unbind()),
            Err(_) => Ok(PyNotImplemented::get(py).to_owned().into_any().unbind()),
        }
    }

    fn __hash__(&self) -> u64 {
        hashed((self.batch.log_id(), self.batch.first_position(), self.batch.len()))
    }

    fn __repr__(&self) -> String {
        let (first, next) = (self.batch.first_position(), self.batch.next_position());
        format!(
            "<styx_client.RecordBatch of {} records, positions {first} to {next}>",
            next - first
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let batch = &slf.get().batch;
        let records = PyList::empty(py);
        for record in batch.iter() {
            records.append((record.timestamp(), PyBytes::new(py, record.payload())))?;
        }
        let arguments = (batch.log_id().to_string(), batch.first_position(), records);
        (slf.get_type().getattr("_from_records")?, arguments).into_pyobject(py)
    }
}

/// A batch of records, each with its timestamp.
pub(crate) fn from_records(
    log_id: Option<&str>,
    first_position: u64,
    records: &[(u64, Vec<u8>)],
) -> PyResult<RecordBatch> {
    let log = log_id.map_or(Ok(LogId(0)), str::parse);
    let log = log.map_err(|error| PyValueError::new_err(format!("{error}")))?;
    let bytes: usize = records.iter().map(|(_, payload)| payload.len().saturating_add(8)).sum();
    let next = first_position.checked_add(records.len() as u64);
    if bytes > BYTES_MAX || next.is_none() {
        return Err(PyOverflowError::new_err(
            "a batch has up to 1 GiB of records, and positions up to 2**64 - 1",
        ));
    }
    let records = records.iter().map(|(timestamp, payload)| (*timestamp, payload));
    Ok(RecordBatch::new(styx_client::RecordBatch::of_records(log, first_position, records)))
}
