//! [`Producer`]: appends records, and waits with back-pressure.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use styx_client::bindings::Settled;
use styx_client::{Error, Kind};

use crate::ack::Ack;
use crate::call::Call;
use crate::completions::Completions;
use crate::encoded::Encoded;
use crate::errors::{exception, instance};
use crate::ffi::with_bytes;
use crate::shared::{Deadline, Shared, SharedObject};

/// An open producer.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Producer {
    shared: Arc<Shared>,
    /// The same for acks.
    shared_object: Py<SharedObject>,
    producer: Arc<styx_client::Producer>,
}

impl Producer {
    pub(crate) fn new(
        py: Python<'_>,
        shared: Arc<Shared>,
        producer: styx_client::Producer,
    ) -> PyResult<Producer> {
        let shared_object = Py::new(py, SharedObject(Arc::clone(&shared)))?;
        Ok(Producer { shared, shared_object, producer: Arc::new(producer) })
    }

    /// Waits until there is space.
    #[cold]
    fn wait_for_space(&self, py: Python<'_>) -> PyResult<()> {
        let forever = Deadline::after(None).map_err(|error| exception(py, &error))?;
        self.shared.wait_until(py, forever, |slice| self.producer.wait_room(slice)).map(drop)
    }

    #[inline]
    fn ack(&self, py: Python<'_>, ack: styx_client::Ack) -> Ack {
        Ack::new(self.shared_object.clone_ref(py), ack)
    }
}

impl Producer {
    /// Appends a record without waiting, and returns its sequence; `None` if there is no
    /// space.
    #[inline]
    pub(crate) fn try_send(
        &self,
        py: Python<'_>,
        payload: &Bound<'_, PyAny>,
    ) -> PyResult<Option<u64>> {
        self.shared.check_process(py)?;
        match with_bytes(payload, |bytes| self.producer.try_append(bytes))? {
            Ok(ack) => Ok(Some(ack.sequence())),
            Err(error) if is_would_block(&error) => Ok(None),
            Err(error) => Err(exception(py, &error)),
        }
    }

    /// The outcomes of blocks, in order.
    pub(crate) fn settled(&self) -> Vec<Settled> {
        let mut settled = Vec::new();
        self.producer.take_settled(&mut settled);
        settled
    }
}

fn is_would_block(error: &Error) -> bool {
    error.kind() == Kind::WouldBlock
}

#[pymethods]
impl Producer {
    /// Appends a record; waits for space.
    fn append(&self, py: Python<'_>, payload: &Bound<'_, PyAny>) -> PyResult<Ack> {
        self.shared.check_process(py)?;
        loop {
            match with_bytes(payload, |bytes| self.producer.try_append(bytes))? {
                Ok(ack) => return Ok(self.ack(py, ack)),
                Err(error) if is_would_block(&error) => self.wait_for_space(py)?,
                Err(error) => return Err(exception(py, &error)),
            }
        }
    }

    /// Appends a record without waiting; `None` if there is no space.
    fn try_append(&self, py: Python<'_>, payload: &Bound<'_, PyAny>) -> PyResult<Option<Ack>> {
        self.shared.check_process(py)?;
        match with_bytes(payload, |bytes| self.producer.try_append(bytes))? {
            Ok(ack) => Ok(Some(self.ack(py, ack))),
            Err(error) if is_would_block(&error) => Ok(None),
            Err(error) => Err(exception(py, &error)),
        }
    }

    /// Appends encoded records; waits for space.
    fn append_encoded(&self, py: Python<'_>, encoded: &Encoded) -> PyResult<Ack> {
        loop {
            match self.try_append_encoded(py, encoded)? {
                Some(ack) => return Ok(ack),
                None => self.wait_for_space(py)?,
            }
        }
    }

    /// Appends as many of the encoded records as there is space for; `None` if some are left.
    fn try_append_encoded(&self, py: Python<'_>, encoded: &Encoded) -> PyResult<Option<Ack>> {
        self.shared.check_process(py)?;
        let mut guard = encoded.lock();
        let batch = &mut *guard;
        // It may compress.
        match py.detach(|| self.producer.try_append_encoded(batch)) {
            Ok(ack) => Ok(Some(self.ack(py, ack))),
            Err(error) if is_would_block(&error) => Ok(None),
            Err(error) => Err(exception(py, &error)),
        }
    }

    /// Waits until everything appended before is durable.
    fn flush(&self) -> Call {
        let producer = Arc::clone(&self.producer);
        Call::nothing(&self.shared, "flush", async move { producer.flush().await })
    }

    /// Waits until everything is durable, and closes the producer. `within` replaces its
    /// `close_timeout`.
    #[pyo3(signature = (within=None))]
    fn close(&self, py: Python<'_>, within: Option<f64>) -> PyResult<Call> {
        let producer = Arc::clone(&self.producer);
        Ok(match within {
            None => Call::nothing(&self.shared, "close", async move { producer.close().await }),
            Some(seconds) => {
                Deadline::after(within).map_err(|error| exception(py, &error))?;
                // A time that is too long for a duration means no limit.
                let within = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                let close = producer.close_within(within);
                Call::nothing(&self.shared, "close", close)
            }
        })
    }

    /// `completions` returns `token` when acks were settled, or when there is space again.
    fn notify(&self, completions: &Completions, token: u64) {
        self.producer.notify(completions.source(token));
    }

    #[getter]
    fn next_sequence(&self) -> u64 {
        self.producer.next_sequence()
    }

    #[getter]
    fn durable_sequence(&self) -> u64 {
        self.producer.durable_sequence()
    }

    #[getter]
    fn producer_id(&self) -> Option<u64> {
        self.producer.producer_id()
    }

    #[getter]
    fn epoch(&self) -> Option<u32> {
        self.producer.epoch()
    }

    #[getter]
    fn log_id(&self) -> String {
        self.producer.log_id().to_string()
    }

    /// The numbers of the producer, as a dict.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.producer.stats();
        let values = PyDict::new(py);
        values.set_item("acked_records", stats.acked_records)?;
        values.set_item("acked_bytes", stats.acked_bytes)?;
        values.set_item("acked_blocks", stats.acked_blocks)?;
        values.set_item("failed_records", stats.failed_records)?;
        values.set_item("in_flight_records", stats.in_flight_records)?;
        values.set_item("in_flight_bytes", stats.in_flight_bytes)?;
        values.set_item("buffered_bytes", stats.buffered_bytes)?;
        values.set_item("resent_blocks", stats.resent_blocks)?;
        values.set_item("is_connected", stats.is_connected)?;
        values.set_item("reconnects", stats.reconnects)?;
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        values.set_item("since_last_ack", seconds(stats.since_last_ack))?;
        values.set_item("since_last_heard", seconds(stats.since_last_heard))?;
        Ok(values)
    }
}

/// Records that were not acknowledged.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Failed {
    block: Settled,
}

impl Failed {
    pub(crate) fn new(block: Settled) -> Failed {
        Failed { block }
    }
}

#[pymethods]
impl Failed {
    /// The exception, for a caller that raises it: `flush` and `close` do not do so again.
    fn exception<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.block.mark_reported();
        match &self.block.result {
            Ok(_) => Ok(py.None().into_bound(py)),
            Err(error) => instance(py, error),
        }
    }
}
