//! [`Request`]: the calls of a client that have one answer, as JSON.
//!
//! Integers that may exceed 2^53 are texts of decimal digits, in both directions.

use serde::Deserialize;
use serde_json::{Value, json};
use styx_client::{Client, CursorInfo, Error, LogConfig, LogDetails, LogInfo, ServerInfo};

use crate::errors::integer;

/// A call: `{"op": "get_log", "name": "orders"}`.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    Check,
    CreateLog { name: String, limits: Vec<(String, i64)>, exist_ok: bool },
    ListLogs,
    GetLog { name: String },
    GetLogDetails { name: String },
    DeleteLog { name: String },
    TruncateLog { name: String },
    TrimLog { name: String, position: String },
    AdoptLog { name: String },
    ListCursors { log: String },
    GetCursor { log: String, cursor: String },
    SetCursor { log: String, cursor: String, position: String },
    DeleteCursor { log: String, cursor: String },
}

impl Request {
    /// Makes the call. The answer is `null` if it has none.
    pub(crate) async fn call(self, client: &Client) -> Result<Value, Error> {
        Ok(match self {
            Request::Check => server_info(&client.check().await?),
            Request::CreateLog { name, limits, exist_ok } => {
                log_info(&client.create_log(&name, config(&limits)?, exist_ok).await?)
            }
            Request::ListLogs => client.list_logs().await?.iter().map(log_info).collect(),
            Request::GetLog { name } => log_info(&client.get_log(&name).await?),
            Request::GetLogDetails { name } => log_details(&client.get_log_details(&name).await?),
            Request::DeleteLog { name } => nothing(client.delete_log(&name).await?),
            Request::TruncateLog { name } => nothing(client.truncate_log(&name).await?),
            Request::TrimLog { name, position } => {
                log_info(&client.trim_log(&name, parse(&position)?).await?)
            }
            Request::AdoptLog { name } => log_info(&client.adopt_log(&name).await?),
            Request::ListCursors { log } => {
                client.list_cursors(&log).await?.iter().map(cursor_info).collect()
            }
            Request::GetCursor { log, cursor } => {
                cursor_info(&client.get_cursor(&log, &cursor).await?)
            }
            Request::SetCursor { log, cursor, position } => {
                cursor_info(&client.set_cursor(&log, &cursor, parse(&position)?).await?)
            }
            Request::DeleteCursor { log, cursor } => {
                nothing(client.delete_cursor(&log, &cursor).await?)
            }
        })
    }
}

fn nothing((): ()) -> Value {
    Value::Null
}

fn parse(text: &str) -> Result<u64, Error> {
    text.parse().map_err(|_| {
        Error::invalid_argument(format!("{text} is no position: use an integer from 0 to 2^64-1"))
    })
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

fn server_info(info: &ServerInfo) -> Value {
    json!({
        "version": info.version,
        "features": info.features,
        "maxRecordSize": info.max_record_size,
        "maxBlockSize": info.max_block_size,
    })
}

fn log_info(info: &LogInfo) -> Value {
    json!({
        "name": info.name,
        "status": info.status.to_string(),
        "recordCount": integer(info.record_count),
        "fileSize": integer(info.file_size),
        "startPosition": integer(info.start_position),
        "endPosition": integer(info.end_position),
    })
}

fn log_details(details: &LogDetails) -> Value {
    let mut config = details.config;
    let limits: serde_json::Map<String, Value> = LogConfig::FIELDS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), json!(*config.field_mut(name)?))))
        .collect();
    json!({
        "logId": details.id.to_string(),
        "info": log_info(&details.info),
        "config": limits,
        "timestampFirst": details.timestamp_first_us,
        "timestampLast": details.timestamp_last_us,
        "archivedPosition": details.archived_position,
    })
}

fn cursor_info(info: &CursorInfo) -> Value {
    json!({
        "cursor": info.cursor,
        "logId": info.log_id.to_string(),
        "position": integer(info.position),
        "updated": info.updated,
        "version": info.version,
    })
}
