//! Errors of the client core as JSON text, which `lib/errors.ts` makes a `StyxError` of.

use serde_json::{Map, Value, json};
use styx_client::Error;

/// The error as JSON text: what `StyxError` has.
pub(crate) fn text(error: &Error) -> String {
    let facts = error.facts();
    let mut values = Map::new();
    values.extend(facts.numbers().map(|(name, value)| (camel_case(name), integer(value))));
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

/// The name as JavaScript writes it: `startPosition` for `start_position`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut all, word| {
        let (initial, rest) = word.split_at(1);
        all.push_str(&initial.to_ascii_uppercase());
        all.push_str(rest);
        all
    })
}
