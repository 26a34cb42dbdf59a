//! The kinds of values that keys have.
//!
//! The environment and flags contain text, and the file contains TOML values. Both
//! become a [`toml::Value`] of the key's kind, or an error that names valid values.

use std::time::Duration;

use toml::Value;

/// The kind of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    Bool,
    /// A list of strings; in the environment separated by commas.
    Texts,
    /// A whole number between the two, both included.
    Number {
        min: i64,
        max: i64,
    },
}

/// Whole seconds up to a year.
pub(super) const SECONDS: ValueKind = ValueKind::Number { min: 0, max: 31_536_000 };
/// Whole seconds from 1 up to a year.
pub(super) const SECONDS_FROM_1: ValueKind = ValueKind::Number { min: 1, max: 31_536_000 };
/// Bytes, up to 1 GiB.
pub(super) const BYTES: ValueKind = ValueKind::Number { min: 1, max: 1 << 30 };

impl ValueKind {
    /// Valid values, for messages.
    pub(super) fn accepted(self) -> String {
        match self {
            ValueKind::Text => "a string in quotes".to_owned(),
            ValueKind::Bool => "true or false".to_owned(),
            ValueKind::Texts => "a list of strings".to_owned(),
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

// The functions below are only called with values of the right kind. An impossible
// value becomes the type's default instead of a panic.

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
