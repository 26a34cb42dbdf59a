//! Compares an answer with what a scenario expects. Fields that a scenario does not mention are
//! not compared.
//!
//! | expected | matches |
//! |---|---|
//! | `{"at_least": 3}` | a number from 3 on |
//! | `{"not": value}` | another value |
//! | `{"any": true}` | any value, but not null |
//! | `{"absent": true}` | no value, or null |
//! | another object | an object whose fields match; it may have more |
//! | a list | a list of the same length, whose values match |
//! | another value | the same value |

use serde_json::Value;

/// Returns where and how they differ.
pub(crate) fn check(expected: &Value, actual: &Value) -> Result<(), String> {
    compare("", expected, actual)
}

fn compare(path: &str, expected: &Value, actual: &Value) -> Result<(), String> {
    let or = |matches: bool| {
        if matches {
            return Ok(());
        }
        Err(format!("{path}: expected {}, got {}", shown(expected), shown(actual)))
    };
    match expected {
        Value::Object(fields) => {
            let mut pairs = fields.iter();
            match (pairs.next(), pairs.next()) {
                (Some((name, least)), None) if name == "at_least" => {
                    or(actual.as_u64() >= least.as_u64() && actual.is_u64())
                }
                (Some((name, value)), None) if name == "not" => or(actual != value),
                (Some((name, _)), None) if name == "any" => or(!actual.is_null()),
                (Some((name, _)), None) if name == "absent" => or(actual.is_null()),
                _ => {
                    or(actual.is_object())?;
                    let one = |(name, value): (&String, &Value)| {
                        compare(&format!("{path}.{name}"), value, &actual[name.as_str()])
                    };
                    fields.iter().try_for_each(one)
                }
            }
        }
        Value::Array(values) => {
            let Some(all) = actual.as_array() else { return or(false) };
            if values.len() != all.len() {
                let (expected, actual) = (values.len(), all.len());
                return Err(format!("{path}: expected {expected} values, got {actual}"));
            }
            let mut pairs = values.iter().zip(all).enumerate();
            pairs.try_for_each(|(i, (value, actual))| {
                compare(&format!("{path}[{i}]"), value, actual)
            })
        }
        value => or(value == actual),
    }
}

/// The beginning of a value.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{} …", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_expected_is_compared() {
        let actual = json!({"a": 3, "b": [1, {"c": "x", "d": null}]});
        for expected in [
            json!({}),
            json!({"a": 3}),
            json!({"a": {"at_least": 3}, "b": [1, {"c": "x"}]}),
            json!({"a": {"not": 4}, "b": [{"any": true}, {"d": {"absent": true}}]}),
        ] {
            assert_eq!(check(&expected, &actual), Ok(()), "{expected}");
        }
        for (expected, path) in [
            (json!({"a": 4}), ".a:"),
            (json!({"a": {"at_least": 4}}), ".a:"),
            (json!({"a": {"not": 3}}), ".a:"),
            (json!({"a": {"absent": true}}), ".a:"),
            (json!({"x": {"any": true}}), ".x:"),
            (json!({"x": {"at_least": 0}}), ".x:"),
            (json!({"x": []}), ".x:"),
            (json!({"b": [1]}), ".b: expected 1 values, got 2"),
            (json!({"b": [1, {"c": "y"}]}), ".b[1].c:"),
            (json!({"a": {"b": 1}}), ".a:"),
        ] {
            let error = check(&expected, &actual).expect_err("they differ");
            assert!(error.starts_with(path), "{expected}: {error}");
        }
    }
}
