//! Converts the errors of a server to [`Error`]: an error response, or the error frame
//! that ends a stream.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use styx_protocol::Code;
use styx_protocol::frame::{Fault, Outcome};

use crate::error::{Error, Facts, Kind};

/// The error in a response with this status, these headers and this body.
pub(super) fn error_from_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let number = |name: &str| json[name].as_u64();
    let facts = Facts {
        start_position: number("start_position"),
        end_position: number("end_position"),
        fork_position: number("fork_position"),
        position: number("position"),
        next_intact_position: number("next_intact_position"),
        expected_sequence: number("expected_sequence"),
        version: number("version"),
        replaced_version: number("replaced_version"),
        count: number("count"),
        status: serde_json::from_value(json["status"].clone()).ok(),
        retry_after: retry_after(headers),
        refused_upgrade: None,
    };
    let (kind, fallback) = match json["code"].as_str().map(Code::from_text) {
        Some(Some(code)) => (Kind::Code(code), code.meaning().to_owned()),
        // A code of a newer server, or the response of another program, such as a proxy.
        _ => {
            let advice = match status {
                StatusCode::PAYLOAD_TOO_LARGE => "; raise the proxy's limit for a request's body",
                _ => "",
            };
            let message = format!(
                "unexpected response with status {status}: it does not come from a Styx \
                 server{advice}"
            );
            (kind_of_status(status), message)
        }
    };
    let message = json["message"].as_str().map_or(fallback, str::to_owned);
    Error::with_facts(kind, message, facts)
}

/// Whether a Styx server sent this error response. Without it, a proxy did.
pub(super) fn is_from_styx(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|json: Value| json["code"].is_string())
}

/// The error in an error frame.
pub(crate) fn error_from_frame(fault: &Fault) -> Error {
    let ends = fault.ends();
    let damage = fault.damage();
    let facts = Facts {
        start_position: ends.map(|ends| ends.start.0),
        end_position: ends.map(|ends| ends.end).or(fault.end_position()).map(|end| end.0),
        position: damage.map(|damage| damage.position.0),
        next_intact_position: damage.and_then(|damage| damage.next_intact).map(|next| next.0),
        expected_sequence: fault.expected_sequence(),
        retry_after: (fault.retry_after_ms > 0)
            .then(|| Duration::from_millis(fault.retry_after_ms.into())),
        ..Facts::default()
    };
    let message = match fault.message.as_str() {
        "" => fault.code.meaning(),
        message => message,
    };
    Error::with_facts(Kind::Code(fault.code), message, facts)
        .with_maybe_appended(fault.outcome == Outcome::Unknown)
}

/// The kind of an error without a known code. The statuses that proxies send when they
/// cannot reach the server are retriable.
fn kind_of_status(status: StatusCode) -> Kind {
    match status.as_u16() {
        401 => Kind::Code(Code::Unauthorized),
        403 => Kind::Code(Code::Forbidden),
        429 => Kind::Code(Code::TooManyRequests),
        502..=504 => Kind::ConnectionFailed,
        _ => Kind::BadAnswer,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use styx_protocol::frame::Ends;
    use styx_protocol::{LogStatus, Position};

    use super::*;

    fn parse(status: u16, body: &str) -> Error {
        let status = StatusCode::from_u16(status).expect("a status");
        error_from_response(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn error_response_keeps_message_and_facts() {
        let body =
            r#"{"code": "out_of_range", "message": "m", "start_position": 3, "end_position": 9}"#;
        let error = parse(416, body);
        assert_eq!((error.code(), error.message()), ("out_of_range", "m"));
        assert_eq!((error.facts().start_position, error.facts().end_position), (Some(3), Some(9)));

        let error =
            parse(503, r#"{"code": "log_not_available", "message": "m", "status": "corrupt"}"#);
        assert_eq!((error.facts().status, error.is_retriable()), (Some(LogStatus::Corrupt), false));
    }

    #[test]
    fn error_frame_keeps_facts_and_outcome() {
        let ends = Ends { start: Position(3), end: Position(9) };
        let error = error_from_frame(&Fault::new(Code::OutOfRange, "m").with_ends(ends));
        assert_eq!((error.facts().start_position, error.facts().end_position), (Some(3), Some(9)));
        let gap = Fault::new(Code::SequenceGap, "").with_expected_sequence(5);
        let error = error_from_frame(&gap.with_retry_after_ms(20));
        assert_eq!(error.facts().expected_sequence, Some(5));
        assert_eq!(error.facts().retry_after, Some(Duration::from_millis(20)));
        assert_eq!(error.message(), Code::SequenceGap.meaning());
        let mut fault = Fault::new(Code::UnknownError, "m");
        assert!(error_from_frame(&fault).maybe_appended());
        fault.outcome = Outcome::NotAppended;
        assert!(
            !error_from_frame(&fault).maybe_appended(),
            "the frame's outcome overrides the table"
        );
    }

    #[test]
    fn retry_after_is_parsed() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "3".parse().expect("a value"));
        let body = br#"{"code": "overloaded"}"#;
        let error = error_from_response(StatusCode::SERVICE_UNAVAILABLE, &headers, body);
        assert_eq!(error.facts().retry_after, Some(Duration::from_secs(3)));
        assert_eq!(error.message(), Code::Overloaded.meaning());
    }

    #[test]
    fn response_of_another_program_is_reported_as_such() {
        for (status, kind, retriable) in [
            (404, Kind::BadAnswer, false),
            (401, Kind::Code(Code::Unauthorized), false),
            (502, Kind::ConnectionFailed, true),
        ] {
            let error = parse(status, "<html>");
            assert_eq!((error.kind(), error.is_retriable()), (kind, retriable));
            assert!(error.message().contains("does not come from a Styx server"), "{error}");
        }
        assert!(parse(413, "<html>").message().contains("raise the proxy's limit"));
        assert_eq!(parse(400, r#"{"code": "new", "message": "m"}"#).message(), "m");
    }
}
