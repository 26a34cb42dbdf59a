//! [`Client`]: the calls of a client, each of which returns a [`Call`].

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use styx_client::{CursorInfo, Error, LogConfig, LogDetails, LogInfo, ServerInfo};

use crate::archive::{Backup, Restore};
use crate::call::Call;
use crate::completions::Completions;
use crate::consumer::Consumer;
use crate::errors::exception;
use crate::producer::Producer;
use crate::shared::Shared;

/// Options as keys and values: see `styx_client::OPTIONS`.
type Options = Vec<(String, String)>;

/// A client, which is not connected before its first call.
#[pyclass(frozen, module = "styx_client._native")]
pub(crate) struct Client {
    shared: Arc<Shared>,
}

impl Client {
    fn core(&self) -> styx_client::Client {
        self.shared.client.clone()
    }
}

#[pymethods]
impl Client {
    /// `log_events` is called with a list of events and the number of events that were lost.
    #[new]
    fn new(
        py: Python<'_>,
        address: Option<String>,
        options: Options,
        log_events: Py<PyAny>,
    ) -> PyResult<Client> {
        let build = || {
            let mut builder = styx_client::Client::builder_from_env();
            if let Some(address) = address {
                builder = builder.address(address);
            }
            for (key, value) in &options {
                builder = builder.set(key, value)?;
            }
            builder.build()
        };
        let client = py.detach(build).map_err(|error| exception(py, &error))?;
        Ok(Client { shared: Arc::new(Shared::new(client, log_events)) })
    }

    /// The address of the server.
    #[getter]
    fn address(&self) -> String {
        self.shared.client.address().to_string()
    }

    /// Asks the server what it is; the call returns a dict.
    fn check(&self) -> Call {
        let client = self.core();
        Call::new(&self.shared, "connecting", async move { client.check().await }, |py, info| {
            server_info(py, &info)
        })
    }

    fn create_log(&self, name: String, limits: Vec<(String, i64)>, exist_ok: bool) -> Call {
        let client = self.core();
        let call = async move { client.create_log(&name, config(&limits)?, exist_ok).await };
        Call::new(&self.shared, "create_log", call, |py, info| log_info(py, &info))
    }

    fn list_logs(&self) -> Call {
        let client = self.core();
        Call::new(&self.shared, "list_logs", async move { client.list_logs().await }, |py, logs| {
            let logs: Vec<_> =
                logs.iter().map(|info| log_info(py, info)).collect::<PyResult<_>>()?;
            Ok(PyList::new(py, logs)?.into_any().unbind())
        })
    }

    fn get_log(&self, name: String) -> Call {
        let client = self.core();
        Call::new(
            &self.shared,
            "get_log",
            async move { client.get_log(&name).await },
            |py, info| log_info(py, &info),
        )
    }

    fn get_log_details(&self, name: String) -> Call {
        let client = self.core();
        let call = async move { client.get_log_details(&name).await };
        Call::new(&self.shared, "get_log_details", call, |py, details| log_details(py, &details))
    }

    fn delete_log(&self, name: String) -> Call {
        let client = self.core();
        Call::nothing(&self.shared, "delete_log", async move { client.delete_log(&name).await })
    }

    fn truncate_log(&self, name: String) -> Call {
        let client = self.core();
        Call::nothing(&self.shared, "truncate_log", async move { client.truncate_log(&name).await })
    }

    fn trim_log(&self, name: String, position: u64) -> Call {
        let client = self.core();
        let call = async move { client.trim_log(&name, position).await };
        Call::new(&self.shared, "trim_log", call, |py, info| log_info(py, &info))
    }

    fn adopt_log(&self, name: String) -> Call {
        let client = self.core();
        let call = async move { client.adopt_log(&name).await };
        Call::new(&self.shared, "adopt_log", call, |py, info| log_info(py, &info))
    }

    fn list_cursors(&self, log: String) -> Call {
        let client = self.core();
        let call = async move { client.list_cursors(&log).await };
        Call::new(&self.shared, "list_cursors", call, |py, cursors| {
            let cursors: Vec<_> =
                cursors.iter().map(|info| cursor_info(py, info)).collect::<PyResult<_>>()?;
            Ok(PyList::new(py, cursors)?.into_any().unbind())
        })
    }

    fn get_cursor(&self, log: String, cursor: String) -> Call {
        let client = self.core();
        let call = async move { client.get_cursor(&log, &cursor).await };
        Call::new(&self.shared, "get_cursor", call, |py, info| cursor_info(py, &info))
    }

    fn set_cursor(&self, log: String, cursor: String, position: u64) -> Call {
        let client = self.core();
        let call = async move { client.set_cursor(&log, &cursor, position).await };
        Call::new(&self.shared, "set_cursor", call, |py, info| cursor_info(py, &info))
    }

    fn delete_cursor(&self, log: String, cursor: String) -> Call {
        let client = self.core();
        let call = async move { client.delete_cursor(&log, &cursor).await };
        Call::nothing(&self.shared, "delete_cursor", call)
    }

    /// The call returns a `Backup`.
    fn backup_log(&self, name: String) -> Call {
        let (client, shared) = (self.core(), Arc::clone(&self.shared));
        let call = async move { client.backup_log(&name).await };
        Call::new(&self.shared, "backup_log", call, |py, backup| {
            Ok(Py::new(py, Backup::new(shared, backup))?.into_any())
        })
    }

    /// The call returns a `Restore`.
    fn restore_log(&self, name: String) -> Call {
        let (client, shared) = (self.core(), Arc::clone(&self.shared));
        let call = async move { client.restore_log(&name).await };
        Call::new(&self.shared, "restore_log", call, |py, restore| {
            Ok(Py::new(py, Restore::new(shared, restore))?.into_any())
        })
    }

    /// The call returns a `Producer`.
    fn open_producer(&self, log: String, options: Options) -> Call {
        let (client, shared) = (self.core(), Arc::clone(&self.shared));
        let call = async move {
            let mut builder = client.producer(&log);
            for (key, value) in &options {
                builder = builder.set(key, value)?;
            }
            builder.open().await
        };
        Call::new(&self.shared, "opening the producer", call, |py, producer| {
            Ok(Py::new(py, Producer::new(py, shared, producer)?)?.into_any())
        })
    }

    /// The call returns a `Consumer`.
    fn open_consumer(&self, log: String, options: Options) -> Call {
        let (client, shared) = (self.core(), Arc::clone(&self.shared));
        let call = async move {
            let mut builder = client.consumer(&log);
            for (key, value) in &options {
                builder = builder.set(key, value)?;
            }
            builder.open().await
        };
        Call::new(&self.shared, "opening the consumer", call, |py, consumer| {
            Ok(Py::new(py, Consumer::new(shared, consumer))?.into_any())
        })
    }

    /// `completions` returns `token` when there are events to log.
    fn watch_events(&self, completions: &Completions, token: u64) {
        self.shared.client.events(completions.source(token));
    }

    /// Logs the events that have happened.
    fn log_events(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.log_events(py)
    }

    /// The numbers of the client, as a dict.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.shared.client.stats();
        let values = PyDict::new(py);
        values.set_item("requests", stats.requests)?;
        values.set_item("retries", stats.retries)?;
        values.set_item("connections", stats.connections)?;
        values.set_item("failed_connections", stats.failed_connections)?;
        values.set_item("open_connections", stats.open_connections)?;
        values.set_item("open_streams", stats.open_streams)?;
        let silence = stats.since_last_heard.map(|time| time.as_secs_f64());
        values.set_item("since_last_heard", silence)?;
        Ok(values)
    }
}

/// The configuration with these limits.
fn config(limits: &[(String, i64)]) -> Result<LogConfig, Error> {
    let mut config = LogConfig::default();
    for (name, value) in limits {
        let unknown = || Error::invalid_argument(format!("a log has no limit {name}"));
        *config.field_mut(name).ok_or_else(unknown)? = *value;
    }
    Ok(config)
}

fn server_info(py: Python<'_>, info: &ServerInfo) -> PyResult<Py<PyAny>> {
    let values = PyDict::new(py);
    values.set_item("version", &info.version)?;
    values.set_item("features", &info.features)?;
    values.set_item("max_record_size", info.max_record_size)?;
    values.set_item("max_block_size", info.max_block_size)?;
    Ok(values.into_any().unbind())
}

fn log_info(py: Python<'_>, info: &LogInfo) -> PyResult<Py<PyAny>> {
    let values = PyDict::new(py);
    values.set_item("name", &info.name)?;
    values.set_item("status", info.status.to_string())?;
    values.set_item("record_count", info.record_count)?;
    values.set_item("file_size", info.file_size)?;
    values.set_item("start_position", info.start_position)?;
    values.set_item("end_position", info.end_position)?;
    Ok(values.into_any().unbind())
}

fn log_details(py: Python<'_>, details: &LogDetails) -> PyResult<Py<PyAny>> {
    let limits = PyDict::new(py);
    let mut config = details.config;
    for name in LogConfig::FIELDS {
        limits.set_item(name, config.field_mut(name).copied())?;
    }
    let values = PyDict::new(py);
    values.set_item("log_id", details.id.to_string())?;
    values.set_item("info", log_info(py, &details.info)?)?;
    values.set_item("config", limits)?;
    values.set_item("timestamp_first", details.timestamp_first_us)?;
    values.set_item("timestamp_last", details.timestamp_last_us)?;
    values.set_item("archived_position", details.archived_position)?;
    Ok(values.into_any().unbind())
}

fn cursor_info(py: Python<'_>, info: &CursorInfo) -> PyResult<Py<PyAny>> {
    let values = PyDict::new(py);
    values.set_item("cursor", &info.cursor)?;
    values.set_item("log_id", info.log_id.to_string())?;
    values.set_item("position", info.position)?;
    values.set_item("updated", info.updated)?;
    values.set_item("version", info.version)?;
    Ok(values.into_any().unbind())
}
