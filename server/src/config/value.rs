//! The few forms a value may have, from TOML and from text alike.
//!
//! The environment and flags give text; the file gives TOML values. Both become
//! a [`toml::Value`] of the key's form here, or an error that says what the key
//! accepts.

use std::time::Duration;

use toml::Value;

/// What a key's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    Bool,
    /// A list of texts; in the environment separated by commas.
    Texts,
    /// A whole number between the two, both included.
    Number {
        min: i64,
        max: i64,
    },
}

/// Whole seconds up to a year.
pub(super) const SECONDS: ValueKind = ValueKind::Number { min: 0, max: 31_536_000 };
/// Whole seconds from one on.
pub(super) const SECONDS_FROM_1: ValueKind = ValueKind::Number { min: 1, max: 31_536_000 };
/// Bytes, up to 1 GiB.
pub(super) const BYTES: ValueKind = ValueKind::Number { min: 1, max: 1 << 30 };

impl ValueKind {
    /// What the form accepts, for people.
    pub(super) fn accepted(self) -> String {
        match self {
            ValueKind::Text => "a text in quotes".to_owned(),
            ValueKind::Bool => "true or false".to_owned(),
            ValueKind::Texts => "a list of texts".to_owned(),
            ValueKind::Number { min, max } => format!("a whole number from {min} to {max}"),
        }
    }

    /// Whether a TOML value has this kind.
    pub(super) fn admits(self, value: &Value) -> bool {
        match (self, value) {
            (ValueKind::Text, Value::String(_)) | (ValueKind::Bool, Value::Boolean(_)) => true,
            (ValueKind::Texts, Value::Array(items)) => items.iter().all(Value::is_str),
            (ValueKind::Number { min, max }, Value::Integer(n)) => (min..=max).contains(n),
            _ => false,
        }
    }

    /// Text from the environment or a flag as a TOML value of this kind.
    pub(super) fn value_of(self, text: &str) -> Option<Value> {
        let value = match self {
            ValueKind::Text => Value::String(text.to_owned()),
            ValueKind::Bool => Value::Boolean(text.trim().parse().ok()?),
            ValueKind::Number { .. } => Value::Integer(text.trim().parse().ok()?),
            ValueKind::Texts => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
            }
        };
        self.admits(&value).then_some(value)
    }
}

// The setters below run only on values their key's form admits; what cannot
// happen turns into the type's default instead of a panic.

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn texts(value: &Value) -> Vec<String> {
    value.as_array().map(|items| items.iter().map(text).collect()).unwrap_or_default()
}

pub(super) fn size(value: &Value) -> usize {
    value.as_integer().and_then(|n| usize::try_from(n).ok()).unwrap_or_default()
}

pub(super) fn seconds(value: &Value) -> Duration {
    Duration::from_secs(value.as_integer().and_then(|n| n.try_into().ok()).unwrap_or_default())
}

pub(super) fn boolean(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}

pub(super) fn of_size(size: usize) -> Value {
    Value::Integer(i64::try_from(size).unwrap_or(i64::MAX))
}

pub(super) fn of_seconds(duration: Duration) -> Value {
    Value::Integer(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}

pub(super) fn of_texts(texts: &[String]) -> Value {
    Value::Array(texts.iter().cloned().map(Value::String).collect())
}
