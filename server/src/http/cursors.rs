//! Cursors of a log: lists, describes, sets and deletes them.
//!
//! The version of a cursor is its `ETag`, so `If-Match` and `If-None-Match` are the conditions of a
//! change.

use http::HeaderValue;
use http::header::ETAG;
use serde_json::Value;
use styx_protocol::{Code, CursorInfo, LogId, Position};

use super::Call;
use super::answer::{self, Answer};
use super::management::{unknown_field, whole};
use crate::header;
use crate::session::{CursorCondition, Error, KnownLog};

/// The largest body: two small fields.
const BODY_BYTES_MAX: usize = 4 << 10;

pub(super) async fn list(call: &mut Call<'_>) -> Result<Answer, Error> {
    Ok(answer::json(&call.log()?.cursors().await?))
}

pub(super) async fn get(call: &mut Call<'_>) -> Result<Answer, Error> {
    let log = call.log()?;
    Ok(with_version(&log.cursor(&call.cursor).await?))
}

pub(super) async fn set(call: &mut Call<'_>) -> Result<Answer, Error> {
    let log = call.log()?;
    let condition = header::cursor_condition(call.headers())?;
    let (position, id) = parse(&call.take_body()?.small(BODY_BYTES_MAX).await?)?;
    log.check(&KnownLog { id, end: None, position: Some(position) })?;
    let set = call.app.sessions.set_cursor(&log, &call.cursor, position, condition);
    Ok(with_version(&set.await?))
}

pub(super) async fn delete(call: &mut Call<'_>) -> Result<Answer, Error> {
    let log = call.log()?;
    let condition = header::cursor_condition(call.headers())?;
    if condition == CursorCondition::Absent {
        return Err(Error::invalid("If-None-Match", "*", "If-Match, to delete a cursor"));
    }
    call.app.sessions.delete_cursor(&log, &call.cursor, condition).await?;
    Ok(answer::empty())
}

fn with_version(cursor: &CursorInfo) -> Answer {
    let mut answer = answer::json(cursor);
    let version = format!("\"{}\"", cursor.version).try_into();
    let version: HeaderValue = version.expect("digits in quotes are a valid value");
    answer.headers_mut().insert(ETAG, version);
    answer
}

/// Parses the body of a change: the position, and the id of the log it belongs to.
fn parse(body: &[u8]) -> Result<(Position, Option<LogId>), Error> {
    const ACCEPTED: &str = "a JSON object with a position, and the log_id if it should be checked";
    let shown = || String::from_utf8_lossy(body.get(..100).unwrap_or(body)).into_owned();
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return Err(Error::invalid("the body", &shown(), ACCEPTED));
    };
    let (mut position, mut id) = (None, None);
    for (key, value) in &object {
        if key.eq_ignore_ascii_case("position") {
            let number = whole(value).and_then(|number| u64::try_from(number).ok());
            position = Some(number.ok_or_else(|| {
                Error::invalid("position", &value.to_string(), "a position, 0 or more")
            })?);
        } else if key.eq_ignore_ascii_case("log_id") {
            id = log_id(value)?;
        } else {
            return Err(unknown_field(key, "", ["position", "log_id"].into_iter()));
        }
    }
    let position = position.ok_or_else(|| {
        Error::new(Code::InvalidParams, format!("position is missing: send {ACCEPTED}"))
    })?;
    Ok((Position(position), id))
}

fn log_id(value: &Value) -> Result<Option<LogId>, Error> {
    let parsed = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let accepted = "the 32 hex digits of an earlier answer";
    parsed.map(Some).ok_or_else(|| Error::invalid("log_id", &value.to_string(), accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_with_or_without_the_id_of_its_log_is_parsed() {
        let parsed = |text: &str| parse(text.as_bytes()).expect(text);
        assert_eq!(parsed(r#"{"position": 7}"#), (Position(7), None));
        assert_eq!(parsed(r#"{"Position": 7.0, "log_id": null}"#), (Position(7), None));
        let id = LogId(9);
        let text = format!(r#"{{"position": 0, "log_id": "{id}"}}"#);
        assert_eq!(parsed(&text), (Position(0), Some(id)));
    }

    #[test]
    fn anything_else_is_an_error_that_names_the_field() {
        for (text, named) in [
            ("", "the body"),
            ("7", "the body"),
            ("{}", "position is missing"),
            (r#"{"position": -1}"#, "position"),
            (r#"{"position": 1.5}"#, "position"),
            (r#"{"position": "1"}"#, "position"),
            (r#"{"position": null}"#, "position"),
            (r#"{"position": 1, "log_id": "zz"}"#, "log_id"),
            (r#"{"position": 1, "log_id": 5}"#, "log_id"),
            (r#"{"position": 1, "logid": null}"#, "did you mean log_id?"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert_eq!(error.code, Code::InvalidParams, "{text}");
            assert!(error.message.contains(named), "{text}: {error}");
        }
    }
}
