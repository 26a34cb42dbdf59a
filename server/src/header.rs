//! The names of Styx's headers, and how requests' headers are parsed.

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
use styx_protocol::limits::STREAM_TIMEOUT_SECONDS_MIN;
use styx_protocol::{Checkpoint, LogId, Position, ReadParams, Whence, header};

use crate::params;
use crate::session::{Condition, CursorCondition, Error, KnownLog, Producer};

pub(crate) const LOG_ID: HeaderName = HeaderName::from_static(header::LOG_ID);
pub(crate) const RESTORED_FROM: HeaderName = HeaderName::from_static(header::RESTORED_FROM);
pub(crate) const START_POSITION: HeaderName = HeaderName::from_static(header::START_POSITION);
pub(crate) const ARCHIVED_POSITION: HeaderName = HeaderName::from_static(header::ARCHIVED_POSITION);
pub(crate) const END_POSITION: HeaderName = HeaderName::from_static(header::END_POSITION);
pub(crate) const NEXT_POSITION: HeaderName = HeaderName::from_static(header::NEXT_POSITION);
pub(crate) const POSITION: HeaderName = HeaderName::from_static(header::POSITION);
pub(crate) const NEXT_SEQUENCE: HeaderName = HeaderName::from_static(header::NEXT_SEQUENCE);
pub(crate) const MAX_BLOCK_SIZE: HeaderName = HeaderName::from_static(header::MAX_BLOCK_SIZE);
pub(crate) const MAX_IN_FLIGHT_BLOCKS: HeaderName =
    HeaderName::from_static(header::MAX_IN_FLIGHT_BLOCKS);
pub(crate) const FEATURES: HeaderName = HeaderName::from_static(header::FEATURES);
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static(header::REQUEST_ID);
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static(header::TRACEPARENT);
const KNOWN_END: HeaderName = HeaderName::from_static(header::KNOWN_END);
const EXPECTED_POSITION: HeaderName = HeaderName::from_static(header::EXPECTED_POSITION);
const PRODUCER: HeaderName = HeaderName::from_static(header::PRODUCER);
pub(crate) const EPOCH: HeaderName = HeaderName::from_static(header::EPOCH);
const SEQUENCE: HeaderName = HeaderName::from_static(header::SEQUENCE);
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static(header::TIMEOUT);

/// Adds the range of a log to an answer.
pub(crate) fn put_range(
    headers: &mut HeaderMap,
    start: Position,
    end: Position,
    archived: Option<Position>,
) {
    headers.insert(START_POSITION, of_position(start));
    headers.insert(END_POSITION, of_position(end));
    if let Some(archived) = archived {
        headers.insert(ARCHIVED_POSITION, of_position(archived));
    }
}

/// A header's text; `None` when it is missing, empty or not text. The last
/// duplicate wins.
///
/// Only for `Accept` and `Content-Type`, in which 0.x ignored what it could not read, and
/// for headers whose absence is an error too. All others use [`checked_text`].
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let value = headers.get_all(name).iter().next_back()?;
    value.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

/// As [`text`], but a header that is not text is refused. Without that it would count as
/// absent, and a compressed body, for example, would be stored as the record.
///
/// # Errors
/// `invalid_params`, with the header's name.
pub(crate) fn checked_text<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    shown: &'static str,
    accepted: &'static str,
) -> Result<Option<&'h str>, Error> {
    match headers.get_all(name).iter().next_back() {
        Some(value) if value.to_str().is_err() => {
            Err(Error::invalid(shown, &String::from_utf8_lossy(value.as_bytes()), accepted))
        }
        _ => Ok(text(headers, name)),
    }
}

fn number<T: std::str::FromStr>(
    text: Option<&str>,
    shown: &'static str,
    accepted: &'static str,
) -> Result<Option<T>, Error> {
    let Some(text) = text else { return Ok(None) };
    // `parse` accepts a leading `+`, but the contract does not.
    let number = text.parse().ok().filter(|_| !text.starts_with('+'));
    number.map(Some).ok_or_else(|| Error::invalid(shown, text, accepted))
}

fn condition_number<T: std::str::FromStr>(
    headers: &HeaderMap,
    name: &HeaderName,
    shown: &'static str,
    accepted: &'static str,
) -> Result<Option<T>, Error> {
    number(condition_text(headers, name, shown, accepted)?, shown, accepted)
}

/// As [`checked_text`], for a condition: a header without a value is refused, because the
/// request would be served without the condition.
fn condition_text<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    shown: &'static str,
    accepted: &'static str,
) -> Result<Option<&'h str>, Error> {
    match checked_text(headers, name, shown, accepted)? {
        None if headers.contains_key(name) => Err(Error::invalid(shown, "", accepted)),
        text => Ok(text),
    }
}

/// What the request knows about the log.
pub(crate) fn known(headers: &HeaderMap) -> Result<KnownLog, Error> {
    let accepted = "the 32 hex digits of an earlier answer";
    let id = match condition_text(headers, &LOG_ID, "X-Styx-Log-Id", accepted)? {
        Some(text) => Some(
            text.parse::<LogId>().map_err(|_| Error::invalid("X-Styx-Log-Id", text, accepted))?,
        ),
        None => None,
    };
    let end = condition_number(headers, &KNOWN_END, "X-Styx-Known-End", "a position, 0 or more")?;
    Ok(KnownLog { id, end: end.map(Position), position: None })
}

/// What a request to read knows about the log, with the position from which it continues.
pub(crate) fn known_to_reader(headers: &HeaderMap, query: &str) -> Result<KnownLog, Error> {
    let known = known(headers)?;
    let position = match ReadParams::parse(params::pairs(query)) {
        Ok(read) if read.whence == Whence::Origin => u64::try_from(read.position).ok(),
        // Invalid parameters are refused later.
        _ => known.end.map(|end| end.0),
    };
    Ok(KnownLog { position: position.map(Position), ..known })
}

/// What a request to append knows about the log, with the position up to which the caller knows it.
pub(crate) fn known_to_writer(headers: &HeaderMap) -> Result<KnownLog, Error> {
    let known = known(headers)?;
    // An invalid condition is refused later.
    let expected = condition(headers).ok().and_then(|condition| condition.expected);
    Ok(KnownLog { position: known.end.max(expected), ..known })
}

/// The conditions on which the request's records are appended.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Condition, Error> {
    let expected = condition_number(
        headers,
        &EXPECTED_POSITION,
        "X-Styx-Expected-Position",
        "the position the log should end at, 0 or more",
    )?;
    let id: Option<u64> = condition_number(
        headers,
        &PRODUCER,
        "X-Styx-Producer",
        "a whole number from 1 to 2^64 - 1",
    )?;
    let epoch =
        condition_number(headers, &EPOCH, "X-Styx-Epoch", "a whole number from 0 to 2^32 - 1")?;
    let sequence: Option<u64> = condition_number(
        headers,
        &SEQUENCE,
        "X-Styx-Sequence",
        "the number of the first record, 0 or more",
    )?;
    let producer = match (id, sequence) {
        (Some(0), _) => {
            return Err(Error::invalid("X-Styx-Producer", "0", "a whole number from 1 on"));
        }
        (Some(id), Some(sequence)) => Some(Producer { id, epoch, sequence }),
        (Some(_), None) => {
            let accepted = "the number of the request's first record, with X-Styx-Producer";
            return Err(Error::invalid("X-Styx-Sequence", "", accepted));
        }
        (None, Some(_)) => {
            let accepted = "the producer's id, with X-Styx-Sequence";
            return Err(Error::invalid("X-Styx-Producer", "", accepted));
        }
        (None, None) if epoch.is_some() => {
            let accepted = "the producer's id, with X-Styx-Epoch";
            return Err(Error::invalid("X-Styx-Producer", "", accepted));
        }
        (None, None) => None,
    };
    Ok(Condition { expected: expected.map(Position), producer })
}

/// The condition on which a cursor is changed or deleted.
pub(crate) fn cursor_condition(headers: &HeaderMap) -> Result<CursorCondition, Error> {
    const MATCH: &str = "* or one version in quotes, such as \"7\"";
    const NONE_MATCH: &str = "*, for a cursor that must not exist";
    let version = condition_text(headers, &IF_MATCH, "If-Match", MATCH)?;
    let none = condition_text(headers, &IF_NONE_MATCH, "If-None-Match", NONE_MATCH)?;
    match (version, none) {
        (None, None) => Ok(CursorCondition::None),
        (None, Some("*")) => Ok(CursorCondition::Absent),
        (None, Some(other)) => Err(Error::invalid("If-None-Match", other, NONE_MATCH)),
        (Some(version), Some(_)) => {
            Err(Error::invalid("If-Match", version, "If-Match or If-None-Match, but not both"))
        }
        (Some("*"), None) => Ok(CursorCondition::Present),
        (Some(text), None) => {
            let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let is_number = |t: &&str| t.bytes().all(|byte| byte.is_ascii_digit());
            let version = quoted.filter(is_number).and_then(|digits| digits.parse().ok());
            version
                .map(CursorCondition::Version)
                .ok_or_else(|| Error::invalid("If-Match", text, MATCH))
        }
    }
}

/// How long a following read waits; `None` is without limit.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Option<std::time::Duration>, Error> {
    const ACCEPTED: &str = "whole seconds, 0 for at once or -1 for no limit";
    let text = checked_text(headers, &TIMEOUT, "X-Styx-Timeout", ACCEPTED)?;
    let seconds: Option<i64> = number(text, "X-Styx-Timeout", ACCEPTED)?;
    match seconds {
        None | Some(-1) => Ok(None),
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) => Ok(Some(std::time::Duration::from_secs(seconds))),
            Err(_) => Err(Error::invalid("X-Styx-Timeout", &seconds.to_string(), ACCEPTED)),
        },
    }
}

/// The timeout that the peer of a stream announces; `None` if it announces none.
pub(crate) fn stream_timeout(headers: &HeaderMap) -> Result<Option<std::time::Duration>, Error> {
    const ACCEPTED: &str = "2 or more whole seconds";
    let text = checked_text(headers, &TIMEOUT, "X-Styx-Timeout", ACCEPTED)?;
    let seconds: Option<i64> = number(text, "X-Styx-Timeout", ACCEPTED)?;
    let Some(given) = seconds else { return Ok(None) };
    let seconds =
        u64::try_from(given).ok().filter(|seconds| *seconds >= STREAM_TIMEOUT_SECONDS_MIN);
    let seconds =
        seconds.ok_or_else(|| Error::invalid("X-Styx-Timeout", &given.to_string(), ACCEPTED))?;
    Ok(Some(std::time::Duration::from_secs(seconds)))
}

/// A number as a header's value.
pub(crate) fn of_position(position: Position) -> HeaderValue {
    HeaderValue::from(position.0)
}

/// A log's id as a header's value.
pub(crate) fn of_id(id: LogId) -> HeaderValue {
    of_text(id.to_string())
}

/// A checkpoint as a header value.
pub(crate) fn of_checkpoint(checkpoint: Checkpoint) -> HeaderValue {
    of_text(checkpoint.to_string())
}

fn of_text(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn incomplete_producer_headers_are_an_error() {
        let parse = |pairs: &[_]| condition(&headers(pairs)).map(|c| c.producer);
        assert_eq!(parse(&[]).ok(), Some(None));
        let whole = [("x-styx-producer", "7"), ("x-styx-epoch", "2"), ("x-styx-sequence", "0")];
        let producer = Producer { id: 7, epoch: Some(2), sequence: 0 };
        assert_eq!(parse(&whole).ok(), Some(Some(producer)));
        for part in [&whole[..1], &whole[1..], &whole[2..], &[("x-styx-producer", "0")]] {
            let error = parse(part).expect_err("a part of it");
            assert!(error.message.starts_with("X-Styx-"), "{error}");
        }
    }

    #[test]
    fn conditions_of_a_cursor_are_one_version_any_or_none() {
        let parse = |pairs: &[_]| cursor_condition(&headers(pairs)).ok();
        assert_eq!(parse(&[]), Some(CursorCondition::None));
        assert_eq!(parse(&[("if-match", "*")]), Some(CursorCondition::Present));
        assert_eq!(parse(&[("if-match", "\"7\"")]), Some(CursorCondition::Version(7)));
        assert_eq!(parse(&[("if-none-match", "*")]), Some(CursorCondition::Absent));
        for value in ["", "7", "\"\"", "\"+7\"", "W/\"7\"", "\"7\", \"8\"", "\"x\"", "\""] {
            assert_eq!(parse(&[("if-match", value)]), None, "{value}");
        }
        for value in ["", "\"7\"", "x"] {
            assert_eq!(parse(&[("if-none-match", value)]), None, "{value}");
        }
        assert_eq!(parse(&[("if-match", "\"7\""), ("if-none-match", "*")]), None);
    }

    #[test]
    fn stream_timeout_must_be_at_least_two_seconds() {
        let parse = |value| stream_timeout(&headers(&[("x-styx-timeout", value)]));
        for value in ["x", "-2", "-1", "0", "1", "1.5", "+3"] {
            assert!(parse(value).is_err(), "{value}");
        }
        assert_eq!(parse("2").ok(), Some(Some(std::time::Duration::from_secs(2))));
        assert_eq!(parse("").ok(), Some(None));
        assert_eq!(stream_timeout(&headers(&[])).ok(), Some(None));
    }

    #[test]
    fn header_that_is_not_text_or_an_empty_condition_is_an_error() {
        let bytes = |name, value: &[u8]| {
            let value = HeaderValue::from_bytes(value).expect("a value");
            HeaderMap::from_iter([(name, value)])
        };
        let unreadable = b"1\xc2\xa0";
        for name in [LOG_ID, KNOWN_END] {
            assert!(known(&bytes(name.clone(), unreadable)).is_err(), "{name}");
            assert!(known(&bytes(name.clone(), b" ")).is_err(), "{name}");
        }
        for name in [EXPECTED_POSITION, PRODUCER, EPOCH, SEQUENCE] {
            for value in [&unreadable[..], b""] {
                let error = condition(&bytes(name.clone(), value)).expect_err("not a number");
                let named = error.message.to_ascii_lowercase();
                assert!(named.starts_with(name.as_str()), "{error}");
            }
        }
        assert!(timeout(&bytes(TIMEOUT, unreadable)).is_err());
        assert!(stream_timeout(&bytes(TIMEOUT, unreadable)).is_err());
    }

    #[test]
    fn malformed_headers_are_an_error() {
        for name in ["x-styx-log-id", "x-styx-known-end"] {
            assert!(known(&headers(&[(name, "zz")])).is_err(), "{name}");
        }
        for value in ["x", "-2", "1.5", "+1"] {
            assert!(timeout(&headers(&[("x-styx-timeout", value)])).is_err(), "{value}");
        }
        assert_eq!(timeout(&headers(&[("x-styx-timeout", "-1")])).ok(), Some(None));
        assert_eq!(timeout(&headers(&[("x-styx-timeout", "")])).ok(), Some(None));
    }
}
