//! [`LogDetails`]: everything that a server reports about one log. [`ListedLog`]: its entry in the
//! list of all logs.

use serde::Deserialize;
use serde_json::Value;
use styx_protocol::{LogConfig, LogId, LogInfo, header};

use crate::error::Error;
use crate::transport::BufferedResponse;

/// Everything that a server reports about one log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogDetails {
    /// The log's id, which changes when it is created, restored or truncated.
    pub id: LogId,
    /// What [`Client::get_log`](crate::Client::get_log) returns.
    pub info: LogInfo,
    /// The log's configuration.
    pub config: LogConfig,
    /// When the first record that the log still has was appended, in µs since the Unix
    /// epoch; `None` if there is no record.
    pub timestamp_first_us: Option<u64>,
    /// When the last record was appended, in µs since the Unix epoch.
    pub timestamp_last_us: Option<u64>,
    /// Records before this position are also in the archive of the server; `None` if it has no
    /// archive.
    pub archived_position: Option<u64>,
}

/// A log in the list of a server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ListedLog {
    /// What [`Client::get_log`](crate::Client::get_log) returns.
    #[serde(flatten)]
    pub info: LogInfo,
    /// Records before this position are also in the archive of the server; `None` if it has no
    /// archive, is of an earlier version, or has not opened the log.
    #[serde(default)]
    pub archived_position: Option<u64>,
}

/// Reads the response to `GET /logs/{name}?details=true`.
pub(super) fn read(response: &BufferedResponse) -> Result<LogDetails, Error> {
    let id = response.header(header::LOG_ID).and_then(|text| text.parse().ok());
    let id =
        id.ok_or_else(|| Error::bad_answer("the server's response has no header X-Styx-Log-Id"))?;
    let json: Value = response.decode()?;
    let unparsable = |e| Error::bad_answer(format!("the server's response cannot be parsed: {e}"));
    Ok(LogDetails {
        id,
        config: serde_json::from_value(json["config"].clone()).map_err(unparsable)?,
        timestamp_first_us: json["timestamp_first"].as_u64(),
        timestamp_last_us: json["timestamp_last"].as_u64(),
        archived_position: json["archived_position"].as_u64(),
        info: serde_json::from_value(json).map_err(unparsable)?,
    })
}
