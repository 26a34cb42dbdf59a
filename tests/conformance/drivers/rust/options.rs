//! Options of clients, producers and consumers: from the protocol's JSON to the text that
//! builders take.

use serde_json::{Map, Value};
use styx_client::options::{OPTIONS, OptionUnit};

/// The options as names and texts.
pub(crate) fn texts(options: &Value) -> Vec<(String, String)> {
    let none = Map::new();
    let options = options.as_object().unwrap_or(&none).iter();
    options.map(|(name, value)| (name.clone(), text(name, value))).collect()
}

fn text(name: &str, value: &Value) -> String {
    let option = OPTIONS.iter().find(|option| option.name == name);
    let is_duration = option.is_some_and(|option| option.unit == OptionUnit::Duration);
    match value {
        Value::Null => "none".to_owned(),
        Value::Number(seconds) if is_duration => format!("{seconds} s"),
        Value::String(text) => text.clone(),
        Value::Object(start) => start["checkpoint"].as_str().unwrap_or_default().to_owned(),
        other => other.to_string(),
    }
}
