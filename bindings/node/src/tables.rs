//! The tables of the core that the TypeScript code is compared with, and uses.

use napi_derive::napi;
use serde_json::{Value, json};
use styx_client::options::OPTIONS;
use styx_client::{Checkpoint, Error, Kind};

use crate::errors::thrown;

/// The version of the client core.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Every kind of error, as JSON.
#[napi]
pub fn kinds() -> String {
    let row = |kind: Kind| {
        json!({
            "code": kind.as_str(),
            "number": kind.number(),
            "retriable": kind.is_retriable(),
            "meaning": kind.meaning(),
        })
    };
    Kind::all().map(row).collect::<Value>().to_string()
}

/// Every option, as JSON.
#[napi]
pub fn options() -> String {
    let rows = OPTIONS.iter().map(|row| {
        json!({
            "of": row.of.to_string(),
            "name": row.name,
            "unit": row.unit.to_string(),
            "default": row.default,
            "meaning": row.meaning,
        })
    });
    rows.collect::<Value>().to_string()
}

/// The log's id and the position of a checkpoint, each as text.
#[napi]
pub fn parse_checkpoint(text: String) -> napi::Result<Vec<String>> {
    let invalid = |error| thrown(&Error::invalid_argument(format!("{error}")));
    let checkpoint = text.parse::<Checkpoint>().map_err(invalid)?;
    Ok(vec![checkpoint.log_id.to_string(), checkpoint.next.to_string()])
}
