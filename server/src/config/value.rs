//! The kinds of values that keys have.
//!
//! The environment and flags contain text, and the file contains TOML values. Both
//! become a [`toml::Value`] of the key's kind, or an error that names valid values.
//! Text is read as TOML first, so every value that `--print-config` prints is accepted.
//! A string without quotes and a list with commas are accepted too.

use std::time::Duration;

use toml::{Table, Value};

/// The kind of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    Text,
    Bool,
    /// A list of strings; in the environment and in flags also separated by commas.
    Texts,
    /// A string or a list of strings, in the same ways.
    TextOrTexts,
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
/// Bytes of a key that is ignored: every size that 0.x accepted.
pub(super) const IGNORED_BYTES: ValueKind = ValueKind::Number { min: 0, max: i64::MAX };
/// Bytes, up to 1 GiB.
pub(super) const BYTES: ValueKind = ValueKind::Number { min: 1, max: 1 << 30 };

impl ValueKind {
    /// Valid values, for messages.
    pub(super) fn accepted(self) -> String {
        match self {
            ValueKind::Text => "a string in quotes".to_owned(),
            ValueKind::Bool => "true or false".to_owned(),
            ValueKind::Texts => "a list of strings".to_owned(),
            ValueKind::TextOrTexts => "a string in quotes, or a list of them".to_owned(),
            ValueKind::Number { min, max } => format!("a whole number from {min} to {max}"),
        }
    }

    /// Valid text in the environment and in flags, for messages.
    pub(super) fn accepted_as_text(self) -> String {
        match self {
            ValueKind::Text => "a string, or a TOML string in quotes".to_owned(),
            ValueKind::Texts => "a list, as in [\"a\", \"b\"] or a,b".to_owned(),
            ValueKind::TextOrTexts => "a string, or a list, as in [\"a\", \"b\"] or a,b".to_owned(),
            ValueKind::Bool | ValueKind::Number { .. } => self.accepted(),
        }
    }

    /// Whether a TOML value has this kind.
    pub(super) fn admits(self, value: &Value) -> bool {
        match (self, value) {
            (ValueKind::Text, Value::String(_)) | (ValueKind::Bool, Value::Boolean(_)) => true,
            (ValueKind::TextOrTexts, Value::String(_)) => true,
            (ValueKind::Texts | ValueKind::TextOrTexts, Value::Array(items)) => {
                items.iter().all(Value::is_str)
            }
            (ValueKind::Number { min, max }, Value::Integer(n)) => (min..=max).contains(n),
            _ => false,
        }
    }

    /// Text from the environment or a flag as a TOML value of this kind. Text that begins
    /// like a TOML string or list must be one.
    pub(super) fn value_of(self, text: &str) -> Option<Value> {
        let trimmed = text.trim();
        let value = match self {
            ValueKind::Text if trimmed.starts_with(QUOTES) => toml_value(trimmed)?,
            ValueKind::Text => Value::String(text.to_owned()),
            ValueKind::Bool => Value::Boolean(trimmed.parse().ok()?),
            ValueKind::Number { .. } => match trimmed.parse() {
                Ok(number) => Value::Integer(number),
                // Such as 1_000 or 0x10.
                Err(_) => toml_value(trimmed)?,
            },
            ValueKind::TextOrTexts => one_or_more(trimmed)?,
            ValueKind::Texts if trimmed.starts_with('[') => toml_value(trimmed)?,
            ValueKind::Texts if trimmed.starts_with(QUOTES) => toml_value(&format!("[{trimmed}]"))?,
            ValueKind::Texts => comma_list(trimmed)?,
        };
        self.admits(&value).then_some(value)
    }
}

/// The first characters of a TOML string.
const QUOTES: [char; 2] = ['"', '\''];

/// The TOML value that this text is.
fn toml_value(text: &str) -> Option<Value> {
    // A second line could add a second key.
    let table: Table = format!("value = {text}").parse().ok()?;
    let mut values = table.into_iter().map(|(_, value)| value);
    values.next().filter(|_| values.next().is_none())
}

/// Items separated by commas. `None` if one contains a part of a TOML list, which would
/// otherwise become a string that has no meaning.
fn comma_list(text: &str) -> Option<Value> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let is_toml = |item: &str| item.starts_with('[') || item.contains(QUOTES);
    let items = items.map(|item| (!is_toml(item)).then(|| Value::String(item.to_owned())));
    items.collect::<Option<Vec<Value>>>().map(Value::Array)
}

/// A list in any of its forms, of which one string is the simplest. An item may begin with a
/// bracket, as an IPv6 address does.
fn one_or_more(trimmed: &str) -> Option<Value> {
    let inside = trimmed.strip_prefix('[').map(str::trim_start);
    if inside.is_some_and(|inside| inside.starts_with(QUOTES) || inside.starts_with(']')) {
        return toml_value(trimmed);
    }
    if trimmed.starts_with(QUOTES) {
        return toml_value(&format!("[{trimmed}]"));
    }
    if trimmed.contains(QUOTES) {
        return None;
    }
    let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
    Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
}

// The functions below are only called with values of the right kind. An impossible
// value becomes the type's default instead of a panic.

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The items of a list, or the only string.
pub(super) fn texts(value: &Value) -> Vec<String> {
    match value.as_array() {
        Some(items) => items.iter().map(text).collect(),
        None => vec![text(value)],
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ValueKind, text: &str, toml: Option<&str>) {
        let value = kind.value_of(text).map(|value| value.to_string());
        assert_eq!(value.as_deref(), toml, "{text:?}");
    }

    #[test]
    fn text_is_read_as_toml_first() {
        check(ValueKind::Text, r#""a b""#, Some(r#""a b""#));
        check(ValueKind::Text, "'a'", Some(r#""a""#));
        check(ValueKind::Text, r#""""#, Some(r#""""#));
        check(ValueKind::Texts, r#"["a,b", "c"]"#, Some(r#"["a,b", "c"]"#));
        check(ValueKind::Texts, " [] ", Some("[]"));
        check(ValueKind::Texts, r#""a","b""#, Some(r#"["a", "b"]"#));
        check(SECONDS, "1_000", Some("1000"));
    }

    #[test]
    fn one_address_or_a_list_is_accepted_in_every_form() {
        for (text, toml) in [
            ("127.0.0.1:1", r#"["127.0.0.1:1"]"#),
            ("[::1]:80", r#"["[::1]:80"]"#),
            ("[::1]:80, unix:///a.sock", r#"["[::1]:80", "unix:///a.sock"]"#),
            (r#""[::1]:80""#, r#"["[::1]:80"]"#),
            (r#""a","b,c""#, r#"["a", "b,c"]"#),
            (r#"[ "a", "b" ]"#, r#"["a", "b"]"#),
            ("[]", "[]"),
            ("", "[]"),
        ] {
            check(ValueKind::TextOrTexts, text, Some(toml));
        }
        for text in [r#"["a""#, r#"a,"b""#, "[\"a\"]\nx = 1"] {
            check(ValueKind::TextOrTexts, text, None);
        }
    }

    #[test]
    fn plain_text_and_comma_lists_are_accepted() {
        for text in ["a b", "127.0.0.1:1", "[::1]:80", "true", "7", "it's"] {
            check(ValueKind::Text, text, Some(&format!("{text:?}")));
        }
        check(ValueKind::Texts, "a, b,", Some(r#"["a", "b"]"#));
        check(ValueKind::Texts, "", Some("[]"));
        check(SECONDS, " 7 ", Some("7"));
        check(ValueKind::Bool, "true", Some("true"));
    }

    #[test]
    fn broken_toml_is_refused_instead_of_taken_literally() {
        for text in [r#"["a""#, "[a]", "[1]", r#"a,"b""#, r#""a"#, r#"a,["b"]"#, "[]\nx = 1"] {
            check(ValueKind::Texts, text, None);
        }
        for text in [r#""a"#, r#""a" b"#, "'"] {
            check(ValueKind::Text, text, None);
        }
        for text in ["", "1.5", "\"7\"", "-1", "7 s"] {
            check(SECONDS, text, None);
        }
        check(ValueKind::Bool, "yes", None);
    }
}
