//! [`LogDetails`]: everything a server says about one log.

use serde_json::Value;
use styx_protocol::{LogConfig, LogId, LogInfo, header};

use crate::error::Error;
use crate::transport::Whole;

/// Everything a server says about one log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogDetails {
    /// The log's id, which changes when it is created, restored or truncated.
    pub id: LogId,
    /// What [`Client::get_log`](crate::Client::get_log) gives.
    pub info: LogInfo,
    /// How the log is kept.
    pub config: LogConfig,
    /// When the first kept record was appended: µs since the epoch; `None`
    /// while there is no record.
    pub timestamp_first_us: Option<u64>,
    /// When the last record was appended: µs since the epoch.
    pub timestamp_last_us: Option<u64>,
}

/// Reads the answer of `GET /logs/{name}?details=true`.
pub(super) fn read(answer: &Whole) -> Result<LogDetails, Error> {
    let id = answer.header(header::LOG_ID).and_then(|text| text.parse().ok());
    let id = id.ok_or_else(|| Error::bad_answer("the server's answer has no X-Styx-Log-Id"))?;
    let json: Value = answer.decode()?;
    let unreadable = |e| Error::bad_answer(format!("the server's answer cannot be read: {e}"));
    Ok(LogDetails {
        id,
        config: serde_json::from_value(json["config"].clone()).map_err(unreadable)?,
        timestamp_first_us: json["timestamp_first"].as_u64(),
        timestamp_last_us: json["timestamp_last"].as_u64(),
        info: serde_json::from_value(json).map_err(unreadable)?,
    })
}
