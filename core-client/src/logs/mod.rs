//! Log management: create, adopt, list, get, truncate, trim, delete, back up and restore; and the
//! cursors of logs. Each is one HTTP request.

mod archive;
mod cursors;
mod details;

pub use archive::{Backup, Restore};
pub(crate) use cursors::{CursorCondition, CursorPlace};
pub use details::{ListedLog, LogDetails};

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use styx_protocol::{Code, LogConfig, LogInfo, LogName};

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::Error;
use crate::transport::{BufferedResponse, Request};

impl Client {
    /// Creates a log. With `exist_ok`, an existing log with that name is returned
    /// unchanged, whatever its configuration is. If another client is creating it at the same
    /// time, the call waits for it, at most for the call timeout.
    ///
    /// # Errors
    /// `log_exist`, `log_invalid_name`, `invalid_params` for a configuration that is out
    /// of range, and the errors of every call.
    pub async fn create_log(
        &self,
        name: &str,
        config: LogConfig,
        exist_ok: bool,
    ) -> Result<LogInfo, Error> {
        let name = new_name(name)?;
        config.validate().map_err(|e| Error::code_error(Code::InvalidParams, e.to_string()))?;
        let body = create_body(&name, config)?;
        let end = Instant::now() + self.transport().options().call_timeout;
        let mut backoff = Backoff::random();
        loop {
            let request = Request::post("/logs").header("content-type", "application/json");
            let exists = match self.call(request, body.clone()).await {
                Err(e) if exist_ok && e.is(Code::LogExist) => e,
                response => return response?.decode(),
            };
            match self.get_log(name.as_str()).await {
                // The name belongs to a log that is still being created, restored or removed. The
                // next attempt finds the log, or creates it.
                Err(e) if e.is(Code::LogNotFound) => {
                    let wait = backoff.next(None);
                    if end.saturating_duration_since(Instant::now()) <= wait {
                        return Err(exists);
                    }
                    self.pause(wait).await?;
                }
                found => return found,
            }
        }
    }

    /// All logs, sorted by name.
    ///
    /// # Errors
    /// The errors of every call: no connection, a timeout, or a server that is overloaded or
    /// shutting down.
    pub async fn list_logs(&self) -> Result<Vec<LogInfo>, Error> {
        self.call(Request::get("/logs"), Bytes::new()).await?.decode()
    }

    /// As [`list_logs`](Self::list_logs), and also how far each log is archived.
    ///
    /// # Errors
    /// The errors of every call.
    pub async fn list_logs_with_archive(&self) -> Result<Vec<ListedLog>, Error> {
        self.call(Request::get("/logs"), Bytes::new()).await?.decode()
    }

    /// Basic information about a log: its status, positions and size.
    ///
    /// # Errors
    /// `log_not_found`, and the errors of every call.
    pub async fn get_log(&self, name: &str) -> Result<LogInfo, Error> {
        self.call(Request::get(path(name)?), Bytes::new()).await?.decode()
    }

    /// As [`get_log`](Self::get_log), and also the log's id, its configuration and the
    /// times of its first and last record.
    ///
    /// # Errors
    /// `log_not_found`, `log_not_available` while it is opened, and the
    /// errors of every call.
    pub async fn get_log_details(&self, name: &str) -> Result<LogDetails, Error> {
        let request = Request::get(path(name)?).query("details", true);
        details::read(&self.call(request, Bytes::new()).await?)
    }

    /// Serves a log whose directory, or a link to it, was put into the data directory of the
    /// running server. A copy of another log gets a new id. A log whose status is `unknown` is
    /// opened again, and any other log is returned as it is.
    ///
    /// # Errors
    /// `log_not_found` if there is no such directory or it is not that of a log, and the errors of
    /// every call.
    pub async fn adopt_log(&self, name: &str) -> Result<LogInfo, Error> {
        let request = Request::post(format!("{}/adopt", path(name)?));
        self.call(request, Bytes::new()).await?.decode()
    }

    /// Deletes a log. This ends its readers and writers.
    ///
    /// # Errors
    /// `log_not_found`, and the errors of every call.
    pub async fn delete_log(&self, name: &str) -> Result<(), Error> {
        self.call(Request::new(Method::DELETE, path(name)?), Bytes::new()).await.map(drop)
    }

    /// Removes all records of a log. Positions start at 0 again, and the log gets a new
    /// id. This ends its readers and writers.
    ///
    /// # Errors
    /// `log_not_found`, and the errors of every call.
    pub async fn truncate_log(&self, name: &str) -> Result<(), Error> {
        let request = Request::post(format!("{}/truncate", path(name)?));
        self.call(request, Bytes::new()).await.map(drop)
    }

    /// Removes the segments that only have records before `position`. The positions of
    /// other records do not change. The newest segment is always kept.
    ///
    /// # Errors
    /// `log_not_found`, `out_of_range`, and the errors of every call.
    pub async fn trim_log(&self, name: &str, position: u64) -> Result<LogInfo, Error> {
        let request = Request::post(format!("{}/trim", path(name)?)).query("position", position);
        self.call(request, Bytes::new()).await?.decode()
    }

    /// Starts a backup: a consistent copy of the log up to its durable end. It is a tar.gz
    /// archive, received in chunks. Appends continue meanwhile.
    ///
    /// # Errors
    /// `log_not_found`, and the errors of every call.
    pub async fn backup_log(&self, name: &str) -> Result<Backup, Error> {
        archive::backup(self, &path(name)?).await
    }

    /// Starts to restore a log from an archive that [`backup_log`](Self::backup_log) made,
    /// under any unused name. The log exists once [`Restore::finish`] has returned.
    ///
    /// # Errors
    /// `log_invalid_name`. [`Restore`] reports all other errors.
    pub async fn restore_log(&self, name: &str) -> Result<Restore, Error> {
        archive::restore(self, &new_name(name)?)
    }

    /// Waits, also on a thread without a runtime.
    async fn pause(&self, wait: Duration) -> Result<(), Error> {
        let sleep = async move {
            tokio::time::sleep(wait).await;
            Ok(())
        };
        self.runtime().run(sleep).await
    }

    async fn call(&self, request: Request, body: Bytes) -> Result<BufferedResponse, Error> {
        let transport = Arc::clone(self.transport());
        self.runtime().run(async move { transport.fetch(&request, body).await }).await
    }
}

/// The name of an existing log. An invalid name is reported as `log_not_found`, as the
/// server does.
pub(crate) fn known_name(name: &str) -> Result<LogName, Error> {
    name.parse().map_err(|e| Error::code_error(Code::LogNotFound, format!("{e}")))
}

/// The path of a log.
fn path(name: &str) -> Result<String, Error> {
    Ok(format!("/logs/{}", known_name(name)?))
}

fn new_name(name: &str) -> Result<LogName, Error> {
    name.parse().map_err(|e| Error::code_error(Code::LogInvalidName, format!("{e}")))
}

fn create_body(name: &LogName, config: LogConfig) -> Result<Bytes, Error> {
    let invalid = |e: serde_json::Error| Error::invalid_argument(e.to_string());
    let mut body = serde_json::to_value(config).map_err(invalid)?;
    body["name"] = name.as_str().into();
    serde_json::to_vec(&body).map(Bytes::from).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_before_a_request_is_sent() {
        assert_eq!(path("orders").ok().as_deref(), Some("/logs/orders"));
        assert!(path("a/b").expect_err("no name").is(Code::LogNotFound));
        assert!(new_name("").expect_err("no name").is(Code::LogInvalidName));
    }

    #[test]
    fn create_request_has_every_field() {
        let config = LogConfig { log_max_age: 7, ..LogConfig::default() };
        let body = create_body(&new_name("orders").expect("a name"), config).expect("a body");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&body["name"], &body["log_max_age"]), (&"orders".into(), &7.into()));
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1 + LogConfig::FIELDS.len()));
    }
}
