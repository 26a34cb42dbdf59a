//! [`Backup`] and [`Restore`]: archives in chunks. The files belong to Python, so that an
//! exception of a file stays that exception.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use styx_client::{Error, logs};

use crate::call::Call;
use crate::ffi::with_bytes;
use crate::shared::Shared;

/// Something that one call at a time uses, and that is gone once such a call is cancelled.
struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        Slot(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static> Slot<T> {
    fn new(value: T) -> Slot<T> {
        Slot(Arc::new(Mutex::new(Some(value))))
    }

    fn take(&self, what: &str) -> Result<T, Error> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take().ok_or_else(|| Error::closed(what))
    }

    fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// Uses the value for one step.
    async fn step<R, F>(self, what: &'static str, step: impl FnOnce(T) -> F) -> Result<R, Error>
    where
        F: Future<Output = (T, Result<R, Error>)>,
    {
        let value = self.take(what)?;
        let (value, result) = step(value).await;
        self.put(value);
        result
    }
}

/// A backup that is being received.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Backup {
    shared: Arc<Shared>,
    slot: Slot<logs::Backup>,
}

impl Backup {
    pub(crate) fn new(shared: Arc<Shared>, backup: logs::Backup) -> Backup {
        Backup { shared, slot: Slot::new(backup) }
    }
}

#[pymethods]
impl Backup {
    /// The call returns the next bytes of the archive, or `None` at its end.
    fn next_chunk(&self) -> Call {
        let slot = self.slot.clone();
        let call = slot.step("backup", |mut backup| async move {
            let next = backup.next_chunk().await;
            (backup, next)
        });
        Call::new(&self.shared, "the backup", call, |py, chunk| {
            Ok(chunk.map(|chunk| PyBytes::new(py, &chunk)).into_pyobject(py)?.unbind())
        })
    }
}

/// A restore that is being sent. Without `finish`, the server creates no log.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Restore {
    shared: Arc<Shared>,
    slot: Slot<logs::Restore>,
}

impl Restore {
    pub(crate) fn new(shared: Arc<Shared>, restore: logs::Restore) -> Restore {
        Restore { shared, slot: Slot::new(restore) }
    }
}

#[pymethods]
impl Restore {
    /// Sends the next bytes of the archive.
    fn write(&self, chunk: &Bound<'_, PyAny>) -> PyResult<Call> {
        let chunk = with_bytes(chunk, Bytes::copy_from_slice)?;
        let slot = self.slot.clone();
        let call = slot.step("restore", |mut restore| async move {
            let written = restore.write(chunk).await;
            (restore, written)
        });
        Ok(Call::nothing(&self.shared, "the restore", call))
    }

    /// The archive is complete: creates the log.
    fn finish(&self) -> Call {
        let slot = self.slot.clone();
        let call = async move { slot.take("restore")?.finish().await };
        Call::nothing(&self.shared, "the restore", call)
    }
}
