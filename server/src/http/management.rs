//! Creates, adopts, lists, describes, truncates, trims and deletes logs.

use std::collections::HashMap;

use http::header::CONTENT_TYPE;
use serde::Serialize;
use serde_json::Value;
use styx_protocol::{Code, LogConfig, LogInfo, LogName, Position};

use super::Call;
use super::answer::{self, Answer};
use crate::session::Error;
use crate::{header, params};

/// Largest form or JSON body: nine small fields.
const FORM_BYTES_MAX: usize = 64 << 10;

pub(super) fn list(call: &Call<'_>) -> Result<Answer, Error> {
    let sessions = &call.app.sessions;
    let mut logs = sessions.list();
    logs.retain(|log| call.access.sees(&log.name));
    let archived = sessions.archived_positions();
    let listed = logs.into_iter().map(|info| {
        let archived_position = archived.get(&info.name).copied();
        ListedLog { info, archived_position }
    });
    Ok(answer::json(&listed.collect::<Vec<_>>()))
}

/// A log in the list of all logs.
#[derive(Serialize)]
struct ListedLog {
    #[serde(flatten)]
    info: LogInfo,
    /// Absent without an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    archived_position: Option<u64>,
}

pub(super) async fn create(call: &mut Call<'_>) -> Result<Answer, Error> {
    let content_type = header::text(call.headers(), &CONTENT_TYPE).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json");
    let body = call.take_body()?.small(FORM_BYTES_MAX).await?;
    let (name, config) = if is_json { from_json(&body)? } else { from_form(&body)? };
    call.new_log(&name)?;
    let app = call.app;
    let _creation = app.limits.create_log(&call.access, &app.sessions).await?;
    let (info, id) = app.sessions.create(name, config).await?;
    call.log_id = Some(id);
    Ok(answer::json(&info))
}

pub(super) async fn adopt(call: &mut Call<'_>) -> Result<Answer, Error> {
    let app = call.app;
    let _creation = app.limits.create_log(&call.access, &app.sessions).await?;
    let (info, id) = app.sessions.adopt(&call.name).await?;
    call.log_id = Some(id);
    Ok(answer::json(&info))
}

pub(super) async fn info(call: &mut Call<'_>) -> Result<Answer, Error> {
    match info_of_known(call).await {
        Err(error) if error.code == Code::LogNotFound => {
            Err(call.app.sessions.why_missing(&call.name).await)
        }
        answer => answer,
    }
}

async fn info_of_known(call: &mut Call<'_>) -> Result<Answer, Error> {
    if params::flag(call.query(), "details")? == Some(true) {
        let log = call.log()?;
        return Ok(answer::json(&log.details().await?));
    }
    check_identity(call)?;
    Ok(answer::json(&call.app.sessions.info(&call.name)?))
}

pub(super) async fn delete(call: &mut Call<'_>) -> Result<Answer, Error> {
    check_identity(call)?;
    call.app.sessions.delete(&call.name).await?;
    Ok(answer::empty())
}

pub(super) async fn truncate(call: &mut Call<'_>) -> Result<Answer, Error> {
    check_identity(call)?;
    call.log_id = Some(call.app.sessions.truncate(&call.name).await?);
    Ok(answer::empty())
}

pub(super) async fn trim(call: &mut Call<'_>) -> Result<Answer, Error> {
    const ACCEPTED: &str = "the position before which segments may be removed, 0 or more";
    let log = call.log()?;
    let position = params::value(call.query(), "position").unwrap_or_default();
    let number = position.parse().map_err(|_| Error::invalid("position", &position, ACCEPTED))?;
    Ok(answer::json(&log.trim(Position(number)).await?))
}

/// Checks the log's identity for a request that also works on damaged logs. If the log
/// cannot be opened, this is an error only if the request has a known id or known end.
fn check_identity(call: &mut Call<'_>) -> Result<(), Error> {
    let knows_nothing = header::known(call.headers())?.is_empty();
    match call.log() {
        Err(error) if error.code == Code::LogNotAvailable && knows_nothing => Ok(()),
        looked => looked.map(|_| ()),
    }
}

/// Parses the name of a new log.
pub(super) fn new_name(text: &str) -> Result<LogName, Error> {
    if text.is_empty() {
        return Err(Error::invalid("name", text, "1 to 255 of A-Z a-z 0-9 _ -"));
    }
    Ok(text.parse::<LogName>()?)
}

fn from_form(body: &[u8]) -> Result<(LogName, LogConfig), Error> {
    let text = String::from_utf8_lossy(body);
    let mut config = LogConfig::default();
    for field in LogConfig::FIELDS {
        if let Some(value) = params::value(&text, field) {
            let number = value.trim().parse();
            set(&mut config, field, number.map_err(|_| not_a_number(field, &value))?);
        }
    }
    Ok((new_name(&params::value(&text, "name").unwrap_or_default())?, config))
}

/// Parses the body of a creation. It may have the form in which `?details=true` describes a log:
/// the configuration in an object of its own, and fields that only describe, which are ignored.
fn from_json(body: &[u8]) -> Result<(LogName, LogConfig), Error> {
    const ACCEPTED: &str = "a JSON object with a name and any of the configuration fields";
    let shown = || String::from_utf8_lossy(body.get(..100).unwrap_or(body)).into_owned();
    let value = serde_json::from_slice(body);
    let Ok(Value::Object(object)) = value else {
        return Err(Error::invalid("the body", &shown(), ACCEPTED));
    };
    let mut config = GivenConfig::default();
    let mut name = String::new();
    for (key, value) in &object {
        let is = |known: &str| known.eq_ignore_ascii_case(key);
        if config.set(key, value)? || DESCRIPTION.into_iter().any(is) {
            continue;
        }
        if is("name") {
            name = match value {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => return Err(Error::invalid("name", &other.to_string(), "a text")),
            };
        } else if is("config") {
            config.set_nested(value)?;
        } else {
            let known = LogConfig::FIELDS.into_iter().chain(["name", "config"]);
            return Err(unknown_field(key, "", known));
        }
    }
    Ok((new_name(&name)?, config.config))
}

/// The fields with which an answer describes a log, besides its name and its configuration.
const DESCRIPTION: [&str; 8] = [
    "status",
    "record_count",
    "file_size",
    "start_position",
    "end_position",
    "timestamp_first",
    "timestamp_last",
    "archived_position",
];

/// The configuration of a JSON body, whose fields may be given in two places.
#[derive(Default)]
struct GivenConfig {
    config: LogConfig,
    given: HashMap<&'static str, i64>,
}

impl GivenConfig {
    /// Sets a field; `false` if the configuration has no field of that name.
    fn set(&mut self, key: &str, value: &Value) -> Result<bool, Error> {
        let field = LogConfig::FIELDS.into_iter().find(|field| field.eq_ignore_ascii_case(key));
        let Some(field) = field else { return Ok(false) };
        if value.is_null() {
            return Ok(true);
        }
        let number = whole(value).ok_or_else(|| not_a_number(field, &value.to_string()))?;
        if let Some(other) = self.given.insert(field, number).filter(|other| *other != number) {
            let both = format!("{other} and {number}");
            return Err(Error::invalid(field, &both, "one value, given once"));
        }
        set(&mut self.config, field, number);
        Ok(true)
    }

    /// Sets the fields of an object `config`.
    fn set_nested(&mut self, value: &Value) -> Result<(), Error> {
        let object = match value {
            Value::Null => return Ok(()),
            Value::Object(object) => object,
            other => {
                let accepted = "an object with configuration fields";
                return Err(Error::invalid("config", &other.to_string(), accepted));
            }
        };
        for (key, value) in object {
            if !self.set(key, value)? {
                return Err(unknown_field(key, " in config", LogConfig::FIELDS.into_iter()));
            }
        }
        Ok(())
    }
}

/// If a misspelled limit were ignored, the log would grow without it.
pub(super) fn unknown_field(
    key: &str,
    place: &str,
    known: impl Iterator<Item = &'static str>,
) -> Error {
    let lower = key.to_ascii_lowercase();
    let likeness = |field: &&str| strsim::jaro_winkler(field, &lower);
    let nearest = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default();
    let shown: String = key.chars().take(80).collect();
    let message = format!("unknown field {shown:?}{place}: did you mean {nearest}?");
    Error::new(Code::InvalidParams, message)
}

/// A whole number of JSON, which may be written with a fraction of zero: `1.0`.
pub(super) fn whole(value: &Value) -> Option<i64> {
    /// The largest number up to which every whole floating-point number is exact: 2^53.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let fraction = || value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT_MAX);
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and at most 2^53")]
    value.as_i64().or_else(|| fraction().map(|number| number as i64))
}

fn set(config: &mut LogConfig, field: &str, number: i64) {
    if let Some(value) = config.field_mut(field) {
        *value = number;
    }
}

fn not_a_number(field: &'static str, value: &str) -> Error {
    Error::invalid(field, value, "a whole number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_and_json_give_the_same_configuration() {
        let form = from_form(b"NAME=a&name=b&segment_max_count=10&log_max_age=&x=1").expect("form");
        let json = br#"{"name": "b", "Segment_Max_Count": 10, "log_max_age": null}"#;
        assert_eq!(from_json(json).expect("json"), form);
        assert_eq!((form.0.as_str(), form.1.segment_max_count), ("b", 10));
        assert_eq!(form.1.log_max_age, -1);
    }

    #[test]
    fn a_json_number_with_a_fraction_of_zero_is_whole() {
        let set = |number: &str| {
            let json = format!(r#"{{"name": "a", "log_max_age": {number}}}"#);
            from_json(json.as_bytes()).map(|(_, config)| config.log_max_age).ok()
        };
        assert_eq!(set("5.0"), Some(5));
        assert_eq!(set("-1.0"), Some(-1));
        assert_eq!(set("1e3"), Some(1000));
        for number in ["5.5", "1e300", "1e16"] {
            assert_eq!(set(number), None, "{number}");
        }
    }

    #[test]
    fn a_description_of_a_log_creates_a_log_with_its_configuration() {
        let nested = br#"{"name": "b", "status": "ok", "record_count": 3, "file_size": 9,
            "start_position": 0, "end_position": 3, "timestamp_first": 1, "timestamp_last": null,
            "archived_position": 2,
            "config": {"segment_max_count": 10, "log_max_age": null}}"#;
        let (name, config) = from_json(nested).expect("a description");
        assert_eq!((name.as_str(), config.segment_max_count), ("b", 10));
        let create = |text: &str| from_json(text.as_bytes()).map(|(_, config)| config.log_max_age);
        let twice = r#"{"name": "b", "log_max_age": 5, "config": {"Log_Max_Age": 5}}"#;
        assert_eq!(create(twice).ok(), Some(5));
        assert_eq!(create(r#"{"name": "b", "config": null}"#).ok(), Some(-1));
        for text in [
            r#"{"name": "b", "log_max_age": 5, "config": {"log_max_age": 6}}"#,
            r#"{"name": "b", "config": {"log_max_age": 6}, "log_max_age": 5}"#,
            r#"{"name": "b", "log_max_age": 5, "LOG_MAX_AGE": 6}"#,
            r#"{"name": "b", "config": 5}"#,
            r#"{"name": "b", "config": {"log_max_age": "5"}}"#,
        ] {
            assert_eq!(create(text).expect_err(text).code, Code::InvalidParams, "{text}");
        }
    }

    #[test]
    fn an_unknown_json_field_is_an_error_with_the_nearest_name() {
        for (fields, nearest) in [
            (r#""log_max_agee": 5"#, "log_max_age"),
            (r#""maxRecordSize": 5"#, "max_record_size"),
            (r#""config": {"segment_count": 5}"#, "segment_max_count"),
            (r#""configs": {}"#, "config"),
            (r#""names": "c""#, "name"),
        ] {
            let error = from_json(format!(r#"{{"name": "b", {fields}}}"#).as_bytes());
            let error = error.expect_err(fields);
            assert_eq!(error.code, Code::InvalidParams);
            let hint = format!("did you mean {nearest}?");
            assert!(error.message.ends_with(&hint), "{error}");
        }
    }

    #[test]
    fn invalid_bodies_return_their_error_codes() {
        let form = |text: &str| from_form(text.as_bytes()).expect_err("a fault").code;
        let json = |text: &str| from_json(text.as_bytes()).expect_err("a fault").code;
        assert_eq!(form(""), Code::InvalidParams);
        assert_eq!(form("name="), Code::InvalidParams);
        assert_eq!(form("name=a.b"), Code::LogInvalidName);
        assert_eq!(form("name=a&max_record_size=x"), Code::InvalidParams);
        for text in ["", "[]", "{}", "{\"name\":1}", "{\"name\":\"a\",\"max_record_size\":\"1\"}"] {
            assert_eq!(json(text), Code::InvalidParams, "{text}");
        }
        assert_eq!(json("{\"name\":\"a/b\"}"), Code::LogInvalidName);
    }
}
