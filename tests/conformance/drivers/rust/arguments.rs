//! The arguments of an operation, and numbers as the protocol writes them.

use std::time::Duration;

use serde_json::Value;
use styx_tests::hex;

use crate::objects::Failure;

/// The largest integer that every JSON parser reads exactly. A larger one is text.
const NUMBER_MAX: u64 = (1 << 53) - 1;

pub(crate) fn number(value: u64) -> Value {
    if value > NUMBER_MAX { value.to_string().into() } else { value.into() }
}

pub(crate) struct Arguments<'a>(pub(crate) &'a Value);

impl<'a> Arguments<'a> {
    fn needed<T>(&self, name: &str, value: Option<T>) -> Result<T, Failure> {
        value.ok_or_else(|| Failure::Driver(format!("{name} is missing or invalid: {}", self.0)))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str, Failure> {
        self.needed(name, self.0[name].as_str())
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, Failure> {
        let value = &self.0[name];
        self.needed(name, value.as_u64().or_else(|| value.as_str()?.parse().ok()))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0[name] == true
    }

    pub(crate) fn seconds(&self, name: &str) -> Result<Duration, Failure> {
        self.needed(name, self.optional_seconds(name))
    }

    pub(crate) fn optional_seconds(&self, name: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(self.0[name].as_f64()?).ok()
    }

    pub(crate) fn optional_number(&self, name: &str) -> Result<Option<u64>, Failure> {
        if self.0[name].is_null() { Ok(None) } else { self.number(name).map(Some) }
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, Failure> {
        self.needed(name, self.0[name].as_str().and_then(hex::decode))
    }

    pub(crate) fn list_of_bytes(&self, name: &str) -> Result<Vec<Vec<u8>>, Failure> {
        let list = self.0[name].as_array();
        let bytes = list.and_then(|list| {
            list.iter().map(|value| value.as_str().and_then(hex::decode)).collect()
        });
        self.needed(name, bytes)
    }
}
