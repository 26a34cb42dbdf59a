//! From what a scenario writes to what a driver gets: payloads in hexadecimal, and variables.
//!
//! | in a scenario | meaning |
//! |---|---|
//! | `"text"` as a payload | its bytes in UTF-8 |
//! | `{"hex": "00ff"}` | these bytes |
//! | `{"repeat": "x", "count": 1000}` | the text, this number of times |
//! | `{"count": 100, "text": "record {n}"}` as a list | 100 payloads; `{n}` counts from 0, or from `first` |
//! | `"$id"` anywhere | the value that an earlier step has saved as `id` |

use std::collections::HashMap;

use serde_json::{Value, json};
use styx_tests::hex;

pub(crate) type Variables = HashMap<String, Value>;

/// The arguments or the expectation of a step, as the driver writes them.
pub(crate) fn expand(value: &Value, variables: &Variables) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix('$') {
            None => value.clone(),
            Some(name) => {
                let saved = variables.get(name);
                saved.ok_or_else(|| format!("no step has saved {name}"))?.clone()
            }
        },
        Value::Array(values) => {
            let values: Result<_, _> = values.iter().map(|v| expand(v, variables)).collect();
            Value::Array(values?)
        }
        Value::Object(fields) => {
            let mut expanded = serde_json::Map::new();
            for (name, value) in fields {
                let value = match name.as_str() {
                    "payload" => payload(value)?,
                    "payloads" => Value::Array(list(value)?),
                    "records" => {
                        let all = list(value)?.into_iter();
                        all.map(|payload| json!({ "payload": payload })).collect()
                    }
                    _ => expand(value, variables)?,
                };
                expanded.insert(name.clone(), value);
            }
            Value::Object(expanded)
        }
        other => other.clone(),
    })
}

/// The payloads of a list.
fn list(value: &Value) -> Result<Vec<Value>, String> {
    if let Some(values) = value.as_array() {
        return values.iter().map(payload).collect();
    }
    let (Some(count), Some(text)) = (value["count"].as_u64(), value["text"].as_str()) else {
        return Err(format!("{value} is not a list of payloads"));
    };
    let first = value["first"].as_u64().unwrap_or(0);
    let text = |n: u64| text.replace("{n}", &n.to_string());
    Ok((first..first + count).map(|n| hex::encode(text(n).as_bytes()).into()).collect())
}

fn payload(value: &Value) -> Result<Value, String> {
    let bytes = match (value.as_str(), value["repeat"].as_str(), value["count"].as_u64()) {
        (Some(text), _, _) => text.as_bytes().to_vec(),
        (None, Some(text), Some(count)) => {
            let count = usize::try_from(count).map_err(|e| e.to_string())?;
            text.repeat(count).into_bytes()
        }
        _ => {
            return match value["hex"].as_str() {
                Some(digits) if hex::decode(digits).is_some() => Ok(digits.into()),
                _ => Err(format!("{value} is not a payload")),
            };
        }
    };
    Ok(hex::encode(&bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_and_variables_are_expanded_everywhere() {
        let variables = Variables::from([("id".to_owned(), json!(7))]);
        let step = json!({
            "id": "$id", "payload": "a", "payloads": [{"hex": "00"}, {"repeat": "b", "count": 2}],
            "gives": {"records": {"count": 2, "text": "{n}", "first": 9}},
        });
        let expected = json!({
            "id": 7, "payload": "61", "payloads": ["00", "6262"],
            "gives": {"records": [{"payload": "39"}, {"payload": "3130"}]},
        });
        assert_eq!(expand(&step, &variables), Ok(expected));
        for wrong in [json!("$x"), json!({"payload": {"hex": "0"}}), json!({"payloads": 1})] {
            assert!(expand(&wrong, &variables).is_err(), "{wrong}");
        }
    }
}
