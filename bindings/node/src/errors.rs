//! Errors of the client core as JSON text, which `lib/errors.ts` makes a `StyxError` of.

use serde_json::{Map, Value, json};
use styx_client::Error;

/// The error as JSON text: what `StyxError` has.
pub(crate) fn text(error: &Error) -> String {
    let facts = error.facts();
    let mut values = Map::new();
    for (name, value) in [
        ("startPosition", facts.start_position),
        ("endPosition", facts.end_position),
        ("position", facts.position),
        ("nextIntactPosition", facts.next_intact_position),
        ("expectedSequence", facts.expected_sequence),
        ("version", facts.version),
        ("replacedVersion", facts.replaced_version),
        ("count", facts.count),
    ] {
        if let Some(value) = value {
            values.insert(name.to_owned(), integer(value));
        }
    }
    if let Some(status) = facts.status {
        values.insert("status".to_owned(), json!(status.to_string()));
    }
    if let Some(after) = facts.retry_after {
        values.insert("retryAfter".to_owned(), json!(after.as_secs_f64() * 1e3));
    }
    json!({
        "code": error.code(),
        "message": error.message(),
        "retriable": error.is_retriable(),
        "maybeAppended": error.maybe_appended(),
        "facts": values,
    })
    .to_string()
}

/// The error to throw. JavaScript reads the JSON from its message.
#[cold]
pub(crate) fn thrown(error: &Error) -> napi::Error {
    napi::Error::from_reason(text(error))
}

/// An integer in JSON: text of decimal digits, because a JSON number loses digits beyond 2^53
/// in JavaScript.
pub(crate) fn integer(value: u64) -> Value {
    Value::String(value.to_string())
}
