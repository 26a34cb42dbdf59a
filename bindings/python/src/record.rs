//! [`Record`]: one record. It shares the memory of its batch.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyNotImplemented, PyTuple};

use crate::batch::{RecordBatch, from_records};
use crate::checkpoint::{Checkpoint, hashed};
use crate::ffi::with_bytes;

/// One record of a log. It keeps the memory of its batch; to keep a few records of many, keep
/// their payloads.
///
/// position: the record's position in the log.
/// timestamp: when it was appended, in µs since 1970-01-01 UTC.
/// payload: its bytes.
/// log_id: the id of the log, as 32 hex digits.
#[pyclass(frozen, module = "styx_client")]
pub(crate) struct Record {
    /// An object of Python, because counting its references takes no atomic instruction.
    batch: Py<RecordBatch>,
    /// It only changes while nothing but an iterator refers to the record: see `recent`.
    at: AtomicUsize,
}

impl Record {
    /// The record `at` of a batch that has it.
    #[inline]
    pub(crate) fn new(batch: Py<RecordBatch>, at: usize) -> Record {
        Record { batch, at: AtomicUsize::new(at) }
    }

    /// Becomes another record of the batch.
    #[inline]
    pub(crate) fn move_to(&self, at: usize) {
        self.at.store(at, Ordering::Relaxed);
    }

    #[inline]
    fn at(&self) -> usize {
        self.at.load(Ordering::Relaxed)
    }

    #[inline]
    fn batch(&self) -> &styx_client::RecordBatch {
        self.batch.get().core()
    }

    #[inline]
    fn get(&self) -> PyResult<styx_client::batch::Record<'_>> {
        let record = self.batch().get(self.at());
        record.ok_or_else(|| PyValueError::new_err("the batch has no such record"))
    }
}

#[pymethods]
impl Record {
    #[new]
    #[pyo3(signature = (*, position, timestamp, payload, log_id=None))]
    fn make(
        py: Python<'_>,
        position: u64,
        timestamp: u64,
        payload: &Bound<'_, PyAny>,
        log_id: Option<&str>,
    ) -> PyResult<Record> {
        let payload = with_bytes(payload, <[u8]>::to_vec)?;
        let batch = from_records(log_id, position, &[(timestamp, payload)])?;
        Ok(Record { batch: Py::new(py, batch)?, at: AtomicUsize::new(0) })
    }

    /// The record's position in the log.
    #[getter]
    fn position(&self) -> u64 {
        self.batch().first_position() + self.at() as u64
    }

    /// When the record was appended, in µs since 1970-01-01 UTC. Timestamps never decrease
    /// within a log.
    #[getter]
    fn timestamp(&self) -> PyResult<u64> {
        Ok(self.get()?.timestamp())
    }

    /// The record's payload.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        // Not through `get`, which also finds the timestamp.
        Ok(PyBytes::new(py, self.batch.get().payload(self.at()).unwrap_or_default()))
    }

    /// When the record was appended, as a datetime in UTC.
    #[getter]
    fn datetime<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CONVERT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let convert = CONVERT.get_or_try_init(py, || {
            py.import("styx_client._time")?.getattr("from_microseconds").map(Bound::unbind)
        })?;
        convert.bind(py).call1((self.get()?.timestamp(),))
    }

    /// The id of the log, as 32 hex digits.
    #[getter]
    fn log_id(&self) -> String {
        self.batch().log_id().to_string()
    }

    /// Where reading continues after this record.
    #[getter]
    fn checkpoint(&self) -> PyResult<Checkpoint> {
        Ok(Checkpoint(self.get()?.checkpoint()))
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let Ok(other) = other.cast::<Record>() else {
            return Ok(PyNotImplemented::get(py).to_owned().into_any().unbind());
        };
        let equal = self.get()? == other.get().get()?;
        Ok(equal.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    fn __hash__(&self) -> PyResult<u64> {
        let record = self.get()?;
        Ok(hashed((self.batch().log_id(), record.position(), record.timestamp(), record.payload())))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let record = self.get()?;
        let payload = PyBytes::new(py, record.payload()).repr()?;
        let (position, timestamp) = (record.position(), record.timestamp());
        Ok(format!("Record(position={position}, timestamp={timestamp}, payload={payload})"))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let py = slf.py();
        let record = slf.get().get()?;
        let values = PyDict::new(py);
        values.set_item("position", record.position())?;
        values.set_item("timestamp", record.timestamp())?;
        values.set_item("payload", PyBytes::new(py, record.payload()))?;
        values.set_item("log_id", slf.get().log_id())?;
        let make = py.import("styx_client._pickle")?.getattr("make_record")?;
        (make, (values,)).into_pyobject(py)
    }
}
